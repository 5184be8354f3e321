//! The services, one file each: messages to plain requests, plain answers to messages, and nothing else.

mod agents;
mod debuginfo;
mod messages;
mod otlp;
pub(crate) mod pass;
mod profile_store;
mod query;
mod scrape;
mod share;
mod telemetry;
mod view;

use prost_types::Timestamp;
use tonic::Request;

use crate::grpc::stack::Deadline;

use agents::Pushing;
pub(crate) use agents::{Agents, AgentsApi};
pub(crate) use debuginfo::DebuginfoApi;
pub(crate) use otlp::{EXPORT, OtlpApi};
pub(crate) use profile_store::ProfileStoreApi;
pub(crate) use query::QueryApi;
pub(crate) use scrape::ScrapeApi;
pub(crate) use share::Share;
pub(crate) use telemetry::TelemetryApi;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// ns since the epoch; what lies past the end of that scale is at its end.
fn nanos(timestamp: &Timestamp) -> i64 {
    timestamp.seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(i64::from(timestamp.nanos))
}

fn timestamp(nanos: i64) -> Timestamp {
    Timestamp { seconds: nanos.div_euclid(NANOS_PER_SECOND), nanos: nanos.rem_euclid(NANOS_PER_SECOND) as i32 }
}

fn deadline<T>(request: &Request<T>) -> Option<std::time::Instant> {
    request.extensions().get::<Deadline>().map(|deadline| deadline.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_and_at_the_ends_of_the_scale_survive() {
        for time in [0, -1, 1, -1_500_000_000, i64::MAX, i64::MIN + NANOS_PER_SECOND] {
            assert_eq!(nanos(&timestamp(time)), time);
            assert!((0..NANOS_PER_SECOND as i32).contains(&timestamp(time).nanos));
        }
        assert_eq!(nanos(&Timestamp { seconds: i64::MAX, nanos: 5 }), i64::MAX);
    }
}
