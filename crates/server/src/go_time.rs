//! Times and durations as Go reads and writes them, error texts included: users meet them in Parca's flags and in
//! its REST API.

const SECOND: u64 = 1_000_000_000;

/// `time.ParseDuration`, in ns: `1h30m`, `1.5s`, `-5ms`.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quoted(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    // up to and with 2^63, which is a valid negative duration
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after_whole) = leading_digits(rest);
        let whole = whole.ok_or_else(invalid)?;
        let had_whole = after_whole.len() != rest.len();
        let mut after = after_whole;
        let (mut fraction, mut scale, mut had_fraction) = (0_u64, 1.0_f64, false);
        if let Some(tail) = after.strip_prefix('.') {
            let (value, divisor, after_fraction) = leading_fraction(tail);
            had_fraction = after_fraction.len() != tail.len();
            (fraction, scale, after) = (value, divisor, after_fraction);
        }
        if !had_whole && !had_fraction {
            return Err(invalid());
        }
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit_text, next) = after.split_at(unit_end);
        if unit_text.is_empty() {
            return Err(format!("time: missing unit in duration {}", quoted(text)));
        }
        let Some(unit) = unit(unit_text) else {
            return Err(format!("time: unknown unit {} in duration {}", quoted(unit_text), quoted(text)));
        };
        let mut value = whole.checked_mul(unit).filter(|value| *value <= 1 << 63).ok_or_else(invalid)?;
        if fraction > 0 {
            value += (fraction as f64 * (unit as f64 / scale)) as u64;
        }
        total = total.checked_add(value).filter(|total| *total <= 1 << 63).ok_or_else(invalid)?;
        rest = next;
    }
    match (negative, i64::try_from(total)) {
        (true, _) => Ok((total as i64).wrapping_neg()),
        (false, Ok(total)) => Ok(total),
        (false, Err(_)) => Err(invalid()),
    }
}

fn unit(name: &str) -> Option<u64> {
    match name {
        "ns" => Some(1),
        "us" | "µs" | "μs" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(SECOND),
        "m" => Some(60 * SECOND),
        "h" => Some(3600 * SECOND),
        _ => None,
    }
}

/// The number at the front (0 if there are no digits; `None` past 2^63) and what follows.
fn leading_digits(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut value: u64 = 0;
    for digit in text[..end].bytes() {
        let grown = value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0')));
        match grown.filter(|value| *value <= 1 << 63) {
            Some(grown) => value = grown,
            None => return (None, &text[end..]),
        }
    }
    (Some(value), &text[end..])
}

/// Digits after the point, the power of ten they are over, and what follows; digits too fine to matter are dropped.
fn leading_fraction(text: &str) -> (u64, f64, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (mut value, mut scale) = (0_u64, 1.0);
    for digit in text[..end].bytes() {
        if value > (i64::MAX as u64) / 10 {
            break;
        }
        let grown = value * 10 + u64::from(digit - b'0');
        if grown > 1 << 63 {
            break;
        }
        value = grown;
        scale *= 10.0;
    }
    (value, scale, &text[end..])
}

/// Go's quoting in duration errors: not ASCII is escaped byte by byte.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(byte as char);
            }
            b' '..=b'~' => out.push(byte as char),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// `time.Duration.String`: `1h30m0s`, `1.5s`, `250ms`.
pub fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let magnitude = nanos.unsigned_abs();
    if magnitude == 0 {
        return "0s".to_owned();
    }
    if magnitude < SECOND {
        let (unit, name) = match magnitude {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", decimal(magnitude, unit));
    }
    let (minutes, rest) = (magnitude / (60 * SECOND), magnitude % (60 * SECOND));
    let seconds = decimal(rest, SECOND);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / unit` without trailing zeros; `unit` is a power of ten.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{fraction:0width$}").trim_end_matches('0').to_owned()
}

/// `time.Parse(time.RFC3339Nano, text)`: seconds and ns since the epoch.
pub fn parse_rfc3339(text: &str) -> Result<(i64, i32), String> {
    const LAYOUT: &str = "2006-01-02T15:04:05.999999999Z07:00";
    let said = |what: String| format!("parsing time {} as \"{LAYOUT}\": {what}", quoted(text));
    let cannot = |rest: &str, element: &str| said(format!("cannot parse {} as \"{element}\"", quoted(rest)));
    let out_of_range = |what: &str| format!("parsing time {}: {what} out of range", quoted(text));

    let mut rest = text;
    let mut field = |digits: usize, element: &'static str, before: &'static str| -> Result<i64, String> {
        if !before.is_empty() {
            rest = rest.strip_prefix(before).ok_or_else(|| cannot(rest, before))?;
        }
        let number = rest.get(..digits).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|number| number.parse().ok()).ok_or_else(|| cannot(rest, element))?;
        rest = &rest[digits..];
        Ok(number)
    };
    let year = field(4, "2006", "")?;
    let month = field(2, "01", "-")?;
    let day = field(2, "02", "-")?;
    let hour = field(2, "15", "T")?;
    let minute = field(2, "04", ":")?;
    let second = field(2, "05", ":")?;

    let mut nanos = 0_i32;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
        if end > 0 {
            let digits: String = fraction[..end].chars().chain("000000000".chars()).take(9).collect();
            nanos = digits.parse().map_err(|_| cannot(rest, ".999999999"))?;
            rest = &fraction[end..];
        }
    }
    let offset = match rest.as_bytes() {
        [b'Z', tail @ ..] => {
            if !tail.is_empty() {
                return Err(format!("parsing time {}: extra text: {}", quoted(text), quoted(&rest[1..])));
            }
            0
        }
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) => {
            let two = |high: u8, low: u8| i64::from(high - b'0') * 10 + i64::from(low - b'0');
            let seconds = two(*h1, *h2) * 3600 + two(*m1, *m2) * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return Err(cannot(rest, "Z07:00")),
    };
    if !(1..=12).contains(&month) {
        return Err(out_of_range("month"));
    }
    if day < 1 || day > days_in(year, month) {
        return Err(out_of_range("day"));
    }
    for (value, max, name) in [(hour, 23, "hour"), (minute, 59, "minute"), (second, 59, "second")] {
        if value > max {
            return Err(out_of_range(name));
        }
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Ok((seconds, nanos))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Of a date of the Gregorian calendar, by counting years from March, so that the leap day comes last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // 719,468 days lie between 1 March of year 0 and the epoch
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors::vectors;

    #[test]
    fn duration_vectors_of_go_agree() {
        let mut ran = 0;
        let mut differ = Vec::new();
        for case in vectors("duration.jsonl") {
            let input = &case["input"];
            let (got, wanted) = match input["fn"].as_str() {
                Some("go") => {
                    let got = parse_duration(input["text"].as_str().expect("text"))
                        .map(|nanos| (nanos, format_duration(nanos)));
                    let wanted = match case["error"].as_str() {
                        Some(error) => Err(error.to_owned()),
                        None => Ok((
                            case["expect"]["nanos"].as_i64().expect("nanos"),
                            case["expect"]["string"].as_str().expect("string").to_owned(),
                        )),
                    };
                    (format!("{got:?}"), format!("{wanted:?}"))
                }
                Some("format") => {
                    let got = format_duration(input["nanos"].as_i64().expect("nanos"));
                    (got, case["expect"]["go"].as_str().expect("go").to_owned())
                }
                _ => continue,
            };
            ran += 1;
            if got != wanted {
                differ.push(format!("{}: want {wanted}, got {got}", case["id"]));
            }
        }
        println!("duration.jsonl (go, format): {ran} cases, {} unexplained differences", differ.len());
        assert!(ran > 100 && differ.is_empty(), "{}", differ.join("\n"));
    }

    #[test]
    fn times_are_read_with_offsets_fractions_and_leap_days() {
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00Z"), Ok((0, 0)));
        assert_eq!(parse_rfc3339("2026-01-15T12:00:00.5Z"), Ok((1_768_478_400, 500_000_000)));
        assert_eq!(parse_rfc3339("2026-01-15T13:30:00+01:30"), Ok((1_768_478_400, 0)));
        assert_eq!(parse_rfc3339("2000-02-29T00:00:00Z"), Ok((951_782_400, 0)));
        assert_eq!(parse_rfc3339("1969-12-31T23:59:59.000000001Z"), Ok((-1, 1)));
    }

    #[test]
    fn what_is_no_time_is_refused_in_gos_words() {
        let layout = "2006-01-02T15:04:05.999999999Z07:00";
        for (text, error) in [
            ("yesterday", "cannot parse \"yesterday\" as \"2006\""),
            ("", "cannot parse \"\" as \"2006\""),
            ("2026-1-15T00:00:00Z", "cannot parse \"1-15T00:00:00Z\" as \"01\""),
            ("2026-01-15 00:00:00Z", "cannot parse \" 00:00:00Z\" as \"T\""),
            ("2026-01-15T00:00:00", "cannot parse \"\" as \"Z07:00\""),
        ] {
            assert_eq!(parse_rfc3339(text), Err(format!("parsing time {text:?} as \"{layout}\": {error}")));
        }
        assert_eq!(
            parse_rfc3339("2026-02-30T00:00:00Z"),
            Err("parsing time \"2026-02-30T00:00:00Z\": day out of range".to_owned())
        );
        assert_eq!(
            parse_rfc3339("2026-02-20T00:00:00Zzz"),
            Err("parsing time \"2026-02-20T00:00:00Zzz\": extra text: \"zz\"".to_owned())
        );
    }
}
