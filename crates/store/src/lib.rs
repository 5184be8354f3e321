//! Keeps batches: WAL, head, blocks, catalog; and lets queries scan them.

pub mod error;
pub mod part;
