//! Wire formats of profiles to [`Batch`].
//!
//! So far pprof, as Parca's `WriteRaw` and the scrape loop bring it. Decoding is all that this crate does:
//! it never touches storage, the network or the clock (the receive time is handed in).
//!
//! Map: [`pprof`] one payload to one batch · `name` which profile types Parca's query language can name ·
//! [`IngestError`] why a payload was refused, in Parca's words.

mod error;
mod name;
mod pprof;

pub use error::{IngestError, IngestErrorKind};
pub use pprof::{check_labels, pprof};
pub use profile::Batch;
pub use profile::pprof::{Limits, Scratch};
