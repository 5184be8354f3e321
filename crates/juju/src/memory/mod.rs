//! A unit agent in memory: hook tools over a [`State`], with Juju's leader rules, error texts and exit codes.
//!
//! A dispatch reads and writes a view of the state. When it ends well the view becomes the state; when it fails, everything
//! is taken back but statuses and the workload's version, which Juju sets at once. The texts are those of Juju 3.6.

mod action;
mod args;
mod meta;
mod relation;
mod secret;
mod state;
mod unit;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use serde_json::Value;

pub use meta::{Action, ConfigKind, ConfigOption, Endpoint, Meta, MetaError, Param};
pub(crate) use secret::is_secret_key;
pub use state::{Grant, Owner, RelationState, SecretState, State, StorageState};

use crate::model::{RelationId, UnitName};
use crate::tools::{HookTools, Output};
use args::{Answer, Refusal};

/// What a dispatch is about, as far as hook tools take it for granted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// Of a relation event.
    pub relation: Option<RelationId>,
    pub remote_unit: Option<UnitName>,
    /// Of an action: its parameters, defaults included.
    pub action: Option<serde_json::Map<String, Value>>,
}

/// One call of a hook tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub tool: String,
    pub args: Vec<String>,
    pub code: i32,
}

impl Call {
    /// Whether it is a tool that changes something (a call that failed did not).
    pub fn is_write(&self) -> bool {
        self.code == 0
            && matches!(
                self.tool.as_str(),
                "relation-set"
                    | "status-set"
                    | "application-version-set"
                    | "open-port"
                    | "close-port"
                    | "storage-add"
                    | "state-set"
                    | "state-delete"
                    | "secret-add"
                    | "secret-set"
                    | "secret-remove"
                    | "secret-grant"
                    | "secret-revoke"
                    | "action-set"
                    | "action-fail"
                    | "action-log"
                    | "juju-reboot"
            )
    }
}

/// What became of an action.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActionOutcome {
    /// Levels as nested objects.
    pub results: serde_json::Map<String, Value>,
    /// Why it failed, if it did.
    pub failed: Option<String>,
    pub log: Vec<String>,
}

/// What a dispatch left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    pub state: State,
    /// Level and message of each `juju-log`.
    pub log: Vec<(String, String)>,
    /// All calls but `juju-log`.
    pub calls: Vec<Call>,
    pub action: Option<ActionOutcome>,
    /// A reboot was asked for; true: at once.
    pub reboot: Option<bool>,
    /// Storage asked for, `name=count`.
    pub storage_added: Vec<String>,
}

/// The hook tools of one dispatch, over a state.
pub struct MemoryTools {
    meta: Meta,
    before: State,
    transaction: RefCell<Transaction>,
}

struct Transaction {
    view: State,
    relation: Option<RelationId>,
    remote_unit: Option<UnitName>,
    params: Option<serde_json::Map<String, Value>>,
    action: ActionOutcome,
    log: Vec<(String, String)>,
    calls: Vec<Call>,
    reboot: Option<bool>,
    storage_added: Vec<String>,
}

impl MemoryTools {
    pub fn new(meta: Meta, state: State, origin: Origin) -> MemoryTools {
        let mut view = state.clone();
        for secret in &mut view.secrets {
            secret.fresh = None;
        }
        let Origin { relation, remote_unit, action } = origin;
        let transaction = Transaction {
            view,
            relation,
            remote_unit,
            params: action,
            action: ActionOutcome::default(),
            log: Vec::new(),
            calls: Vec::new(),
            reboot: None,
            storage_added: Vec::new(),
        };
        MemoryTools { meta, before: state, transaction: RefCell::new(transaction) }
    }

    /// Ends the dispatch: keeps its writes if it ended well, else takes them back.
    pub fn finish(self, ended_well: bool) -> Finished {
        let mut done = self.transaction.into_inner();
        let state = if ended_well {
            for secret in &mut done.view.secrets {
                secret.fresh = None;
            }
            done.view
        } else {
            let State { unit_status, app_status, workload_version, .. } = done.view;
            State { unit_status, app_status, workload_version, ..self.before }
        };
        let action = done.params.map(|_| done.action);
        Finished {
            state,
            log: done.log,
            calls: done.calls,
            action,
            reboot: done.reboot,
            storage_added: done.storage_added,
        }
    }
}

impl HookTools for MemoryTools {
    fn call(&self, tool: &str, args: &[String], stdin: Option<&str>) -> io::Result<Output> {
        let mut transaction = self.transaction.borrow_mut();
        let answer = Tools { meta: &self.meta, tx: &mut transaction }.run(tool, args, stdin);
        let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let output = match answer {
            Ok(stdout) => Output { code: 0, stdout, stderr: String::new() },
            Err(Refusal { text, code }) => Output { code, stdout: String::new(), stderr: format!("ERROR {text}\n") },
        };
        if tool != "juju-log" {
            transaction.calls.push(Call { tool: tool.to_owned(), args: args.to_vec(), code: output.code });
        }
        Ok(output)
    }
}

/// The tools themselves; each in the file of what it is about.
struct Tools<'a> {
    meta: &'a Meta,
    tx: &'a mut Transaction,
}

impl Tools<'_> {
    /// `None` for a tool that there is not.
    fn run(&mut self, tool: &str, argv: &[String], stdin: Option<&str>) -> Option<Answer> {
        Some(match tool {
            "is-leader" => self.is_leader(argv),
            "config-get" => self.config_get(argv),
            "relation-ids" => self.relation_ids(argv),
            "relation-list" => self.relation_list(argv),
            "relation-model-get" => self.relation_model_get(argv),
            "relation-get" => self.relation_get(argv),
            "relation-set" => self.relation_set(argv, stdin),
            "status-get" => self.status_get(argv),
            "status-set" => self.status_set(argv),
            "application-version-set" => self.application_version_set(argv),
            "juju-log" => self.juju_log(argv),
            "open-port" => self.open_port(argv),
            "close-port" => self.close_port(argv),
            "opened-ports" => self.opened_ports(argv),
            "network-get" => self.network_get(argv),
            "unit-get" => self.unit_get(argv),
            "goal-state" => self.goal_state(argv),
            "credential-get" => self.credential_get(argv),
            "resource-get" => self.resource_get(argv),
            "juju-reboot" => self.juju_reboot(argv),
            "storage-add" => self.storage_add(argv),
            "storage-list" => self.storage_list(argv),
            "storage-get" => self.storage_get(argv),
            "state-get" => self.state_get(argv),
            "state-set" => self.state_set(argv, stdin),
            "state-delete" => self.state_delete(argv),
            "secret-add" => self.secret_add(argv, stdin),
            "secret-get" => self.secret_get(argv),
            "secret-info-get" => self.secret_info_get(argv),
            "secret-ids" => self.secret_ids(argv),
            "secret-set" => self.secret_set(argv, stdin),
            "secret-remove" => self.secret_remove(argv),
            "secret-grant" => self.secret_grant(argv),
            "secret-revoke" => self.secret_revoke(argv),
            "action-get" => self.action_get(argv),
            "action-set" => self.action_set(argv),
            "action-fail" => self.action_fail(argv),
            "action-log" => self.action_log(argv),
            _ => return None,
        })
    }
}

/// A mapping of strings as a JSON value.
fn object(map: &BTreeMap<String, String>) -> Value {
    serde_json::json!(map)
}
