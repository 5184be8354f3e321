//! Durations as Prometheus writes them: `1m30s`, `500ms`, `2w`; a year has 365 days, a week 7, a day 24 hours.
//!
//! Units stand in order from large to small, each at most once, whole numbers only, never negative; `0` needs no
//! unit. The rules and the texts of the errors are those of `prometheus/common`, model/time.go.

use std::time::Duration;

use crate::go::quoted;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Unit and nanoseconds, in the order in which they must stand.
const UNITS: [(&str, u64); 7] =
    [("y", 365 * DAY), ("w", 7 * DAY), ("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", MILLISECOND)];

/// The longest duration: what fits into an `i64` of nanoseconds, about 292 years.
pub const MAX: Duration = Duration::from_nanos(i64::MAX as u64);

/// Reads a duration. The error says what is wrong with the text, in Prometheus's words.
pub fn parse(text: &str) -> Result<Duration, String> {
    match text {
        "" => return Err("empty duration string".to_owned()),
        "0" => return Ok(Duration::ZERO),
        _ => {}
    }
    let invalid = || format!("not a valid duration string: {}", quoted(text));

    let mut nanos: u64 = 0;
    let mut units_left = &UNITS[..];
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after_number) = split_where(rest, |byte| !byte.is_ascii_digit());
        let (unit, after_unit) = split_where(after_number, |byte| byte.is_ascii_digit());
        let count: u64 = number.parse().map_err(|_| invalid())?;
        if unit.is_empty() {
            return Err(invalid());
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(format!("unknown unit {} in duration {}", quoted(unit), quoted(text)));
        }
        let position = units_left.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let in_nanos = count.checked_mul(units_left[position].1);
        nanos = in_nanos
            .and_then(|part| nanos.checked_add(part))
            .filter(|&sum| sum <= i64::MAX as u64)
            .ok_or("duration out of range")?;
        units_left = &units_left[position + 1..];
        rest = after_unit;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Writes whole milliseconds; years and weeks only where nothing remains, since `90d` reads better than `12w6d`.
pub fn format(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, nanos) in UNITS {
        let unit_millis = u128::from(nanos / MILLISECOND);
        let only_if_exact = matches!(unit, "y" | "w");
        if millis < unit_millis || (only_if_exact && !millis.is_multiple_of(unit_millis)) {
            continue;
        }
        text.push_str(&format!("{}{unit}", millis / unit_millis));
        millis %= unit_millis;
    }
    text
}

/// Splits before the first byte for which `stop` holds. ASCII predicates only, so the cut is on a character boundary.
fn split_where(text: &str, stop: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(stop).unwrap_or(text.len());
    text.split_at(end)
}
