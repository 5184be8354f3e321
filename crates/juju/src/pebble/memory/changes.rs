//! Changes and their tasks. Here a change is done as soon as it was asked for, but for checks, which go on.

use std::collections::BTreeMap;

use super::go::{self, quote};
use super::notices::Notices;
use crate::json::Json;
use crate::pebble::types::{Change, ChangeId, ChangesSelect, Task};
use crate::pebble::{PebbleError, Result};

/// Lines that a task's log keeps.
const LOG_LINES_MAX: usize = 10;

struct Record {
    change: Change,
    /// The services that it is about; `None`: it is not about services.
    services: Option<Vec<String>>,
    notice_data: BTreeMap<String, String>,
}

#[derive(Default)]
pub(super) struct Changes {
    records: Vec<Record>,
    tasks: usize,
}

/// A task of a change: positions of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskAt {
    pub(super) change: usize,
    pub(super) task: usize,
}

/// What changes write besides.
pub(super) struct Along<'a> {
    pub(super) notices: &'a mut Notices,
    pub(super) now: i64,
}

fn is_ready(status: &str) -> bool {
    ["Done", "Undone", "Hold", "Error"].contains(&status)
}

/// Of the tasks' statuses, that which counts for the change.
fn overall(tasks: &[Task]) -> &'static str {
    let order = ["Abort", "Doing", "Do", "Error", "Done", "Hold"];
    order.into_iter().find(|status| tasks.iter().any(|task| task.status == *status)).unwrap_or("Done")
}

impl Changes {
    /// Begins a change with tasks of these kinds and summaries; without tasks it is done. Returns its position.
    pub(super) fn begin(
        &mut self,
        kind: &str,
        summary: String,
        tasks: &[(&str, String)],
        services: Option<Vec<String>>,
        notice_data: BTreeMap<String, String>,
        along: &mut Along<'_>,
    ) -> Result<usize> {
        let id: ChangeId = (self.records.len() + 1).to_string().parse()?;
        let tasks: Vec<Task> = tasks
            .iter()
            .map(|(kind, summary)| {
                self.tasks += 1;
                Task {
                    id: self.tasks.to_string(),
                    kind: (*kind).to_owned(),
                    summary: summary.clone(),
                    status: "Do".to_owned(),
                    log: Vec::new(),
                    data: BTreeMap::new(),
                }
            })
            .collect();
        let change = Change {
            id,
            kind: kind.to_owned(),
            summary,
            status: "Do".to_owned(),
            ready: false,
            err: None,
            tasks,
            spawn_time: go::rfc3339(along.now),
            ready_time: None,
        };
        let notice_data = notice_data.into_iter().chain([("kind".to_owned(), kind.to_owned())]).collect();
        self.records.push(Record { change, services, notice_data });
        let at = self.records.len() - 1;
        self.note(at, along);
        if self.records[at].change.tasks.is_empty() {
            self.settle(at, along);
        }
        Ok(at)
    }

    pub(super) fn id(&self, at: usize) -> ChangeId {
        self.records[at].change.id.clone()
    }

    fn task(&mut self, at: TaskAt) -> &mut Task {
        &mut self.records[at.change].change.tasks[at.task]
    }

    /// Adds to a task's log. `kind` is `INFO` or `ERROR`.
    pub(super) fn log(&mut self, at: TaskAt, kind: &str, message: &str, now: i64) {
        let line = format!("{} {kind} {message}", go::rfc3339(now - now.rem_euclid(1_000_000_000)));
        let log = &mut self.task(at).log;
        if log.len() == LOG_LINES_MAX {
            log.remove(0);
        }
        log.push(line);
    }

    pub(super) fn set_data(&mut self, at: TaskAt, key: &str, value: Json) {
        self.task(at).data.insert(key.to_owned(), value);
    }

    pub(super) fn set_status(&mut self, at: TaskAt, status: &str, along: &mut Along<'_>) {
        self.task(at).status = status.to_owned();
        self.settle(at.change, along);
    }

    fn note(&mut self, at: usize, along: &mut Along<'_>) {
        let record = &self.records[at];
        along.notices.record(
            None,
            "change-update",
            record.change.id.as_str(),
            record.notice_data.clone(),
            0,
            along.now,
        );
    }

    /// Takes the change's status from its tasks.
    fn settle(&mut self, at: usize, along: &mut Along<'_>) {
        let change = &mut self.records[at].change;
        let status = overall(&change.tasks);
        if change.status == status {
            return;
        }
        // between two tasks it is `Do` again, which nobody is told
        let told = !(change.status == "Doing" && status == "Do");
        if !told {
            return;
        }
        change.status = status.to_owned();
        change.ready = is_ready(status);
        if change.ready {
            change.ready_time = Some(go::rfc3339(along.now));
        }
        if status == "Error" {
            change.err = Some(error(&change.tasks));
        }
        self.note(at, along);
    }

    pub(super) fn select(&self, select: ChangesSelect, service: Option<&str>) -> Vec<Change> {
        self.records
            .iter()
            .filter(|record| match select {
                ChangesSelect::All => true,
                ChangesSelect::InProgress => !record.change.ready,
                ChangesSelect::Ready => record.change.ready,
            })
            .filter(|record| match service.filter(|name| !name.is_empty()) {
                None => true,
                Some(name) => record.services.iter().flatten().any(|service| service == name),
            })
            .map(|record| record.change.clone())
            .collect()
    }

    fn position(&self, id: &ChangeId) -> Result<usize> {
        let found = self.records.iter().position(|record| record.change.id == *id);
        found
            .ok_or_else(|| PebbleError::answered(404, "", format!("cannot find change with id {}", quote(id.as_str()))))
    }

    pub(super) fn get(&self, id: &ChangeId) -> Result<Change> {
        Ok(self.records[self.position(id)?].change.clone())
    }

    /// Where a change is that can still be aborted.
    pub(super) fn abortable(&self, id: &ChangeId) -> Result<usize> {
        let at = self.position(id)?;
        if self.records[at].change.ready {
            let message = format!("cannot abort change {id} with nothing pending");
            return Err(PebbleError::answered(400, "", message));
        }
        Ok(at)
    }
}

fn error(tasks: &[Task]) -> String {
    let mut text = "cannot perform the following tasks:".to_owned();
    for task in tasks.iter().filter(|task| task.status == "Error") {
        for line in &task.log {
            if let Some(("ERROR", message)) = line.split_once(' ').and_then(|(_, rest)| rest.split_once(' ')) {
                text += &format!("\n- {} ({message})", task.summary);
            }
        }
    }
    text
}
