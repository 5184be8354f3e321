//! What a store finds where it keeps its own: a segment of its log, the files of its catalog, those of a block.
//!
//! No random bytes match a checksum, so one that is written as 0 stands for the right one: behind it a program lies, not a disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use profile::{Batch, LabelSets, Strings, Symbols};
use store::block::BlockMeta;
use store::part::Pick;
use store::{
    Disk, Environment, Kind, MemoryObjects, Objects, OpenReport, Part, Record, ReplayDecoder, Store, StoreError,
    StoreOptions, SystemClock, SystemRandom,
};

use crate::memory::MemoryDisk;

/// Its folder of the log.
const WRITER: &str = "00000000000000aa";

/// Of the one segment; both are in its name.
const ORDINAL: u64 = 1;
const NONCE: u64 = 2;

const SEGMENT_HEADER: usize = 32;
const FRAME_HEADER: usize = 28;
const FRAME_MAGIC: [u8; 4] = [0xD3, 0xC1, 0x3A, 0x57];

/// Values that are read of one part.
const PICKS_MAX: usize = 500;

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Keeps what it is asked to decode, and refuses odd kinds.
#[derive(Default)]
struct Decoder(Mutex<Vec<Record>>);

impl ReplayDecoder for Decoder {
    fn decode(&self, record: &Record) -> Result<Batch, String> {
        self.0.lock().expect("no panic").push(record.clone());
        let symbols = Symbols { strings: Strings::with_empty(), ..Symbols::default() };
        let nothing = Batch { symbols, label_sets: LabelSets::with_empty(), ..Batch::default() };
        if record.kind.is_multiple_of(2) { Ok(nothing) } else { Err("an odd kind".to_owned()) }
    }
}

type Opened = (Result<(Store, OpenReport), StoreError>, Vec<Record>);

fn open(disk: &MemoryDisk, objects: &Arc<MemoryObjects>) -> Opened {
    let environment = Environment {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        objects: Some(objects.clone()),
    };
    let decoder = Arc::new(Decoder::default());
    let opened =
        Store::open(StoreOptions { disk_free_min: 0, ..StoreOptions::default() }, environment, decoder.clone());
    let records = std::mem::take(&mut *decoder.0.lock().expect("no panic"));
    (opened, records)
}

/// A segment of the log: what is replayed is what a reading byte by byte finds, at the first start and at the next one.
pub fn wal_segment(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    write_segment_checksums(&mut bytes);
    let disk = MemoryDisk::default();
    let segment = format!("wal/{WRITER}/{ORDINAL:020}-{NONCE:016x}.wal");
    disk.put(&segment, &bytes);
    let expected = Segment::read(&bytes);
    let objects = Arc::new(MemoryObjects::new());
    for again in [false, true] {
        let (opened, records) = open(&disk, &objects);
        let (store, report) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                assert!(expected.is_foreign && error.kind == Kind::TooNew, "{error}");
                assert!(disk.read(&segment).expect("it is there") == bytes, "what is refused is left as it is");
                return false;
            }
        };
        assert!(!expected.is_foreign, "what a newer program wrote is refused");
        assert_eq!(records, expected.records);
        assert_eq!(report.replayed_writes, expected.writes);
        assert_eq!(report.rejected_records, expected.rejected);
        let aside = disk.list("rejected").expect("a list").len();
        assert_eq!(aside as u64, expected.rejected, "kept aside, once");
        assert_eq!(report.damaged_bytes, expected.damaged, "again: {again}");
        assert_eq!(report.torn_bytes, if again { 0 } else { expected.torn });
        store.close();
        if expected.writes == 0 {
            return false;
        }
    }
    true
}

/// Where checksums are 0, the right ones.
fn write_segment_checksums(bytes: &mut [u8]) {
    if bytes.get(SEGMENT_HEADER - 4..SEGMENT_HEADER) == Some(&[0; 4]) {
        let crc = crc32c(&bytes[..SEGMENT_HEADER - 4]);
        bytes[SEGMENT_HEADER - 4..SEGMENT_HEADER].copy_from_slice(&crc.to_le_bytes());
    }
    write_frame_checksums(bytes, SEGMENT_HEADER, FRAME_HEADER, FRAME_MAGIC, header_checksum);
}

/// The same of frames from `first` on, as the log and the forwarder's buffer have them: magic, checksums of header and payload, length.
pub(crate) fn write_frame_checksums(
    bytes: &mut [u8],
    first: usize,
    header: usize,
    magic: [u8; 4],
    of_header: fn(&[u8]) -> u32,
) {
    for at in first..bytes.len().saturating_sub(header - 1) {
        let is_whole = u32_at(bytes, at + 12).is_some_and(|len| len as usize <= bytes.len() - at - header);
        if bytes[at..at + 4] != magic || bytes[at + 4..at + 12] != [0; 8] || !is_whole {
            continue;
        }
        let end = at + header + u32_at(bytes, at + 12).expect("a length") as usize;
        let of_payload = crc32c(&bytes[at + header..end]);
        bytes[at + 8..at + 12].copy_from_slice(&of_payload.to_le_bytes());
        let of_header = of_header(&bytes[at..at + header]);
        bytes[at + 4..at + 8].copy_from_slice(&of_header.to_le_bytes());
    }
}

fn header_checksum(header: &[u8]) -> u32 {
    crc32c(&[&ORDINAL.to_le_bytes(), &NONCE.to_le_bytes(), &header[8..]].concat())
}

/// What a segment holds, by the description of the format alone.
#[derive(Default)]
struct Segment {
    is_foreign: bool,
    records: Vec<Record>,
    writes: u64,
    rejected: u64,
    damaged: u64,
    torn: u64,
}

impl Segment {
    fn read(bytes: &[u8]) -> Self {
        let is_foreign = bytes.len() >= SEGMENT_HEADER
            && bytes.starts_with(b"DcWL")
            && u32_at(bytes, SEGMENT_HEADER - 4) == Some(crc32c(&bytes[..SEGMENT_HEADER - 4]))
            && u32_at(bytes, 4) != Some(0);
        let mut of = Self { is_foreign, ..Self::default() };
        let (mut at, mut last, mut good) = (SEGMENT_HEADER, 0, SEGMENT_HEADER);
        while at + FRAME_HEADER <= bytes.len() {
            // nothing could follow the last number there is
            let follows = |sequence: u64| sequence > last && sequence < u64::MAX;
            let Some((sequence, kind, payload)) = frame(&bytes[at..]).filter(|of| follows(of.0)) else {
                at += 1;
                continue;
            };
            of.damaged += (at - good) as u64;
            (last, at) = (sequence, at + FRAME_HEADER + payload.len());
            good = at;
            of.is_foreign |= kind != 1;
            of.writes += 1;
            match records(payload) {
                Some(records) => {
                    of.rejected += records.iter().filter(|record| !record.kind.is_multiple_of(2)).count() as u64;
                    of.records.extend(records);
                }
                None => of.rejected += 1,
            }
        }
        let tail = bytes.get(good..).unwrap_or_default();
        of.torn = tail.len() as u64 - tail.iter().rev().take_while(|byte| **byte == 0).count() as u64;
        of
    }
}

/// Sequence, kind and payload of a frame that is whole.
fn frame(bytes: &[u8]) -> Option<(u64, u32, &[u8])> {
    let header = bytes.get(..FRAME_HEADER)?;
    let payload = bytes.get(FRAME_HEADER..FRAME_HEADER + u32_at(bytes, 12)? as usize)?;
    let is_sound = header[..4] == FRAME_MAGIC
        && u32_at(bytes, 4)? == header_checksum(header)
        && u32_at(bytes, 8)? == crc32c(payload);
    let sequence = u64::from(u32_at(bytes, 20)?) | u64::from(u32_at(bytes, 24)?) << 32;
    is_sound.then_some((sequence, u32_at(bytes, 16)?, payload))
}

/// All records of a payload, or none.
fn records(payload: &[u8]) -> Option<Vec<Record>> {
    let mut rest = payload;
    let count = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
    let mut records = Vec::new();
    for _ in 0..count {
        let meta = number(&mut rest)?;
        let profile = number(&mut rest)?;
        let mut of = rest.get(..meta)?;
        let kind = take(&mut of, 1)?[0];
        let version = u16::from_le_bytes(take(&mut of, 2)?.try_into().ok()?);
        let receive_time = i64::from_le_bytes(take(&mut of, 8)?.try_into().ok()?);
        let (tenant, sender) = (text(&mut of)?, text(&mut of)?);
        let mut labels = Vec::new();
        for _ in 0..number(&mut of)? {
            labels.push((text(&mut of)?, text(&mut of)?));
        }
        if !of.is_empty() {
            return None;
        }
        rest = &rest[meta..];
        let payload = Bytes::copy_from_slice(take(&mut rest, profile)?);
        records.push(Record { kind, version, tenant, receive_time, sender, labels, payload });
    }
    rest.is_empty().then_some(records)
}

fn take<'b>(rest: &mut &'b [u8], len: usize) -> Option<&'b [u8]> {
    let (taken, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?) as usize)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let len = number(rest)?;
    String::from_utf8(take(rest, len)?.to_vec()).ok()
}

/// Objects behind each other: a line with a name and a length in bytes, then so many bytes, or as many as there are.
fn objects(mut bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut objects = BTreeMap::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 1..];
        let Some((name, len)) = line.rsplit_once(' ') else { continue };
        let len = len.parse().unwrap_or(usize::MAX).min(bytes.len());
        objects.insert(name.to_owned(), bytes[..len].to_vec());
        bytes = &bytes[len..];
    }
    objects
}

/// A file of the catalog whose checksum is 0, with the right one.
fn with_checksum(file: Vec<u8>) -> Vec<u8> {
    let Some(end) = file.iter().position(|byte| *byte == b'\n') else { return file };
    let Some(line) = file[..end].strip_suffix(b" 00000000") else { return file };
    let json = &file[end + 1..];
    [line, format!(" {:08x}\n", crc32c(json)).as_bytes(), json].concat()
}

/// The catalog of a bucket: it is read or refused and left as it is; and what is read goes on.
pub fn catalog(bytes: &[u8]) -> bool {
    const SOURCE: &str = "of this property";
    let files: BTreeMap<String, Vec<u8>> =
        objects(bytes).into_iter().map(|(name, file)| (format!("catalog/{name}"), with_checksum(file))).collect();
    let bucket = Arc::new(MemoryObjects::new());
    for (name, file) in &files {
        bucket.create(name, file).expect("a new name");
    }
    let disk = MemoryDisk::default();
    // the log of the writer whom a catalog may name
    disk.create_dir_all(&format!("wal/{WRITER}")).expect("a folder");
    let mut to = None;
    for _ in 0..2 {
        let (opened, records) = open(&disk, &bucket);
        assert!(records.is_empty());
        let unchanged = files.iter().all(|(name, file)| bucket.get(name).is_ok_and(|there| there == *file));
        assert!(unchanged, "a file of the catalog never changes");
        let store = match opened {
            Ok((store, _)) => store,
            Err(error) => {
                assert!(to.is_none(), "it was opened before: {error}");
                assert!(matches!(error.kind, Kind::TooNew | Kind::Corrupt), "{:?}: {error}", error.kind);
                return false;
            }
        };
        assert_eq!(store.status().blocks, 0, "no block is there");
        assert!(store.parts("", None).is_empty());
        let at = store.imported(SOURCE).expect("open");
        match to {
            Some(to) => assert_eq!(at, to, "the step before"),
            None => {
                let mut import = store.import();
                to = Some(at.saturating_add(1));
                import.advance(SOURCE, at.saturating_add(1)).expect("open");
                import.commit().expect("the catalog goes on");
            }
        }
        store.close();
    }
    true
}

/// A block's files, which a catalog names: they answer, or the block is left out and told; and no file that is not what was written
/// stays unnoticed.
pub fn block(bytes: &[u8]) -> bool {
    const NAME: &str = "0000000000001-00000000000000bb-00000001";
    let files = objects(bytes);
    let bucket = Arc::new(MemoryObjects::new());
    for (name, file) in &files {
        bucket.create(&format!("blocks/{NAME}/{name}"), file).expect("a new name");
    }
    let none = Vec::new();
    let meta = files.get("meta.json").unwrap_or(&none);
    let json = format!(
        r#"{{"number":1,"writer":"00000000000000bb","nonce":1,"time":0,"change":{{"add":{{"{NAME}":{{"min_time":0,"max_time":0,"bytes":1,"meta_crc32c":{}}}}}}}}}"#,
        crc32c(meta)
    );
    let manifest = with_checksum(format!("decima-catalog 0 00000000\n{json}").into_bytes());
    bucket.create("catalog/00000000000000000001.manifest", &manifest).expect("a new name");
    let disk = MemoryDisk::default();
    let (opened, _) = open(&disk, &bucket);
    let (store, _) = opened.expect("a damaged block does not keep a store from opening");
    let mut answered = store.status().blocks > 0;
    for part in store.parts("", None) {
        answered &= read(&*part)
            .inspect_err(|error| assert!(matches!(error.kind, Kind::Corrupt | Kind::NotFound), "{error}"))
            .is_ok();
    }
    // what was read, and one block's verification
    for _ in 0..2 {
        store.maintain().expect("housekeeping");
    }
    let status = store.status();
    assert_eq!(status.blocks + status.quarantined.len() as u64, 1, "it answers or is left out");
    if !answered {
        assert_eq!(status.blocks, 0, "it did not answer");
        assert!(!status.quarantined[0].reason.is_empty());
    }
    let Ok(meta) = BlockMeta::from_json("meta.json", meta) else {
        assert_eq!(status.blocks, 0);
        return false;
    };
    let is_written = |of: &store::block::BlockFile| {
        let written = files.get(&of.name).and_then(|file| file.get(..usize::try_from(of.bytes).ok()?));
        written.is_some_and(|file| crc32c(file) == of.crc32c)
    };
    assert!(status.blocks == 0 || meta.files.iter().all(is_written), "a file is not what was written");
    answered && status.blocks > 0
}

/// Everything that a query may ask of a part; what is read holds together.
fn read(part: &dyn Part) -> Result<(), StoreError> {
    let profiles = part.profiles();
    let streams = part.streams();
    let sets = part.label_sets()?;
    let of = part.symbols()?;
    for &location in &of.stacks.locations {
        let _ = (of.symbols.locations.mapping[location as usize], of.symbols.locations.address[location as usize]);
        for line in of.symbols.locations.lines(location) {
            let function = of.symbols.lines.function[line];
            if function != profile::NONE {
                of.symbols.strings.get(of.symbols.functions.name[function as usize]);
            }
        }
    }
    part.name_tree()?;
    part.location_tree()?;
    for stream in 0..streams.len() as u32 {
        for &set in part.stream_label_sets(stream)?.iter() {
            for row in sets.sets.rows(set) {
                sets.strings.get(sets.sets.key[row]);
            }
        }
    }
    let mut picks = Vec::new();
    for profile in 0..profiles.len() {
        let width = streams[profiles.stream[profile] as usize].sample_types.len();
        for value in 0..width {
            profiles.total(profile, value);
            picks.push(Pick { profile: profile as u32, value: value as u16, weight: 1, label_sets: None });
        }
    }
    picks.truncate(PICKS_MAX);
    let sums = part.sum_by_stack(&picks, &|| true)?;
    assert_eq!(sums.sum.len(), of.stacks.len());
    let mut by_sample = vec![0i64; sums.sum.len()];
    part.samples(&picks, &|| true, &mut |row| {
        let sum = &mut by_sample[row.stack as usize];
        *sum = sum.wrapping_add(row.value);
        sets.sets.rows(row.label_set);
    })?;
    assert!(sums.sum == by_sample, "sums by stack are those of the samples");
    for profile in 0..profiles.len().min(PICKS_MAX) {
        part.export(profile as u32)?;
    }
    Ok(())
}
