use serde_json::{Map, Value, json};

use super::Tools;
use super::args::{Answer, Args, Flags, Refusal, failed, usage};

impl Tools<'_> {
    fn acting(&self) -> Result<&Map<String, Value>, Refusal> {
        self.tx.params.as_ref().ok_or_else(|| failed("not running an action"))
    }

    pub(super) fn action_get(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { formats: true, ..Flags::default() })?;
        args.at_most(1)?;
        let params = json!(self.acting()?);
        let Some(key) = args.rest.first() else { return args.form(&params) };
        let value = key.split('.').try_fold(&params, |value, part| value.get(part));
        args.form(value.unwrap_or(&Value::Null))
    }

    pub(super) fn action_set(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags::default())?;
        self.acting()?;
        for pair in &args.rest {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| usage(format!("argument \"{pair}\" must be of the form key...=value")))?;
            let parts: Vec<&str> = key.split('.').collect();
            if let Some(part) = parts.iter().find(|part| !is_action_key(part)) {
                return Err(usage(format!(
                    "key \"{part}\" must start and end with lowercase alphanumeric, \
                     and contain only lowercase alphanumeric and hyphens"
                )));
            }
            if matches!(parts[0], "stdout" | "stdout-encoding" | "stderr" | "stderr-encoding") {
                return Err(failed(format!("cannot set reserved action key \"{}\"", parts[0])));
            }
            put(&mut self.tx.action.results, &parts, value);
        }
        Ok(String::new())
    }

    pub(super) fn action_fail(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags::default())?;
        self.acting()?;
        let without = "action failed without reason given, check action for errors";
        self.tx.action.failed = Some(args.rest.first().map_or(without, String::as_str).to_owned());
        Ok(String::new())
    }

    pub(super) fn action_log(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags::default())?;
        self.acting()?;
        self.tx.action.log.push(args.rest.join(" "));
        Ok(String::new())
    }
}

fn is_action_key(part: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    part.bytes().all(|b| inner(b) || b == b'-')
        && part.bytes().next().is_some_and(inner)
        && part.bytes().last().is_some_and(inner)
}

/// Sets a value at a path of keys; a value that stands where a level is needed gives way.
fn put(place: &mut Map<String, Value>, path: &[&str], value: &str) {
    match path {
        [] => {}
        [key] => {
            place.insert((*key).to_owned(), json!(value));
        }
        [key, rest @ ..] => {
            let level = place.entry(*key).or_insert_with(|| json!({}));
            if !level.is_object() {
                *level = json!({});
            }
            if let Value::Object(level) = level {
                put(level, rest, value);
            }
        }
    }
}
