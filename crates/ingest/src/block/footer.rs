//! What a Parquet file says of itself at its end: its columns, and where their pages lie
//! (github.com/apache/parquet-format, parquet.thrift).

use super::thrift::{Field, Reader};
use super::{BlockFile, Defect};

/// Length and magic.
const TAIL_BYTES: u64 = 8;
const MAGIC: &[u8] = b"PAR1";

/// Some 100 bytes a column of a row group: of 8,192 rows each, 64 MiB are those of 200 million rows.
const FOOTER_BYTES_MAX: u64 = 64 << 20;

/// Labels are columns.
const COLUMNS_MAX: usize = 4_096;

/// Less than any writer needs for a column of a row group, or a row group: what is made of a footer is not much larger than it.
const CHUNK_BYTES_MIN: usize = 16;

/// Of a file: more than any store holds, and sums of it fit.
const ROWS_MAX: u64 = 1 << 48;

/// How often a column has a value in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    Required,
    Optional,
    Repeated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Physical {
    Int64,
    Bytes,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Plain,
    Lz4Raw,
    Zstd,
    Other(i64),
}

#[derive(Clone, Debug)]
pub(super) struct ColumnInfo {
    pub(super) name: String,
    pub(super) repetition: Repetition,
    pub(super) physical: Physical,
}

/// A column's pages in a row group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) codec: Codec,
    /// Values, nulls and empty lists included.
    pub(super) values: u64,
}

#[derive(Clone, Debug)]
pub(super) struct RowGroup {
    pub(super) rows: u64,
    /// In the order of the columns.
    pub(super) chunks: Vec<Chunk>,
}

#[derive(Clone, Debug)]
pub(super) struct Footer {
    pub(super) columns: Vec<ColumnInfo>,
    pub(super) groups: Vec<RowGroup>,
    /// As it lies in the file: names the file's content.
    pub(super) raw: Vec<u8>,
}

impl Footer {
    pub(super) fn read(file: &dyn BlockFile) -> Result<Self, Defect> {
        let end = file.bytes();
        if end < TAIL_BYTES + MAGIC.len() as u64 {
            return Err(Defect::broken(format!("a file of {end} bytes is no Parquet file")));
        }
        let tail = file.range(end - TAIL_BYTES..end)?;
        let &[a, b, c, d, ref magic @ ..] = tail.as_slice() else {
            return Err(Defect::broken("its end cannot be read"));
        };
        if magic != MAGIC {
            return Err(Defect::broken("it does not end as a Parquet file does: it is cut off, or something else"));
        }
        let len = u64::from(u32::from_le_bytes([a, b, c, d]));
        if len > FOOTER_BYTES_MAX {
            return Err(Defect::broken(format!("its footer would have {len} bytes, more than {FOOTER_BYTES_MAX}")));
        }
        let start = (end - TAIL_BYTES).checked_sub(len);
        let start = start.ok_or_else(|| Defect::broken("its footer would begin before the file"))?;
        let raw = file.range(start..end - TAIL_BYTES)?;
        Self::parse(raw, start)
    }

    /// `pages_end`: where the footer begins, so that pages end before it.
    fn parse(raw: Vec<u8>, pages_end: u64) -> Result<Self, Defect> {
        let mut reader = Reader::new(&raw);
        let (mut schema, mut groups, mut chunks) = (Vec::new(), Vec::<RowGroup>::new(), 0);
        reader.structure(|reader, field| {
            match field.id {
                2 => {
                    let count = reader.structures(field)?;
                    within_columns(schema.len() + count)?;
                    for _ in 0..count {
                        schema.push(SchemaElement::read(reader)?);
                    }
                }
                4 => {
                    for _ in 0..reader.structures(field)? {
                        let group = row_group(reader, pages_end)?;
                        chunks += 1 + group.chunks.len();
                        if chunks * CHUNK_BYTES_MIN > raw.len() {
                            return Err(Defect::broken("its footer is too short for its row groups"));
                        }
                        groups.push(group);
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let columns = columns(schema)?;
        if let Some(at) = groups.iter().position(|group| group.chunks.len() != columns.len()) {
            return Err(Defect::broken(format!("row group {at} has another number of columns than the file")));
        }
        if groups.iter().try_fold(0u64, |sum, group| sum.checked_add(group.rows)).is_none_or(|rows| rows > ROWS_MAX) {
            return Err(Defect::broken("it would have more rows than any file"));
        }
        Ok(Self { columns, groups, raw })
    }
}

/// A field that comes twice adds to the first.
fn within_columns(count: usize) -> Result<(), Defect> {
    if count > COLUMNS_MAX {
        return Err(Defect::broken(format!("it has {count} columns, more than {COLUMNS_MAX}")));
    }
    Ok(())
}

#[derive(Default)]
struct SchemaElement {
    physical: Option<i64>,
    repetition: i64,
    name: String,
    children: i64,
}

impl SchemaElement {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Defect> {
        let mut element = Self::default();
        reader.structure(|reader, field| {
            match field.id {
                1 => element.physical = Some(reader.number(field)?),
                3 => element.repetition = reader.number(field)?,
                4 => element.name = String::from_utf8_lossy(reader.text(field)?).into_owned(),
                5 => element.children = reader.number(field)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(element)
    }
}

/// The leaves of a schema that is one group of leaves.
fn columns(schema: Vec<SchemaElement>) -> Result<Vec<ColumnInfo>, Defect> {
    let mut elements = schema.into_iter();
    let root = elements.next().ok_or_else(|| Defect::broken("it has no columns"))?;
    if root.children != elements.len() as i64 {
        return Err(Defect::unknown("its columns are nested, which Parca's are not"));
    }
    elements
        .map(|element| {
            if element.children != 0 {
                return Err(Defect::unknown(format!(
                    "its column {:?} is nested, which none of Parca's is",
                    element.name
                )));
            }
            Ok(ColumnInfo {
                repetition: match element.repetition {
                    0 => Repetition::Required,
                    1 => Repetition::Optional,
                    _ => Repetition::Repeated,
                },
                physical: match element.physical {
                    Some(2) => Physical::Int64,
                    Some(6) => Physical::Bytes,
                    _ => Physical::Other,
                },
                name: element.name,
            })
        })
        .collect()
}

fn row_group(reader: &mut Reader<'_>, pages_end: u64) -> Result<RowGroup, Defect> {
    let mut group = RowGroup { rows: 0, chunks: Vec::new() };
    reader.structure(|reader, field| {
        match field.id {
            1 => {
                let count = reader.structures(field)?;
                within_columns(group.chunks.len() + count)?;
                for _ in 0..count {
                    group.chunks.push(chunk(reader, pages_end)?);
                }
            }
            3 => group.rows = unsigned(reader, field)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(group)
}

fn chunk(reader: &mut Reader<'_>, pages_end: u64) -> Result<Chunk, Defect> {
    let mut chunk = Chunk { start: 0, bytes: 0, codec: Codec::Plain, values: 0 };
    let (mut data, mut dictionary) = (0, 0);
    reader.structure(|reader, field| {
        if field.id != 3 {
            return Ok(false);
        }
        reader.expect_structure(field)?;
        reader.structure(|reader, field| {
            match field.id {
                4 => {
                    chunk.codec = match reader.number(field)? {
                        0 => Codec::Plain,
                        6 => Codec::Zstd,
                        7 => Codec::Lz4Raw,
                        other => Codec::Other(other),
                    }
                }
                5 => chunk.values = unsigned(reader, field)?,
                7 => chunk.bytes = unsigned(reader, field)?,
                9 => data = unsigned(reader, field)?,
                11 => dictionary = unsigned(reader, field)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(true)
    })?;
    chunk.start = if dictionary > 0 { dictionary.min(data) } else { data };
    let end = chunk.start.checked_add(chunk.bytes).filter(|end| *end <= pages_end);
    end.ok_or_else(|| Defect::broken("pages of a column would lie behind the file's end"))?;
    Ok(chunk)
}

fn unsigned(reader: &mut Reader<'_>, field: Field) -> Result<u64, Defect> {
    let number = reader.number(field)?;
    u64::try_from(number).map_err(|_| Defect::broken(format!("the metadata has the impossible number {number}")))
}
