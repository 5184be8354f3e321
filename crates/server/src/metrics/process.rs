//! What the operating system says about this process, under Prometheus' usual names.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Linux counts CPU time in units of 1/100 s towards user space, whatever the kernel's own tick (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc` whenever metrics are asked for; a figure that cannot be read is left out.
#[derive(Debug)]
pub(crate) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(seconds) = cpu_seconds() {
            let metric = ConstCounter::new(seconds);
            let help = "User and system CPU time, in seconds";
            metric.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, metric.metric_type())?)?;
        }
        let gauges = [
            ("process_resident_memory_bytes", "Memory in RAM", resident_bytes()),
            ("process_threads", "Threads", status_field("Threads:")),
            ("process_open_fds", "Open file descriptors", open_files()),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // the program's name, in parentheses, may hold anything
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<i64> {
    Some(status_field("VmRSS:")? * 1024)
}

fn status_field(name: &str) -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].split_ascii_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_files_and_has_used_the_cpu() {
        assert!(resident_bytes().expect("/proc/self/status") > 1 << 20);
        assert!(status_field("Threads:").expect("/proc/self/status") >= 1);
        assert!(open_files().expect("/proc/self/fd") >= 3);
        assert!(cpu_seconds().expect("/proc/self/stat") >= 0.0);
    }
}
