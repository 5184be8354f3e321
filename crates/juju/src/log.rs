//! Log lines of `tracing` for Juju.
//!
//! A hook tool takes milliseconds, so lines are gathered and go out when the dispatch ends: lines of one level that follow each
//! other in one `juju-log`. What was gathered also goes out if the hook fails.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::agent::Juju;
use crate::tools::ToolError;

/// Lines that are kept before the oldest are dropped: a hook that logs more is ill, and memory is not to follow it.
const LINES_MAX: usize = 10_000;

/// What is finer stays out of Juju's log. Which of the rest is kept, and shown, the operator says with `logging-config`.
pub const MAX_LEVEL: Level = Level::DEBUG;

/// The lines of one dispatch. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Gathered>>);

#[derive(Debug, Default)]
struct Gathered {
    lines: Vec<(Level, String)>,
    dropped: u64,
}

impl Lines {
    pub fn push(&self, level: Level, message: String) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.lines.len() == LINES_MAX {
            gathered.dropped += 1;
        } else {
            gathered.lines.push((level, message));
        }
    }

    fn take(&self) -> Gathered {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends what was gathered to Juju's log.
    pub fn flush(&self, juju: &Juju<'_>) -> Result<(), ToolError> {
        let Gathered { mut lines, dropped } = self.take();
        if dropped > 0 {
            lines.push((Level::WARN, format!("{dropped} more lines of this hook were dropped")));
        }
        for run in lines.chunk_by(|(a, _), (b, _)| a == b) {
            let text: Vec<&str> = run.iter().map(|(_, line)| line.as_str()).collect();
            juju.log(run[0].0, &text.join("\n"))?;
        }
        Ok(())
    }
}

/// A subscriber that gathers events up to a level as [`Lines`]. Spans only lend their events a name.
#[derive(Debug)]
pub struct JujuLog {
    lines: Lines,
    max: Level,
    next: AtomicU64,
}

impl JujuLog {
    pub fn new(lines: Lines, max: Level) -> JujuLog {
        JujuLog { lines, max, next: AtomicU64::new(1) }
    }
}

impl Subscriber for JujuLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.max
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.max.into())
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.lines.push(*event.metadata().level(), format!("{}{}", line.message, line.fields));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// `message key=value key="with space"`
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else if value.is_empty() || value.contains([' ', '"', '\n']) {
            // cannot fail: a String
            let _ = write!(self.fields, " {}={value:?}", field.name());
        } else {
            let _ = write!(self.fields, " {}={value}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
