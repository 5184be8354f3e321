//! Texts as Go writes and reads them: durations, quoted strings, times, words of a command.

/// `1h30m0s`, `500ms`, `0s`: nanoseconds as Go writes a duration.
pub(super) fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let all = nanos.unsigned_abs();
    let scaled = |unit: u64, digits: usize, name: &str| format!("{sign}{}{name}", decimal(all, unit, digits));
    match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{all}ns"),
        1_000..1_000_000 => scaled(1_000, 3, "µs"),
        1_000_000..1_000_000_000 => scaled(1_000_000, 6, "ms"),
        _ => {
            let (minutes, rest) = (all / 60_000_000_000, all % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `value / unit`, with up to `digits` digits after the point and no zeros at the end.
fn decimal(value: u64, unit: u64, digits: usize) -> String {
    let text = format!("{}.{:0digits$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Nanoseconds of a text such as `1h30m`, `1.5s` or `-3ms`; `None` if Go reads none.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: f64 = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        if !number.contains(|c: char| c.is_ascii_digit()) || number.matches('.').count() > 1 {
            return None;
        }
        let number: f64 =
            format!("0{number}0").parse().ok().filter(|_| number.contains('.')).or(number.parse().ok())?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        nanos += number
            * match unit {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = after;
    }
    let limit = 9_223_372_036_854_775_807_f64;
    (nanos < limit).then_some(if negative { -(nanos as i64) } else { nanos as i64 })
}

/// A string as `%q` writes it.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if c < ' ' || c == '\u{7f}' => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Words in a comma-separated list, spaces around them cut off, empty ones left out; as in Pebble's queries.
pub(super) fn comma_separated(lists: &[&str]) -> Vec<String> {
    let words = lists.iter().flat_map(|list| list.split(',')).map(str::trim);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Words of a command, quoted as in a shell.
pub(super) fn split_words(command: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => drop(chars.by_ref().find(|c| *c == '\n')),
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("EOF found after escape character")?),
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("EOF found when expecting closing quote")? {
                        c if c == quote => break,
                        '\\' if quote == '"' => word.push(chars.next().ok_or("EOF found after escape character")?),
                        c => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Whether a name matches a glob as in Go's `path.Match`; `None` where the glob makes no sense.
pub(super) fn glob(pattern: &str, name: &str) -> Option<bool> {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    glob_from(&pattern, &name)
}

fn glob_from(pattern: &[char], name: &[char]) -> Option<bool> {
    let Some((&first, rest)) = pattern.split_first() else { return Some(name.is_empty()) };
    match first {
        '*' => {
            let mut matched = false;
            for from in 0..=name.len() {
                matched |= glob_from(rest, &name[from..])?;
            }
            Some(matched)
        }
        '?' => match name.split_first() {
            Some((_, after)) => glob_from(rest, after),
            None => glob_from(rest, &[]).map(|_| false),
        },
        '[' => {
            let (negated, mut class) = match rest.first() {
                Some('^') => (true, &rest[1..]),
                _ => (false, rest),
            };
            let mut within = false;
            let mut ranges = 0;
            loop {
                if class.first() == Some(&']') && ranges > 0 {
                    class = &class[1..];
                    break;
                }
                let (low, after) = class_char(class)?;
                let (high, after) = match after.first() {
                    Some('-') => class_char(&after[1..])?,
                    _ => (low, after),
                };
                within |= name.first().is_some_and(|c| (low..=high).contains(c));
                class = after;
                ranges += 1;
            }
            let after = name.get(1..).unwrap_or_default();
            let matched = glob_from(class, after)?;
            Some(matched && !name.is_empty() && within != negated)
        }
        '\\' => {
            let (&literal, rest) = rest.split_first()?;
            let matched = glob_from(rest, name.get(1..).unwrap_or_default())?;
            Some(matched && name.first() == Some(&literal))
        }
        literal => {
            let matched = glob_from(rest, name.get(1..).unwrap_or_default())?;
            Some(matched && name.first() == Some(&literal))
        }
    }
}

/// A character of a class, and what follows.
fn class_char(class: &[char]) -> Option<(char, &[char])> {
    let (&first, rest) = class.split_first()?;
    let (c, rest) = match first {
        '-' | ']' => return None,
        '\\' => rest.split_first().map(|(c, rest)| (*c, rest))?,
        c => (c, rest),
    };
    // a class has an end
    (!rest.is_empty()).then_some((c, rest))
}

/// A time in UTC, from nanoseconds since 1970, as RFC 3339 with the digits that are needed.
pub(super) fn rfc3339(nanos: i64) -> String {
    let (seconds, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // days since 0000-03-01, in eras of 400 years
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let digits = format!(".{fraction:09}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{digits}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write_as_go_does() {
        for (text, nanos) in [
            ("0s", 0),
            ("1ns", 1),
            ("1.5µs", 1_500),
            ("500ms", 500_000_000),
            ("1s", 1_000_000_000),
            ("1m0.25s", 60_250_000_000),
            ("1h0m0s", 3_600_000_000_000),
            ("-2h3m0s", -7_380_000_000_000),
        ] {
            assert_eq!(duration_text(nanos), text);
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
        }
        assert_eq!(parse_duration("1.5h"), Some(5_400_000_000_000));
        assert_eq!(parse_duration(".5s"), Some(500_000_000));
        assert_eq!(parse_duration("1.s"), Some(1_000_000_000));
        for bad in ["", "1", "s", "-", ".s", "1d", "1 s", "1..5s", "1e3s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(split_words("a 'b c' \"d\\\"e\" f\\ g '' # h\ni").unwrap(), ["a", "b c", "d\"e", "f g", "", "i"]);
        assert_eq!(split_words("a'b").unwrap_err(), "EOF found when expecting closing quote");
        assert_eq!(split_words("a\\").unwrap_err(), "EOF found after escape character");
    }

    #[test]
    fn globs_match_as_in_go() {
        for (pattern, name, matched) in [
            ("*", "", Some(true)),
            ("a*", "abc", Some(true)),
            ("a?c", "abc", Some(true)),
            ("a?", "a", Some(false)),
            ("[a-c]x", "bx", Some(true)),
            ("[^a-c]x", "bx", Some(false)),
            ("\\*", "*", Some(true)),
            ("[", "a", None),
            ("[]a]", "]", None),
            ("[a-", "a", None),
            ("b[", "a", None),
        ] {
            assert_eq!(glob(pattern, name), matched, "{pattern} {name}");
        }
    }

    #[test]
    fn times_are_written_with_the_digits_they_need() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_709_164_800_500_000_000), "2024-02-29T00:00:00.5Z");
    }

    #[test]
    fn strings_are_quoted_as_in_messages() {
        assert_eq!(quote("a\"b\\\n\u{1}é"), "\"a\\\"b\\\\\\n\\x01é\"");
    }
}
