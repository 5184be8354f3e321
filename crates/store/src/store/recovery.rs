//! Opening: the lock, the catalog, the blocks, and the log's writes that no block has.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::blocks;
use super::core::{Core, Upkeep};
use super::{Environment, Store};
use crate::catalog::Catalog;
use crate::clock;
use crate::disk::Disk;
use crate::error::{Kind, StoreError};
use crate::objects::{LocalObjects, Objects};
use crate::options::StoreOptions;
use crate::random::Random;
use crate::record::{Record, ReplayDecoder, WalPosition};
use crate::status::OpenReport;
use crate::wal::{Rejected, Replayed, Wal, encode_rejected};

const LOCK: &str = "LOCK";
const WAL: &str = "wal";
const REJECTED: &str = "rejected";

pub(super) fn open(
    options: StoreOptions,
    environment: Environment,
    decoder: &dyn ReplayDecoder,
) -> Result<(Store, OpenReport), StoreError> {
    let Environment { disk, clock, random, objects } = environment;
    let lock = disk.lock(LOCK, &clock::utc(clock.now_ns()))?;
    let files = Arc::new(LocalObjects::open(disk.clone())?);
    let objects: Arc<dyn Objects> = objects.unwrap_or_else(|| files.clone());
    let writer = writer_of(&*disk, &*random)?;
    let catalog = Catalog::open(objects.clone(), clock.clone(), writer.clone(), &options)?;
    let core = Core::new(options.clone(), clock, random.clone(), objects, writer.clone())?;

    let mut upkeep = Upkeep::new(catalog);
    let mut report = OpenReport::default();
    if fence(&core, &mut upkeep, &mut report)? {
        delete_unfinished_blocks(&core, &upkeep, &mut report);
    }
    open_blocks(&core, &mut upkeep)?;

    let covered = upkeep.catalog.covered();
    let mut replay = Replay { core, upkeep, decoder, files, last: covered, report, cut_failed: false };
    let folder = format!("{WAL}/{writer}");
    let (wal, found) = Wal::open(disk.clone(), random, folder, &options, covered, &mut |position, replayed| {
        replay.write(position, replayed)
    })?;
    let Replay { core, upkeep, mut report, .. } = replay;

    report.replayed_writes = found.replayed_writes;
    report.skipped_writes = found.skipped_writes;
    report.torn_bytes = found.torn_bytes;
    report.damaged_bytes = found.damaged_bytes;
    report.blocks = core.view().blocks.len() as u64;
    report.quarantined = core.left_out();
    let rejected = disk.list(REJECTED)?.len() as u64;
    Ok((Store::assemble(disk, core, wal, upkeep, lock, rejected), report))
}

/// The name of the log in this directory, drawn when there is none.
fn writer_of(disk: &dyn Disk, random: &dyn Random) -> Result<String, StoreError> {
    let mut writers = disk.list(WAL)?.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name);
    match (writers.next(), writers.next()) {
        (Some(writer), None) => Ok(writer),
        (None, _) => Ok(format!("{:016x}", random.u64()?)),
        (Some(one), Some(other)) => {
            let what = format!(
                "holds the logs of two writers, {one} and {other}; move one of them to a data directory of its own"
            );
            Err(StoreError::new(Kind::Invalid, disk.describe(WAL), what))
        }
    }
}

/// Takes the next number of the catalog, so that a commit of an earlier run that is still on its way
/// cannot count writes that are about to be replayed. A full disk must not keep the store from
/// answering; there every commit is over when its call is.
fn fence(core: &Core, upkeep: &mut Upkeep, report: &mut OpenReport) -> Result<bool, StoreError> {
    match upkeep.catalog.fence(&*core.random) {
        Ok(()) => Ok(true),
        Err(error) if error.kind == Kind::DiskFull => {
            report
                .warnings
                .push(format!("the disk is full: stored profiles can be read, new ones are refused ({error})"));
            core.note(&error);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Blocks of this writer that no manifest names: a cut that never got so far.
fn delete_unfinished_blocks(core: &Core, upkeep: &Upkeep, report: &mut OpenReport) {
    let objects = match core.objects.list(blocks::FOLDER) {
        Ok(objects) => objects,
        Err(error) => {
            report.warnings.push(format!("unfinished blocks, if any, stay: {error}"));
            return;
        }
    };
    let found: BTreeSet<&str> = objects.iter().filter_map(|object| blocks::name_of_object(&object.name)).collect();
    for name in found {
        if core.is_own_block(name) && !upkeep.catalog.state().blocks.contains_key(name) {
            blocks::delete(&*core.objects, name);
        }
    }
}

fn open_blocks(core: &Core, upkeep: &mut Upkeep) -> Result<(), StoreError> {
    for (name, entry) in upkeep.catalog.state().blocks.clone() {
        match upkeep.catalog.state().quarantined.get(&name) {
            Some(quarantine) => core.leave_out(&name, &quarantine.reason, quarantine.since),
            None => upkeep.unopened.push((name, entry)),
        }
    }
    core.open_blocks(upkeep)
}

/// Takes writes of the log into the head.
struct Replay<'a> {
    core: Core,
    upkeep: Upkeep,
    decoder: &'a dyn ReplayDecoder,
    /// On the local disk, for what does not decode.
    files: Arc<LocalObjects>,
    /// All writes up to this one are in the head or in blocks.
    last: WalPosition,
    report: OpenReport,
    cut_failed: bool,
}

impl Replay<'_> {
    fn write(&mut self, position: WalPosition, replayed: Replayed) -> Result<(), StoreError> {
        self.cut_if_full();
        match replayed {
            Replayed::Records(records) => {
                for (row, record) in records.into_iter().enumerate() {
                    self.record(position, row, record)?;
                }
            }
            Replayed::Unreadable(bytes) => {
                self.reject(position, 0, "the log's entry does not parse", Rejected::Bytes(bytes))?;
            }
        }
        self.last = position;
        Ok(())
    }

    fn record(&mut self, position: WalPosition, row: usize, record: Record) -> Result<(), StoreError> {
        let appended = self.decoder.decode(&record).and_then(|batch| {
            let view = self.core.view();
            let appended = view.active().append(&batch, record.receive_time, &*self.core.clock);
            appended.map_err(|error| error.to_string())
        });
        match appended {
            Ok(()) => Ok(()),
            Err(reason) => self.reject(position, row, &reason, Rejected::Record(record)),
        }
    }

    /// Keeps it in `rejected/`; a second replay of the same record finds it there.
    fn reject(
        &mut self,
        position: WalPosition,
        row: usize,
        reason: &str,
        rejected: Rejected,
    ) -> Result<(), StoreError> {
        let name = format!("{REJECTED}/{}-{:020}-{row}.record", self.core.writer, position.0);
        match self.files.create(&name, &encode_rejected(reason, rejected)?) {
            Ok(()) => {}
            Err(error) if error.kind == Kind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        tracing::warn!(at = %self.files.describe(&name), reason, "a record of the log is kept aside");
        self.report.rejected_records += 1;
        Ok(())
    }

    /// Between two writes, so that a cut covers whole ones. Where it fails the head grows on: what was
    /// acknowledged has a place, and the log's size bounds it.
    fn cut_if_full(&mut self) {
        if self.cut_failed || self.core.view().active().head.bytes() < self.core.options.head_cut_bytes {
            return;
        }
        let full = self.core.next_generation();
        self.core.begin_cut(&mut self.upkeep, full, self.last);
        if let Err(error) = self.core.finish_cut(&mut self.upkeep) {
            self.report.warnings.push(format!("the head stays in memory for now: {error}"));
            self.cut_failed = true;
        }
    }
}
