//! Tests of scraping as a user of the crate sees it: recorded behaviour of Parca, properties, and targets on loopback.

mod config;
mod properties;
mod scraping;
mod tls;
mod vectors;
