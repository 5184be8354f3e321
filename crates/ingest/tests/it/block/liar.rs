//! Files whose metadata says what no writer says: every limit is met.

use std::ops::Range;

use ingest::{BlockFile, BlockReader};

use super::{Held, Watched};

/// A file of pages and a footer.
pub fn file(pages: &[u8], footer: &[u8]) -> Vec<u8> {
    let len = footer.len() as u32;
    [b"PAR1", pages, footer, &len.to_le_bytes(), b"PAR1"].concat()
}

/// A structure of Thrift's compact protocol. `step`: from the number of the field before.
#[derive(Clone, Default)]
struct Thrift(Vec<u8>);

impl Thrift {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, step: u8, value: i64) -> Self {
        self.0.push(step << 4 | 6);
        self.varint((value << 1 ^ value >> 63) as u64);
        self
    }

    fn text(mut self, step: u8, text: &str) -> Self {
        self.0.push(step << 4 | 8);
        self.varint(text.len() as u64);
        self.0.extend(text.as_bytes());
        self
    }

    fn structure(mut self, step: u8, of: Thrift) -> Self {
        self.0.push(step << 4 | 12);
        self.0.extend(of.end());
        self
    }

    fn list(mut self, step: u8, of: impl IntoIterator<Item = Thrift>) -> Self {
        let of: Vec<Thrift> = of.into_iter().collect();
        self.0.extend([step << 4 | 9, 0xf0 | 12]);
        self.varint(of.len() as u64);
        of.into_iter().for_each(|of| self.0.extend(of.end()));
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

const TEXTS: [&str; 5] = ["name", "sample_type", "sample_unit", "period_type", "period_unit"];
const NUMBERS: [&str; 4] = ["period", "duration", "timestamp", "value"];

/// Of all columns but that of the stacks, which repeats.
fn element(name: &str, is_number: bool) -> Thrift {
    Thrift::default().number(1, if is_number { 2 } else { 6 }).number(2, 0).text(1, name)
}

fn root(children: usize) -> Thrift {
    Thrift::default().text(4, "root").number(1, children as i64)
}

#[derive(Clone, Copy)]
struct Chunk {
    at: usize,
    bytes: usize,
    zstd: bool,
    values: i64,
}

fn chunk(Chunk { at, bytes, zstd, values }: Chunk) -> Thrift {
    let meta = Thrift::default()
        .number(4, if zstd { 6 } else { 0 })
        .number(1, values)
        .number(2, bytes as i64)
        .number(2, at as i64)
        // what else a writer says there
        .text(4, "statistics");
    Thrift::default().structure(3, meta)
}

/// A page of version 1, its header and its bytes.
fn page(unpacked: usize, values: i64, packed: &[u8]) -> Vec<u8> {
    let data = Thrift::default().number(1, values).number(1, 0);
    let header =
        Thrift::default().number(1, 0).number(1, unpacked as i64).number(1, packed.len() as i64).structure(2, data);
    [&header.end()[..], packed].concat()
}

/// A column of stacks.
struct Stacks {
    pages: Vec<u8>,
    values: i64,
}

impl Stacks {
    /// A list that is empty: nothing goes on, nothing is there.
    fn none() -> Self {
        let nothing = [2, 0, 0, 0, 2, 0, 2, 0, 0, 0, 2, 0];
        Self { pages: page(nothing.len(), 1, &nothing), values: 1 }
    }

    /// `rows` stacks of `frames` addresses each, none of them twice, some rows a page.
    fn all_new(rows: usize, frames: usize, page_rows: usize) -> Self {
        let mut of = Self { pages: Vec::new(), values: 0 };
        for first in (0..rows).step_by(page_rows) {
            let here = page_rows.min(rows - first);
            let (mut continues, mut present, mut texts) = (Thrift::default(), Thrift::default(), Vec::new());
            for row in first..first + here {
                continues.0.extend([1 << 1, 0]);
                continues.varint((frames as u64 - 1) << 1);
                continues.0.push(1);
                for frame in 0..frames {
                    let mut location = Thrift::default();
                    location.varint((row * frames + frame) as u64);
                    // neither lines nor a mapping
                    location.0.extend([0, 0]);
                    texts.extend((location.0.len() as u32).to_le_bytes());
                    texts.extend(location.0);
                }
            }
            present.varint((here * frames) as u64 * 2);
            present.0.push(1);
            let levels = |of: Thrift| [&(of.0.len() as u32).to_le_bytes()[..], &of.0].concat();
            let bytes = [levels(continues), levels(present), texts].concat();
            of.pages.extend(page(bytes.len(), (here * frames) as i64, &bytes));
            of.values += (here * frames) as i64;
        }
        of
    }
}

/// A block with one row in the columns that every block has and in `labels` more, and all but the stacks in one page.
fn block(labels: usize, page: &[u8], values: i64, zstd: bool) -> Vec<u8> {
    block_of(1, labels, Chunk { at: 4, bytes: page.len(), zstd, values }, page, &Stacks::none())
}

/// With `rows` rows; `between` are the bytes from the file's begin to the stacks, of which `all` are those of the other columns.
fn block_of(rows: i64, labels: usize, all: Chunk, between: &[u8], stacks: &Stacks) -> Vec<u8> {
    let labels: Vec<String> = (0..labels).map(|at| format!("labels.l{at:04}")).collect();
    let texts = TEXTS.into_iter().chain(labels.iter().map(String::as_str));
    let repeated = Thrift::default().number(1, 6).number(2, 2).text(1, "stacktrace");
    let elements: Vec<Thrift> =
        texts.map(|name| element(name, false)).chain(NUMBERS.map(|name| element(name, true))).collect();
    let of_stacks = Chunk { at: 4 + between.len(), bytes: stacks.pages.len(), zstd: false, values: stacks.values };
    let chunks = vec![chunk(all); elements.len()].into_iter().chain([chunk(of_stacks)]);
    let group = Thrift::default().list(1, chunks).number(2, rows);
    let schema = [root(elements.len() + 1)].into_iter().chain(elements).chain([repeated]);
    let footer = Thrift::default().list(2, schema).list(2, [group]);
    file(&[between, &stacks.pages].concat(), &footer.end())
}

/// Why the one row of a block was left out; `None` if it was not.
fn left_out(block: Vec<u8>) -> Option<String> {
    let file = Held(block);
    let mut reader = BlockReader::open(&file).expect("a block");
    let piece = reader.next_piece().expect("it can be read").expect("a row");
    assert_eq!(piece.rows, 1);
    piece.reason
}

fn refusal(footer: Thrift) -> String {
    BlockReader::open(&Held(file(&[], &footer.end()))).err().expect("refused").what
}

/// A file of which there is nothing but the end.
struct Long;

impl BlockFile for Long {
    fn bytes(&self) -> u64 {
        1 << 30
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, String> {
        assert_eq!(range, (1 << 30) - 8..1 << 30, "no more is read");
        Ok([&((64 << 20) + 1u32).to_le_bytes()[..], b"PAR1"].concat())
    }
}

#[test]
fn a_footer_that_is_too_long_or_tells_of_too_much_is_refused() {
    let refused = BlockReader::open(&Long).err().expect("refused").what;
    assert!(refused.contains("67108865 bytes, more than 67108864"), "{refused}");

    let columns = |count: usize| vec![element("a", true); count];
    let refused = refusal(Thrift::default().list(2, columns(4_097)));
    assert!(refused.contains("4097 columns, more than 4096"), "{refused}");
    // a field that comes again, its number given in full
    let mut twice = Thrift::default().list(2, columns(4_000));
    let again = Thrift::default().list(0, columns(97));
    twice.0.push(again.0[0]);
    twice.varint(2 << 1);
    twice.0.extend(&again.0[1..]);
    let refused = refusal(twice);
    assert!(refused.contains("4097 columns, more than 4096"), "{refused}");

    let empty = Chunk { at: 4, bytes: 0, zstd: false, values: 0 };
    let group = |chunks: Vec<Thrift>, rows: i64| Thrift::default().list(1, chunks).number(2, rows);
    let of_one_column = |groups: Vec<Thrift>| Thrift::default().list(2, [root(1), element("a", true)]).list(2, groups);
    let refused = refusal(of_one_column(vec![group(vec![chunk(empty); 4_097], 1)]));
    assert!(refused.contains("4097 columns, more than 4096"), "{refused}");
    let refused = refusal(of_one_column(vec![group(vec![Thrift::default(); 4_000], 1)]));
    assert!(refused.contains("too short for its row groups"), "{refused}");
    let refused = refusal(of_one_column(vec![Thrift::default(); 10_000]));
    assert!(refused.contains("too short for its row groups"), "{refused}");
    let many = group(vec![chunk(empty)], 1 << 47);
    let refused = refusal(of_one_column(vec![many.clone(), many.clone()]));
    assert!(refused.contains("no column"), "as many as there may be: {refused}");
    let refused = refusal(of_one_column(vec![many.clone(), many, group(vec![chunk(empty)], 1)]));
    assert!(refused.contains("more rows than any file"), "{refused}");
}

#[test]
fn a_page_that_would_be_too_large_is_not_unpacked() {
    let zeros = [0; 8];
    assert_eq!(left_out(block(3, &page(8, 1, &zeros), 1, false)), None, "a sound block");
    let long = block(3, &page((64 << 20) + 1, 1, &zeros), 1, true);
    assert!(left_out(long).is_some_and(|reason| reason.contains("a page of more than 67108864 bytes")));
    let many = block(3, &page(8, (4 << 20) + 1, &zeros), 1, false);
    assert!(left_out(many).is_some_and(|reason| reason.contains("a page of more than 4194304 values")));
}

#[test]
fn thousands_of_columns_that_share_one_page_of_zeros_do_not_fill_the_memory() {
    const BYTES: usize = 32 << 20;
    let zeros = zstd::bulk::compress(&vec![0; BYTES], 1).expect("packed");
    assert!(zeros.len() < 10_000);
    let reason = left_out(block(4_000, &page(BYTES, 1, &zeros), 1, true));
    let reason = reason.expect("it is left out");
    assert!(reason.contains("\"labels.l00") && reason.contains("into 536870912 bytes"), "{reason}");
}

#[test]
fn rows_whose_stacks_share_nothing_are_all_read_in_batches_that_keep_their_bounds() {
    const ROWS: usize = 64_000;
    let zeros = page(8 * ROWS, ROWS as i64, &vec![0; 8 * ROWS]);
    let all = Chunk { at: 4, bytes: zeros.len(), zstd: false, values: ROWS as i64 };
    let file = Held(block_of(ROWS as i64, 0, all, &zeros, &Stacks::all_new(ROWS, 18, ROWS)));
    let mut reader = BlockReader::open(&file).expect("a block");
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next_piece().expect("it can be read") {
        assert_eq!((piece.left_out, piece.reason), (0, None));
        pieces.push((piece.rows, piece.batch.symbols.locations.len()));
    }
    assert_eq!(pieces.iter().map(|(rows, _)| *rows).sum::<u64>(), ROWS as u64);
    assert_eq!(pieces.iter().map(|(_, locations)| *locations).sum::<usize>(), 18 * ROWS);
    assert!(pieces.iter().all(|(_, locations)| *locations < (512 << 10) + 18), "{pieces:?}");
}

#[test]
fn the_columns_of_a_row_group_are_read_at_once_where_they_lie_together_and_no_byte_twice_where_they_do_not() {
    const ROWS: usize = 30_000;
    let zeros = page(8 * ROWS, ROWS as i64, &vec![0; 8 * ROWS]);
    let all = Chunk { at: 4, bytes: zeros.len(), zstd: false, values: ROWS as i64 };
    // pages of some 60 KiB
    let stacks = Stacks::all_new(ROWS, 10, 600);
    for gap in [0, 17 << 20] {
        let between = [&zeros[..], &vec![0; gap]].concat();
        let at = 4 + between.len() as u64;
        let end = at + stacks.pages.len() as u64;
        let watched = Watched::new(block_of(ROWS as i64, 20, all, &between, &stacks));
        let mut reader = BlockReader::open(&watched).expect("a block");
        let mut rows = 0;
        while let Some(piece) = reader.next_piece().expect("it can be read") {
            assert_eq!((piece.left_out, piece.reason), (0, None));
            rows += piece.rows;
        }
        assert_eq!(rows, ROWS as u64);
        let read = watched.read.borrow();
        let of_stacks: Vec<Range<u64>> =
            read.iter().filter(|range| range.start >= at && range.end <= end).cloned().collect();
        let bytes: u64 = of_stacks.iter().map(|range| range.end - range.start).sum();
        if gap == 0 {
            assert!(read.contains(&(4..end)), "{read:?}");
            assert_eq!(bytes, end - at, "for the layout: {of_stacks:?}");
            assert_eq!(read.len(), 2 + of_stacks.len() + 1);
        } else {
            assert_eq!(bytes, 2 * (end - at), "for the layout, and once more: {of_stacks:?}");
            assert!(of_stacks.len() <= 2 * (end - at).div_ceil(256 << 10) as usize, "{of_stacks:?}");
        }
    }
}
