//! What the store tells about itself, as metrics.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use store::Store;

pub(crate) struct StoreCollector {
    store: Arc<Store>,
}

impl StoreCollector {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl fmt::Debug for StoreCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreCollector")
    }
}

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.store.status();
        let counters = [
            ("writes", "Writes acknowledged", status.writes),
            ("written_bytes", "Payload of the writes acknowledged, in bytes", status.written_bytes),
            ("writes_refused", "Writes refused because head, queue or log was full", status.writes_refused),
            ("wal_syncs", "Syncs of the write-ahead log", status.wal_syncs),
            ("wal_failures", "Failed writes or syncs of the write-ahead log", status.wal_failures),
            ("cuts", "Times the head was cut into blocks", status.cuts),
            ("cut_failures", "Cuts that failed and will be tried again", status.cut_failures),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            let name = format!("decima_store_{name}");
            metric.encode(encoder.encode_descriptor(&name, help, None, metric.metric_type())?)?;
        }
        let gauges = [
            ("head_bytes", "Bytes in the head", status.head_bytes),
            ("head_generations", "Heads: 1, or more while one is being cut", status.head_generations),
            ("wal_bytes", "Bytes of the write-ahead log on disk", status.wal_bytes),
            ("wal_segments", "Segments of the write-ahead log", status.wal_segments),
            ("blocks", "Blocks", status.blocks),
            ("block_bytes", "Bytes of all blocks", status.block_bytes),
            ("blocks_quarantined", "Blocks left out of all answers", status.quarantined.len() as u64),
            ("rejected_records", "Records that no longer decode, kept aside", status.rejected_records),
            ("memory_used_bytes", "Bytes leased from the memory budget", status.memory_used),
            ("memory_total_bytes", "The memory budget in bytes", status.memory_total),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let name = format!("decima_store_{name}");
            metric.encode(encoder.encode_descriptor(&name, help, None, metric.metric_type())?)?;
        }
        let help = "Bytes leased, by who holds them";
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor("decima_memory_account_bytes", help, None, kind)?;
        for account in &status.accounts {
            let labels = [("account", account.name)];
            ConstGauge::new(i64::try_from(account.used).unwrap_or(i64::MAX)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
