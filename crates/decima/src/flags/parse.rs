//! Arguments to [`Flags`], by kong's rules.

use std::collections::BTreeMap;
use std::slice::Iter;

use server::go_time::parse_duration;

use super::Flags;
use super::table::{FLAGS, Flag, Kind};

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    Run(Box<Flags>),
    /// `-h` or `--help`.
    Help,
}

/// `environment` looks a variable up; an argument is stronger. The error is kong's text.
pub fn parse(arguments: &[String], environment: impl Fn(&str) -> Option<String>) -> Result<Parsed, String> {
    let mut flags = Flags::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            match rest.next() {
                Some(positional) => return Err(format!("unexpected argument {positional}")),
                None => break,
            }
        }
        if argument == "-h" || argument == "--help" {
            return Ok(Parsed::Help);
        }
        if !argument.starts_with('-') || argument == "-" {
            return Err(format!("unexpected argument {argument}"));
        }
        let (name, inline) = match argument.strip_prefix("--").and_then(|long| long.split_once('=')) {
            Some((_, value)) => (&argument[..argument.len() - value.len() - 1], Some(value)),
            None => (argument.as_str(), None),
        };
        let Some(flag) = FLAGS.iter().find(|flag| name.strip_prefix("--") == Some(flag.name)) else {
            return Err(unknown(name));
        };
        flag.take(&mut flags, inline, &mut rest).map_err(|why| format!("--{}{why}", flag.name))?;
        flags.given.insert(flag.name);
    }
    for flag in FLAGS.iter().filter(|flag| !flags.given.contains(flag.name)).collect::<Vec<_>>() {
        if let Some(value) = flag.environment.and_then(&environment) {
            flag.take(&mut flags, Some(&value), &mut [].iter()).map_err(|why| format!("--{}{why}", flag.name))?;
            flags.given.insert(flag.name);
        }
    }
    Ok(Parsed::Run(Box::new(flags)))
}

impl Flag {
    /// Sets the field. The error goes after the flag's name.
    fn take(&self, flags: &mut Flags, inline: Option<&str>, rest: &mut Iter<'_, String>) -> Result<(), String> {
        if let Kind::Bool(field) = &self.kind {
            *field(flags) = match inline.map(str::to_lowercase).as_deref() {
                None | Some("true" | "1" | "yes") => true,
                Some("false" | "0" | "no") => false,
                Some(_) => {
                    let value = inline.unwrap_or_default();
                    return Err(format!(": bool value must be true, 1, yes, false, 0 or no but got {value:?}"));
                }
            };
            return Ok(());
        }
        let value = match inline {
            Some(value) => value,
            None => self.next(rest)?,
        };
        match &self.kind {
            Kind::Bool(_) => {}
            Kind::Text(field) => *field(flags) = value.to_owned(),
            Kind::Choice(choices, field) => {
                if !choices.contains(&value) {
                    let quoted: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
                    return Err(format!(" must be one of {} but got {value:?}", quoted.join(",")));
                }
                *field(flags) = value.to_owned();
            }
            Kind::Int(field) => {
                *field(flags) =
                    value.parse().map_err(|_| format!(": expected a valid 64 bit int but got {value:?}"))?;
            }
            Kind::Duration(field) => {
                *field(flags) =
                    parse_duration(value).map_err(|why| format!(": expected duration but got {value:?}: {why}"))?;
            }
            Kind::List(field) => {
                let items = split(value, ',');
                let list = if self.given(flags) { field(flags).take().unwrap_or_default() } else { Vec::new() };
                *field(flags) = Some(list.into_iter().chain(items).collect());
            }
            Kind::Map(field) => {
                let mut map: BTreeMap<String, String> = field(flags).take().unwrap_or_default();
                for pair in split(value, ';') {
                    let Some((key, value)) = pair.split_once('=') else {
                        return Err(format!(": expected \"<key>=<value>\" but got {pair:?}"));
                    };
                    map.insert(key.to_owned(), value.to_owned());
                }
                *field(flags) = Some(map);
            }
        }
        Ok(())
    }

    fn given(&self, flags: &Flags) -> bool {
        flags.given.contains(self.name)
    }

    /// The value that stands in an argument of its own.
    fn next<'a>(&self, rest: &mut Iter<'a, String>) -> Result<&'a str, String> {
        let kind = match self.kind {
            Kind::Int(_) => "int",
            Kind::Duration(_) => "duration",
            _ => "string",
        };
        match rest.next() {
            None => Err(format!(": expected {kind} value but got \"EOL\" (<EOL>)")),
            Some(other) if other.starts_with("--") => {
                Err(format!(": expected {kind} value but got {other:?} (long flag)"))
            }
            Some(other) if other.starts_with('-') && other.len() > 1 => {
                Err(format!(": expected {kind} value but got {other:?} (short flag)"))
            }
            Some(value) => Ok(value),
        }
    }
}

/// Splits at separators that no backslash stands before; nothing follows a last separator.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut out = Vec::new();
    let mut token = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.peek() == Some(&separator) {
            characters.next();
            token.push(separator);
        } else if character == separator {
            out.push(std::mem::take(&mut token));
        } else {
            token.push(character);
        }
    }
    if !token.is_empty() {
        out.push(token);
    }
    out
}

/// Says which flags were perhaps meant: those that begin so, or are at most two edits away.
fn unknown(name: &str) -> String {
    let known = FLAGS.iter().map(|flag| format!("--{}", flag.name)).chain(["--help".to_owned(), "-h".to_owned()]);
    let close: Vec<String> = known
        .filter(|known| known.starts_with(name) || edits(known, name) <= 2)
        .map(|known| format!("{known:?}"))
        .collect();
    match close.as_slice() {
        [] => format!("unknown flag {name}"),
        [one] => format!("unknown flag {name}, did you mean {one}?"),
        several => format!("unknown flag {name}, did you mean one of {}?", several.join(", ")),
    }
}

/// Levenshtein's distance, in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
