//! `Write`, v1: the sender's samples name stacks by ID, the server asks for stacks, the sender sends them.
//!
//! What is kept of a write is both messages in one payload, and with them the stacks that the server knew and did not ask for, so
//! that a record of the log needs no other.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use profile::Batch;
use profile::pprof::Limits;

use super::frames::Frames;
use super::known::Found;
use super::rows::{Columns, Rows};
use super::stack_list::{self, Id, List};
use super::{VERSION_KEY, malformed};
use crate::arrow::{Record, Stream};
use crate::error::{IngestError, IngestErrorKind};
use crate::shared::{Dictionaries, Shared};
use crate::tables::{Map, Memo, within};

/// A stack's ID is 16 bytes; nobody needs longer ones.
const ID_BYTES_MAX: usize = 256;

/// The answer to the samples, and what goes with them without being asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// An IPC stream with one column, the distinct IDs of the stacks that must be sent, in order of first sight. Without rows if
    /// all are known; an answer comes all the same.
    pub question: Vec<u8>,
    /// The stacks that are known, for [`join`].
    pub list: Vec<u8>,
    pub known: usize,
    pub unknown: usize,
}

/// Reads which stacks `samples` name; `find` says which of them are known ([`nothing_known`](super::nothing_known) where none can be).
pub fn ask(
    samples: &[u8],
    limits: &Limits,
    find: impl for<'i> FnOnce(&[&'i [u8]]) -> Found<'i>,
) -> Result<Asked, IngestError> {
    let stream = open(samples, limits)?;
    let mut batches = stream.batches(limits.frames);
    let mut ids: Vec<&[u8]> = Vec::new();
    let mut seen: Map<&[u8], ()> = Map::default();
    let mut rows = 0;
    while let Some(record) = batches.next()? {
        rows += record.rows;
        within("samples", rows, limits.samples)?;
        // the whole schema is judged now: a sender should not be asked for the stacks of what is refused then
        let columns = Columns::of(&record)?;
        for row in 0..record.rows {
            let id = stack_id(&columns, row)?;
            if seen.insert(id, ()).is_none() {
                ids.push(id);
            }
        }
    }
    let Found { list, known, unknown } = find(&ids);
    let question = reply(&unknown)
        .map_err(|error| IngestError::new(IngestErrorKind::Unknown, format!("the reply cannot be written: {error}")))?;
    Ok(Asked { question, list, known, unknown: unknown.len() })
}

fn reply(ids: &[&[u8]]) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let metadata = [(VERSION_KEY.to_owned(), "v1".to_owned())];
    let field = Field::new("stacktrace_id", DataType::Binary, false);
    let schema = Arc::new(Schema::new_with_metadata(vec![field], metadata.into()));
    let column: ArrayRef = Arc::new(BinaryArray::from_vec(ids.to_vec()));
    let record = RecordBatch::try_new(schema.clone(), vec![column])?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.write(&record)?;
    writer.into_inner()
}

/// Both messages as one payload, for [`write`].
pub fn join(samples: &[u8], locations: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(8 + samples.len() + locations.len());
    put_part(&mut payload, samples);
    payload.extend_from_slice(locations);
    payload
}

/// What [`join`] made into one: the samples, and their stacks.
pub fn split(payload: &[u8]) -> Result<(&[u8], &[u8]), IngestError> {
    take_part(payload)
}

/// The same with `list`, which [`ask`] gave, for [`write_with_known`].
pub fn join_with_known(samples: &[u8], locations: &[u8], list: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(16 + samples.len() + locations.len() + list.len());
    put_part(&mut payload, samples);
    put_part(&mut payload, locations);
    payload.extend_from_slice(list);
    payload
}

fn put_part(payload: &mut Vec<u8>, part: &[u8]) {
    payload.extend_from_slice(&(part.len() as u64).to_le_bytes());
    payload.extend_from_slice(part);
}

fn take_part(payload: &[u8]) -> Result<(&[u8], &[u8]), IngestError> {
    let torn = || malformed("a write's samples and stacks are not where they should be");
    let (length, rest) = payload.split_first_chunk::<8>().ok_or_else(torn)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| torn())?;
    rest.split_at_checked(length).ok_or_else(torn)
}

/// Decodes what [`join`] made. Errors have the codes of Parca's Write; times, labels and types are as in
/// [`super::write_arrow`]. A function keeps the name that the sender gave it.
///
/// `sent` becomes the list of the stacks that the sender sent and says to be complete, for [`super::Known::learn`].
pub fn write(
    payload: &[u8],
    receive_time: i64,
    limits: &Limits,
    dictionaries: &Dictionaries,
    sent: Option<&mut Vec<u8>>,
) -> Result<Batch, IngestError> {
    let (samples, locations) = split(payload)?;
    decode(samples, locations, &[], receive_time, limits, dictionaries, sent)
}

/// The same of what [`join_with_known`] made. Of a stack that was sent, though it was known, what was sent counts.
pub fn write_with_known(
    payload: &[u8],
    receive_time: i64,
    limits: &Limits,
    dictionaries: &Dictionaries,
    sent: Option<&mut Vec<u8>>,
) -> Result<Batch, IngestError> {
    let (samples, rest) = take_part(payload)?;
    let (locations, list) = take_part(rest)?;
    decode(samples, locations, list, receive_time, limits, dictionaries, sent)
}

fn decode(
    samples: &[u8],
    locations: &[u8],
    list: &[u8],
    receive_time: i64,
    limits: &Limits,
    dictionaries: &Dictionaries,
    sent: Option<&mut Vec<u8>>,
) -> Result<Batch, IngestError> {
    let samples = open(samples, limits)?;
    let locations =
        Stream::read(locations, limits.unpacked_bytes).map_err(|error| error.within("failed to create reader"))?;
    version(&locations).map_err(|error| error.within("failed to add locations record"))?;
    let records = all(&locations, limits)?;
    let stacks = Stacks::of(&records)?;
    let list = List::read(list, limits.stack_depth)?;
    let known: Map<&[u8], &stack_list::Listed<'_>> = list.stacks.iter().map(|stack| (&stack.id[..], stack)).collect();
    let mut known_locations = Memo::new(list.locations.len());

    let mut tables = Shared::new(limits, dictionaries);
    let mut rows = Rows::default();
    let mut frames = Frames::default();
    let mut made: Map<&[u8], u32> = Map::default();
    let mut complete: Vec<(Id, u32)> = Vec::new();
    let mut scratch = Vec::new();
    let mut batches = samples.batches(limits.frames);
    while let Some(record) = batches.next()? {
        within("samples", rows.len() + record.rows, limits.samples)?;
        let columns = Columns::of(&record)?;
        rows.read(&record, &columns, &mut tables, receive_time, |tables, row| {
            let id = stack_id(&columns, row)?;
            if let Some(&stack) = made.get(id) {
                return Ok(stack);
            }
            scratch.clear();
            let stack = if let Some(&(record, row)) = stacks.by_id.get(id) {
                let record = &records[record];
                if let Some(at) = column(record, "locations")?.at(row)? {
                    let (range, items) = at.list()?;
                    frames.stack(tables, items, range, &mut scratch)?;
                }
                let stack = tables.stack(&scratch)?;
                let is_complete = record.column("is_complete").map_or(Ok(false), |column| column.truth(row))?;
                if let Ok(id) = Id::try_from(id)
                    && is_complete
                {
                    complete.push((id, stack));
                }
                stack
            } else if let Some(stack) = known.get(id) {
                stack.frames(&list, &mut scratch)?;
                for frame in &mut scratch {
                    let number = *frame as usize;
                    *frame = match known_locations.get(number) {
                        Some(location) => location,
                        None => {
                            let location = stack_list::read_location(tables, list.locations[number])?;
                            known_locations.set(number, location);
                            location
                        }
                    };
                }
                tables.stack(&scratch)?
            } else {
                let id = String::from_utf8_lossy(id);
                return Err(malformed(format!(
                    "failed to add locations record: missing stacktrace ID {id:?} in stacktrace IDs column"
                )));
            };
            made.insert(id, stack);
            Ok(stack)
        })?;
    }
    let (batch, stacks) = tables.into_batch(|own| rows.into_batch(own))?;
    if let (Some(sent), Some(dictionary)) = (sent, &batch.dictionary) {
        complete.iter_mut().for_each(|(_, stack)| *stack = stacks[*stack as usize]);
        *sent = stack_list::of_rows(&dictionary.lock(), &complete);
    }
    Ok(batch)
}

fn open<'a>(samples: &'a [u8], limits: &Limits) -> Result<Stream<'a>, IngestError> {
    let stream =
        Stream::read(samples, limits.unpacked_bytes).map_err(|error| error.within("failed to create reader"))?;
    version(&stream).map_err(|error| error.within("failed to add sample record"))?;
    Ok(stream)
}

/// v2's samples name their stacks by ID too, so that a mixed sender is understood.
fn version(stream: &Stream<'_>) -> Result<(), IngestError> {
    match stream.metadata(VERSION_KEY) {
        Some("v1" | "v2") => Ok(()),
        Some(other) => Err(malformed(format!("unsupported schema version {other:?}"))),
        None => Err(malformed("missing schema version in metadata")),
    }
}

fn all<'s>(stream: &'s Stream<'_>, limits: &Limits) -> Result<Vec<Record<'s>>, IngestError> {
    let mut records = Vec::new();
    let mut batches = stream.batches(limits.frames);
    while let Some(record) = batches.next()? {
        records.push(record);
    }
    Ok(records)
}

/// Where the stacks lie: record and row, by ID.
struct Stacks<'s> {
    by_id: Map<&'s [u8], (usize, usize)>,
}

impl<'s> Stacks<'s> {
    fn of(records: &[Record<'s>]) -> Result<Self, IngestError> {
        let mut by_id = Map::default();
        for (ix, record) in records.iter().enumerate() {
            let ids = column(record, "stacktrace_id")?;
            column(record, "locations")?;
            for row in 0..record.rows {
                if let Some(id) = ids.text(row)? {
                    by_id.entry(id).or_insert((ix, row));
                }
            }
        }
        Ok(Self { by_id })
    }
}

fn column<'r, 's>(record: &'r Record<'s>, name: &str) -> Result<&'r crate::arrow::Column<'s>, IngestError> {
    record.column(name).ok_or_else(|| malformed(format!("failed to add locations record: missing column {name:?}")))
}

fn stack_id<'s>(columns: &Columns<'_, 's>, row: usize) -> Result<&'s [u8], IngestError> {
    let id = columns.stacktrace_id.text(row)?.unwrap_or_default();
    within("bytes of a stack's ID", id.len(), ID_BYTES_MAX)?;
    Ok(id)
}
