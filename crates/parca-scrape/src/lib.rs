//! The `parca_scrape` relation: how a charm tells Parca, or Decima, where its profiles are, and how that reads it.
//!
//! Any provider works with any consumer, in Python or Rust, of any revision: bags are written byte for byte as the library
//! `charms.parca_k8s.v0.parca_scrape` writes them, and read as it reads them. Where that library fails on what the
//! other side wrote, only the broken part is passed over, and told.
//!
//! This crate never talks to Juju: it reads relations that were read, and returns the bags that shall be. It knows nothing of
//! the charm that uses it.
//!
//! Map: [`provider`] and [`consumer`] the two sides · [`job`] what a job may say · [`topology`] who a unit is ·
//! [`endpoint`] the checks of a charm's metadata · [`mod@fit`] jobs as parca.yaml takes them · [`unit_dump`] what
//! `juju show-unit` prints.

pub mod consumer;
pub mod endpoint;
pub mod fit;
pub mod job;
pub mod provider;
pub mod topology;
pub mod unit_dump;

pub use consumer::{Defect, Passed, ProfilingEndpointConsumer, TargetsChanged};
pub use endpoint::{
    CharmMetadata, ConstructorError, RelationInterfaceMismatchError, RelationNotFoundError, RelationRole,
    RelationRoleMismatchError,
};
pub use fit::{fit, is_named};
pub use job::{ALLOWED_KEYS, ALLOWED_KEYS_1, DEFAULT_JOB};
pub use provider::ProfilingEndpointProvider;
pub use topology::{InvalidUuidError, JujuTopology, ProviderTopology};

/// The endpoint's name unless a charm says otherwise.
pub const DEFAULT_RELATION_NAME: &str = "profiling-endpoint";

/// The interface.
pub const RELATION_INTERFACE_NAME: &str = "parca_scrape";

/// The example of the README runs too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
