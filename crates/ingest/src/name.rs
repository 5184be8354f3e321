//! Whether Prometheus' selector parser reads a profile type as one metric name.
//!
//! WriteRaw refuses a type that could never be queried (Parca's other write calls do not). The words are
//! those of Prometheus' lexer, as recorded in testdata/vectors/pprof_validate.jsonl.

/// `None` if `name` is a metric name, else the parser's complaint, position included.
pub(crate) fn metric_name_defect(name: &str) -> Option<String> {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let is_part = |c: char| is_start(c) || c.is_ascii_digit();
    let first = name.chars().next()?;
    if first.is_ascii_digit() {
        let digits: String = name.chars().take_while(|c| c.is_ascii_digit()).collect();
        return Some(format!("1:1: parse error: bad number or duration syntax: {digits:?}"));
    }
    let bad = if is_start(first) { name.find(|c| !is_part(c))? } else { 0 };
    let rest = &name[bad..];
    let c = rest.chars().next()?;
    let what = match c {
        '+' | '-' | '*' | '/' | '%' | '^' => format!("unexpected <op:{c}>"),
        _ if c.is_whitespace() => {
            let token = rest.trim_start();
            let end = token.find(|c| !is_part(c)).unwrap_or(token.len());
            let column = bad + (rest.len() - token.len()) + 1;
            return Some(match &token[..end] {
                "" => format!("1:{column}: parse error: unexpected character: {:?}", token.chars().next()?),
                metric if metric.contains(':') => {
                    format!("1:{column}: parse error: unexpected metric identifier {metric:?}")
                }
                identifier => format!("1:{column}: parse error: unexpected identifier {identifier:?}"),
            });
        }
        _ => format!("unexpected character: {c:?}"),
    };
    Some(format!("1:{}: parse error: {what}", bad + 1))
}

#[cfg(test)]
mod tests {
    use super::metric_name_defect;

    #[test]
    fn names_that_a_selector_can_hold_are_sound() {
        for name in ["process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta", "_:a", "sum", "a:b::c", ""] {
            assert_eq!(metric_name_defect(name), None, "{name}");
        }
    }

    #[test]
    fn others_are_refused_where_the_lexer_stops() {
        let defect = |name| metric_name_defect(name).expect("a defect");
        assert_eq!(defect("process-cpu:cpu"), "1:8: parse error: unexpected <op:->");
        assert_eq!(defect("1cpu"), "1:1: parse error: bad number or duration syntax: \"1\"");
        assert_eq!(defect("a:é"), "1:3: parse error: unexpected character: 'é'");
        assert_eq!(defect("a:my b:c"), "1:6: parse error: unexpected metric identifier \"b:c\"");
    }
}
