//! Tests of scraping as a user of the crate sees it: recorded behaviour of Parca, properties, and targets on loopback.

mod scraping;
mod vectors;
