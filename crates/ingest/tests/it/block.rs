//! The blocks of a Parca's bucket: those that a real one left, and made-up ones, against slow readings of the same.

mod liar;
mod made;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use ingest::{Batch, BlockDefect, BlockFile, BlockReader, Limits, Piece, Scratch};
use profile::NONE;
use serde_json::Value;

/// A file in memory.
pub struct Held(pub Vec<u8>);

impl BlockFile for Held {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, String> {
        Ok(self.0[range.start as usize..range.end as usize].to_vec())
    }
}

/// A file in memory that remembers what was read of it.
pub struct Watched {
    pub file: Held,
    pub read: RefCell<Vec<Range<u64>>>,
}

impl Watched {
    pub fn new(file: Vec<u8>) -> Self {
        Self { file: Held(file), read: RefCell::default() }
    }
}

impl BlockFile for Watched {
    fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, String> {
        self.read.borrow_mut().push(range.clone());
        self.file.read(range)
    }
}

/// What a value stands for: its type, its labels, when, and each frame as text.
type Rows = BTreeMap<(String, Vec<(String, String)>, [i64; 3], Vec<String>), i64>;

/// What of a batch is looked at.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    Everything,
    /// Neither labels of samples nor columns of lines, which Parca loses when it writes a pprof; nor names that are made of linkers'
    /// names, which is another test's business.
    AsParcaKeeps,
}

/// Every value of a batch by what it stands for, equal ones added up. Labels of samples and series are not told apart.
fn rows(batch: &Batch, look: Look, into: &mut Rows) {
    let everything = look == Look::Everything;
    batch.check().unwrap_or_else(|defect| panic!("{defect}"));
    let (symbols, samples) = (&batch.symbols, &batch.samples);
    let text = |ix: u32| symbols.strings.get_str(ix).into_owned();
    let frame = |location: u32| {
        let mapping = match symbols.locations.mapping[location as usize] {
            NONE => String::new(),
            row => {
                format!(
                    "{} {}",
                    text(symbols.mappings.file[row as usize]),
                    text(symbols.mappings.build_id[row as usize])
                )
            }
        };
        let lines = symbols.locations.lines(location).map(|row| {
            let function = match symbols.lines.function[row] {
                NONE => "-".to_owned(),
                ix => {
                    let (of, ix) = (&symbols.functions, ix as usize);
                    let (mut name, system, file) = (text(of.name[ix]), text(of.system_name[ix]), text(of.filename[ix]));
                    // how names are made of linkers' names is another test's business
                    if !everything && system.starts_with("_Z") {
                        name.clear();
                    }
                    format!("{name} {system} {file} {}", of.start_line[ix])
                }
            };
            let column = if everything { symbols.lines.column[row] } else { 0 };
            format!("{function}:{}:{column}", symbols.lines.line[row])
        });
        let lines: Vec<String> = lines.collect();
        format!("{:x} {mapping} {}", symbols.locations.address[location as usize], lines.join(","))
    };
    for profile in 0..batch.profiles.len() {
        let stream = &batch.streams[batch.profiles.stream[profile] as usize];
        let width = stream.sample_types.len();
        for sample in batch.profiles.samples(profile) {
            let mut labels: BTreeMap<String, String> =
                stream.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let set = samples.label_set.get(sample).copied().unwrap_or(0);
            if everything && set != 0 {
                for row in batch.label_sets.rows(set) {
                    labels.entry(text(batch.label_sets.key[row])).or_insert_with(|| text(batch.label_sets.str[row]));
                }
            }
            let time = samples.time.get(sample).copied().unwrap_or(batch.profiles.time[profile]);
            let frames: Vec<String> = batch.stacks.get(samples.stack[sample]).iter().map(|&at| frame(at)).collect();
            for value in 0..width {
                let amount = samples.values[sample * width + value];
                if amount != 0 {
                    let key = (
                        stream.profile_type(value).to_string(),
                        labels.clone().into_iter().collect(),
                        [time, batch.profiles.duration[profile], batch.profiles.period[profile]],
                        frames.clone(),
                    );
                    *into.entry(key).or_default() += amount;
                }
            }
        }
    }
}

fn pieces(file: &dyn BlockFile) -> Vec<Piece> {
    let mut reader = BlockReader::open(file).unwrap_or_else(|defect| panic!("{defect}"));
    let wanted = reader.rows();
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next_piece().unwrap_or_else(|defect| panic!("{defect}")) {
        pieces.push(piece);
    }
    assert_eq!(pieces.iter().map(|piece| piece.rows).sum::<u64>(), wanted);
    pieces
}

fn all_rows(file: &dyn BlockFile, look: Look) -> Rows {
    let mut found = Rows::new();
    for piece in pieces(file) {
        assert_eq!(piece.left_out, 0, "{:?}", piece.reason);
        rows(&piece.batch, look, &mut found);
    }
    found
}

fn recorded(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/import-parca")).join(path)
}

fn recorded_blocks() -> Vec<Held> {
    let folder = recorded("bucket/blocks/parca/stacktraces");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path().join("data.parquet")).collect();
    paths.sort();
    paths.iter().map(|path| Held(std::fs::read(path).expect("a block"))).collect()
}

#[test]
fn a_bucket_that_parca_wrote_holds_what_was_written_to_it_row_by_row() {
    let expect = std::fs::read(recorded("expect.json.gz")).expect("the recording");
    let expect = profile::pprof::unpack(&expect, &Limits::default()).expect("gzip");
    let expect: Value = serde_json::from_slice(&expect).expect("JSON");
    let (mut written, mut scratch) = (Rows::new(), Scratch::default());
    for write in expect["written"].as_array().expect("a list") {
        let labels = write["labels"].as_object().expect("labels").iter();
        let labels = labels.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect();
        let payload = super::input(write["file"].as_str().expect("a file"));
        let batch = ingest::pprof(labels, &payload, 0, &Limits::default(), &mut scratch).expect("a pprof");
        rows(&batch, Look::AsParcaKeeps, &mut written);
    }
    let mut read = Rows::new();
    for block in recorded_blocks() {
        read.append(&mut all_rows(&block, Look::AsParcaKeeps));
    }
    assert!(written.len() > 900, "{}", written.len());
    let differ: Vec<_> = written.iter().filter(|(key, value)| read.get(*key) != Some(value)).collect();
    assert!(differ.is_empty(), "{} of {} rows differ: {:#?}", differ.len(), written.len(), differ[0]);
    assert_eq!(read.len(), written.len());
}

#[test]
fn a_reader_that_skips_goes_on_where_another_one_stopped() {
    let block = made::block(7, made::Shape { rows: 900, group_rows: 100, ..made::Shape::default() });
    let whole = all_rows(&block.file, Look::Everything);
    for at in [0, 1, 99, 100, 101, 450, 899, 900] {
        let mut reader = BlockReader::open(&block.file).expect("sound");
        reader.skip(at).expect("skipped");
        let mut found = Rows::new();
        let mut read = 0;
        while let Some(piece) = reader.next_piece().expect("read") {
            read += piece.rows;
            rows(&piece.batch, Look::Everything, &mut found);
        }
        assert_eq!(read, 900 - at);
        let before = block.rows_of(0..at as usize);
        let mut both = before;
        for (key, value) in found {
            *both.entry(key).or_default() += value;
        }
        assert!(both == whole, "skipped {at}");
    }
}

#[test]
fn a_block_whose_rows_are_all_known_costs_its_footer_and_no_page() {
    let block = made::block(7, made::Shape::default());
    let watched = Watched::new(block.file.0);
    let mut reader = BlockReader::open(&watched).expect("sound");
    let (footer, rows) = (reader.take_footer().len() as u64, reader.rows());
    reader.skip(rows).expect("skipped");
    assert!(reader.next_piece().expect("nothing is left").is_none());
    let read: u64 = watched.read.borrow().iter().map(|range| range.end - range.start).sum();
    assert_eq!(read, footer + 8, "{:?}", watched.read.borrow());
}

#[test]
fn made_up_blocks_of_every_layout_and_encoding_are_read_as_they_were_made() {
    for seed in 0..60 {
        let block = made::block(seed, made::Shape::random(seed));
        let found = all_rows(&block.file, Look::Everything);
        let wanted = block.rows_of(0..block.rows.len());
        let differ = wanted.iter().find(|(key, value)| found.get(*key) != Some(value));
        assert!(
            differ.is_none() && found.len() == wanted.len(),
            "seed {seed}: {differ:#?}\n{:#?}",
            found.first_key_value()
        );
    }
}

#[test]
fn samples_that_have_times_of_their_own_form_few_profiles() {
    let shape = made::Shape { rows: 5_000, group_rows: 1_000, stamped: true, ..made::Shape::default() };
    let block = made::block(3, shape);
    let pieces = pieces(&block.file);
    let (mut profiles, mut samples) = (0, 0);
    for Piece { batch, .. } in &pieces {
        for profile in (0..batch.profiles.len()).filter(|&at| batch.streams[batch.profiles.stream[at] as usize].delta) {
            profiles += 1;
            samples += batch.profiles.samples(profile).len();
        }
    }
    assert!(samples > 3_000 && profiles < 200, "{profiles} profiles of {samples} samples");
    let mut found = Rows::new();
    pieces.iter().for_each(|piece| rows(&piece.batch, Look::Everything, &mut found));
    assert!(found == block.rows_of(0..5_000));
}

#[test]
fn a_broken_page_costs_the_rest_of_its_row_group_and_is_told() {
    let block = made::block(11, made::Shape { rows: 1_000, group_rows: 100, ..made::Shape::default() });
    let sound = all_rows(&block.file, Look::Everything);
    let mut lost = 0;
    'places: for at in (4..block.file.0.len() - 4_000).step_by(997) {
        let mut bytes = block.file.0.clone();
        bytes[at..at + 8].iter_mut().for_each(|byte| *byte = !*byte);
        let file = Held(bytes);
        let Ok(mut reader) = BlockReader::open(&file) else { continue };
        let (mut found, mut read, mut left_out) = (Rows::new(), 0, 0);
        loop {
            let piece = match reader.next_piece() {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // the byte that says how values are encoded
                Err(defect) => {
                    assert_eq!(defect.kind, BlockDefect::Unknown, "{defect}");
                    continue 'places;
                }
            };
            assert_eq!(piece.left_out > 0, piece.reason.is_some());
            (read, left_out) = (read + piece.rows, left_out + piece.left_out);
            rows(&piece.batch, Look::Everything, &mut found);
        }
        assert_eq!(read, 1_000);
        assert!(left_out <= 100, "{left_out} rows for one page");
        lost += left_out;
        let untouched = sound.iter().filter(|(key, value)| found.get(*key) == Some(value)).count();
        assert!(untouched + 100 >= sound.len(), "the other groups are there");
    }
    assert!(lost > 0, "no page was broken");
}

#[test]
fn what_is_encoded_as_no_parca_does_it_ends_the_block_behind_what_is_known_and_is_not_passed_over() {
    let shape = made::Shape { rows: 900, group_rows: 300, foreign: true, ..made::Shape::default() };
    let block = made::block(5, shape);
    let mut reader = BlockReader::open(&block.file).expect("a block");
    let piece = reader.next_piece().expect("rows that are known").expect("rows");
    assert!(piece.rows > 0 && piece.rows < 300 && piece.left_out == 0, "{} {}", piece.rows, piece.left_out);
    let mut found = Rows::new();
    rows(&piece.batch, Look::Everything, &mut found);
    assert!(found == block.rows_of(0..piece.rows as usize));
    for _ in 0..2 {
        let defect = reader.next_piece().expect_err("the block ends");
        assert!(defect.kind == BlockDefect::Unknown && defect.what.contains("\"stacktrace\""), "{defect:?}");
    }
    // so does a reader that goes on there
    let mut reader = BlockReader::open(&block.file).expect("a block");
    reader.skip(piece.rows).expect("known");
    assert_eq!(reader.next_piece().expect_err("the block ends").kind, BlockDefect::Unknown);
    let mut reader = BlockReader::open(&block.file).expect("a block");
    assert_eq!(reader.skip(899).expect_err("the block ends").kind, BlockDefect::Unknown);
}

#[test]
fn a_file_that_is_no_block_or_is_cut_off_is_refused_with_the_reason() {
    let refusal = |bytes: &[u8]| {
        let file = Held(bytes.to_vec());
        let refused = BlockReader::open(&file).err().expect("refused");
        assert_ne!(refused.kind, BlockDefect::Unread);
        refused.what
    };
    let block = &recorded_blocks()[0].0;
    assert!(refusal(b"").contains("0 bytes"));
    assert!(refusal(b"PAR1PAR1PAR1PAR1").contains("footer"), "{}", refusal(b"PAR1PAR1PAR1PAR1"));
    assert!(refusal(&block[..block.len() - 1]).contains("cut off"));
    // lists of lists of what nobody asked for, and maps of lists
    for nested in [&[0x19u8][..], &[0x1b, 1, 0x9b]] {
        let footer = nested.repeat(1_000_000 / nested.len());
        let refused = refusal(&liar::file(&[], &footer));
        assert!(refused.contains("nested more than 16 deep"), "{refused}");
    }
    let other = made::other_file();
    assert!(refusal(&other).contains("no column \"stacktrace\""), "{}", refusal(&other));
}
