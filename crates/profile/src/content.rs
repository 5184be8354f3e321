//! What is the same by content: keyed hashes, and tables that find a row by them.

mod hash;
mod table;

pub use hash::{Domain, HashKey, Hasher};
pub use table::Table;
