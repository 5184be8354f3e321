//! Keeps batches: a write-ahead log for what was acknowledged, a head in memory for what is recent,
//! immutable blocks for the rest, a catalog that says which blocks exist. Queries read [`Part`]s of all
//! of it at once and see each sample exactly once.
//!
//! It never parses a wire format (replay goes through [`ReplayDecoder`]), never speaks HTTP, is never
//! async and starts no thread: its owner calls [`Store::maintain`] in a loop. It reaches disk, time,
//! randomness and objects only through [`Environment`], so that a seeded simulation can crash it anywhere.
//!
//! Map: `store` the state machine, its opening and its cuts · `wal` the log · [`head`] recent batches ·
//! [`block`] files, written and read · `catalog` which blocks exist · [`record`] what the log keeps ·
//! [`part`] what a query reads · [`listing`] types and labels of all blocks · [`disk`], [`objects`], [`clock`], [`random`] the outside world ·
//! [`budget`] one memory budget · [`options`] every limit · [`status`] what it tells about itself ·
//! [`error`] what can go wrong · `simulation` (tests) a world in which all of that does go wrong.

pub mod block;
pub mod budget;
mod catalog;
pub mod clock;
pub mod disk;
pub mod error;
pub mod head;
pub mod listing;
pub mod objects;
pub mod options;
#[cfg(test)]
mod oracle;
pub mod part;
pub mod random;
pub mod record;
#[cfg(test)]
mod simulation;
pub mod status;
mod store;
mod wal;

pub use budget::{Account, Budget, Lease};
pub use clock::{Clock, SystemClock};
pub use disk::{Disk, LocalDisk};
pub use error::{Kind, StoreError};
pub use head::Head;
pub use listing::Listing;
pub use objects::{LocalObjects, MemoryObjects, Objects};
pub use options::StoreOptions;
pub use part::Part;
pub use random::{Random, SystemRandom};
pub use record::{Record, ReplayDecoder, WalPosition};
pub use status::{OpenReport, Quarantined, Status};
pub use store::{Environment, Import, Store};
