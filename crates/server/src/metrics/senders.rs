//! Who sends profiles, by the user agent of their calls.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of the metric. The words are the senders': whoever makes up new ones shares the row `other`.
const SENDERS_MAX: usize = 64;
const WORD_BYTES_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SenderLabels {
    protocol: &'static str,
    kind: String,
    version: String,
    result: &'static str,
}

/// Cheap to clone; clones count together.
#[derive(Clone, Default)]
pub(crate) struct SenderMetrics {
    writes: Family<SenderLabels, Counter>,
    known: Arc<Mutex<HashSet<(String, String)>>>,
}

impl SenderMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Writes by protocol, and by name and version of the sender's user agent";
        registry.register("decima_sender_writes", help, self.writes.clone());
    }

    pub(crate) fn wrote(&self, protocol: &'static str, user_agent: &str, accepted: bool) {
        let (kind, version) = sender(user_agent);
        let mut pair = (kind.to_owned(), version.to_owned());
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if !known.contains(&pair) {
                if known.len() < SENDERS_MAX {
                    known.insert(pair.clone());
                } else {
                    pair = ("other".to_owned(), String::new());
                }
            }
        }
        let (kind, version) = pair;
        let result = if accepted { "accepted" } else { "refused" };
        self.writes.get_or_create(&SenderLabels { protocol, kind, version, result }).inc();
    }
}

/// The first product of a user agent, `name/version`; that of the gRPC library where nothing stands before it.
fn sender(user_agent: &str) -> (&str, &str) {
    let product = user_agent.split([' ', '\t']).find(|word| !word.is_empty()).unwrap_or("unknown");
    let (kind, version) = product.split_once('/').unwrap_or((product, ""));
    let short = |word: &str| word.len() <= WORD_BYTES_MAX && word.bytes().all(|byte| byte.is_ascii_graphic());
    if short(kind) && short(version) { (kind, version) } else { ("other", "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_the_first_product_of_its_user_agent() {
        for (user_agent, wanted) in [
            ("parca-agent/0.48.1 grpc-go/1.80.0", ("parca-agent", "0.48.1")),
            ("grpc-go/1.80.0", ("grpc-go", "1.80.0")),
            ("OpenTelemetry Collector/0.159.0", ("OpenTelemetry", "")),
            ("", ("unknown", "")),
            ("größe/1", ("other", "")),
        ] {
            assert_eq!(sender(user_agent), wanted);
        }
    }

    #[test]
    fn made_up_senders_do_not_add_rows_without_end() {
        let (metrics, mut registry) = (SenderMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        for ix in 0..SENDERS_MAX * 3 {
            metrics.wrote("otlp", &format!("made-up/{ix}"), true);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        let rows = text.lines().filter(|line| line.starts_with("decima_sender_writes_total{")).count();
        assert_eq!(rows, SENDERS_MAX + 1);
        assert!(
            text.contains(&format!("kind=\"other\",version=\"\",result=\"accepted\"}} {}", SENDERS_MAX * 2)),
            "{text}"
        );
    }
}
