//! What happened: notices, each with how often and when.

use std::collections::BTreeMap;
use std::time::Duration;

use super::go::{self, quote};
use crate::pebble::types::{Notice, NoticesSelect};
use crate::pebble::{PebbleError, Result};

const KEY_BYTES_MAX: usize = 256;
const DATA_BYTES_MAX: usize = 4 * 1024;

/// A week.
const EXPIRE_AFTER: i64 = 7 * 24 * 3600 * 1_000_000_000;

#[derive(Clone, Debug)]
struct Kept {
    id: u64,
    user_id: Option<u32>,
    notice_type: &'static str,
    key: String,
    first_occurred: i64,
    last_occurred: i64,
    last_repeated: i64,
    occurrences: u64,
    last_data: BTreeMap<String, String>,
    repeat_after: i64,
}

#[derive(Debug, Default)]
pub(super) struct Notices(Vec<Kept>);

impl Notices {
    /// Records that it happened; returns its ID.
    pub(super) fn record(
        &mut self,
        user_id: Option<u32>,
        notice_type: &'static str,
        key: &str,
        data: BTreeMap<String, String>,
        repeat_after: i64,
        now: i64,
    ) -> u64 {
        let known =
            |kept: &&mut Kept| (kept.user_id, kept.notice_type, kept.key.as_str()) == (user_id, notice_type, key);
        if let Some(kept) = self.0.iter_mut().find(known) {
            kept.occurrences += 1;
            if repeat_after == 0 || now > kept.last_repeated + repeat_after {
                kept.last_repeated = now;
            }
            (kept.last_occurred, kept.last_data, kept.repeat_after) = (now, data, repeat_after);
            return kept.id;
        }
        let id = self.0.len() as u64 + 1;
        self.0.push(Kept {
            id,
            user_id,
            notice_type,
            key: key.to_owned(),
            first_occurred: now,
            last_occurred: now,
            last_repeated: now,
            occurrences: 1,
            last_data: data,
            repeat_after,
        });
        id
    }

    pub(super) fn add(
        &mut self,
        user_id: u32,
        key: &str,
        data: &[(&str, &str)],
        repeat_after: Option<Duration>,
        now: i64,
    ) -> Result<String> {
        let refused = |message: String| Err(PebbleError::answered(400, "", message));
        if !is_custom_key(key) {
            return refused(format!("invalid key {} (must be in \"example.com/path\" format)", quote(key)));
        }
        if key.len() > KEY_BYTES_MAX {
            return refused(format!("key must be {KEY_BYTES_MAX} bytes or less"));
        }
        let data: BTreeMap<String, String> =
            data.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        // as the client writes it
        let written =
            crate::json::Json::object(data.iter().map(|(name, value)| (name.as_str(), value.as_str().into())));
        if serde_json::to_vec(&written).map_or(0, |bytes| bytes.len()) > DATA_BYTES_MAX {
            return refused(format!("total size of data must be {DATA_BYTES_MAX} bytes or less"));
        }
        let repeat_after = repeat_after.map_or(0, |after| i64::try_from(after.as_nanos()).unwrap_or(i64::MAX / 2));
        Ok(self.record(Some(user_id), "custom", key, data, repeat_after, now).to_string())
    }

    pub(super) fn select(&self, select: &NoticesSelect, asker: u32, now: i64) -> Result<Vec<Notice>> {
        let refused = |message: String| Err(PebbleError::answered(400, "", message));
        if select.all_users && select.user_id.is_some() {
            return refused("cannot use both \"users\" and \"user-id\" parameters".to_owned());
        }
        let of = |texts: &[String]| go::comma_separated(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let (asked, keys) = (of(&select.types), of(&select.keys));
        let types: Vec<_> =
            asked.iter().filter(|text| ["change-update", "custom", "warning"].contains(&text.as_str())).collect();
        if types.is_empty() && !asked.is_empty() {
            return Ok(Vec::new());
        }
        let after = match select.after.as_deref().filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => match parse_time(text) {
                Some(time) => Some(time),
                None => {
                    let text = quote(text);
                    let layout = "2006-01-02T15:04:05Z07:00";
                    return refused(format!(
                        "invalid \"after\" timestamp: parsing time {text} as \"{layout}\": cannot parse {text} as \"2006\""
                    ));
                }
            },
        };
        let user = (!select.all_users).then(|| select.user_id.unwrap_or(asker));
        let mut found: Vec<&Kept> = self
            .0
            .iter()
            .filter(|kept| kept.last_occurred + EXPIRE_AFTER >= now)
            .filter(|kept| user.is_none() || kept.user_id.is_none() || kept.user_id == user)
            .filter(|kept| types.is_empty() || types.iter().any(|text| text.as_str() == kept.notice_type))
            .filter(|kept| keys.is_empty() || keys.contains(&kept.key))
            .filter(|kept| after.is_none_or(|after| kept.last_repeated > after))
            .collect();
        found.sort_by_key(|kept| kept.last_repeated);
        Ok(found.into_iter().map(Kept::told).collect())
    }

    pub(super) fn get(&self, id: &str) -> Result<Notice> {
        let found = self.0.iter().find(|kept| kept.id.to_string() == id);
        let missing = || PebbleError::answered(404, "", format!("cannot find notice with ID {}", quote(id)));
        found.map(Kept::told).ok_or_else(missing)
    }
}

impl Kept {
    fn told(&self) -> Notice {
        Notice {
            id: self.id.to_string(),
            user_id: self.user_id,
            notice_type: self.notice_type.to_owned(),
            key: self.key.clone(),
            first_occurred: go::rfc3339(self.first_occurred),
            last_occurred: go::rfc3339(self.last_occurred),
            last_repeated: go::rfc3339(self.last_repeated),
            occurrences: self.occurrences,
            last_data: self.last_data.clone(),
            repeat_after: (self.repeat_after != 0).then(|| go::duration_text(self.repeat_after)),
            expire_after: Some(go::duration_text(EXPIRE_AFTER)),
        }
    }
}

/// `example.com/path`: names of at least two levels and a path of at least one part, in small letters, digits and single hyphens.
fn is_custom_key(key: &str) -> bool {
    let Some((domain, path)) = key.split_once('/') else { return false };
    let is_name = |part: &str| {
        let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        !part.is_empty() && part.bytes().all(legal) && part.split('-').all(|piece| !piece.is_empty())
    };
    domain.contains('.') && domain.split('.').all(is_name) && path.split('/').all(is_name)
}

/// Nanoseconds since 1970 of a time in UTC.
fn parse_time(text: &str) -> Option<i64> {
    let rest = text.strip_suffix('Z')?;
    let (date, clock) = rest.split_once('T')?;
    let numbers = |text: &str, by: char| -> Option<Vec<i64>> { text.split(by).map(|part| part.parse().ok()).collect() };
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [hour, minute, second] = numbers(clock, ':')?[..] else { return None };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || fraction.len() > 9 {
        return None;
    }
    // days since 1970-01-01, by eras of 400 years that begin in March
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5 + day - 1;
    let days = year.div_euclid(400) * 146_097 + day_of_era - 719_468;
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        for nanos in [0, 1, 951_782_400_000_000_000, 1_709_164_800_500_000_000, 4_102_444_799_999_999_999] {
            assert_eq!(parse_time(&go::rfc3339(nanos)), Some(nanos));
        }
        assert_eq!(parse_time("soon"), None);
    }
}
