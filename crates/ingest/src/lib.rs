//! Wire formats of profiles to [`Batch`].
//!
//! pprof, as Parca's `WriteRaw` and the scrape loop bring it, the agent's two Arrow protocols, OTLP, and what a Parca left in its bucket. Decoding is all that
//! this crate does: it never touches storage, the network or the clock (the receive time is handed in), and no type of a wire
//! format leaves it.
//!
//! Map: [`pprof`] one payload to one batch · [`write_arrow`] and [`v1`] Arrow, with or without stacks · [`arrow`](mod@arrow)
//! its IPC stream, read in place · [`BlockReader`] the blocks of a Parca's bucket · [`otlp`] OpenTelemetry's export · [`tables`] a batch under construction · [`shared`] the same over a dictionary, of which [`Dictionaries`] has a few · [`demangle`] linkers' names · `name` which
//! profile types Parca's query language can name · [`IngestError`] why a payload was refused, in Parca's words.

mod arrow;
mod block;
mod demangle;
mod error;
mod name;
mod otlp;
mod parca;
mod pprof;
mod shared;
mod tables;

pub use block::{BlockDefect, BlockFile, BlockReader, Defect, Piece};
pub use error::{IngestError, IngestErrorKind};
pub use otlp::{Otlp, otlp};
pub use parca::{stamped_limits, write_arrow};
pub use pprof::{check_labels, pprof, pprof_file};
pub use profile::Batch;
pub use profile::pprof::{Limits, Scratch};
pub use shared::Dictionaries;

/// Parca's `Write`: samples, the question for their stacks, the stacks.
pub mod v1 {
    pub use crate::parca::{
        Asked, Found, Known, ask, join, join_with_known, nothing_known, split, write, write_with_known,
    };
}
