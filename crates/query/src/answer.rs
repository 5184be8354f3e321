//! From a validated request to a report.

use std::sync::Arc;

use profile::StackIx;
use profile::tree::grow::Places;
use profile::tree::weigh::seen_nodes;
use profile::tree::{Change, FrameUnion, Key, Sorted, Sorter, Sums, Weight, WeightedTree, join};
use store::part::{PartSymbols, StackSums};

use crate::apart::{Apart, Group, apart};
use crate::callgraph;
use crate::chart;
use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::export;
use crate::flame::{self, Cut, Trim};
use crate::groups::LabelValues;
use crate::merge::{PartSums, Scope, Side, in_parallel};
use crate::metadata;
use crate::nested;
use crate::report::{QueryReply, Report};
use crate::request::{QueryRequest, ReportType, Selected, Validated};
use crate::source;
use crate::table;
use crate::top;
use crate::view::{Look, Size};

pub(crate) fn query(engine: &Engine, context: &Context, request: &QueryRequest) -> Result<QueryReply, QueryError> {
    let (validated, report_type) = request.validate()?;
    let mut look = Look::new(&request.view)?;
    let report_type = look.fit(report_type);
    if !matches!(validated, Validated::Select(Selected::Merge { .. })) {
        look.keep_whole();
    }
    let look = Arc::new(look);
    let (scope, base) = match &validated {
        Validated::Select(selected) => (Scope::new(selected, &look)?, None),
        Validated::Diff { base, compare, absolute } => {
            (Scope::new(compare, &look)?, Some((Scope::new(base, &look)?, *absolute)))
        }
    };
    if report_type == ReportType::Metadata {
        // of a diff: of what is compared
        let metadata = if scope.single { None } else { Some(metadata::merged(engine, context, &scope)?) };
        return Ok(QueryReply { total: 0, filtered: 0, report: Report::Metadata(metadata) });
    }
    let Some((base_scope, absolute)) = base else {
        if report_type == ReportType::Pprof {
            let (pprof, filtered) = export::select(engine, context, &scope)?;
            return Ok(QueryReply { total: 0, filtered, report: Report::Pprof(pprof) });
        }
        if report_type == ReportType::FlameChart {
            let cut = cut_of(engine, request, report_type);
            let unit = scope.value_type().unit.clone();
            let (chart, total, filtered) = chart::chart(engine, context, &scope, unit, cut)?;
            return Ok(QueryReply { total, filtered, report: Report::FlameGraph(chart) });
        }
        let side = Side::sum(engine, context, &scope)?;
        if let Some(reference) = &request.source
            && report_type == ReportType::Source
        {
            let unit = scope.value_type().unit.clone();
            let lines = source::lines(context, &side.parts, &[], unit, reference)?;
            return Ok(QueryReply { total: side.total, filtered: side.filtered, report: Report::Source(lines) });
        }
        let parts: Vec<&PartSums> = side.parts.iter().collect();
        let cut = cut_of(engine, request, report_type);
        let merged = Merged::new(engine, context, &parts, cut, |value, _| value)?;
        let report = merged.report(engine, context, request, report_type, &scope)?;
        return Ok(QueryReply { total: side.total, filtered: side.filtered, report });
    };

    if report_type == ReportType::FlameChart {
        return Err(chart::of_a_diff());
    }
    let base = Side::sum(engine, context, &base_scope)
        .map_err(|error| QueryError { message: in_diff("base", &error), ..error })?;
    let compare = Side::sum(engine, context, &scope)
        .map_err(|error| QueryError { message: in_diff("compare", &error), ..error })?;
    let scale = if absolute { 1.0 } else { scale(base.whole(), compare.whole()) };
    if report_type == ReportType::Pprof {
        let pprof = export::diff(engine, context, &scope, &base, &compare, scale)?;
        return Ok(QueryReply { total: 0, filtered: compare.filtered, report: Report::Pprof(pprof) });
    }
    if let Some(reference) = &request.source
        && report_type == ReportType::Source
    {
        let unit = scope.value_type().unit.clone();
        let lines = source::lines(context, &compare.parts, &base.parts, unit, reference)?;
        return Ok(QueryReply { total: compare.total, filtered: compare.filtered, report: Report::Source(lines) });
    }
    // what is compared comes first: metadata is the first contributor's
    let parts: Vec<&PartSums> = compare.parts.iter().chain(&base.parts).collect();
    let merged = Merged::new(engine, context, &parts, cut_of(engine, request, report_type), |value, index| {
        match index < compare.parts.len() {
            true => Change { value, diff: value },
            false => Change { value: 0, diff: scaled(value, scale).wrapping_neg() },
        }
    })?;
    let report = merged.report(engine, context, request, report_type, &scope)?;
    Ok(QueryReply { total: compare.total, filtered: compare.filtered, report })
}

/// What a flame graph leaves out.
fn cut_of(engine: &Engine, request: &QueryRequest, report_type: ReportType) -> Cut {
    let threshold = request.node_trim_threshold.unwrap_or(0.0);
    let trim = match report_type {
        ReportType::NestedFlameGraph => Trim::Nothing,
        ReportType::NestedFlameGraphTable if threshold > 0.0 => Trim::Below(threshold),
        ReportType::NestedFlameGraphTable => Trim::Nothing,
        _ => Trim::UpTo(threshold),
    };
    Cut { trim, node_budget: engine.options().node_budget }
}

/// Parca's words for a side of a diff that failed.
fn in_diff(side: &str, error: &QueryError) -> String {
    match error.kind {
        crate::ErrorKind::NotFound => {
            format!("reading {side} profile: rpc error: code = NotFound desc = {}", error.message)
        }
        _ => format!("reading {side} profile: {}", error.message),
    }
}

/// By how much the base is multiplied in a relative diff, so that both sides have one total.
fn scale(base: i64, compare: i64) -> f64 {
    if base <= 0 || compare <= 0 { 1.0 } else { compare as f64 / base as f64 }
}

/// Cut towards 0, at most the bounds of `i64`.
pub(crate) fn scaled(value: i64, scale: f64) -> i64 {
    if scale == 1.0 { value } else { (value as f64 * scale) as i64 }
}

/// What one part holds.
pub(crate) struct Slice {
    /// Index into the merged parts.
    pub(crate) part: usize,
    /// Of each node of the part's name tree, whether a seen stack passes through it.
    pub(crate) seen: Vec<bool>,
}

/// Stacks that are told apart or seen otherwise: of them there is no tree of each part, and none as a whole.
pub(crate) struct Grown<'a, W> {
    pub(crate) runs: Runs,
    pub(crate) what: Stems<'a, W>,
}

/// All stacks of all parts.
pub(crate) struct Runs {
    pub(crate) sorted: Sorted,
    /// The run of each part's first stack.
    pub(crate) first: Vec<u32>,
}

impl Runs {
    /// Part and number of the stack at a place.
    pub(crate) fn stack(&self, place: u32) -> (usize, StackIx) {
        let run = self.sorted.order[place as usize];
        // the last of those that begin there: others have no stack
        let part = self.first.partition_point(|first| *first <= run) - 1;
        (part, run - self.first[part])
    }
}

pub(crate) enum Stems<'a, W> {
    All(Sums<W>),
    /// In order; what has none of the labels comes first, if it is there.
    Groups(Vec<Group<'a>>),
}

impl<'a, W: Weight> Grown<'a, W> {
    /// What is shown of everything; groups are in [`Merged::tree`].
    pub(crate) fn tree(&self, cut: Cut) -> Option<(WeightedTree<W>, Vec<W>)> {
        let Stems::All(sums) = &self.what else { return None };
        let enough = sums.enough(sums.total().value(), cut.keeps());
        let places = Places::new(cut.node_budget.max(1) - 1, sums.values(&enough).collect());
        Some(sums.tree(&self.runs.sorted, &enough, places))
    }
}

/// All parts' trees as one, and what leads back to the parts.
pub(crate) struct Merged<'a, W> {
    pub(crate) parts: Vec<&'a PartSums>,
    /// In the order of the parts.
    pub(crate) slices: Vec<Slice>,
    pub(crate) union: FrameUnion,
    /// The groups that have a label, in order. Each has a node below the root, whose frame follows those of the
    /// union: group 0 is frame `union.key.len()`.
    pub(crate) groups: Vec<&'a LabelValues>,
    pub(crate) tree: WeightedTree<W>,
    /// What there is in place of the parts' trees. Unless there are groups, `tree` is the root alone then.
    pub(crate) grown: Option<Grown<'a, W>>,
    /// Per node of the tree the value of its whole subtree; of groups also that of what is not in the tree any more.
    pub(crate) cumulative: Vec<W>,
    /// Nodes on the longest path before anything was left out, the root included.
    pub(crate) height: usize,
}

impl<'a, W: Weight> Merged<'a, W> {
    /// `weigh` makes a weight of a sum of the part of that index. Of groups there is what `cut` may leave of them.
    fn new(
        engine: &Engine,
        context: &Context,
        parts: &[&'a PartSums],
        cut: Cut,
        weigh: impl Fn(i64, usize) -> W + Sync,
    ) -> Result<Self, QueryError> {
        let keys: Vec<&[Key]> = parts.iter().map(|part| part.name_tree.frames.key.as_slice()).collect();
        let union = FrameUnion::new(&keys);
        let parts = parts.to_vec();
        if parts.iter().any(|part| part.frame_rows.is_some()) {
            return Self::grown(engine, context, parts, union, cut, &weigh);
        }
        let indices: Vec<usize> = (0..parts.len()).collect();
        let of_parts = in_parallel(engine.options().threads, &indices, |&index| {
            context.check()?;
            Ok(whole(parts[index], index, |value| weigh(value, index), &union.row[index]))
        })?;
        context.check()?;
        let (slices, trees): (Vec<_>, Vec<_>) = of_parts.into_iter().unzip();
        let tree = join(trees);
        context.check()?;
        let (cumulative, height) = (tree.cumulative(), tree.height());
        Ok(Self { parts, slices, union, groups: Vec::new(), tree, grown: None, cumulative, height })
    }

    /// Of stacks without trees.
    fn grown(
        engine: &Engine,
        context: &Context,
        parts: Vec<&'a PartSums>,
        union: FrameUnion,
        cut: Cut,
        weigh: &(impl Fn(i64, usize) -> W + Sync),
    ) -> Result<Self, QueryError> {
        let runs = sort(context, &parts, &union)?;
        context.check()?;
        if parts.iter().any(|part| part.groups.is_some()) {
            let Apart { groups: all, tree, cumulative, height } =
                apart(engine, context, &parts, &runs, union.key.len(), cut, weigh)?;
            let groups = all.iter().filter_map(|group| group.labels).collect();
            let grown = Some(Grown { runs, what: Stems::Groups(all) });
            return Ok(Self { parts, slices: Vec::new(), union, groups, tree, grown, cumulative, height });
        }
        let weights = parts.iter().enumerate().flat_map(|(index, part)| {
            let StackSums { sum, seen } = &part.sums;
            sum.iter().zip(seen).map(move |(&sum, &seen)| seen.then(|| weigh(sum, index)))
        });
        let weights: Vec<Option<W>> = weights.collect();
        let some = (0..).zip(&runs.sorted.order).filter_map(|(place, &run)| Some((place, weights[run as usize]?)));
        let sums = Sums::new(&runs.sorted, some);
        context.check()?;
        let (tree, cumulative, height) = (sums.root(), vec![sums.total()], sums.height());
        let grown = Some(Grown { runs, what: Stems::All(sums) });
        Ok(Self { parts, slices: Vec::new(), union, groups: Vec::new(), tree, grown, cumulative, height })
    }

    /// `visit(depth, frame, weight of what ends there, weight of the subtree)` for every node but the root, in preorder.
    pub(crate) fn each_node(&self, mut visit: impl FnMut(u16, u32, W, W)) {
        if let Some(Grown { runs, what: Stems::All(sums) }) = &self.grown {
            return sums.each_node(&runs.sorted, visit);
        }
        let WeightedTree { depth, frame, flat, .. } = &self.tree;
        for node in 1..depth.len() {
            visit(depth[node], frame[node], flat[node], self.cumulative[node]);
        }
    }

    /// Which of `groups` a frame stands for, if it is none of the union's.
    pub(crate) fn group(&self, frame: u32) -> Option<u32> {
        // the root's is the largest number
        let group = (frame as usize).checked_sub(self.union.key.len())?;
        (group < self.groups.len()).then_some(group as u32)
    }

    fn report(
        &self,
        engine: &Engine,
        context: &Context,
        request: &QueryRequest,
        report_type: ReportType,
        scope: &Scope,
    ) -> Result<Report, QueryError> {
        let unit = scope.value_type().unit.clone();
        let cut = cut_of(engine, request, report_type);
        let report = match report_type {
            ReportType::Table => Report::Table(table::table(context, self, unit, request.is_diff())?),
            ReportType::Top => Report::Top(top::top(context, self, unit)?),
            ReportType::CallGraph => Report::CallGraph(callgraph::call_graph(context, self)?),
            ReportType::NestedFlameGraph | ReportType::NestedFlameGraphTable => {
                let tables = report_type == ReportType::NestedFlameGraphTable;
                Report::NestedFlameGraph(nested::nested(engine, context, self, unit, cut, tables)?)
            }
            _ => Report::FlameGraph(flame::flame_graph(engine, context, self, &scope.look.labels, unit, cut)?),
        };
        Ok(report)
    }
}

/// Everything that a part holds.
fn whole<W: Weight>(
    part: &PartSums,
    index: usize,
    weigh: impl Fn(i64) -> W,
    frame_row: &[u32],
) -> (Slice, WeightedTree<W>) {
    let tree = &part.name_tree;
    let seen = seen_nodes(&tree.depth, &tree.stack_node, &part.sums.seen);
    let weights = part.sums.sum.iter().map(|&sum| weigh(sum));
    let weighted = WeightedTree::new(tree, weights, &part.sums.seen, &seen, frame_row);
    (Slice { part: index, seen }, weighted)
}

fn sort(context: &Context, parts: &[&PartSums], union: &FrameUnion) -> Result<Runs, QueryError> {
    let sizes: Vec<Size> = parts.iter().map(|part| Size::of(part)).collect();
    let mut sorter =
        Sorter::with_capacity(sizes.iter().map(|size| size.stacks).sum(), sizes.iter().map(|size| size.frames).sum());
    let mut first = Vec::with_capacity(parts.len());
    let mut runs = 0;
    for (index, part) in parts.iter().enumerate() {
        context.check()?;
        first.push(runs);
        let PartSymbols { symbols, stacks } = &*part.symbols;
        runs += stacks.len() as u32;
        let rows = part.frame_rows.clone().unwrap_or_default().within(&union.row[index]);
        sorter.add(symbols, stacks, &part.sums.seen, &rows);
    }
    Ok(Runs { sorted: sorter.sort(), first })
}
