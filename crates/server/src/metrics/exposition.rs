//! `/metrics` as text: OpenMetrics for those who ask for it, else Prometheus' older text format.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

pub(crate) struct Exposition {
    pub(crate) content_type: &'static str,
    pub(crate) text: String,
}

/// An `Err` only if a collector fails to write into a string.
pub(crate) fn exposition(registry: &Registry, accept: Option<&str>) -> Result<Exposition, std::fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
        return Ok(Exposition { content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8", text });
    }
    Ok(Exposition { content_type: "text/plain; version=0.0.4; charset=utf-8", text: classic(&text) })
}

/// The older format writes the bound 1 as `le="1"`, not `le="1.0"`, and alerts match that text; it names a
/// counter with its `_total`, and ends without a mark.
fn classic(open: &str) -> String {
    let mut out = String::with_capacity(open.len());
    let mut counter_names: Vec<&str> = Vec::new();
    for line in open.lines().filter(|line| *line != "# EOF") {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")) {
            counter_names.push(name);
        }
    }
    for line in open.lines().filter(|line| *line != "# EOF") {
        let described = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        match described.and_then(|rest| rest.split_once(' ')) {
            Some((name, rest)) if counter_names.contains(&name) => {
                out.push_str(&line[..7]);
                out.push_str(name);
                out.push_str("_total ");
                out.push_str(rest);
            }
            Some(_) => out.push_str(line),
            None if line.starts_with("# UNIT ") => continue,
            None => push_sample(&mut out, line),
        }
        out.push('\n');
    }
    out
}

fn push_sample(out: &mut String, line: &str) {
    let bound = line.find("le=\"").and_then(|at| {
        let start = at + 4;
        let end = start + line[start..].find('"')?;
        Some((start, end))
    });
    match bound {
        Some((start, end)) if line[start..end].ends_with(".0") => {
            out.push_str(&line[..end - 2]);
            out.push_str(&line[end..]);
        }
        _ => out.push_str(line),
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::histogram::Histogram;

    use super::*;

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let writes = Counter::<u64>::default();
        writes.inc_by(3);
        registry.register("writes", "What was written", writes);
        let seconds = Histogram::new([0.1, 1.0, 30.0]);
        seconds.observe(0.5);
        registry.register("seconds", "How long", seconds);
        registry
    }

    #[test]
    fn the_older_format_names_counters_and_bounds_as_alerts_expect() {
        let Exposition { content_type, text } = exposition(&registry(), None).expect("a string takes it");
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        for line in [
            "# TYPE writes_total counter",
            "# HELP writes_total What was written.",
            "writes_total 3",
            "seconds_bucket{le=\"0.1\"} 0",
            "seconds_bucket{le=\"1\"} 1",
            "seconds_bucket{le=\"30\"} 1",
            "seconds_bucket{le=\"+Inf\"} 1",
            "seconds_count 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in\n{text}");
        }
        assert!(!text.contains("EOF"));
    }

    #[test]
    fn open_metrics_is_given_to_who_asks_for_it() {
        let accept = Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
        let Exposition { content_type, text } = exposition(&registry(), accept).expect("a string takes it");
        assert!(content_type.starts_with("application/openmetrics-text"));
        assert!(text.ends_with("# EOF\n"));
    }
}
