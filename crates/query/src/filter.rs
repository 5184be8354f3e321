//! Which stacks and which frames a report looks at.
//!
//! The fields and operators are those of `parca.query.v1alpha1.Filter`. Strings compare by bytes, ASCII letters
//! regardless of case.

use profile::tree::keys::function_name;
use profile::{LocationIx, NONE, Symbols};

/// All filters of a request must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Keeps a stack for each of whose conditions some frame matches; for a negated one no frame may match what
    /// it negates. A stack without frames is kept. What is not kept is counted as filtered.
    Stack(Criteria),
    /// Keeps frames that match one of these. A stack that loses frames, even all, keeps its value.
    Frame(Vec<Criteria>),
}

/// Conditions, all of which must hold. `None` and no condition at all hold always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// The function's name, else its system name.
    pub function_name: Option<TextCondition>,
    pub system_name: Option<TextCondition>,
    /// What follows the last slash of the mapping's file.
    pub binary: Option<TextCondition>,
    pub filename: Option<TextCondition>,
    /// As reports show it.
    pub address: Option<NumberCondition>,
    pub line_number: Option<NumberCondition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextCondition {
    pub operator: TextOperator,
    pub text: String,
    pub negated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextOperator {
    Equal,
    Contains,
    StartsWith,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberCondition {
    pub equal: u64,
    pub negated: bool,
}

impl TextCondition {
    /// Whether `text` is what the condition names, negated or not.
    fn names(&self, text: &[u8]) -> bool {
        let wanted = self.text.as_bytes();
        match self.operator {
            TextOperator::Equal => text.eq_ignore_ascii_case(wanted),
            TextOperator::StartsWith => text.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted)),
            TextOperator::Contains => {
                wanted.is_empty() || text.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
            }
        }
    }
}

/// One condition over frames.
#[derive(Clone, Copy)]
enum Condition<'c> {
    Function(FunctionField, &'c TextCondition),
    Binary(&'c TextCondition),
    Address(NumberCondition),
    Line(NumberCondition),
}

#[derive(Clone, Copy)]
enum FunctionField {
    Name,
    SystemName,
    Filename,
}

impl Condition<'_> {
    fn negated(&self) -> bool {
        match self {
            Self::Function(_, condition) | Self::Binary(condition) => condition.negated,
            Self::Address(condition) | Self::Line(condition) => condition.negated,
        }
    }
}

impl Criteria {
    fn conditions(&self) -> Vec<Condition<'_>> {
        let function = [
            (FunctionField::Name, &self.function_name),
            (FunctionField::SystemName, &self.system_name),
            (FunctionField::Filename, &self.filename),
        ];
        let mut conditions: Vec<Condition<'_>> = Vec::new();
        // what is asked once per binary or address first: it is the cheapest
        conditions.extend(self.binary.as_ref().map(Condition::Binary));
        conditions.extend(self.address.map(Condition::Address));
        conditions.extend(self.line_number.map(Condition::Line));
        conditions.extend(function.into_iter().filter_map(|(field, condition)| {
            condition.as_ref().map(|condition| Condition::Function(field, condition))
        }));
        conditions
    }
}

/// An answer per row of a table, found when it is first asked for.
struct Answers(Vec<Option<bool>>);

impl Answers {
    fn new(rows: usize) -> Self {
        Self(vec![None; rows])
    }

    fn get(&mut self, row: usize, find: impl FnOnce() -> bool) -> bool {
        *self.0[row].get_or_insert_with(find)
    }
}

/// A condition held against the frames of one part.
struct Asked<'c> {
    condition: Condition<'c>,
    /// By function or mapping, as the condition has it.
    answers: Answers,
}

impl<'c> Asked<'c> {
    fn new(symbols: &Symbols, condition: Condition<'c>) -> Self {
        let rows = match condition {
            Condition::Function(..) => symbols.functions.len(),
            Condition::Binary(_) => symbols.mappings.len(),
            Condition::Address(_) | Condition::Line(_) => 0,
        };
        Self { condition, answers: Answers::new(rows) }
    }

    /// Whether the frame is what the condition names, negated or not; `None` if it has no such field. `line` is
    /// [`NONE`] for a location without lines.
    fn names(&mut self, symbols: &Symbols, location: LocationIx, line: u32) -> Option<bool> {
        let mapping = symbols.locations.mapping[location as usize];
        match self.condition {
            Condition::Binary(condition) => (mapping != NONE).then(|| {
                self.answers.get(mapping as usize, || {
                    let file = symbols.strings.get(symbols.mappings.file[mapping as usize]);
                    condition.names(file.rsplit(|&byte| byte == b'/').next().unwrap_or(file))
                })
            }),
            Condition::Address(condition) => Some(runtime_address(symbols, location) == condition.equal),
            Condition::Line(condition) => {
                (line != NONE).then(|| symbols.lines.line[line as usize] as u64 == condition.equal)
            }
            Condition::Function(field, condition) => {
                let function = if line == NONE { NONE } else { symbols.lines.function[line as usize] };
                (function != NONE).then(|| {
                    self.answers.get(function as usize, || {
                        let functions = &symbols.functions;
                        let text = match field {
                            FunctionField::Name => function_name(symbols, function),
                            FunctionField::SystemName => functions.system_name[function as usize],
                            FunctionField::Filename => functions.filename[function as usize],
                        };
                        condition.names(symbols.strings.get(text))
                    })
                })
            }
        }
    }

    /// Whether a frame filter with this condition keeps the frame. As in Parca, conditions that a frame without
    /// that field cannot answer keep what has no function at all (a bare address, whatever its lines are asked;
    /// no binary), and drop a line without a function.
    fn keeps(&mut self, symbols: &Symbols, location: LocationIx, line: u32) -> bool {
        let negated = self.condition.negated();
        match self.names(symbols, location, line) {
            Some(named) => named != negated,
            None => line == NONE || matches!(self.condition, Condition::Binary(_)),
        }
    }
}

fn runtime_address(symbols: &Symbols, location: LocationIx) -> u64 {
    let address = symbols.locations.address[location as usize];
    match symbols.locations.mapping[location as usize] {
        NONE => address,
        mapping => {
            let mappings = &symbols.mappings;
            address.wrapping_add(mappings.start[mapping as usize]).wrapping_sub(mappings.offset[mapping as usize])
        }
    }
}

/// Stack filters, ready for the stacks of one part.
pub(crate) struct StackFilter<'c, 's> {
    symbols: &'s Symbols,
    /// With, per location, whether one of its frames is what the condition names.
    conditions: Vec<(Asked<'c>, Answers)>,
}

impl<'c, 's> StackFilter<'c, 's> {
    pub(crate) fn new(symbols: &'s Symbols, filters: impl IntoIterator<Item = &'c Criteria>) -> Self {
        let conditions = filters.into_iter().flat_map(Criteria::conditions);
        let ask = |condition| (Asked::new(symbols, condition), Answers::new(symbols.locations.len()));
        Self { symbols, conditions: conditions.map(ask).collect() }
    }

    pub(crate) fn keeps(&mut self, stack: &[LocationIx]) -> bool {
        let symbols = self.symbols;
        stack.is_empty()
            || self.conditions.iter_mut().all(|(asked, answers)| {
                let some = stack.iter().any(|&location| {
                    answers.get(location as usize, || {
                        let lines = symbols.locations.lines(location);
                        let bare = lines.is_empty().then_some(NONE);
                        let mut frames = lines.map(|line| line as u32).chain(bare);
                        frames.any(|line| asked.names(symbols, location, line) == Some(true))
                    })
                });
                some != asked.condition.negated()
            })
    }
}

/// Frame filters, ready for the frames of one part.
pub(crate) struct FrameFilter<'c, 's> {
    symbols: &'s Symbols,
    /// Filters, their alternatives, the conditions of these.
    filters: Vec<Vec<Vec<Asked<'c>>>>,
    lines: Answers,
    bare_locations: Answers,
}

impl<'c, 's> FrameFilter<'c, 's> {
    pub(crate) fn new(symbols: &'s Symbols, filters: impl IntoIterator<Item = &'c [Criteria]>) -> Self {
        let alternative = |criteria: &'c Criteria| -> Vec<Asked<'c>> {
            criteria.conditions().into_iter().map(|condition| Asked::new(symbols, condition)).collect()
        };
        let filters = filters.into_iter().map(|any| any.iter().map(alternative).collect());
        Self {
            symbols,
            filters: filters.collect(),
            lines: Answers::new(symbols.lines.line.len()),
            bare_locations: Answers::new(symbols.locations.len()),
        }
    }

    /// `line` is [`NONE`] for a location without lines.
    pub(crate) fn keeps(&mut self, location: LocationIx, line: u32) -> bool {
        let Self { symbols, filters, lines, bare_locations } = self;
        let find = || {
            filters
                .iter_mut()
                .all(|any| any.iter_mut().any(|all| all.iter_mut().all(|asked| asked.keeps(symbols, location, line))))
        };
        if line == NONE { bare_locations.get(location as usize, find) } else { lines.get(line as usize, find) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(operator: TextOperator, text: &str, value: &str) -> bool {
        TextCondition { operator, text: text.into(), negated: false }.names(value.as_bytes())
    }

    #[test]
    fn text_compares_by_bytes_and_ascii_letters_regardless_of_case() {
        use TextOperator::{Contains, Equal, StartsWith};
        assert!(names(Equal, "Main", "mAIN") && !names(Equal, "main", "main2") && names(Equal, "", ""));
        assert!(names(Contains, "", "x") && names(Contains, "NNER", "innermost") && !names(Contains, "long", "lon"));
        assert!(names(StartsWith, "IN", "inner") && !names(StartsWith, "nn", "inner") && names(StartsWith, "", ""));
        assert!(names(Contains, "关", "有关") && !names(Equal, "É", "é"), "letters beyond ASCII keep their case");
    }
}
