//! Filters, sandwiches, inversion and what frames are told apart by, against an oracle that applies them stack by stack,
//! frame by frame.

use query::filter::{Criteria, Filter, NumberCondition, TextCondition, TextOperator};
use query::request::{DiffSide, QueryOptions};
use query::{QueryReply, Report, View};

use crate::oracle::Node;
use crate::random::{Line, Location, Random, START, profiles};
use crate::reports::{Question, ask_for, canonical, engine, rows};

fn text(random: &mut Random, values: &[&str]) -> Option<TextCondition> {
    let operator = *random.pick(&[TextOperator::Equal, TextOperator::Contains, TextOperator::StartsWith]);
    let value = *random.pick(values);
    random.chance(4).then(|| TextCondition { operator, text: value.to_owned(), negated: random.chance(2) })
}

fn number(random: &mut Random, values: &[u64]) -> Option<NumberCondition> {
    let equal = *random.pick(values);
    random.chance(6).then(|| NumberCondition { equal, negated: random.chance(2) })
}

fn criteria(random: &mut Random) -> Criteria {
    Criteria {
        function_name: text(random, &["MAIN", "ma", "o", "alloc", "größe", ""]),
        system_name: text(random, &["work", "FR", ""]),
        binary: text(random, &["app", "APP", "noid.so", "lib", ""]),
        filename: text(random, &["a.go", ".go", "B"]),
        address: number(random, &[START, START + 1, 2]),
        line_number: number(random, &[1, 2, 3]),
    }
}

pub fn view(random: &mut Random) -> View {
    let filters = (0..random.below(3))
        .map(|_| match random.below(2) {
            0 => Filter::Stack(criteria(random)),
            _ => Filter::Frame((0..1 + random.below(2)).map(|_| criteria(random)).collect()),
        })
        .collect();
    let fields = ["function_file_name", "function_name", "mapping_file", "location_address"];
    View {
        filters,
        sandwich_by: (*random.pick(&["", "", "work", "main", "größe", "MAIN"])).to_owned(),
        invert: random.chance(3),
        group_by: fields.iter().filter(|_| random.chance(4)).map(|&field| field.to_owned()).collect(),
    }
}

/// What a frame has of each field; the outer `None` for a field that it has not.
struct Frame<'a> {
    location: &'a Location,
    line: Option<&'a Line>,
}

impl Frame<'_> {
    fn texts(&self) -> [Option<&str>; 4] {
        let function = self.line.and_then(|line| line.function);
        [
            function.map(|(name, system_name, ..)| if name.is_empty() { system_name } else { name }),
            function.map(|(_, system_name, ..)| system_name),
            self.location.binary.map(|(file, _)| &file[file.rfind('/').map_or(0, |slash| slash + 1)..]),
            function.map(|(_, _, filename, _)| filename),
        ]
    }

    fn address(&self) -> u64 {
        self.location.address + if self.location.binary.is_some() { START } else { 0 }
    }
}

fn is_named(text: &str, condition: &TextCondition) -> bool {
    let (text, wanted) = (text.to_ascii_lowercase(), condition.text.to_ascii_lowercase());
    match condition.operator {
        TextOperator::Equal => text == wanted,
        TextOperator::Contains => text.contains(&wanted),
        TextOperator::StartsWith => text.starts_with(&wanted),
    }
}

/// Per condition: whether it is negated, whether the frame is what it names, and which field it asks.
fn asked(criteria: &Criteria, frame: &Frame<'_>) -> Vec<(bool, Option<bool>, usize)> {
    let conditions = [&criteria.function_name, &criteria.system_name, &criteria.binary, &criteria.filename];
    let mut asked = Vec::new();
    for (field, (condition, text)) in conditions.into_iter().zip(frame.texts()).enumerate() {
        if let Some(condition) = condition {
            asked.push((condition.negated, text.map(|text| is_named(text, condition)), field));
        }
    }
    if let Some(condition) = criteria.address {
        asked.push((condition.negated, Some(frame.address() == condition.equal), 4));
    }
    if let Some(condition) = criteria.line_number {
        asked.push((condition.negated, frame.line.map(|line| line.line as u64 == condition.equal), 5));
    }
    asked
}

fn frames(location: &Location) -> Vec<Frame<'_>> {
    match location.lines.is_empty() {
        true => vec![Frame { location, line: None }],
        false => location.lines.iter().map(|line| Frame { location, line: Some(line) }).collect(),
    }
}

fn keeps_stack(criteria: &Criteria, stack: &[Location]) -> bool {
    let all: Vec<Vec<_>> = stack.iter().flat_map(frames).map(|frame| asked(criteria, &frame)).collect();
    let conditions = 0..all.first().map_or(0, Vec::len);
    conditions.into_iter().all(|condition| {
        let some = all.iter().any(|frame| frame[condition].1 == Some(true));
        some != all[0][condition].0
    })
}

fn keeps_frame(any: &[Criteria], frame: &Frame<'_>) -> bool {
    const BINARY: usize = 2;
    any.iter().any(|criteria| {
        asked(criteria, frame).into_iter().all(|(negated, named, field)| match named {
            Some(named) => named != negated,
            None => frame.line.is_none() || field == BINARY,
        })
    })
}

fn is_function(line: &Line, wanted: &str) -> bool {
    line.function.is_some_and(|(name, system_name, ..)| wanted == if name.is_empty() { system_name } else { name })
}

/// What is seen of a stack, leaf first; `None` if it is filtered.
pub fn seen(view: &View, stack: &[Location], is_whole: bool) -> Option<Vec<Location>> {
    let mut stack = stack.to_vec();
    let name = view.sandwich_by.as_str();
    if !name.is_empty() && is_whole {
        let condition = TextCondition { operator: TextOperator::Contains, text: name.to_owned(), negated: false };
        let criteria = Criteria { function_name: Some(condition), ..Criteria::default() };
        if !stack.is_empty() && !keeps_stack(&criteria, &stack) {
            return None;
        }
    } else if !name.is_empty() {
        // line by line, from the leaf
        let mut lines: Vec<(usize, Option<usize>)> = Vec::new();
        for (position, location) in stack.iter().enumerate() {
            match location.lines.len() {
                0 => lines.push((position, None)),
                len => lines.extend((0..len).map(|line| (position, Some(line)))),
            }
        }
        let is = |&(position, line): &(usize, Option<usize>)| {
            line.is_some_and(|line| is_function(&stack[position].lines[line], name))
        };
        // towards the root within a location, as its lines lie
        let kept: Vec<(usize, Option<usize>)> = if view.invert {
            lines[lines.iter().rposition(is)?..].to_vec()
        } else {
            lines[..=lines.iter().position(is)?].to_vec()
        };
        let mut cut: Vec<Location> = Vec::new();
        let mut last = None;
        for (position, line) in kept {
            if last != Some(position) {
                cut.push(Location { lines: Vec::new(), ..stack[position].clone() });
                last = Some(position);
            }
            if let (Some(line), Some(location)) = (line, cut.last_mut()) {
                location.lines.push(stack[position].lines[line].clone());
            }
        }
        stack = cut;
    }
    for filter in &view.filters {
        if let Filter::Stack(criteria) = filter
            && !stack.is_empty()
            && !keeps_stack(criteria, &stack)
        {
            return None;
        }
    }
    for filter in &view.filters {
        let Filter::Frame(any) = filter else { continue };
        stack = stack
            .iter()
            .filter_map(|location| {
                let kept: Vec<bool> = frames(location).iter().map(|frame| keeps_frame(any, frame)).collect();
                let lines = location.lines.iter().zip(&kept).filter(|(_, kept)| **kept);
                let lines: Vec<Line> = lines.map(|(line, _)| line.clone()).collect();
                kept.contains(&true).then(|| Location { lines, ..location.clone() })
            })
            .collect();
    }
    if view.invert {
        stack.reverse();
    }
    Some(stack)
}

#[test]
fn what_is_filtered_cut_and_inverted_is_what_one_gets_stack_by_stack() {
    let (mut filtered_some, mut kept_some) = (0, 0);
    for seed in 0..1_500 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut random = Random::new(seed ^ 0x71E3);
        let question = Question::random(&mut random);
        let view = view(&mut random);
        let mut tree = Node::default();
        let (mut total, mut filtered) = (0, 0);
        question.each(&profiles, |stack, value| match seen(&view, stack, false) {
            Some(stack) => {
                tree.add_by(&stack, value, 0, &view.group_by);
                total += value;
            }
            None => filtered += value,
        });
        filtered_some += usize::from(filtered != 0);
        kept_some += usize::from(total != 0);
        let (expected, trimmed) = tree.rows(0.0);
        let reply = ask_for(&engine, QueryOptions::Select(question.selection()), 5, 0.0, view.clone());
        let QueryReply { report: Report::FlameGraph(graph), .. } = &reply else { panic!("not a flame graph") };
        assert_eq!(canonical(&rows(graph)), canonical(&expected), "seed {seed}: {view:?}");
        let actual = (reply.total, reply.filtered, graph.trimmed, graph.height);
        assert_eq!(actual, (total, filtered, trimmed, tree.height()), "seed {seed}: {view:?}");
    }
    assert!(filtered_some > 300 && kept_some > 300, "{filtered_some} filtered, {kept_some} kept");
}

#[test]
fn a_comparison_is_filtered_on_both_sides_and_its_stacks_stay_whole() {
    for seed in 0..400 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut random = Random::new(seed ^ 0x2D1F);
        let (base, compare) = (Question::random(&mut random), Question::random(&mut random));
        let view = view(&mut random);
        let mut tree = Node::default();
        let mut filtered = 0;
        compare.each(&profiles, |stack, value| match seen(&view, stack, true) {
            Some(stack) => tree.add_by(&stack, value, value, &view.group_by),
            None => filtered += value,
        });
        base.each(&profiles, |stack, value| {
            if let Some(stack) = seen(&view, stack, true) {
                tree.add_by(&stack, 0, -value, &view.group_by);
            }
        });
        let (expected, _) = tree.rows(0.0);
        let side = |question: &Question| Some(DiffSide { merge: true, selection: Some(question.selection()) });
        let diff = QueryOptions::Diff { base: side(&base), compare: side(&compare), absolute: true };
        let reply = ask_for(&engine, diff, 5, 0.0, view.clone());
        let QueryReply { report: Report::FlameGraph(graph), .. } = &reply else { panic!("not a flame graph") };
        assert_eq!(canonical(&rows(graph)), canonical(&expected), "seed {seed}: {view:?}");
        assert_eq!(reply.filtered, filtered, "seed {seed}");
    }
}
