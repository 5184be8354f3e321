//! ProfileTypes, Labels and Values over a store of many small blocks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ingest::{Limits, Scratch};
use profile::Batch;
use query::request::{LabelsRequest, TypesRequest, ValuesRequest};
use query::{Context, Engine, EngineOptions, Source};
use store::budget::Budget;
use store::part::Part;
use store::{Environment, MemoryObjects, Store, StoreOptions};

use crate::corpus::{self, Payload};
use crate::fixture::{Decoder, gunzip_speed, record};
use crate::measure::{Bar, in_process, line, median_of, milliseconds};

const BLOCKS: usize = 10_000;

/// Of each block; the next block holds the next of the 1,500 streams.
const STREAMS: usize = 8;

const WINDOW: i64 = 60_000_000_000;

/// Blocks that are cut at once.
const BATCH: usize = 500;

/// The same store, without what its blocks tell of their types and labels.
struct PartsOnly(Arc<Store>);

impl Source for PartsOnly {
    fn parts(&self, tenant: &str, range: Option<(i64, i64)>) -> Vec<Arc<dyn Part>> {
        self.0.parts(tenant, range)
    }

    fn budget(&self) -> &Budget {
        self.0.budget()
    }
}

pub fn run() {
    println!("catalogue: {BLOCKS} blocks of {STREAMS} profiles, {} streams in all, process CPU", 1_500);
    let directory = tempfile::tempdir().expect("a directory for a store");
    let store = fill(directory.path());
    let blocks = store.status().blocks as usize;
    assert!(blocks >= BLOCKS, "{blocks} blocks");
    let bar = Bar::AtMost(20.0 / gunzip_speed());
    let engine = Engine::new(store.clone(), EngineOptions::default());
    let context = Context::default();
    let of_type = engine.profile_types(&context, &TypesRequest::default()).expect("types")[0].to_string();
    let part = TypesRequest { start: Some(WINDOW / 2), end: Some(BLOCKS as i64 * WINDOW / 2) };
    for (what, bounds) in [("all times", TypesRequest::default()), ("half of them", part)] {
        let types = || engine.profile_types(&context, &bounds).expect("types").len();
        line(&format!("{what}: ProfileTypes"), milliseconds(measured(types)), "ms", bar);
        let request = LabelsRequest { bounds, profile_type: of_type.clone(), matchers: Vec::new() };
        let labels = || engine.labels(&context, &request).expect("labels").len();
        line(&format!("{what}: Labels of a type"), milliseconds(measured(labels)), "ms", bar);
        let request = pods(bounds);
        let values = || engine.values(&context, &request).expect("values").len();
        line(&format!("{what}: Values"), milliseconds(measured(values)), "ms", bar);
    }
    let asked = Engine::new(Arc::new(PartsOnly(store)), EngineOptions::default());
    let request = pods(TypesRequest::default());
    let told = engine.values(&context, &request).expect("values");
    let slow = in_process(|| assert_eq!(asked.values(&context, &request).expect("values"), told));
    line("Values by reading each block's profiles", milliseconds(slow), "ms", Bar::None);
}

fn pods(bounds: TypesRequest) -> ValuesRequest {
    ValuesRequest { bounds, label_name: "pod".to_owned(), ..ValuesRequest::default() }
}

fn measured(work: impl Fn() -> usize) -> Duration {
    median_of(|| in_process(|| assert!(work() > 0, "an answer")))
}

/// Blocks in memory: what they are read from does not matter to what they tell.
fn fill(directory: &std::path::Path) -> Arc<Store> {
    let options = StoreOptions {
        memory_bytes: 8 << 30,
        head_bytes_max: 2 << 30,
        head_cut_bytes: 2 << 30,
        block_window_ns: WINDOW,
        ..StoreOptions::default()
    };
    let mut environment = Environment::local(directory).expect("a directory for a store");
    environment.objects = Some(Arc::new(MemoryObjects::default()));
    let (store, _) = Store::open(options, environment, Arc::new(Decoder)).expect("an empty store");
    let payloads: Vec<(Payload, Batch)> = corpus::agent(1_500).map(decoded).collect();
    let mut next = payloads.iter().cycle();
    for first in (0..BLOCKS).step_by(BATCH) {
        let mut writes = Vec::with_capacity(BATCH * STREAMS);
        for block in first..first + BATCH {
            for (payload, batch) in next.by_ref().take(STREAMS) {
                let mut batch = batch.clone();
                let time = block as i64 * WINDOW;
                batch.profiles.time.fill(time);
                batch.profiles.time_max.fill(time);
                writes.push((record(payload, Bytes::new()), batch));
            }
        }
        store.write(writes).expect("a disk that takes it");
        store.flush().expect("a disk that takes it");
    }
    Arc::new(store)
}

fn decoded(payload: Payload) -> (Payload, Batch) {
    let (labels, time) = (payload.labels.clone(), payload.time);
    let batch = ingest::pprof(labels, &payload.raw, time, &Limits::default(), &mut Scratch::default());
    (payload, batch.expect("a sound profile"))
}
