//! Stacks as a request wants to see them: without those that a filter refuses, without the frames that one
//! refuses, cut at a function, turned over, told apart by more than their names.
//!
//! What is seen are symbols and stacks again, so that every report reads them as it reads a part's own; only trees are
//! grown from them (`profile::tree::grow`) as far as they are shown. Stacks keep their numbers: one that is refused is empty and not
//! seen. A request that wants none of this costs nothing.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use profile::tree::keys::{frames_by, function_name};
use profile::tree::{FrameBy, NameTree, build_names};
use profile::{LocationIx, NONE, Symbols};
use store::part::{PartSymbols, StackSums};

use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::filter::{Criteria, Filter, FrameFilter, StackFilter, TextCondition, TextOperator};
use crate::merge::PartSums;
use crate::request::ReportType;

/// Filters of one request. Each is asked of every stack or frame.
const FILTERS_MAX: usize = 100;
/// Fields of one grouping.
const GROUP_FIELDS_MAX: usize = 100;

/// What a request asks for beside the samples and the report. In the order in which it takes place: `sandwich_by`
/// cuts stacks; stack filters look at what is left of them, and frame filters at its frames; then they are turned
/// over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub filters: Vec<Filter>,
    /// Only stacks with a function of this name, and of these what it calls: from the innermost frame of that
    /// name to the leaf. Together with `invert` its callers: from the outermost such frame to the root. Empty
    /// for all. Of a single profile and in a comparison stacks stay whole, and a part of the name is enough, as in
    /// Parca.
    pub sandwich_by: String,
    /// Leaves become roots.
    pub invert: bool,
    /// `function_name`, `function_file_name`, `mapping_file`, `location_address`, `timestamp`, `labels.<name>`.
    /// Frames are always told apart by name.
    pub group_by: Vec<String>,
}

/// A view whose fields are known, for a report.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    stack_filters: Vec<Criteria>,
    frame_filters: Vec<Vec<Criteria>>,
    sandwich_by: String,
    invert: bool,
    by: FrameBy,
    needs: Needs,
    /// Names of labels by which stacks are told apart, each once, in the order in which they were asked for.
    pub(crate) labels: Vec<String>,
    by_time: bool,
}

/// What a report is made of, beside stacks and their sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Which frames there are: trees are grown from the stacks of all parts.
    Frames,
    /// A tree for each part.
    #[default]
    Trees,
}

impl Look {
    pub(crate) fn new(view: &View) -> Result<Self, QueryError> {
        let most = |what: &str, len: usize, max: usize| {
            if len <= max {
                return Ok(());
            }
            Err(QueryError::invalid(format!("{what}: {len} are more than the {max} that a request may have")))
        };
        most("filter", view.filters.len(), FILTERS_MAX)?;
        most("group_by", view.group_by.len(), GROUP_FIELDS_MAX)?;
        let mut look = Self { sandwich_by: view.sandwich_by.clone(), invert: view.invert, ..Self::default() };
        for filter in &view.filters {
            match filter {
                Filter::Stack(criteria) => look.stack_filters.push(criteria.clone()),
                Filter::Frame(any) => look.frame_filters.push(any.clone()),
            }
        }
        for field in &view.group_by {
            match field.as_str() {
                "function_name" => {}
                "function_file_name" => look.by.filename = true,
                "mapping_file" => look.by.mapping_file = true,
                "location_address" => look.by.address = true,
                "timestamp" => look.by_time = true,
                other => match other.strip_prefix("labels.") {
                    Some(label) if look.labels.iter().any(|known| known == label) => {}
                    Some(label) => look.labels.push(label.to_owned()),
                    None => return Err(QueryError::invalid(format!("invalid group by field: {field}"))),
                },
            }
        }
        Ok(look)
    }

    /// The same where stacks stay whole: of a single profile, and in a comparison.
    pub(crate) fn keep_whole(&mut self) {
        let text = std::mem::take(&mut self.sandwich_by);
        if !text.is_empty() {
            let condition = TextCondition { operator: TextOperator::Contains, text, negated: false };
            self.stack_filters.push(Criteria { function_name: Some(condition), ..Criteria::default() });
        }
    }

    /// Leaves out the groupings that a report does not show, as Parca does, and gives the report that shows the rest:
    /// a flame graph over time is a flame chart.
    pub(crate) fn fit(&mut self, report_type: ReportType) -> ReportType {
        let report_type = match report_type {
            ReportType::FlameGraph if self.by_time => ReportType::FlameChart,
            other => other,
        };
        match report_type {
            ReportType::FlameGraph | ReportType::FlameChart => {}
            ReportType::Pprof => self.by = FrameBy::default(),
            _ => {
                self.by = FrameBy::default();
                self.labels.clear();
            }
        }
        self.needs = match report_type {
            ReportType::Pprof | ReportType::Source | ReportType::Metadata => Needs::Nothing,
            ReportType::FlameChart => Needs::Trees,
            _ if self.reshapes() || !self.labels.is_empty() => Needs::Frames,
            _ => Needs::Trees,
        };
        report_type
    }

    /// Whether the parts' own trees are what is shown.
    pub(crate) fn needs_trees(&self) -> bool {
        self.needs == Needs::Trees && !self.reshapes()
    }

    /// Whether stacks are seen as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.stack_filters.is_empty() && !self.reshapes()
    }

    fn reshapes(&self) -> bool {
        let Self { frame_filters, sandwich_by, invert, by, .. } = self;
        !frame_filters.is_empty() || !sandwich_by.is_empty() || *invert || *by != FrameBy::default()
    }

    /// What is seen of `part`, in place; gives the value of the stacks that are not.
    pub(crate) fn apply(&self, engine: &Engine, context: &Context, part: &mut PartSums) -> Result<i64, QueryError> {
        let mut filtered = 0i64;
        if !self.sandwich_by.is_empty() {
            part.leases.push(engine.lease(Size::of(part).bytes(BYTES_PER_SHAPE_FRAME, BYTES_PER_SHAPE))?);
            let whole = part.symbols.clone();
            let mut cut = Shape {
                cut: Some(Cut::new(&whole.symbols, &self.sandwich_by, self.invert)),
                frames: FrameFilter::new(&whole.symbols, []),
                invert: false,
            };
            let (symbols, gone) = reshape(context, &whole, &mut part.sums, &mut cut)?;
            (part.symbols, filtered) = (Arc::new(symbols), gone);
        }
        if !self.stack_filters.is_empty() {
            let PartSums { symbols, sums, .. } = part;
            let mut filter = StackFilter::new(&symbols.symbols, &self.stack_filters);
            for (stack, seen) in sums.seen.iter_mut().enumerate().filter(|(_, seen)| **seen) {
                if !filter.keeps(symbols.stacks.get(stack as u32)) {
                    *seen = false;
                    filtered = filtered.wrapping_add(std::mem::take(&mut sums.sum[stack]));
                }
            }
            context.check()?;
        }
        if self.invert || !self.frame_filters.is_empty() {
            part.leases.push(engine.lease(Size::of(part).bytes(BYTES_PER_SHAPE_FRAME, BYTES_PER_SHAPE))?);
            let whole = part.symbols.clone();
            let frames = FrameFilter::new(&whole.symbols, self.frame_filters.iter().map(Vec::as_slice));
            let (symbols, _) =
                reshape(context, &whole, &mut part.sums, &mut Shape { cut: None, frames, invert: self.invert })?;
            part.symbols = Arc::new(symbols);
        }
        match self.needs {
            Needs::Frames => {
                part.leases.push(engine.lease(Size::of(part).bytes(BYTES_PER_RUN_FRAME, BYTES_PER_RUN))?);
                let (frames, rows) = frames_by(&part.symbols.symbols, self.by);
                part.name_tree = Arc::new(NameTree { frames, ..NameTree::default() });
                part.frame_rows = Some(rows);
            }
            Needs::Trees if self.reshapes() => {
                part.leases.push(engine.lease(Size::of(part).bytes(BYTES_PER_TREE_FRAME, BYTES_PER_TREE_STACK))?);
                let PartSymbols { symbols, stacks } = &*part.symbols;
                part.name_tree = Arc::new(build_names(symbols, stacks, &part.sums.seen, self.by));
            }
            Needs::Nothing | Needs::Trees => {}
        }
        context.check()?;
        Ok(filtered)
    }
}

/// How much is seen of a part.
pub(crate) struct Size {
    /// All of the part's.
    pub(crate) stacks: usize,
    /// Of the stacks that are seen, a location counting as one.
    pub(crate) frames: usize,
}

impl Size {
    pub(crate) fn of(part: &PartSums) -> Self {
        let stacks = &part.symbols.stacks;
        let seen = part.sums.seen.iter().enumerate().filter(|(_, seen)| **seen);
        Self { stacks: stacks.len(), frames: seen.map(|(stack, _)| stacks.get(stack as u32).len()).sum() }
    }

    fn bytes(&self, per_frame: usize, per_stack: usize) -> usize {
        self.frames * per_frame + self.stacks * per_stack
    }
}

/// Another shape of a stack.
const BYTES_PER_SHAPE_FRAME: usize = size_of::<LocationIx>();
const BYTES_PER_SHAPE: usize = size_of::<u32>();
/// A stack as a run of frames, and where it parts from others.
const BYTES_PER_RUN_FRAME: usize = size_of::<u32>();
const BYTES_PER_RUN: usize = 160;
/// What a frame of a seen stack costs in both trees and while they are sorted.
const BYTES_PER_TREE_FRAME: usize = 32;
const BYTES_PER_TREE_STACK: usize = 24;
const STACKS_PER_CHECK: usize = 1 << 14;

/// What becomes of each stack.
struct Shape<'c, 's> {
    cut: Option<Cut<'s>>,
    frames: FrameFilter<'c, 's>,
    invert: bool,
}

/// Tables and stacks of what is left, and the value of the stacks that are gone.
fn reshape(
    context: &Context,
    whole: &PartSymbols,
    sums: &mut StackSums,
    shape: &mut Shape<'_, '_>,
) -> Result<(PartSymbols, i64), QueryError> {
    let symbols = &whole.symbols;
    let mut tables = Tables::new(symbols);
    let mut out = PartSymbols::default();
    out.stacks.end.reserve(whole.stacks.len());
    let mut gone = 0i64;
    let mut run: Vec<LocationIx> = Vec::new();
    for stack in 0..whole.stacks.len() {
        if stack % STACKS_PER_CHECK == 0 {
            context.check()?;
        }
        run.clear();
        if sums.seen[stack] {
            let locations = whole.stacks.get(stack as u32);
            let kept = match &mut shape.cut {
                None => Some(Piece::whole(locations)),
                Some(cut) => cut.of(locations),
            };
            match kept {
                None => {
                    sums.seen[stack] = false;
                    gone = gone.wrapping_add(std::mem::take(&mut sums.sum[stack]));
                }
                Some(piece) => {
                    for (location, lines) in piece.locations(symbols) {
                        run.extend(tables.location(&mut shape.frames, location, lines));
                    }
                }
            }
            if shape.invert {
                run.reverse();
            }
        }
        out.stacks.push(&run);
    }
    out.symbols = tables.symbols;
    Ok((out, gone))
}

/// Rows of lines within a location's run; empty for a location without lines.
type LineRange = (u32, u32);

/// Where stacks are cut.
struct Cut<'a> {
    symbols: &'a Symbols,
    name: &'a [u8],
    /// Seek from the root, and keep what lies towards it.
    outermost: bool,
    /// Per location, once asked: the line that has the name, or [`NONE`]; of several the one that is met first.
    found: Vec<Option<u32>>,
}

impl<'a> Cut<'a> {
    fn new(symbols: &'a Symbols, name: &'a str, outermost: bool) -> Self {
        let found = if name.is_empty() { Vec::new() } else { vec![None; symbols.locations.len()] };
        Self { symbols, name: name.as_bytes(), outermost, found }
    }

    fn line(&mut self, location: LocationIx) -> u32 {
        let Self { symbols, name, outermost, found } = self;
        *found[location as usize].get_or_insert_with(|| {
            let mut named = symbols.locations.lines(location).filter(|&line| {
                let function = symbols.lines.function[line];
                function != NONE && symbols.strings.get(function_name(symbols, function)) == *name
            });
            let line = if *outermost { named.next_back() } else { named.next() };
            line.map_or(NONE, |line| line as u32)
        })
    }

    /// What is kept of a stack; `None` for nothing.
    fn of<'s>(&mut self, stack: &'s [LocationIx]) -> Option<Piece<'s>> {
        let outermost = self.outermost;
        let mut has = |position: &usize| self.line(stack[*position]) != NONE;
        let position = match outermost {
            true => (0..stack.len()).rev().find(&mut has),
            false => (0..stack.len()).find(&mut has),
        }?;
        let line = self.line(stack[position]);
        Some(match outermost {
            true => Piece { locations: &stack[position..], first_line: Some(line), last_line: None },
            false => Piece { locations: &stack[..=position], first_line: None, last_line: Some(line) },
        })
    }
}

/// A run of a stack, leaf first, whose ends may lie between the lines of a location.
struct Piece<'s> {
    locations: &'s [LocationIx],
    /// Of the first location what lies before this row of lines is not in it.
    first_line: Option<u32>,
    /// Of the last location what lies behind it.
    last_line: Option<u32>,
}

impl<'s> Piece<'s> {
    fn whole(locations: &'s [LocationIx]) -> Self {
        Self { locations, first_line: None, last_line: None }
    }

    fn locations(&self, symbols: &Symbols) -> impl Iterator<Item = (LocationIx, LineRange)> {
        let last = self.locations.len().wrapping_sub(1);
        self.locations.iter().enumerate().map(move |(position, &location)| {
            let lines = symbols.locations.lines(location);
            let first = self.first_line.filter(|_| position == 0).unwrap_or(lines.start as u32);
            let end = self.last_line.filter(|_| position == last).map_or(lines.end as u32, |line| line + 1);
            (location, (first, end))
        })
    }
}

/// Symbol tables of what is seen, row by row as it is met.
struct Tables<'a> {
    from: &'a Symbols,
    symbols: Symbols,
    string: Vec<u32>,
    mapping: Vec<u32>,
    function: Vec<u32>,
    /// Whole locations.
    location: Vec<Option<Kept>>,
    /// Those that are cut.
    piece: HashMap<(LocationIx, LineRange), Kept, RandomState>,
}

/// A row of the new locations, unless every frame is refused.
type Kept = Option<LocationIx>;

impl<'a> Tables<'a> {
    fn new(from: &'a Symbols) -> Self {
        let mut tables = Self {
            from,
            symbols: Symbols { strings: profile::Strings::with_empty(), ..Symbols::default() },
            string: vec![NONE; from.strings.len()],
            mapping: vec![NONE; from.mappings.len()],
            function: vec![NONE; from.functions.len()],
            location: vec![None; from.locations.len()],
            piece: HashMap::default(),
        };
        tables.string[0] = 0;
        tables
    }

    fn location(&mut self, filter: &mut FrameFilter<'_, '_>, location: LocationIx, lines: LineRange) -> Kept {
        let all = self.from.locations.lines(location);
        if (all.start as u32, all.end as u32) == lines {
            if let Some(known) = self.location[location as usize] {
                return known;
            }
            let kept = self.add(filter, location, lines);
            self.location[location as usize] = Some(kept);
            return kept;
        }
        if let Some(&known) = self.piece.get(&(location, lines)) {
            return known;
        }
        let kept = self.add(filter, location, lines);
        self.piece.insert((location, lines), kept);
        kept
    }

    fn add(&mut self, filter: &mut FrameFilter<'_, '_>, location: LocationIx, (first, end): LineRange) -> Kept {
        let from = self.from;
        let row = location as usize;
        let begin = self.symbols.lines.line.len();
        for line in (first..end).filter(|&line| filter.keeps(location, line)) {
            let function = self.function(from.lines.function[line as usize]);
            let lines = &mut self.symbols.lines;
            lines.function.push(function);
            lines.line.push(from.lines.line[line as usize]);
            lines.column.push(from.lines.column[line as usize]);
        }
        let lines = self.symbols.lines.line.len();
        if if first == end { !filter.keeps(location, NONE) } else { lines == begin } {
            return None;
        }
        let mapping = self.mapping(from.locations.mapping[row]);
        let locations = &mut self.symbols.locations;
        locations.mapping.push(mapping);
        locations.address.push(from.locations.address[row]);
        locations.is_folded.push(from.locations.is_folded[row]);
        locations.line_end.push(lines as u32);
        Some(locations.len() as u32 - 1)
    }

    fn string(&mut self, string: u32) -> u32 {
        let row = &mut self.string[string as usize];
        if *row == NONE {
            *row = self.symbols.strings.push(self.from.strings.get(string));
        }
        *row
    }

    fn mapping(&mut self, mapping: u32) -> u32 {
        if mapping == NONE || self.mapping[mapping as usize] != NONE {
            return if mapping == NONE { NONE } else { self.mapping[mapping as usize] };
        }
        let (from, row) = (&self.from.mappings, mapping as usize);
        let (file, build_id) = (self.string(from.file[row]), self.string(from.build_id[row]));
        self.mapping[row] = self.symbols.mappings.push(file, build_id, from.range(row), from.flags[row]);
        self.mapping[row]
    }

    fn function(&mut self, function: u32) -> u32 {
        if function == NONE || self.function[function as usize] != NONE {
            return if function == NONE { NONE } else { self.function[function as usize] };
        }
        let (from, row) = (&self.from.functions, function as usize);
        let texts = from.texts(row).map(|text| self.string(text));
        self.function[row] = self.symbols.functions.push(texts, from.start_line[row]);
        self.function[row]
    }
}
