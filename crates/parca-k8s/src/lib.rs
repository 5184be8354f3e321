//! The charm parca-k8s: what it says on each of its relations, and what it asks of Kubernetes.
//!
//! A relation's module is pure: from what was read of the relation to what shall stand in our data bags, with a typed result of
//! what the other side says. Bags that mean the same as what we would write are left alone, so that a refresh wakes nobody.
//!
//! The crate never starts a program, is never async, and knows nothing of the server's crates. Only [`http`] opens sockets, each
//! with a deadline.
//!
//! Map: [`identity`] who the unit is · [`relation`] one module per relation · [`bags`] all of
//! them together · [`workload`] Decima in its container · [`certificates`], [`keys`],
//! [`der`] its TLS · [`charm`] one dispatch from end to end · [`status`] what the unit says · [`promql`] matchers into queries · [`xz`] the
//! dashboard's compression · [`http`] a small client · [`kubernetes`] labels of the workload · [`traces`] the charm's own traces.

pub mod bags;
pub mod certificates;
pub mod charm;
pub mod der;
pub mod http;
pub mod identity;
pub mod keys;
pub mod kubernetes;
pub mod promql;
pub mod relation;
pub mod status;
pub mod traces;
pub mod workload;
pub mod xz;

pub use identity::Identity;
