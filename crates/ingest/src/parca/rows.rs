//! Samples as rows of a table, to profiles with stamped samples.

use profile::{Batch, Labels, Profiles, Samples, Stream, ValueType};

use crate::arrow::{Column, Cursor, Record, malformed};
use crate::error::IngestError;
use crate::shared::Shared;
use crate::tables::{Map, SampleLabel, Tables, within};

/// Columns that say what kind of sample a row is, in the order of [`Group`].
const TYPES: [&str; 5] = ["producer", "sample_type", "sample_unit", "period_type", "period_unit"];

/// Kinds of samples in one message: an agent's has a handful.
const GROUPS_MAX: usize = 4_096;

/// v1 has a column a label.
const LABEL_PREFIX: &str = "labels.";

/// The columns of samples.
pub(super) struct Columns<'c, 's> {
    types: [&'c Column<'s>; TYPES.len()],
    period: &'c Column<'s>,
    duration: &'c Column<'s>,
    value: &'c Column<'s>,
    timestamp: &'c Column<'s>,
    pub(super) stacktrace_id: &'c Column<'s>,
    labels: Vec<(&'s str, &'c Column<'s>)>,
}

impl<'c, 's> Columns<'c, 's> {
    pub(super) fn of(record: &'c Record<'s>) -> Result<Self, IngestError> {
        let column = |name: &str| {
            record.column(name).ok_or_else(|| malformed(format!("validate record: missing column {name:?}")))
        };
        let value = record.column("value").ok_or_else(|| malformed("unrecognized arrow record schema"))?;
        let stacktrace_id = column("stacktrace_id")?;
        let [producer, sample_type, sample_unit, period_type, period_unit] = TYPES;
        let types =
            [column(producer)?, column(sample_type)?, column(sample_unit)?, column(period_type)?, column(period_unit)?];
        let inner = record.column("labels").map_or(&[][..], |labels| labels.fields());
        let labels = inner.iter().map(|(name, column)| (*name, column));
        let outer = record.columns().filter_map(|(name, column)| Some((name.strip_prefix(LABEL_PREFIX)?, column)));
        Ok(Self {
            types,
            period: column("period")?,
            duration: column("duration")?,
            value,
            timestamp: column("timestamp")?,
            stacktrace_id,
            // names with two underscores in front are not labels: see `profile::Stream`
            labels: labels.chain(outer).filter(|(name, _)| !name.starts_with("__") && !name.is_empty()).collect(),
        })
    }
}

/// What the rows of a profile have in common but for labels; texts as rows of the batch's strings.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Group {
    types: [u32; TYPES.len()],
    period: i64,
    duration: i64,
}

/// All rows of a message.
#[derive(Default)]
pub(super) struct Rows {
    stack: Vec<u32>,
    value: Vec<i64>,
    time: Vec<i64>,
    groups: Vec<Group>,
    group_ids: Map<Group, u32>,
    label_names: Vec<u32>,
    segments: Vec<Segment>,
    /// `label_names.len()` strings a segment; 0 where a label is absent.
    labels: Vec<u32>,
}

struct Segment {
    /// Of `stack`, `value` and `time`.
    end: u32,
    group: u32,
}

/// A column read in runs, and what its present run says.
struct Run<'c, 's> {
    column: &'c Column<'s>,
    cursor: Cursor,
    end: usize,
    /// The place that `text` came from, so that a dictionary's value is looked up once while it repeats.
    text: u32,
    /// Of the column's dictionary rows, by place.
    known: Map<(usize, usize), u32>,
}

impl<'c, 's> Run<'c, 's> {
    fn new(column: &'c Column<'s>) -> Self {
        Self { column, cursor: Cursor::default(), end: 0, text: 0, known: Map::default() }
    }

    /// The text at `row` as a row of `tables`' strings; 0 for null.
    fn text(&mut self, tables: &mut Shared<'s>, row: usize) -> Result<u32, IngestError> {
        if row >= self.end {
            let (at, end) = self.column.run_at(row, &mut self.cursor)?;
            self.end = end;
            self.text = match at {
                None => 0,
                Some(at) => match self.known.get(&at.place()) {
                    Some(&text) => text,
                    None => {
                        let text = tables.own.string(at.text()?)?;
                        self.known.insert(at.place(), text);
                        text
                    }
                },
            };
        }
        Ok(self.text)
    }
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.stack.len()
    }

    /// Adds the rows of a record batch. `stack` gives the stack of a row.
    pub(super) fn read<'c, 's>(
        &mut self,
        record: &'c Record<'s>,
        columns: &Columns<'c, 's>,
        tables: &mut Shared<'s>,
        receive_time: i64,
        mut stack: impl FnMut(&mut Shared<'s>, usize) -> Result<u32, IngestError>,
    ) -> Result<(), IngestError> {
        within("labels of one sample", columns.labels.len(), tables.limits.sample_labels)?;
        if self.label_names.is_empty() {
            for (name, _) in &columns.labels {
                let name = tables.own.string(name.as_bytes())?;
                self.label_names.push(name);
            }
        }
        let mut types = columns.types.map(Run::new);
        let mut labels: Vec<Run<'c, 's>> = columns.labels.iter().map(|(_, column)| Run::new(column)).collect();
        let (mut period, mut duration) = (Run::new(columns.period), Run::new(columns.duration));
        let mut row = 0;
        while row < record.rows {
            let mut group = Group { types: [0; TYPES.len()], period: 0, duration: 0 };
            let mut end = record.rows;
            for (run, text) in types.iter_mut().zip(&mut group.types) {
                *text = run.text(tables, row)?;
                end = end.min(run.end);
            }
            for (run, number) in [(&mut period, &mut group.period), (&mut duration, &mut group.duration)] {
                if row >= run.end {
                    run.end = run.column.run_at(row, &mut run.cursor)?.1;
                }
                *number = run.column.number(row)?;
                end = end.min(run.end);
            }
            within("labels", self.labels.len() + labels.len(), tables.limits.labels)?;
            for run in &mut labels {
                let text = run.text(tables, row)?;
                self.labels.push(text);
                end = end.min(run.end);
            }
            let group = self.group(group)?;
            for row in row..end {
                let time = columns.timestamp.number(row)?;
                self.stack.push(stack(tables, row)?);
                self.value.push(columns.value.number(row)?);
                self.time.push(if time == 0 { receive_time } else { time });
            }
            self.segments.push(Segment { end: self.stack.len() as u32, group });
            row = end;
        }
        Ok(())
    }

    fn group(&mut self, group: Group) -> Result<u32, IngestError> {
        if let Some(&id) = self.group_ids.get(&group) {
            return Ok(id);
        }
        within("kinds of samples", self.groups.len() + 1, GROUPS_MAX)?;
        let id = self.groups.len() as u32;
        self.groups.push(group.clone());
        self.group_ids.insert(group, id);
        Ok(id)
    }

    /// One profile a group.
    pub(super) fn into_batch(self, mut tables: Tables<'_>) -> Result<Batch, IngestError> {
        let width = self.label_names.len();
        let constant = self.constant_labels(width);
        let mut samples = Samples::default();
        let mut profiles = Profiles::default();
        let mut streams: Vec<Stream> = Vec::new();
        let mut stream_ids: Map<Stream, u32> = Map::default();

        // segments by group, in order within each
        let mut order: Vec<u32> = (0..self.segments.len() as u32).collect();
        if self.groups.len() > 1 {
            order.sort_by_key(|&segment| self.segments[segment as usize].group);
        }
        let mut sets: Vec<u32> = Vec::with_capacity(self.segments.len());
        let mut set: Vec<SampleLabel> = Vec::with_capacity(width);
        for (segment, labels) in
            self.segments.iter().zip(self.labels.chunks(width.max(1)).chain(std::iter::repeat(&[][..])))
        {
            let constant = &constant[segment.group as usize * width..][..width];
            set.clear();
            let own = labels.iter().zip(constant).zip(&self.label_names);
            set.extend(
                own.filter(|((text, same), _)| !**same && **text != 0).map(|((&text, _), &name)| (name, text, 0, 0)),
            );
            set.sort_unstable();
            sets.push(tables.label_set(&set)?);
        }

        let labelled = sets.iter().any(|&set| set != 0);
        let mut next = order.iter().peekable();
        while let Some(&&first) = next.peek() {
            let group_id = self.segments[first as usize].group;
            let group = &self.groups[group_id as usize];
            let begin = samples.stack.len();
            while let Some(&&segment) =
                next.peek().filter(|&&&segment| self.segments[segment as usize].group == group_id)
            {
                next.next();
                let start = if segment == 0 { 0 } else { self.segments[segment as usize - 1].end as usize };
                let rows = start..self.segments[segment as usize].end as usize;
                samples.stack.extend_from_slice(&self.stack[rows.clone()]);
                samples.values.extend_from_slice(&self.value[rows.clone()]);
                samples.time.extend_from_slice(&self.time[rows.clone()]);
                if labelled {
                    samples.label_set.extend(rows.map(|_| sets[segment as usize]));
                }
            }
            let series = self.labels[first as usize * width..][..width]
                .iter()
                .zip(&constant[group_id as usize * width..][..width])
                .zip(&self.label_names)
                .filter(|((_, same), _)| **same)
                .map(|((&text, _), &name)| (tables.text(name), tables.text(text)));
            let [name, sample_type, sample_unit, period_type, period_unit] = group.types.map(|text| tables.text(text));
            let stream = Stream {
                tenant: String::new(),
                name,
                labels: Labels::from_pairs(series),
                period_type: ValueType::new(period_type, period_unit),
                delta: group.duration != 0,
                sample_types: vec![ValueType::new(sample_type, sample_unit)],
            };
            let id = *stream_ids.entry(stream).or_insert_with_key(|stream| {
                streams.push(stream.clone());
                streams.len() as u32 - 1
            });
            let times = &samples.time[begin..];
            profiles.stream.push(id);
            profiles.time.push(times.iter().copied().min().unwrap_or(0));
            profiles.time_max.push(times.iter().copied().max().unwrap_or(0));
            profiles.duration.push(group.duration);
            profiles.period.push(group.period);
            profiles.sample_end.push(samples.stack.len() as u32);
            profiles.mapping_end.push(0);
        }
        if profiles.time == profiles.time_max {
            samples.time.clear();
        }
        Ok(Batch { streams, profiles, samples, ..tables.into_batch() })
    }

    /// Per group and label: whether all of its rows have the same value.
    fn constant_labels(&self, width: usize) -> Vec<bool> {
        let mut first: Vec<Option<usize>> = vec![None; self.groups.len()];
        let mut constant = vec![true; self.groups.len() * width];
        for (ix, segment) in self.segments.iter().enumerate() {
            let group = segment.group as usize;
            let Some(first) = first[group] else {
                first[group] = Some(ix);
                continue;
            };
            for label in 0..width {
                if self.labels[ix * width + label] != self.labels[first * width + label] {
                    constant[group * width + label] = false;
                }
            }
        }
        constant
    }
}
