//! Filters, grouping, sandwich and inversion of a query: from messages to plain ones.

use query::View;
use query::filter::{Criteria, Filter as PlainFilter, NumberCondition as PlainNumber, TextCondition, TextOperator};

use crate::proto::parca::query::v1alpha1::*;

/// `filter_query` and `runtime_filter`, which clients before 2024 sent, are not looked at, as in Parca.
pub(super) fn view(request: &mut QueryRequest) -> View {
    View {
        filters: std::mem::take(&mut request.filter).into_iter().filter_map(filter).collect(),
        sandwich_by: request.sandwich_by_function.take().unwrap_or_default(),
        invert: request.invert_call_stack.unwrap_or(false),
        group_by: request.group_by.take().map(|group_by| group_by.fields).unwrap_or_default(),
    }
}

/// A filter that says nothing is none.
#[expect(deprecated, reason = "older clients send the older fields")]
fn filter(filter: Filter) -> Option<PlainFilter> {
    match filter.filter? {
        filter::Filter::StackFilter(stack) => Some(PlainFilter::Stack(match stack.filter? {
            stack_filter::Filter::Criteria(of) => criteria(of),
            stack_filter::Filter::FunctionNameStackFilter(old) => {
                let FunctionNameStackFilter { function_to_filter: text, exclude: negated } = old;
                containing(|criteria| &mut criteria.function_name, text, negated)
            }
        })),
        filter::Filter::FrameFilter(frame) => Some(PlainFilter::Frame(match frame.filter? {
            frame_filter::Filter::Criteria(of) => vec![criteria(of)],
            frame_filter::Filter::BinaryFrameFilter(old) => {
                if old.include_binaries.is_empty() {
                    return None;
                }
                let binaries = old.include_binaries.into_iter();
                binaries.map(|binary| containing(|criteria| &mut criteria.binary, binary, false)).collect()
            }
        })),
    }
}

fn containing(field: impl Fn(&mut Criteria) -> &mut Option<TextCondition>, text: String, negated: bool) -> Criteria {
    let mut criteria = Criteria::default();
    *field(&mut criteria) = Some(TextCondition { operator: TextOperator::Contains, text, negated });
    criteria
}

fn criteria(of: FilterCriteria) -> Criteria {
    let FilterCriteria { function_name, system_name, binary, filename, address, line_number } = of;
    Criteria {
        function_name: function_name.and_then(text),
        system_name: system_name.and_then(text),
        binary: binary.and_then(text),
        filename: filename.and_then(text),
        address: address.and_then(number),
        line_number: line_number.and_then(number),
    }
}

fn text(condition: StringCondition) -> Option<TextCondition> {
    use TextOperator::{Contains, Equal, StartsWith};
    use string_condition::Condition;
    let (operator, negated, text) = match condition.condition? {
        Condition::Equal(text) => (Equal, false, text),
        Condition::NotEqual(text) => (Equal, true, text),
        Condition::Contains(text) => (Contains, false, text),
        Condition::NotContains(text) => (Contains, true, text),
        Condition::StartsWith(text) => (StartsWith, false, text),
        Condition::NotStartsWith(text) => (StartsWith, true, text),
    };
    Some(TextCondition { operator, text, negated })
}

fn number(condition: NumberCondition) -> Option<PlainNumber> {
    Some(match condition.condition? {
        number_condition::Condition::Equal(equal) => PlainNumber { equal, negated: false },
        number_condition::Condition::NotEqual(equal) => PlainNumber { equal, negated: true },
    })
}
