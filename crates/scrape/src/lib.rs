//! Scraping: reads `parca.yaml`, finds targets, fetches a profile from each at its interval, and hands it on.
//!
//! This crate never stores, decodes or answers anything: profiles go to a [`Sink`], and what it knows of its targets is
//! told by a [`Handle`]. Of files it reads those alone that a `tls_config` names: the text of the configuration is given to it.
//!
//! The way of a target: [`config`] (the file, checked) → [`targets`] (each target and enabled profile, with [`relabel`]
//! applied: a URL and labels) → [`scraper`] (a task per target that asks for the URL, within time and bytes) →
//! [`sink`].
//!
//! Map: [`config`] `parca.yaml` · [`duration`] Prometheus durations · [`relabel`] relabelling rules · [`targets`] groups
//! to targets · [`scraper`] options, loop, handle · [`sink`] where profiles go · `fetch` one request · `client`
//! HTTP clients · `tls` certificates · `keep` fewer sample types · `metrics` what is counted · `yaml` Go-YAML on events · `go` texts as Go makes them · `label_builder` labels that change.

mod client;
pub mod config;
pub mod duration;
mod fetch;
mod go;
mod keep;
mod label_builder;
mod metrics;
pub mod relabel;
pub mod scraper;
pub mod sink;
pub mod targets;
mod tls;
mod yaml;

pub use config::{Config, ConfigError, ScrapeConfig};
pub use scraper::{Handle, Health, Options, Scraper, TargetState, TargetStatus};
pub use sink::{Scraped, Sink, SinkError, Written};
