//! From a validated request to a report.

use std::sync::Arc;

use profile::tree::{Change, FrameUnion, Key, Weight, WeightedTree, join};

use crate::callgraph;
use crate::chart;
use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::export;
use crate::flame::{self, Trim};
use crate::merge::{PartSums, Scope, Side, in_parallel};
use crate::metadata;
use crate::nested;
use crate::report::{QueryReply, Report};
use crate::request::{QueryRequest, ReportType, Selected, Validated};
use crate::source;
use crate::table;
use crate::top;
use crate::view::Look;

pub(crate) fn query(engine: &Engine, context: &Context, request: &QueryRequest) -> Result<QueryReply, QueryError> {
    let (validated, report_type) = request.validate()?;
    let mut look = Look::new(&request.view)?;
    if !matches!(report_type, ReportType::FlameGraph | ReportType::FlameChart) {
        look.by_function();
    }
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
            let trim = Trim::UpTo(request.node_trim_threshold.unwrap_or(0.0));
            let cut = flame::Cut { trim, node_budget: engine.options().node_budget };
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
        let merged = Merged::new(engine, context, &parts, |part, _| part.sums.sum.clone())?;
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
        let pprof = export::diff(context, &scope, &base, &compare, scale)?;
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
    let merged = Merged::new(engine, context, &parts, |part, index| {
        let sums = part.sums.sum.iter();
        if index < compare.parts.len() {
            sums.map(|&value| Change { value, diff: value }).collect()
        } else {
            sums.map(|&value| Change { value: 0, diff: scaled(value, scale).wrapping_neg() }).collect()
        }
    })?;
    let report = merged.report(engine, context, request, report_type, &scope)?;
    Ok(QueryReply { total: compare.total, filtered: compare.filtered, report })
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

/// All parts' trees as one, and what leads back to the parts.
pub(crate) struct Merged<'a, W> {
    pub(crate) parts: Vec<&'a PartSums>,
    /// Per part: which nodes of its name tree a seen stack passes through.
    pub(crate) seen: Vec<Vec<bool>>,
    pub(crate) union: FrameUnion,
    pub(crate) tree: WeightedTree<W>,
}

impl<'a, W: Weight> Merged<'a, W> {
    fn new(
        engine: &Engine,
        context: &Context,
        parts: &[&'a PartSums],
        weights: impl Fn(&PartSums, usize) -> Vec<W> + Sync,
    ) -> Result<Self, QueryError> {
        let keys: Vec<&[Key]> = parts.iter().map(|part| part.name_tree.frames.key.as_slice()).collect();
        let union = FrameUnion::new(&keys);
        let indices: Vec<usize> = (0..parts.len()).collect();
        let trees = in_parallel(engine.options().threads, &indices, |&index| {
            context.check()?;
            let part = parts[index];
            let tree = &part.name_tree;
            let seen = profile::tree::weigh::seen_nodes(&tree.depth, &tree.stack_node, &part.sums.seen);
            let weights = weights(part, index);
            Ok((WeightedTree::new(tree, weights, &part.sums.seen, &seen, &union.row[index]), seen))
        })?;
        let (trees, seen): (Vec<_>, Vec<_>) = trees.into_iter().unzip();
        context.check()?;
        Ok(Self { parts: parts.to_vec(), seen, union, tree: join(trees) })
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
        let (threshold, node_budget) = (request.node_trim_threshold.unwrap_or(0.0), engine.options().node_budget);
        let report = match report_type {
            ReportType::Table => Report::Table(table::table(context, self, unit, request.is_diff())?),
            ReportType::Top => Report::Top(top::top(context, self, unit)?),
            ReportType::CallGraph => Report::CallGraph(callgraph::call_graph(context, self)?),
            ReportType::NestedFlameGraph => {
                let cut = flame::Cut { trim: Trim::Nothing, node_budget };
                Report::NestedFlameGraph(nested::nested(engine, context, self, unit, cut, false)?)
            }
            ReportType::NestedFlameGraphTable => {
                let trim = if threshold > 0.0 { Trim::Below(threshold) } else { Trim::Nothing };
                let cut = flame::Cut { trim, node_budget };
                Report::NestedFlameGraph(nested::nested(engine, context, self, unit, cut, true)?)
            }
            _ => {
                let cut = flame::Cut { trim: Trim::UpTo(threshold), node_budget };
                Report::FlameGraph(flame::flame_graph(engine, context, self, unit, cut)?)
            }
        };
        Ok(report)
    }
}
