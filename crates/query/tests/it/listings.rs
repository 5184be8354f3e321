//! What blocks tell of their types and labels against what their profiles say.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use profile::Batch;
use query::request::{LabelsRequest, TypesRequest, ValuesRequest};
use query::{Context, Engine, EngineOptions, Source};
use store::budget::Budget;
use store::part::Part;
use store::{Environment, Record, ReplayDecoder, Store, StoreOptions};

use crate::random::{Random, SECOND, batches, profiles};

/// The same store, without what its blocks tell.
struct PartsOnly(Arc<Store>);

impl Source for PartsOnly {
    fn parts(&self, tenant: &str, range: Option<(i64, i64)>) -> Vec<Arc<dyn Part>> {
        self.0.parts(tenant, range)
    }

    fn budget(&self) -> &Budget {
        self.0.budget()
    }
}

/// What is in the log when a store is opened again is none of these tests' business.
struct Forget;

impl ReplayDecoder for Forget {
    fn decode(&self, _: &Record) -> Result<Batch, String> {
        Err("forgotten".to_owned())
    }
}

fn open(directory: &Path) -> Arc<Store> {
    let options = StoreOptions {
        block_window_ns: 10 * SECOND,
        segment_bytes: 1 << 18,
        disk_free_min: 0,
        ..StoreOptions::default()
    };
    let environment = Environment::local(directory).expect("a directory");
    Arc::new(Store::open(options, environment, Arc::new(Forget)).expect("a store").0)
}

fn write(store: &Store, batch: Batch) {
    let record = Record {
        kind: 1,
        version: 1,
        tenant: String::new(),
        receive_time: 0,
        sender: String::new(),
        labels: Vec::new(),
        payload: Bytes::new(),
    };
    store.write(vec![(record, batch)]).expect("written");
}

#[test]
fn types_labels_and_values_are_the_same_whether_blocks_or_their_profiles_tell_them() {
    let (mut labels_seen, mut values_seen) = (0, 0);
    for seed in 0..30 {
        let directory = tempfile::tempdir().expect("a directory");
        let mut random = Random::new(seed ^ 0x11B);
        let mut store = open(directory.path());
        for batch in batches(seed, &profiles(seed)) {
            write(&store, batch);
            if random.chance(2) {
                store.flush().expect("cut");
            }
        }
        if random.chance(2) {
            // from meta.json
            store.flush().expect("cut");
            store.close();
            drop(store);
            store = open(directory.path());
        }
        let told = Engine::new(store.clone(), EngineOptions::default());
        let asked = Engine::new(Arc::new(PartsOnly(store)), EngineOptions::default());
        let context = Context::default();
        for _ in 0..8 {
            let start = (995 + random.below(50) as i64) * SECOND;
            let end = start + random.below(60) as i64 * SECOND;
            let bounds = match random.below(3) {
                0 => TypesRequest::default(),
                _ => TypesRequest { start: Some(start), end: Some(end) },
            };
            let types = told.profile_types(&context, &bounds).expect("types");
            assert_eq!(types, asked.profile_types(&context, &bounds).expect("types"), "seed {seed}, {bounds:?}");
            let any = told.has_profile_data(&context, &bounds).expect("an answer");
            assert_eq!(any, !types.is_empty(), "seed {seed}, {bounds:?}");
            let wanted: Vec<String> = types.iter().map(ToString::to_string).chain([String::new()]).collect();
            let profile_type = random.pick(&wanted).clone();
            let with_matcher = random.chance(3);
            let matchers = if with_matcher { vec![r#"job=~"a|web""#.to_owned()] } else { Vec::new() };
            let request = LabelsRequest { bounds, profile_type: profile_type.clone(), matchers };
            let labels = told.labels(&context, &request).expect("labels");
            assert_eq!(labels, asked.labels(&context, &request).expect("labels"), "seed {seed}, {request:?}");
            for label_name in labels {
                let (bounds, profile_type) = (bounds, profile_type.clone());
                let request = ValuesRequest { bounds, profile_type, label_name };
                let values = told.values(&context, &request).expect("values");
                assert_eq!(values, asked.values(&context, &request).expect("values"), "seed {seed}, {request:?}");
                labels_seen += 1;
                values_seen += values.len();
            }
        }
    }
    println!("{labels_seen} labels, {values_seen} values");
    assert!(labels_seen > 300 && values_seen > 300, "{labels_seen} labels, {values_seen} values");
}
