//! Which column of a block means what.

use std::sync::Arc;

use super::column::{Column, Memory, Window};
use super::footer::{ColumnInfo, Footer, Physical, Repetition};
use super::{BlockFile, Defect};

/// Columns that say what kind of sample a row is.
pub(super) const TYPES: [&str; 5] = ["name", "sample_type", "sample_unit", "period_type", "period_unit"];

/// Columns of a row group that lie within so many bytes are read at once: one request to a bucket, where each would take one of its own.
const SPAN_BYTES_MAX: u64 = 16 << 20;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// Of a series.
const LABEL_PREFIX: &str = "labels.";

/// Of a pprof's samples, in blocks of 2024.
const SAMPLE_LABEL_PREFIX: &str = "pprof_labels.";

/// Labels that say where a sample was taken; what others say changes from sample to sample where samples have times.
const PLACES: [&str; 13] = [
    "service_name",
    "service",
    "app_kubernetes_io_name",
    "app",
    "job",
    "instance",
    "node",
    "namespace",
    "pod",
    "container",
    "systemd_unit",
    "region",
    "cluster",
];

/// What a label belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The series, always.
    Place,
    /// The series, or the samples where they have times.
    Either,
    Sample,
}

/// Places among the columns of the file.
pub(super) struct Schema {
    types: [usize; TYPES.len()],
    period: usize,
    duration: usize,
    value: usize,
    /// ms since the epoch
    timestamp: usize,
    /// ns since the epoch; since 2025
    time_nanos: Option<usize>,
    stacktrace: usize,
    pub(super) labels: Vec<Label>,
}

pub(super) struct Label {
    pub(super) name: String,
    pub(super) owner: Owner,
    column: usize,
}

impl Schema {
    pub(super) fn of(columns: &[ColumnInfo]) -> Result<Self, Defect> {
        let find = |name: &str| columns.iter().position(|column| column.name == name);
        let missing = |name: &str| Defect::unknown(format!("it has no column {name:?}, so it is no block of Parca's"));
        let number = |name: &str| -> Result<usize, Defect> {
            let at = find(name).ok_or_else(|| missing(name))?;
            let of = &columns[at];
            if of.physical != Physical::Int64 || of.repetition != Repetition::Required {
                return Err(Defect::unknown(format!("its column {name:?} holds no numbers")));
            }
            Ok(at)
        };
        let text = |name: &str| -> Result<usize, Defect> {
            let at = find(name).ok_or_else(|| missing(name))?;
            let of = &columns[at];
            if of.physical != Physical::Bytes || of.repetition == Repetition::Repeated {
                return Err(Defect::unknown(format!("its column {name:?} holds no texts")));
            }
            Ok(at)
        };
        let stacktrace = find("stacktrace").ok_or_else(|| missing("stacktrace"))?;
        if columns[stacktrace].physical != Physical::Bytes || columns[stacktrace].repetition != Repetition::Repeated {
            let what = "its stacks are numbers of a metastore that is no more: it is of a Parca before April 2024";
            return Err(Defect::unknown(what));
        }
        let mut labels = Vec::new();
        for (at, column) in columns.iter().enumerate() {
            let (name, owner) =
                match (column.name.strip_prefix(LABEL_PREFIX), column.name.strip_prefix(SAMPLE_LABEL_PREFIX)) {
                    (Some(name), _) if PLACES.contains(&name) => (name, Owner::Place),
                    (Some(name), _) => (name, Owner::Either),
                    (None, Some(name)) => (name, Owner::Sample),
                    (None, None) => continue,
                };
            // two underscores in front are no label's: see `profile::Stream`
            if name.is_empty() || name.starts_with("__") {
                continue;
            }
            text(&column.name)?;
            labels.push(Label { name: name.to_owned(), owner, column: at });
        }
        let [name, sample_type, sample_unit, period_type, period_unit] = TYPES;
        Ok(Self {
            types: [text(name)?, text(sample_type)?, text(sample_unit)?, text(period_type)?, text(period_unit)?],
            period: number("period")?,
            duration: number("duration")?,
            value: number("value")?,
            timestamp: number("timestamp")?,
            time_nanos: find("time_nanos").map(|_| number("time_nanos")).transpose()?,
            stacktrace,
            labels,
        })
    }

    /// All bytes of the columns of a row group, where they lie together.
    fn span(&self, file: &dyn BlockFile, footer: &Footer, group: usize, time: usize) -> Result<Window, Defect> {
        let used = self.types.into_iter().chain(self.labels.iter().map(|label| label.column));
        let used = used.chain([self.period, self.duration, self.value, time, self.stacktrace]);
        let chunks = used.map(|at| footer.groups[group].chunks[at]).filter(|chunk| chunk.bytes > 0);
        let places = chunks.map(|chunk| (chunk.start, chunk.start + chunk.bytes));
        let span = places.reduce(|(start, end), (other, other_end)| (start.min(other), end.max(other_end)));
        match span {
            Some((start, end)) if end - start <= SPAN_BYTES_MAX => Ok((start, Arc::new(file.range(start..end)?))),
            _ => Ok(Window::default()),
        }
    }

    /// The columns of a row group, at its first row.
    pub(super) fn open<'f>(&self, file: &'f dyn BlockFile, footer: &Footer, group: usize) -> Result<Open<'f>, Defect> {
        let [name, sample_type, sample_unit, period_type, period_unit] = self.types;
        let (time, time_scale) = match self.time_nanos {
            Some(at) => (at, 1),
            None => (self.timestamp, NANOS_PER_MILLI),
        };
        let (memory, window) = (Arc::new(Memory::default()), self.span(file, footer, group, time)?);
        let column =
            |at: usize| Column::new(file, &footer.columns[at], footer.groups[group].chunks[at], &memory, &window);
        Ok(Open {
            types: [
                column(name)?,
                column(sample_type)?,
                column(sample_unit)?,
                column(period_type)?,
                column(period_unit)?,
            ],
            labels: self.labels.iter().map(|label| column(label.column)).collect::<Result<_, _>>()?,
            period: column(self.period)?,
            duration: column(self.duration)?,
            value: column(self.value)?,
            time: column(time)?,
            time_scale,
            stacktrace: column(self.stacktrace)?,
        })
    }

    pub(super) fn stacks<'f>(
        &self,
        file: &'f dyn BlockFile,
        footer: &Footer,
        group: usize,
    ) -> Result<Column<'f>, Defect> {
        let (info, chunk) = (&footer.columns[self.stacktrace], footer.groups[group].chunks[self.stacktrace]);
        Column::new(file, info, chunk, &Arc::default(), &Window::default())
    }
}

/// The columns of a row group, each at the same row.
pub(super) struct Open<'f> {
    pub(super) types: [Column<'f>; TYPES.len()],
    pub(super) labels: Vec<Column<'f>>,
    pub(super) period: Column<'f>,
    pub(super) duration: Column<'f>,
    pub(super) value: Column<'f>,
    time: Column<'f>,
    time_scale: i64,
    pub(super) stacktrace: Column<'f>,
}

impl Open<'_> {
    /// ns since the epoch, of the row that is read
    pub(super) fn time(&mut self) -> Result<i64, Defect> {
        Ok(self.time.number()?.saturating_mul(self.time_scale))
    }

    /// ns since the epoch, of the row that is read next
    pub(super) fn peek_time(&mut self) -> Result<i64, Defect> {
        Ok(self.time.peek_number()?.saturating_mul(self.time_scale))
    }
}
