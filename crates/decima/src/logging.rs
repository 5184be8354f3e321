//! Logs to stderr, a line per event: logfmt as Go programs write it, or JSON.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Of our own crates; others are heard from `warn` on.
const OURS: [&str; 8] = ["decima", "server", "query", "store", "scrape", "ingest", "profile", "go_regexp"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Logfmt,
    Json,
}

/// Installs the process's logger; a second call changes nothing.
pub fn install(level: Level, format: Format) {
    let _ = tracing_subscriber::registry().with(Lines { level, format }).try_init();
}

struct Lines {
    level: Level,
    format: Format,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let krate = metadata.target().split("::").next().unwrap_or_default();
        let wanted = if OURS.contains(&krate) { self.level } else { self.level.min(Level::WARN) };
        *metadata.level() <= wanted
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = line(self.format, *event.metadata().level(), SystemTime::now(), &fields);
        // a log that cannot be written has nowhere to say so
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// The message, and the other fields in their order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format!("{value:?}").into());
    }
}

fn line(format: Format, level: Level, now: SystemTime, fields: &Fields) -> String {
    let level = level.as_str().to_ascii_lowercase();
    let time = rfc3339(now);
    match format {
        Format::Logfmt => {
            let mut line = format!("level={level} ts={time} msg={}", logfmt(&fields.message));
            for (name, value) in &fields.others {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let _ = write!(line, " {name}={}", logfmt(&text));
            }
            line.push('\n');
            line
        }
        Format::Json => {
            let mut object = Map::new();
            object.insert("level".into(), level.into());
            object.insert("ts".into(), time.into());
            object.insert("msg".into(), fields.message.clone().into());
            for (name, value) in &fields.others {
                object.insert((*name).to_owned(), value.clone());
            }
            format!("{}\n", Value::Object(object))
        }
    }
}

/// Quoted where a reader could not tell where the value ends.
fn logfmt(value: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(plain) { value.to_owned() } else { format!("{value:?}") }
}

/// UTC, in milliseconds.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days as i64);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// Year, month and day of a number of days since the epoch; years are counted from March.
fn date(days: i64) -> (i64, i64, i64) {
    // from 1 March of year 0, in eras of 400 years
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn example(format: Format) -> String {
        let fields = Fields {
            message: "scrape failed".into(),
            others: vec![("url", "http://a/b?c=1".into()), ("attempt", 3.into()), ("error", "no \"route\"\n".into())],
        };
        line(format, Level::WARN, UNIX_EPOCH + Duration::from_millis(1_768_478_400_250), &fields)
    }

    #[test]
    fn an_event_is_one_line_of_logfmt() {
        assert_eq!(
            example(Format::Logfmt),
            "level=warn ts=2026-01-15T12:00:00.250Z msg=\"scrape failed\" url=\"http://a/b?c=1\" attempt=3 \
             error=\"no \\\"route\\\"\\n\"\n"
        );
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let read: Value = serde_json::from_str(&example(Format::Json)).expect("JSON");
        assert_eq!(read["msg"], "scrape failed");
        assert_eq!(read["attempt"], 3);
        assert_eq!(read["error"], "no \"route\"\n");
        assert_eq!(example(Format::Json).lines().count(), 1);
    }

    #[test]
    fn dates_are_right_at_leap_days_and_ends_of_years() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(20_818), (2026, 12, 31));
    }
}
