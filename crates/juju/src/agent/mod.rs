//! The unit agent, typed: what hook tools tell and take.
//!
//! Each read is asked once per dispatch and kept; a write goes out only where the value differs from what is there, and
//! what is kept follows it. Juju gives a dispatch one stable view that includes its own writes, so nothing grows stale.

mod action;
mod cloud;
mod relation;
mod secret;
mod unit;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::event::Dispatch;
use crate::tools::{HookTools, ToolError};

pub use cloud::{CloudCredential, CloudSpec};
pub use relation::{Bags, Side};
pub use secret::{NewSecret, SecretAccess, SecretChange, SecretInfo, SecretOwner, SecretRef, SecretRevision};
pub use unit::{Address, BindAddress, GoalState, GoalStatus, Network, Storage, Whose};

/// The unit agent of one dispatch.
///
/// Answers are kept for as long as this lives: make a new one for each dispatch. Errors of reads are kept too.
pub struct Juju<'t> {
    tools: &'t dyn HookTools,
    kept: RefCell<HashMap<String, Result<Rc<Value>, ToolError>>>,
    calls: Cell<u32>,
    /// Where the workload's version is remembered: Juju has no tool that reads it.
    version: RefCell<VersionMemory>,
}

enum VersionMemory {
    File(PathBuf),
    Known(Option<String>),
}

/// Beside the charm's own files. When a pod is replaced it is lost, and the version is set once more.
const VERSION_FILE: &str = ".workload-version";

impl<'t> Juju<'t> {
    /// The agent of a real dispatch.
    pub fn new(tools: &'t dyn HookTools, dispatch: &Dispatch) -> Juju<'t> {
        Juju::with_version_memory(tools, VersionMemory::File(dispatch.charm_dir.join(VERSION_FILE)))
    }

    /// One that writes no file: `workload_version` is what was set before.
    pub fn in_memory(tools: &'t dyn HookTools, workload_version: Option<String>) -> Juju<'t> {
        Juju::with_version_memory(tools, VersionMemory::Known(workload_version))
    }

    fn with_version_memory(tools: &'t dyn HookTools, version: VersionMemory) -> Juju<'t> {
        Juju { tools, kept: RefCell::default(), calls: Cell::new(0), version: RefCell::new(version) }
    }

    /// How many hook tools were run so far.
    pub fn calls(&self) -> u32 {
        self.calls.get()
    }

    /// Runs a tool that writes, or one that this type has no method for. Nothing is kept.
    pub fn run(&self, tool: &str, args: &[&str], stdin: Option<&str>) -> Result<String, ToolError> {
        self.run_named(tool, args, stdin, || call_text(tool, args))
    }

    /// As `run`, with a name for the call in errors that leaves out what is secret.
    fn run_named(
        &self,
        tool: &str,
        args: &[&str],
        stdin: Option<&str>,
        name: impl Fn() -> String,
    ) -> Result<String, ToolError> {
        self.calls.set(self.calls.get() + 1);
        let owned: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let output = self.tools.call(tool, &owned, stdin).map_err(|e| ToolError::not_run(name(), &e))?;
        if output.code != 0 {
            return Err(ToolError::of_output(tool, name(), &output));
        }
        Ok(output.stdout)
    }

    /// Runs a tool that reads, with its answer as JSON; kept under its arguments.
    fn read(&self, tool: &str, args: &[&str]) -> Result<Rc<Value>, ToolError> {
        self.kept_or(tool, args, || self.read_anew(tool, args))
    }

    /// What is kept under a tool and its arguments, or else what `ask` tells, which is kept.
    fn kept_or(
        &self,
        tool: &str,
        args: &[&str],
        ask: impl FnOnce() -> Result<Value, ToolError>,
    ) -> Result<Rc<Value>, ToolError> {
        let key = key(tool, args);
        if let Some(kept) = self.kept.borrow().get(&key) {
            return kept.clone();
        }
        let answer = ask().map(Rc::new);
        self.kept.borrow_mut().insert(key, answer.clone());
        answer
    }

    fn is_kept(&self, tool: &str, args: &[&str]) -> bool {
        self.kept.borrow().contains_key(&key(tool, args))
    }

    fn read_anew(&self, tool: &str, args: &[&str]) -> Result<Value, ToolError> {
        let mut with_format = vec!["--format=json"];
        with_format.extend(args);
        let text = self.run_named(tool, &with_format, None, || call_text(tool, args))?;
        // Some tools print nothing where there is nothing.
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|e| ToolError::bad_answer(call_text(tool, args), e))
    }

    /// As `read`, as a type.
    fn read_as<T: DeserializeOwned>(&self, tool: &str, args: &[&str]) -> Result<T, ToolError> {
        let value = self.read(tool, args)?;
        T::deserialize(&*value).map_err(|e| ToolError::bad_answer(call_text(tool, args), e))
    }

    /// Keeps what a read will answer from now on, after a write.
    fn keep(&self, tool: &str, args: &[&str], value: Value) {
        self.kept.borrow_mut().insert(key(tool, args), Ok(Rc::new(value)));
    }

    /// Forgets what was read by a tool.
    fn forget(&self, tool: &str) {
        self.kept.borrow_mut().retain(|key, _| key.split('\0').next() != Some(tool));
    }
}

/// Go writes an empty list as null.
fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn key(tool: &str, args: &[&str]) -> String {
    let mut key = tool.to_owned();
    for arg in args {
        key.push('\0');
        key.push_str(arg);
    }
    key
}

fn call_text(tool: &str, args: &[&str]) -> String {
    let mut text = tool.to_owned();
    for arg in args {
        text.push(' ');
        text.push_str(arg);
    }
    text
}

/// A mapping of strings as JSON that is YAML 1.1 too, which is how `--file` is read: no raw character that YAML takes for a
/// line break or refuses.
fn to_yaml_json<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    use std::fmt::Write;
    let mut out = "{".to_owned();
    for (n, (k, v)) in pairs.into_iter().enumerate() {
        for (text, before) in [(k, if n == 0 { "" } else { ", " }), (v, ": ")] {
            out.push_str(before);
            out.push('"');
            for c in text.chars() {
                match c {
                    '"' => out.push_str("\\\""),
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\t' => out.push_str("\\t"),
                    '\r' => out.push_str("\\r"),
                    '\0'..' ' | '\u{7f}'..='\u{ffff}' => {
                        // cannot fail: a String
                        let _ = write!(out, "\\u{:04x}", c as u32);
                    }
                    _ => out.push(c),
                }
            }
            out.push('"');
        }
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::to_yaml_json;

    proptest! {
        #[test]
        fn what_goes_to_a_file_option_is_json_without_characters_that_yaml_minds(
            bag in proptest::collection::btree_map("\\PC{1,8}", any::<String>(), 0..4),
        ) {
            let text = to_yaml_json(bag.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            prop_assert_eq!(&serde_json::from_str::<BTreeMap<String, String>>(&text).unwrap(), &bag);
            prop_assert!(text.chars().all(|c| matches!(c, ' '..='~' | '\u{10000}'..)), "{}", text);
        }
    }
}
