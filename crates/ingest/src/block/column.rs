//! One column of one row group, read forward: a page at a time is unpacked, and the dictionary kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::encoding::{delta, hybrid, plain_numbers, plain_texts};
use super::footer::{Chunk, Codec, ColumnInfo, Physical, Repetition};
use super::thrift::Reader;
use super::{BlockFile, Defect};

/// Read at once where a column's pages are smaller.
const WINDOW_BYTES: u64 = 256 << 10;

/// Parca's pages have some 256 KiB; a dictionary of a row group's locations some MiB.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// A row group of 8,192 stacks of 512 locations in one page.
const PAGE_VALUES_MAX: usize = 4 << 20;

/// Of the columns of a row group together: each has a page and a dictionary in memory, and there are thousands of columns.
const GROUP_BYTES_MAX: u64 = 512 << 20;

/// What is made of a value at most, beside its own bytes: whether it is there, whether it goes on with a list, its key, its place.
const VALUE_BYTES: u64 = 20;

/// A page's header has statistics too: the least and the largest value.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// Memory of the columns of a row group together. bytes
#[derive(Default)]
pub(super) struct Memory(AtomicU64);

/// Texts as spans of one buffer.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    spans: Vec<(u32, u32)>,
}

impl Texts {
    fn held(&self) -> usize {
        self.bytes.capacity() + size_of::<(u32, u32)>() * self.spans.capacity()
    }

    fn get(&self, at: u32) -> Option<&[u8]> {
        let &(start, len) = self.spans.get(at as usize)?;
        self.bytes.get(start as usize..)?.get(..len as usize)
    }
}

/// A value of a column of texts; [`Column::text`] has the bytes while no other page was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextAt {
    /// Counts the tables of texts that the column had so far: within one, equal numbers are equal texts.
    pub(super) table: u32,
    pub(super) number: u32,
}

/// A stretch of the file, and where it begins.
pub(super) type Window = (u64, Arc<Vec<u8>>);

pub(super) struct Column<'f> {
    file: &'f dyn BlockFile,
    name: String,
    physical: Physical,
    repetition: Repetition,
    codec: Codec,
    /// Where the pages that were not read yet begin and end.
    at: u64,
    end: u64,
    /// Values of the pages that were not read yet.
    left: u64,
    /// First that of all columns, where there is one.
    window: Window,
    memory: Arc<Memory>,
    /// Of `memory`, what is here.
    held: u64,

    numbers_by_key: Vec<i64>,
    dictionary: Texts,
    /// Of a page without dictionary.
    plain: Texts,
    is_plain: bool,
    table: u32,

    /// Of the page: whether each value continues a list, and whether it is there. Empty where all begin one and are.
    continues: Vec<u32>,
    present: Vec<u32>,
    numbers: Vec<i64>,
    keys: Vec<u32>,
    values: usize,
    next: usize,
    next_present: usize,
}

impl<'f> Column<'f> {
    pub(super) fn new(
        file: &'f dyn BlockFile,
        info: &ColumnInfo,
        chunk: Chunk,
        memory: &Arc<Memory>,
        window: &Window,
    ) -> Result<Self, Defect> {
        if let Codec::Other(codec) = chunk.codec {
            let what = format!("column {:?} is compressed in a way that Parca does not use (codec {codec})", info.name);
            return Err(Defect::unknown(what));
        }
        Ok(Self {
            file,
            name: info.name.clone(),
            physical: info.physical,
            repetition: info.repetition,
            codec: chunk.codec,
            at: chunk.start,
            end: chunk.start + chunk.bytes,
            left: chunk.values,
            window: window.clone(),
            memory: memory.clone(),
            held: 0,
            numbers_by_key: Vec::new(),
            dictionary: Texts::default(),
            plain: Texts::default(),
            is_plain: false,
            table: 0,
            continues: Vec::new(),
            present: Vec::new(),
            numbers: Vec::new(),
            keys: Vec::new(),
            values: 0,
            next: 0,
            next_present: 0,
        })
    }

    /// The next row's number, where every row has one.
    pub(super) fn number(&mut self) -> Result<i64, Defect> {
        let number = self.peek_number()?;
        self.next += 1;
        self.next_present += 1;
        Ok(number)
    }

    /// What [`Column::number`] gives next.
    pub(super) fn peek_number(&mut self) -> Result<i64, Defect> {
        self.need_value()?;
        self.numbers.get(self.next_present).copied().ok_or_else(|| self.broken("has too few values in a page"))
    }

    /// The next row's text.
    pub(super) fn text_at(&mut self) -> Result<Option<TextAt>, Defect> {
        self.need_value()?;
        self.take_text()
    }

    /// The texts of the next row's list are handed over one by one, with this column to look them up in.
    pub(super) fn list(&mut self, mut give: impl FnMut(&Self, TextAt) -> Result<(), Defect>) -> Result<(), Defect> {
        self.need_value()?;
        if self.continues.get(self.next).is_some_and(|&level| level != 0) {
            return Err(self.broken("goes on with a list that did not begin"));
        }
        loop {
            if let Some(text) = self.take_text()? {
                give(self, text)?;
            }
            // of version 1, a list may go on in the next page
            if self.next == self.values && (self.left == 0 || !self.page()?) {
                return Ok(());
            }
            if self.continues.get(self.next).is_none_or(|&level| level == 0) {
                return Ok(());
            }
        }
    }

    pub(super) fn text(&self, at: TextAt) -> Option<&[u8]> {
        if self.is_plain { self.plain.get(at.number) } else { self.dictionary.get(at.number) }
    }

    fn take_text(&mut self) -> Result<Option<TextAt>, Defect> {
        let at = self.next;
        self.next += 1;
        if self.present.get(at).is_some_and(|&level| level == 0) {
            return Ok(None);
        }
        let number = self.next_present;
        self.next_present += 1;
        let number = if self.is_plain { Some(number as u32) } else { self.keys.get(number).copied() };
        let number = number.ok_or_else(|| self.broken("has too few values in a page"))?;
        let text = TextAt { table: self.table, number };
        if self.text(text).is_none() {
            return Err(self.broken("names a value that its dictionary lacks"));
        }
        Ok(Some(text))
    }

    fn need_value(&mut self) -> Result<(), Defect> {
        while self.next == self.values {
            if !self.page()? {
                return Err(self.broken("has fewer values than its row group has rows"));
            }
        }
        Ok(())
    }

    fn broken(&self, what: &str) -> Defect {
        Defect::broken(format!("column {:?} {what}", self.name))
    }

    /// Reads the next page; `false` if there is none.
    fn page(&mut self) -> Result<bool, Defect> {
        if self.at >= self.end {
            return Ok(false);
        }
        let (header, header_bytes) = self.header().map_err(|defect| defect.within(&self.name))?;
        self.at += header_bytes as u64;
        if header.packed_bytes as u64 > self.end - self.at {
            return Err(self.broken("has a page that ends behind its end"));
        }
        if header.unpacked_bytes > PAGE_BYTES_MAX || header.packed_bytes > PAGE_BYTES_MAX {
            return Err(self.broken(&format!("has a page of more than {PAGE_BYTES_MAX} bytes")));
        }
        if header.values > PAGE_VALUES_MAX {
            return Err(self.broken(&format!("has a page of more than {PAGE_VALUES_MAX} values")));
        }
        // the packed bytes are in the window too
        self.hold(2 * header.packed_bytes as u64 + header.unpacked_bytes as u64 + header.values as u64 * VALUE_BYTES)?;
        let packed = self.bytes(header.packed_bytes)?.to_vec();
        self.at += header.packed_bytes as u64;
        if header.crc.is_some_and(|crc| crc != crc32(&packed)) {
            return Err(self.broken("has a page whose bytes are not what was written (the checksum differs)"));
        }
        let page = header.unpack(self.codec, packed).map_err(|defect| defect.within(&self.name))?;
        let read = match header.kind {
            Kind::Dictionary => self.read_dictionary(&header, page),
            Kind::Data => self.read_values(&header, page),
            Kind::Other => Ok(()),
        };
        read.map_err(|defect| defect.within(&self.name))?;
        self.hold(0)?;
        Ok(true)
    }

    /// Counts what is here, and `coming` bytes more.
    fn hold(&mut self, coming: u64) -> Result<(), Defect> {
        let numbers = self.numbers_by_key.capacity() + self.numbers.capacity();
        let levels = self.continues.capacity() + self.present.capacity() + self.keys.capacity();
        let texts = self.dictionary.held() + self.plain.held();
        // a window of all columns is small beside what they may have
        let window = if Arc::strong_count(&self.window.1) > 1 { 0 } else { self.window.1.capacity() };
        let held = (window + 8 * numbers + 4 * levels + texts) as u64 + coming;
        let before = std::mem::replace(&mut self.held, held);
        let change = held.wrapping_sub(before);
        let all = self.memory.0.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
        if all > GROUP_BYTES_MAX {
            return Err(
                self.broken(&format!("does not fit beside the others of its row group into {GROUP_BYTES_MAX} bytes"))
            );
        }
        Ok(())
    }

    fn header(&mut self) -> Result<(Header, usize), Defect> {
        let rest = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let mut room = rest.min(4 << 10);
        loop {
            let mut reader = Reader::new(self.bytes(room)?);
            match Header::read(&mut reader) {
                Ok(header) => return Ok((header, reader.at())),
                Err(_) if room < rest.min(HEADER_BYTES_MAX) => room = (room * 16).min(rest).min(HEADER_BYTES_MAX),
                Err(defect) => return Err(defect),
            }
        }
    }

    /// `len` bytes of the file from where the column is.
    fn bytes(&mut self, len: usize) -> Result<&[u8], Defect> {
        let skip = usize::try_from(self.at.wrapping_sub(self.window.0)).unwrap_or(usize::MAX);
        let rest = self.window.1.get(skip..).unwrap_or_default();
        if rest.len() < len {
            let behind = self.at + rest.len() as u64;
            let end = self.end.min(behind + WINDOW_BYTES.max((len - rest.len()) as u64));
            let mut bytes = rest.to_vec();
            // the old window goes before the new bytes come
            self.window = Window::default();
            bytes.extend(self.file.range(behind..end)?);
            self.window = (self.at, Arc::new(bytes));
        }
        let skip = (self.at - self.window.0) as usize;
        self.window.1.get(skip..).and_then(|rest| rest.get(..len)).ok_or_else(|| Defect::broken("the file is cut off"))
    }

    fn read_dictionary(&mut self, header: &Header, page: Vec<u8>) -> Result<(), Defect> {
        if !matches!(header.encoding, Encoding::Plain | Encoding::PlainDictionary) {
            return Err(header.unknown_encoding());
        }
        self.table += 1;
        match self.physical {
            Physical::Int64 => {
                self.numbers_by_key.clear();
                plain_numbers(&page, header.values, &mut self.numbers_by_key)
            }
            _ => {
                self.dictionary.spans.clear();
                plain_texts(&page, header.values, &mut self.dictionary.spans)?;
                self.dictionary.bytes = page;
                Ok(())
            }
        }
    }

    fn read_values(&mut self, header: &Header, page: Vec<u8>) -> Result<(), Defect> {
        let count = header.values;
        self.left =
            self.left.checked_sub(count as u64).ok_or_else(|| Defect::broken("more values than there should be"))?;
        let (repeats, may_lack) = match self.repetition {
            Repetition::Required => (false, false),
            Repetition::Optional => (false, true),
            Repetition::Repeated => (true, true),
        };
        (self.values, self.next, self.next_present) = (count, 0, 0);
        self.continues.clear();
        self.present.clear();
        self.numbers.clear();
        self.keys.clear();
        let mut rest = page.as_slice();
        for (levels, wanted, len) in [
            (&mut self.continues, repeats, header.continues_bytes),
            (&mut self.present, may_lack, header.present_bytes),
        ] {
            let of_levels = match len {
                Some(len) => Some(len),
                None if wanted => {
                    let (prefix, behind) = rest.split_first_chunk::<4>().ok_or_else(cut_off)?;
                    rest = behind;
                    Some(u32::from_le_bytes(*prefix) as usize)
                }
                None => None,
            };
            let Some(len) = of_levels else { continue };
            let (bytes, behind) = rest.split_at_checked(len).ok_or_else(cut_off)?;
            rest = behind;
            if wanted {
                hybrid(bytes, 1, count, levels)?;
            }
        }
        let present = self.present.iter().filter(|&&level| level != 0).count();
        let present = if may_lack { present } else { count };
        self.read_present(header, rest, present)?;
        // the bytes of a page that is its own dictionary are kept with it
        if self.is_plain {
            let skip = (page.len() - rest.len()) as u32;
            self.plain.spans.iter_mut().for_each(|(start, _)| *start += skip);
            self.plain.bytes = page;
        }
        Ok(())
    }

    fn read_present(&mut self, header: &Header, bytes: &[u8], present: usize) -> Result<(), Defect> {
        self.plain.spans.clear();
        let was_plain = std::mem::replace(&mut self.is_plain, false);
        match (self.physical, header.encoding) {
            // of nulls alone a page may have nothing, not even the width of its keys
            (_, _) if present == 0 => {}
            (Physical::Int64, Encoding::Plain) => plain_numbers(bytes, present, &mut self.numbers)?,
            (Physical::Int64, Encoding::Delta) => delta(bytes, present, &mut self.numbers)?,
            (Physical::Bytes, Encoding::Plain) => {
                plain_texts(bytes, present, &mut self.plain.spans)?;
                self.is_plain = true;
            }
            (Physical::Int64 | Physical::Bytes, Encoding::Dictionary | Encoding::PlainDictionary) => {
                let (&width, keys) = bytes.split_first().ok_or_else(cut_off)?;
                hybrid(keys, width, present, &mut self.keys)?;
                if self.physical == Physical::Int64 {
                    for &key in &self.keys {
                        let number = self.numbers_by_key.get(key as usize).copied();
                        self.numbers
                            .push(number.ok_or_else(|| Defect::broken("a value that its dictionary lacks is named"))?);
                    }
                }
            }
            _ => return Err(header.unknown_encoding()),
        }
        if self.is_plain || was_plain {
            self.table += 1;
        }
        Ok(())
    }
}

fn cut_off() -> Defect {
    Defect::broken("a page is cut off")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Dictionary,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Plain,
    PlainDictionary,
    Delta,
    Dictionary,
    Other(i64),
}

struct Header {
    kind: Kind,
    unpacked_bytes: usize,
    packed_bytes: usize,
    crc: Option<u32>,
    values: usize,
    encoding: Encoding,
    /// Of version 2: the lengths of the levels, which are in front and never compressed.
    continues_bytes: Option<usize>,
    present_bytes: Option<usize>,
    is_packed: bool,
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Defect> {
        let mut header = Self {
            kind: Kind::Other,
            unpacked_bytes: 0,
            packed_bytes: 0,
            crc: None,
            values: 0,
            encoding: Encoding::Other(-1),
            continues_bytes: None,
            present_bytes: None,
            is_packed: true,
        };
        let size =
            |number: i64| usize::try_from(number).map_err(|_| Defect::broken(format!("the impossible size {number}")));
        reader.structure(|reader, field| {
            match field.id {
                1 => {
                    header.kind = match reader.number(field)? {
                        0 | 3 => Kind::Data,
                        2 => Kind::Dictionary,
                        _ => Kind::Other,
                    }
                }
                2 => header.unpacked_bytes = size(reader.number(field)?)?,
                3 => header.packed_bytes = size(reader.number(field)?)?,
                4 => header.crc = Some(reader.number(field)? as u32),
                // a page of version 1, a dictionary, a page of version 2
                5 | 7 | 8 => {
                    let is_second = field.id == 8;
                    reader.expect_structure(field)?;
                    reader.structure(|reader, field| {
                        match (field.id, is_second) {
                            (1, _) => header.values = size(reader.number(field)?)?,
                            (2, false) | (4, true) => {
                                header.encoding = match reader.number(field)? {
                                    0 => Encoding::Plain,
                                    2 => Encoding::PlainDictionary,
                                    5 => Encoding::Delta,
                                    8 => Encoding::Dictionary,
                                    other => Encoding::Other(other),
                                }
                            }
                            (5, true) => header.present_bytes = Some(size(reader.number(field)?)?),
                            (6, true) => header.continues_bytes = Some(size(reader.number(field)?)?),
                            (7, true) => header.is_packed = reader.boolean(field)?,
                            _ => return Ok(false),
                        }
                        Ok(true)
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(header)
    }

    fn unknown_encoding(&self) -> Defect {
        Defect::unknown(format!("values are encoded in a way that Parca does not use ({:?})", self.encoding))
    }

    fn unpack(&self, codec: Codec, mut packed: Vec<u8>) -> Result<Vec<u8>, Defect> {
        if codec == Codec::Plain || !self.is_packed {
            return Ok(packed);
        }
        let levels = self.continues_bytes.unwrap_or(0).saturating_add(self.present_bytes.unwrap_or(0));
        if levels > packed.len() || levels > self.unpacked_bytes {
            return Err(cut_off());
        }
        let values = packed.split_off(levels);
        let wanted = self.unpacked_bytes - levels;
        // neither makes more than some 250 bytes of one
        if wanted / 256 > values.len() && codec == Codec::Lz4Raw {
            return Err(Defect::broken("a page cannot hold what it claims"));
        }
        let mut page = packed;
        page.resize(self.unpacked_bytes, 0);
        if wanted == 0 {
            return Ok(page);
        }
        let filled = match codec {
            Codec::Lz4Raw => {
                lz4_flex::block::decompress_into(&values, &mut page[levels..]).map_err(|error| error.to_string())
            }
            _ => zstd::bulk::decompress_to_buffer(&values, &mut page[levels..]).map_err(|error| error.to_string()),
        };
        match filled {
            Ok(filled) if filled == wanted => Ok(page),
            Ok(filled) => Err(Defect::broken(format!("a page holds {filled} bytes, not {wanted}"))),
            Err(error) => Err(Defect::broken(format!("a page does not unpack: {error}"))),
        }
    }
}

/// Parquet's checksum of a page's bytes as they lie in the file: that of gzip.
fn crc32(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes) as u32
}
