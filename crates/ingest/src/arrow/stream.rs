//! Messages of a stream: the schema, then dictionaries and record batches as they come.

use std::collections::HashMap;
use std::rc::Rc;

use arrow::ipc::{self, DictionaryBatch, MessageHeader, RecordBatch, Type, root_as_message};

use super::column::{Column, Values};
use super::unpack::Body;
use super::{malformed, too_much};
use crate::error::IngestError;

/// In front of every message since Arrow 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Of types within types. Agents' stacks are 9 deep.
const DEPTH_MAX: usize = 24;
/// Columns and their parts, all together. Labels are a column each.
const FIELDS_MAX: usize = 8_192;
const MESSAGES_MAX: usize = 4_096;

/// A field of the schema.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    kind: Kind,
    /// Dictionary and width of its keys in bytes; `kind` and `children` are then of the values.
    dictionary: Option<(i64, usize, bool)>,
    children: Vec<Field<'a>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Null,
    Bool,
    /// Bytes a value, and whether it has a sign.
    Int(usize, bool),
    /// Values of a width that nobody here reads as a number.
    Fixed(usize),
    /// A number of buffers that nobody here reads.
    Opaque(usize),
    Bytes {
        wide: bool,
    },
    View,
    List {
        wide: bool,
    },
    ListView {
        wide: bool,
    },
    FixedList(usize),
    Struct,
    Runs,
}

/// A stream whose messages were found and whose buffers lie unpacked.
pub(crate) struct Stream<'a> {
    pub(crate) fields: Vec<Field<'a>>,
    metadata: Vec<(&'a str, &'a str)>,
    messages: Vec<Message<'a>>,
}

struct Message<'a> {
    head: Head<'a>,
    body: Body<'a>,
}

enum Head<'a> {
    Dictionary(DictionaryBatch<'a>, RecordBatch<'a>),
    Record(RecordBatch<'a>),
}

impl<'a> Stream<'a> {
    /// `unpacked_max`: bytes of all buffers that are compressed.
    pub(crate) fn read(bytes: &'a [u8], unpacked_max: usize) -> Result<Self, IngestError> {
        let unreadable = |what: &str| malformed(format!("arrow/ipc: could not read message schema: arrow/ipc: {what}"));
        let mut rest = bytes;
        if rest.len() < 8 {
            let end = if rest.is_empty() { "EOF" } else { "unexpected EOF" };
            return Err(unreadable(&format!("could not read continuation indicator: {end}")));
        }
        let Some((first, _)) = next_message(&mut rest)? else { return Err(unreadable("the stream is empty")) };
        let schema = first.header_as_schema().ok_or_else(|| unreadable("the first message is no schema"))?;
        if schema.endianness() != ipc::Endianness::Little {
            return Err(unreadable("big-endian"));
        }
        let mut room = FIELDS_MAX;
        let fields = schema.fields().map_or(Ok(Vec::new()), |fields| {
            fields.iter().map(|field| read_field(&field, DEPTH_MAX, &mut room)).collect::<Result<Vec<_>, _>>()
        })?;
        let metadata = schema.custom_metadata().map_or(Vec::new(), |pairs| {
            pairs.iter().map(|pair| (pair.key().unwrap_or(""), pair.value().unwrap_or(""))).collect()
        });

        let (mut messages, mut room) = (Vec::new(), unpacked_max);
        while let Some((message, body)) = next_message(&mut rest)? {
            if messages.len() == MESSAGES_MAX {
                return Err(too_much(format!("arrow/ipc: more than {MESSAGES_MAX} messages")));
            }
            let (head, batch) = match message.header_type() {
                MessageHeader::RecordBatch => {
                    let batch =
                        message.header_as_record_batch().ok_or_else(|| malformed("arrow/ipc: no record batch"))?;
                    (Head::Record(batch), batch)
                }
                MessageHeader::DictionaryBatch => {
                    let dictionary = message
                        .header_as_dictionary_batch()
                        .ok_or_else(|| malformed("arrow/ipc: no dictionary batch"))?;
                    let batch = dictionary.data().ok_or_else(|| malformed("arrow/ipc: a dictionary without values"))?;
                    (Head::Dictionary(dictionary, batch), batch)
                }
                other => return Err(malformed(format!("arrow/ipc: a message of kind {} within the stream", other.0))),
            };
            let compression = batch.compression().map(|compression| compression.codec());
            let buffers = batch.buffers();
            let buffers: Vec<ipc::Buffer> = buffers.iter().flat_map(|buffers| buffers.iter().copied()).collect();
            let body = Body::new(body, buffers.into_iter(), compression, &mut room)?;
            messages.push(Message { head, body });
        }
        Ok(Self { fields, metadata, messages })
    }

    pub(crate) fn metadata(&self, key: &str) -> Option<&'a str> {
        self.metadata.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// The record batches in order, each with the dictionaries as they are by then.
    pub(crate) fn batches(&self, rows_max: usize) -> Batches<'_> {
        Batches { stream: self, dictionaries: HashMap::new(), at: 0, rows_max }
    }
}

pub(crate) struct Batches<'s> {
    stream: &'s Stream<'s>,
    dictionaries: HashMap<i64, Rc<Values<'s>>>,
    at: usize,
    rows_max: usize,
}

/// A record batch.
pub(crate) struct Record<'s> {
    pub(crate) rows: usize,
    columns: Vec<(&'s str, Column<'s>)>,
}

impl<'s> Record<'s> {
    pub(crate) fn column(&self, name: &str) -> Option<&Column<'s>> {
        self.columns.iter().find(|(column, _)| *column == name).map(|(_, column)| column)
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = (&'s str, &Column<'s>)> {
        self.columns.iter().map(|(name, column)| (*name, column))
    }
}

impl<'s> Batches<'s> {
    pub(crate) fn next(&mut self) -> Result<Option<Record<'s>>, IngestError> {
        let stream = self.stream;
        while let Some(message) = stream.messages.get(self.at) {
            self.at += 1;
            match &message.head {
                Head::Dictionary(dictionary, batch) => {
                    let (id, delta) = (dictionary.id(), dictionary.isDelta());
                    // of a dictionary that no field has, nobody asks
                    let Some(field) = find_dictionary(&stream.fields, id) else { continue };
                    let mut parts = Parts::new(batch, &message.body, &self.dictionaries, self.rows_max);
                    let values = parts.values(field)?;
                    let known = delta.then(|| self.dictionaries.get(&id)).flatten();
                    let values = known.map_or_else(|| Values::new(values.clone()), |known| known.with(values.clone()));
                    self.dictionaries.insert(id, Rc::new(values));
                }
                Head::Record(batch) => {
                    let mut parts = Parts::new(batch, &message.body, &self.dictionaries, self.rows_max);
                    let rows = parts.rows(batch.length())?;
                    let columns = stream
                        .fields
                        .iter()
                        .map(|field| {
                            let column = parts.column(field)?;
                            if column.len() < rows {
                                let (name, has) = (field.name, column.len());
                                return Err(malformed(format!("arrow/ipc: column {name:?} has {has} of {rows} rows")));
                            }
                            Ok((field.name, column))
                        })
                        .collect::<Result<Vec<_>, _>>()?;
                    return Ok(Some(Record { rows, columns }));
                }
            }
        }
        Ok(None)
    }
}

/// The columns of one batch, read off its nodes and buffers in the schema's order.
struct Parts<'s, 'd> {
    batch: &'s RecordBatch<'s>,
    body: &'s Body<'s>,
    dictionaries: &'d HashMap<i64, Rc<Values<'s>>>,
    node: usize,
    buffer: usize,
    variadic: usize,
    rows_max: usize,
}

impl<'s, 'd> Parts<'s, 'd> {
    fn new(
        batch: &'s RecordBatch<'_>,
        body: &'s Body<'_>,
        dictionaries: &'d HashMap<i64, Rc<Values<'s>>>,
        rows_max: usize,
    ) -> Self {
        Self { batch, body, dictionaries, node: 0, buffer: 0, variadic: 0, rows_max }
    }

    fn rows(&self, length: i64) -> Result<usize, IngestError> {
        let rows = usize::try_from(length).map_err(|_| malformed(format!("arrow/ipc: {length} rows")))?;
        if rows > self.rows_max {
            return Err(too_much(format!("arrow/ipc: {rows} rows, more than {}", self.rows_max)));
        }
        Ok(rows)
    }

    fn next_buffer(&mut self) -> Result<&'s [u8], IngestError> {
        let buffer = self.body.buffer(self.buffer);
        self.buffer += 1;
        buffer.ok_or_else(|| malformed(format!("arrow/ipc: {} buffers are too few", self.body.len())))
    }

    fn column(&mut self, field: &Field<'s>) -> Result<Column<'s>, IngestError> {
        let Some((id, width, signed)) = field.dictionary else { return self.values(field) };
        let (len, nulls) = self.node()?;
        let keys = self.fixed(len, nulls, width, signed)?;
        // a dictionary may be left out where all keys are null
        let values = self.dictionaries.get(&id).cloned().unwrap_or_default();
        Ok(Column::dictionary(keys, values))
    }

    /// Rows of the next node, and its validity bits where any row is null.
    fn node(&mut self) -> Result<(usize, Option<&'s [u8]>), IngestError> {
        let (len, nulls) = self.bare_node()?;
        let validity = self.next_buffer()?;
        if !nulls {
            return Ok((len, None));
        }
        if validity.len() < len.div_ceil(8) {
            return Err(malformed("arrow/ipc: a validity buffer is too short"));
        }
        Ok((len, Some(validity)))
    }

    /// Of a type without validity bits.
    fn bare_node(&mut self) -> Result<(usize, bool), IngestError> {
        let nodes = self.batch.nodes();
        let node = nodes.filter(|nodes| self.node < nodes.len()).map(|nodes| *nodes.get(self.node));
        let node = node.ok_or_else(|| malformed("arrow/ipc: there are fewer nodes than the schema needs"))?;
        self.node += 1;
        Ok((self.rows(node.length())?, node.null_count() != 0))
    }

    fn fixed(
        &mut self,
        len: usize,
        nulls: Option<&'s [u8]>,
        width: usize,
        signed: bool,
    ) -> Result<Column<'s>, IngestError> {
        let bytes = self.next_buffer()?;
        Column::fixed(len, nulls, width, signed, bytes)
    }

    fn values(&mut self, field: &Field<'s>) -> Result<Column<'s>, IngestError> {
        match field.kind {
            Kind::Null => {
                let (len, _) = self.bare_node()?;
                Ok(Column::null(len))
            }
            Kind::Bool => {
                let (len, nulls) = self.node()?;
                Column::bits(len, nulls, self.next_buffer()?)
            }
            Kind::Int(width, signed) => {
                let (len, nulls) = self.node()?;
                self.fixed(len, nulls, width, signed)
            }
            Kind::Fixed(width) => {
                let (len, nulls) = self.node()?;
                Column::fixed_bytes(len, nulls, width, self.next_buffer()?)
            }
            Kind::Opaque(buffers) => {
                let (len, _) = self.node()?;
                for _ in 0..buffers {
                    self.next_buffer()?;
                }
                Ok(Column::null(len))
            }
            Kind::Bytes { wide } => {
                let (len, nulls) = self.node()?;
                let (offsets, bytes) = (self.next_buffer()?, self.next_buffer()?);
                Column::bytes(len, nulls, wide, offsets, bytes)
            }
            Kind::View => {
                let (len, nulls) = self.node()?;
                let views = self.next_buffer()?;
                let counts = self.batch.variadicBufferCounts();
                let count =
                    counts.filter(|counts| self.variadic < counts.len()).map(|counts| counts.get(self.variadic));
                let count = count
                    .and_then(|count| usize::try_from(count).ok())
                    .filter(|&count| count <= self.body.len())
                    .ok_or_else(|| malformed("arrow/ipc: a view's number of buffers is missing or wrong"))?;
                self.variadic += 1;
                let buffers = (0..count).map(|_| self.next_buffer()).collect::<Result<Vec<_>, _>>()?;
                Column::view(len, nulls, views, buffers)
            }
            Kind::List { wide } => {
                let (len, nulls) = self.node()?;
                let offsets = self.next_buffer()?;
                let child = self.child(field, 0)?;
                Column::list(len, nulls, wide, offsets, child)
            }
            Kind::ListView { wide } => {
                let (len, nulls) = self.node()?;
                let (offsets, sizes) = (self.next_buffer()?, self.next_buffer()?);
                let child = self.child(field, 0)?;
                Column::list_view(len, nulls, wide, offsets, sizes, child)
            }
            Kind::FixedList(size) => {
                let (len, nulls) = self.node()?;
                Column::fixed_list(len, nulls, size, self.child(field, 0)?)
            }
            Kind::Struct => {
                let (len, nulls) = self.node()?;
                let fields = field
                    .children
                    .iter()
                    .map(|child| Ok((child.name, self.column(child)?)))
                    .collect::<Result<Vec<_>, IngestError>>()?;
                Column::structure(len, nulls, fields)
            }
            Kind::Runs => {
                let (len, _) = self.bare_node()?;
                let (ends, values) = (self.child(field, 0)?, self.child(field, 1)?);
                Column::runs(len, ends, values)
            }
        }
    }

    fn child(&mut self, field: &Field<'s>, ix: usize) -> Result<Column<'s>, IngestError> {
        let child = field.children.get(ix).ok_or_else(|| malformed("arrow/ipc: a nested type without its parts"))?;
        self.column(child)
    }
}

fn find_dictionary<'f, 'a>(fields: &'f [Field<'a>], id: i64) -> Option<&'f Field<'a>> {
    fields.iter().find_map(|field| match field.dictionary {
        Some((of, _, _)) if of == id => Some(field),
        _ => find_dictionary(&field.children, id),
    })
}

/// The next message and its body; `None` at the end of the stream.
fn next_message<'a>(rest: &mut &'a [u8]) -> Result<Option<(ipc::Message<'a>, &'a [u8])>, IngestError> {
    let cut = |what: &str| malformed(format!("arrow/ipc: could not read message {what}: unexpected EOF"));
    let word = |rest: &mut &'a [u8]| -> Result<[u8; 4], IngestError> {
        let (word, after) = rest.split_first_chunk::<4>().ok_or_else(|| cut("length"))?;
        *rest = after;
        Ok(*word)
    };
    if rest.is_empty() {
        return Ok(None);
    }
    let mut length = word(rest)?;
    if length == CONTINUATION {
        length = word(rest)?;
    }
    let length = usize::try_from(i32::from_le_bytes(length)).map_err(|_| cut("metadata"))?;
    if length == 0 {
        return Ok(None);
    }
    let (head, after) = rest.split_at_checked(length).ok_or_else(|| cut("metadata"))?;
    let message = root_as_message(head).map_err(|error| malformed(format!("arrow/ipc: message metadata: {error}")))?;
    let length = usize::try_from(message.bodyLength()).map_err(|_| cut("body"))?;
    let (body, after) = after.split_at_checked(length).ok_or_else(|| cut("body"))?;
    *rest = after;
    Ok(Some((message, body)))
}

fn read_field<'a>(field: &ipc::Field<'a>, depth: usize, room: &mut usize) -> Result<Field<'a>, IngestError> {
    let name = field.name().unwrap_or("");
    if depth == 0 {
        return Err(too_much(format!("arrow/ipc: types are nested more than {DEPTH_MAX} deep")));
    }
    *room = room.checked_sub(1).ok_or_else(|| too_much(format!("arrow/ipc: more than {FIELDS_MAX} fields")))?;
    let unknown = |what: &str| malformed(format!("arrow/ipc: field {name:?} has {what}"));
    let int = |int: ipc::Int<'_>| match int.bitWidth() {
        bits @ (8 | 16 | 32 | 64) => Ok((bits as usize / 8, int.is_signed())),
        bits => Err(unknown(&format!("an integer of {bits} bits"))),
    };
    let kind = match field.type_type() {
        Type::Null => Kind::Null,
        Type::Bool => Kind::Bool,
        Type::Int => {
            let (width, signed) = int(field.type_as_int().ok_or_else(|| unknown("no type"))?)?;
            Kind::Int(width, signed)
        }
        Type::Timestamp => match field.type_as_timestamp().map(|of| of.unit()) {
            Some(ipc::TimeUnit::NANOSECOND) => Kind::Int(8, true),
            _ => return Err(unknown("times in another unit than nanoseconds")),
        },
        Type::Duration => Kind::Int(8, true),
        Type::FloatingPoint | Type::Decimal | Type::Date | Type::Time | Type::Interval => Kind::Opaque(1),
        Type::Utf8 | Type::Binary => Kind::Bytes { wide: false },
        Type::LargeUtf8 | Type::LargeBinary => Kind::Bytes { wide: true },
        Type::Utf8View | Type::BinaryView => Kind::View,
        Type::FixedSizeBinary => {
            let width = field.type_as_fixed_size_binary().and_then(|of| usize::try_from(of.byteWidth()).ok());
            Kind::Fixed(width.ok_or_else(|| unknown("a width below 0"))?)
        }
        Type::List | Type::Map => Kind::List { wide: false },
        Type::LargeList => Kind::List { wide: true },
        Type::ListView => Kind::ListView { wide: false },
        Type::LargeListView => Kind::ListView { wide: true },
        Type::FixedSizeList => {
            let size = field.type_as_fixed_size_list().and_then(|of| usize::try_from(of.listSize()).ok());
            Kind::FixedList(size.ok_or_else(|| unknown("a size below 0"))?)
        }
        Type::Struct_ => Kind::Struct,
        Type::RunEndEncoded => Kind::Runs,
        other => return Err(unknown(&format!("the type {}, which no profile has", other.0))),
    };
    let dictionary = match field.dictionary() {
        None => None,
        // Arrow's default: signed 32 bits
        Some(encoding) => {
            let (width, signed) = encoding.indexType().map_or(Ok((4, true)), int)?;
            Some((encoding.id(), width, signed))
        }
    };
    let children = field.children().map_or(Ok(Vec::new()), |children| {
        children.iter().map(|child| read_field(&child, depth - 1, room)).collect::<Result<Vec<_>, _>>()
    })?;
    Ok(Field { name, kind, dictionary, children })
}
