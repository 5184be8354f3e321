//! What may be asked. Times are ns since the epoch, durations ns; `None` is an unset field of the wire.

use crate::error::QueryError;
use crate::view::View;

/// Bounds are exclusive, and both are ignored if either is unset or 0, as in Parca.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypesRequest {
    pub start: Option<i64>,
    pub end: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelsRequest {
    pub bounds: TypesRequest,
    /// Only labels of this profile type; empty for all.
    pub profile_type: String,
    /// Matchers such as `job="web"`; heeded only together with a profile type.
    pub matchers: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValuesRequest {
    pub bounds: TypesRequest,
    pub profile_type: String,
    pub label_name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesRequest {
    pub bounds: TypesRequest,
    /// Selectors, of which a series must match one; at least one.
    pub selectors: Vec<String>,
}

/// Values over time. Bounds are inclusive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeRequest {
    pub query: String,
    pub start: Option<i64>,
    pub end: Option<i64>,
    /// Width of a bucket; unset or 0 stands for a step that gives `limit` points, or 100.
    pub step: Option<i64>,
    /// How many points a caller wants at most where it sets no step; 0 for the default.
    pub limit: u32,
    pub sum_by: Vec<String>,
}

/// The kinds of `QueryRequest.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Single,
    Diff,
    Merge,
}

impl Mode {
    /// From the numbers of `QueryRequest.Mode`.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::Single),
            1 => Some(Self::Diff),
            2 => Some(Self::Merge),
            _ => None,
        }
    }
}

/// One profile at a time (to the millisecond), or the sum of a range (inclusive bounds).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    Single { query: String, time: Option<i64> },
    Merge { query: String, start: Option<i64>, end: Option<i64> },
}

/// One side of a diff: the mode it names and the option it holds, which must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffSide {
    pub merge: bool,
    pub selection: Option<Selection>,
}

/// `QueryRequest.options`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryOptions {
    Select(Selection),
    /// What changed from `base` (`a` on the wire) to `compare` (`b`).
    Diff {
        base: Option<DiffSide>,
        compare: Option<DiffSide>,
        absolute: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct QueryRequest {
    /// A number of `QueryRequest.Mode`.
    pub mode: i32,
    pub options: Option<QueryOptions>,
    /// A number of `QueryRequest.ReportType`.
    pub report_type: i32,
    /// Percent of its parent that a node of a flame graph must exceed; unset is 0.
    pub node_trim_threshold: Option<f32>,
    /// Whose lines a [`ReportType::Source`] is about; other reports do not look at it.
    pub source: Option<SourceReference>,
    pub view: View,
}

/// A file of a binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReference {
    /// Empty for any binary.
    pub build_id: String,
    /// The whole name of the file, or its end from behind a slash; empty for none.
    pub filename: String,
}

/// The reports, under the numbers of `QueryRequest.ReportType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportType {
    /// A flame graph as nested messages: what clients get that name no type. Never trimmed, but for the node budget.
    NestedFlameGraph = 0,
    Pprof = 1,
    Top = 2,
    CallGraph = 3,
    /// Nested messages that point into tables. Trimmed only where a threshold is given.
    NestedFlameGraphTable = 4,
    FlameGraph = 5,
    Source = 6,
    Table = 7,
    Metadata = 8,
    FlameChart = 9,
}

impl ReportType {
    const ALL: [Self; 10] = [
        Self::NestedFlameGraph,
        Self::Pprof,
        Self::Top,
        Self::CallGraph,
        Self::NestedFlameGraphTable,
        Self::FlameGraph,
        Self::Source,
        Self::Table,
        Self::Metadata,
        Self::FlameChart,
    ];

    /// From the numbers of `QueryRequest.ReportType`.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|report_type| *report_type as i32 == number)
    }
}

/// A selection whose fields are set and fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    Single { query: String, time: i64 },
    Merge { query: String, start: i64, end: i64 },
}

/// A request whose fields are set and fit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Validated {
    Select(Selected),
    Diff { base: Selected, compare: Selected, absolute: bool },
}

impl QueryRequest {
    pub(crate) fn is_diff(&self) -> bool {
        matches!(self.options, Some(QueryOptions::Diff { .. }))
    }

    /// Whether the request can be answered at all; what [`crate::Engine::query`] begins with.
    pub fn check(&self) -> Result<(), QueryError> {
        self.validate().map(drop)
    }

    /// Checks what Parca checks, in its words, before any data is touched.
    pub(crate) fn validate(&self) -> Result<(Validated, ReportType), QueryError> {
        let mut problems = Problems::default();
        let validated = match (Mode::from_number(self.mode), &self.options) {
            (_, None) => problems.add("Options", "cannot be blank"),
            (Some(Mode::Merge), Some(QueryOptions::Select(selection @ Selection::Merge { .. })))
            | (Some(Mode::Single), Some(QueryOptions::Select(selection @ Selection::Single { .. }))) => {
                problems.selection(selection).map(Validated::Select)
            }
            (Some(Mode::Diff), Some(QueryOptions::Diff { base, compare, absolute })) => {
                let base = problems.side("a", base.as_ref());
                let compare = problems.side("b", compare.as_ref());
                base.zip(compare).map(|(base, compare)| Validated::Diff { base, compare, absolute: *absolute })
            }
            _ => problems.add("Options", "invalid option for mode"),
        };
        let report_type = match ReportType::from_number(self.report_type) {
            None => problems.add("report_type", "invalid report type"),
            Some(ReportType::Source) if self.source.is_none() => problems.add("source_reference", "cannot be blank"),
            known => known,
        };
        problems.check(validated.zip(report_type))
    }
}

/// A range request whose fields are set and fit; `step` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValidatedRange {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) step: i64,
}

/// Points of a range whose request says neither step nor limit.
const POINTS_DEFAULT: i64 = 100;
/// A step that nobody asked for is no shorter: sources report every second at most.
const STEP_DERIVED_MIN: i64 = 1_000_000_000;

impl RangeRequest {
    pub(crate) fn validate(&self) -> Result<ValidatedRange, QueryError> {
        let mut problems = Problems::default();
        let bounds = problems.bounds(&self.query, self.start, self.end);
        let step = self.step.unwrap_or(0);
        if step < 0 {
            problems.add::<()>("step", "must not be negative");
        }
        let (start, end) = problems.check(bounds)?;
        let points = if self.limit == 0 { POINTS_DEFAULT } else { i64::from(self.limit) };
        let step = if step == 0 { (end.saturating_sub(start) / points).max(STEP_DERIVED_MIN) } else { step };
        Ok(ValidatedRange { start, end, step })
    }
}

/// Complaints about fields, told all at once in the order of the fields' names.
#[derive(Default)]
struct Problems(Vec<(&'static str, &'static str)>);

impl Problems {
    fn add<T>(&mut self, field: &'static str, what: &'static str) -> Option<T> {
        self.0.push((field, what));
        None
    }

    fn bounds(&mut self, query: &str, start: Option<i64>, end: Option<i64>) -> Option<(i64, i64)> {
        if query.is_empty() {
            self.add::<()>("query", "cannot be blank");
        }
        if start.is_none() {
            self.add::<()>("start", "cannot be blank");
        }
        if end.is_none() {
            self.add::<()>("end", "cannot be blank");
        }
        let (start, end) = start.zip(end)?;
        if start > end { self.add("end", "start timestamp must be before end") } else { Some((start, end)) }
    }

    fn selection(&mut self, selection: &Selection) -> Option<Selected> {
        match selection {
            Selection::Single { query, time } => {
                if query.is_empty() {
                    self.add::<()>("query", "cannot be blank");
                }
                match time {
                    None => self.add("time", "cannot be blank"),
                    Some(time) => Some(Selected::Single { query: query.clone(), time: *time }),
                }
            }
            Selection::Merge { query, start, end } => {
                let (start, end) = self.bounds(query, *start, *end)?;
                Some(Selected::Merge { query: query.clone(), start, end })
            }
        }
    }

    fn side(&mut self, name: &'static str, side: Option<&DiffSide>) -> Option<Selected> {
        let Some(side) = side else { return self.add(name, "cannot be blank") };
        match (&side.selection, side.merge) {
            (None, _) => self.add("Options", "cannot be blank"),
            (Some(selection @ Selection::Merge { .. }), true) | (Some(selection @ Selection::Single { .. }), false) => {
                self.selection(selection)
            }
            _ => self.add("Options", "invalid option for mode"),
        }
    }

    fn check<T>(mut self, value: Option<T>) -> Result<T, QueryError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => {
                self.0.sort_unstable();
                self.0.dedup();
                let told: Vec<String> = self.0.iter().map(|(field, what)| format!("{field}: {what}")).collect();
                Err(QueryError::invalid(format!("{}.", told.join("; "))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_all_at_once_in_the_order_of_names() {
        let nothing = RangeRequest::default().validate().unwrap_err();
        assert_eq!(nothing.message, "end: cannot be blank; query: cannot be blank; start: cannot be blank.");
        let inverted =
            RangeRequest { query: "q".into(), start: Some(2), end: Some(1), ..RangeRequest::default() }.validate();
        assert_eq!(inverted.unwrap_err().message, "end: start timestamp must be before end.");
    }

    #[test]
    fn an_unset_step_gives_as_many_points_as_the_limit_says() {
        let hour = 3_600_000_000_000;
        let request =
            RangeRequest { query: "q".into(), start: Some(0), end: Some(hour), limit: 360, ..RangeRequest::default() };
        assert_eq!(request.validate().unwrap().step, hour / 360);
        assert_eq!(RangeRequest { limit: 0, ..request.clone() }.validate().unwrap().step, hour / 100);
        assert_eq!(RangeRequest { step: Some(7), ..request }.validate().unwrap().step, 7);
    }

    #[test]
    fn an_option_must_fit_its_mode_and_a_report_type_must_exist() {
        let merge = |mode, report_type| QueryRequest {
            mode,
            options: Some(QueryOptions::Select(Selection::Merge { query: "q".into(), start: Some(1), end: Some(2) })),
            report_type,
            node_trim_threshold: None,
            source: None,
            view: View::default(),
        };
        let message = |request: QueryRequest| request.validate().unwrap_err().message;
        assert_eq!(message(merge(0, 5)), "Options: invalid option for mode.");
        assert_eq!(message(merge(2, 42)), "report_type: invalid report type.");
        assert_eq!(message(merge(2, -1)), "report_type: invalid report type.");
        assert_eq!(message(merge(2, 6)), "source_reference: cannot be blank.");
        for report_type in (0..10).filter(|report_type| *report_type != 6) {
            assert_eq!(merge(2, report_type).validate().unwrap().1 as i32, report_type);
        }
    }
}
