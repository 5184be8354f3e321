//! Every status of the charm. docs/charm/troubleshooting.md says of each, by its text, what to do.

use std::fmt::Display;

use juju::Status;

use crate::workload::CONTAINER;

/// All is well; where the screen is.
pub fn ready(url: &str) -> Status {
    Status::active(format!("UI ready at {url}"))
}

/// There are other units.
pub fn scaled_up(app: &str) -> Status {
    Status::blocked(format!("You can't scale up {app}. Deploy a new application instead."))
}

/// The container's Pebble does not answer yet.
pub fn container_down() -> Status {
    Status::waiting(format!("Waiting for containers: ['{CONTAINER}']..."))
}

/// Decima ends as soon as it is started.
pub fn workload_fails() -> Status {
    Status::blocked("the workload does not stay up: see the container's log")
}

/// Profiles can be handed on to one store alone; the applications that offer one.
pub fn several_stores(apps: &[String]) -> Status {
    Status::blocked(format!("relate one external store only, not {}", apps.join(" and ")))
}

/// An option makes no sense. `why` begins with `option` and its name.
pub fn wrong_option(why: impl Display) -> Status {
    Status::blocked(why.to_string())
}

/// The application may not patch its own Kubernetes objects.
pub fn needs_trust(app: &str) -> Status {
    Status::blocked(format!("run: juju trust {app} --scope=cluster"))
}

/// The Kubernetes API did not answer in time.
pub fn kubernetes_is_late() -> Status {
    Status::waiting("Waiting for the Kubernetes API: no answer in time")
}

/// The Kubernetes API cannot be reached.
pub fn kubernetes_is_away() -> Status {
    Status::waiting("Waiting for the Kubernetes API")
}

/// The Kubernetes API refuses a request, with this code of HTTP.
pub fn kubernetes_refuses(code: u16) -> Status {
    Status::waiting(format!("Waiting for the Kubernetes API: it answers {code}"))
}
