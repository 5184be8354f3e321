//! A store in a directory of its own, and what is written to it.

use std::sync::Arc;

use bytes::Bytes;
use ingest::{Limits, Scratch};
use profile::Batch;
use store::{Environment, Record, ReplayDecoder, Store, StoreOptions};

use crate::corpus::{self, Payload};
use crate::measure::{self, median_of, on_thread};
use crate::peer;

/// A store that cuts when it is told to, and the directory that goes with it.
pub struct Stored {
    pub store: Arc<Store>,
    _directory: tempfile::TempDir,
}

/// For logs that are never read again.
pub struct Decoder;

impl ReplayDecoder for Decoder {
    fn decode(&self, record: &Record) -> Result<Batch, String> {
        let (labels, time) = (record.labels.clone(), record.receive_time);
        ingest::pprof(labels, &record.payload, time, &Limits::default(), &mut Scratch::default())
            .map_err(|error| error.to_string())
    }
}

impl Stored {
    pub fn open() -> Self {
        let options = StoreOptions {
            memory_bytes: 8 << 30,
            head_bytes_max: 2 << 30,
            head_cut_bytes: 2 << 30,
            block_window_ns: 1 << 62,
            ..StoreOptions::default()
        };
        let directory = tempfile::tempdir().expect("a directory for a store");
        let environment = Environment::local(directory.path()).expect("a directory for a store");
        let (store, _) = Store::open(options, environment, Arc::new(Decoder)).expect("an empty store");
        Self { store: Arc::new(store), _directory: directory }
    }

    /// Writes all of `payloads` as they come; gives the number of samples. The log gets empty payloads: what is
    /// measured afterwards does not read it.
    pub fn fill(&self, payloads: impl Iterator<Item = Payload>) -> usize {
        let (mut scratch, limits) = (Scratch::default(), Limits::default());
        let mut writes = Vec::new();
        let mut samples = 0;
        for payload in payloads {
            let batch = ingest::pprof(payload.labels.clone(), &payload.raw, payload.time, &limits, &mut scratch);
            samples += payload.samples;
            writes.push((record(&payload, Bytes::new()), batch.expect("a sound profile")));
            if writes.len() == 32 {
                self.store.write(std::mem::take(&mut writes)).expect("a disk that takes it");
            }
        }
        self.store.write(writes).expect("a disk that takes it");
        samples
    }
}

pub fn record(payload: &Payload, packed: Bytes) -> Record {
    Record {
        kind: 1,
        version: 1,
        tenant: String::new(),
        receive_time: payload.time,
        sender: "bench".to_owned(),
        labels: payload.labels.clone(),
        payload: packed,
    }
}

/// How fast this machine gunzips, as a share of the core that bars in ms are for.
pub fn gunzip_speed() -> f64 {
    let payloads: Vec<_> = corpus::fleet(100).map(|payload| (payload.gzip(), payload.raw.len())).collect();
    let bytes: usize = payloads.iter().map(|(_, size)| size).sum();
    let mut buffer = Vec::new();
    let gunzip =
        median_of(|| on_thread(|| payloads.iter().for_each(|(packed, size)| peer::gunzip(packed, *size, &mut buffer))));
    measure::speed(bytes, gunzip)
}
