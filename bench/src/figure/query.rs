//! Queries in process on fleet:1000 (10^6 samples, 40,000 stacks), from the head and from a block.

use std::time::Duration;

use query::request::{LabelsRequest, TypesRequest, ValuesRequest};
use query::{Context, Engine, EngineOptions};

use crate::corpus;
use crate::figure::reports::report;
use crate::fixture::{Stored, gunzip_speed};
use crate::measure::{Bar, in_process, line, median_of, milliseconds, on_thread};

/// In process: [`super::reports`] has every kind of report, and what it costs through the server.
pub fn run() {
    println!("query: fleet:1000 in process, process CPU, default node budget");
    let stored = Stored::open();
    let samples = stored.fill(corpus::fleet(1_000));
    let speed = gunzip_speed();
    for place in ["head", "block"] {
        if place == "block" {
            stored.store.flush().expect("a disk that takes it");
        }
        let engine = Engine::new(stored.store.clone(), EngineOptions::default());
        let context = Context::default();
        let flame = report(5, "");
        let first = in_process(|| engine.query(&context, &flame).expect("an answer"));
        line(&format!("{place}: merge to flame graph, first time"), milliseconds(first), "ms", Bar::None);
        let merge = median_of(|| in_process(|| engine.query(&context, &flame).expect("an answer")));
        let bar = Bar::AtMost(100.0 / speed);
        line(&format!("{place}: merge to flame graph"), milliseconds(merge), "ms", bar);
        lists(place, &engine, &context, speed);
    }
    line("a bare loop of sum[stack] += value", milliseconds(bare_sum(samples)), "ms", Bar::None);
}

fn lists(place: &str, engine: &Engine, context: &Context, speed: f64) {
    let bar = Bar::AtMost(2.0 / speed);
    let types = median_of(|| in_process(|| engine.profile_types(context, &TypesRequest::default()).expect("types")));
    line(&format!("{place}: ProfileTypes"), milliseconds(types), "ms", bar);
    let labels = median_of(|| in_process(|| engine.labels(context, &LabelsRequest::default()).expect("labels")));
    line(&format!("{place}: Labels"), milliseconds(labels), "ms", bar);
    let pods = ValuesRequest { label_name: "pod".to_owned(), ..ValuesRequest::default() };
    let values = median_of(|| in_process(|| engine.values(context, &pods).expect("values")));
    line(&format!("{place}: Values"), milliseconds(values), "ms", bar);
}

/// What the machine needs to add up as many random stacks.
fn bare_sum(samples: usize) -> Duration {
    let mut random = corpus::Rng::new(1);
    let stacks: Vec<u32> = (0..samples).map(|_| random.below(40_000) as u32).collect();
    let mut sum = vec![0i64; 40_000];
    median_of(|| on_thread(|| stacks.iter().for_each(|&stack| sum[stack as usize] += 1)))
}
