//! The domain: labels, types, symbols, stacks, trees and [`Batch`], and the pprof codec.
//!
//! Everything that comes in becomes a [`Batch`]; everything that goes out is made from [`Symbols`],
//! [`Stacks`] and [`tree::Tree`]. This crate never touches the network, the disk, the clock or Arrow,
//! and is never async.
//!
//! Map: [`labels`] label sets and streams · [`types`] what a value means · [`symbols`] strings,
//! functions, locations, mappings, stacks as columns · [`content`] what is the same by content ·
//! [`dictionary`] symbols that senders name again and again · [`batch`] what flows from `ingest` to `store` ·
//! [`pprof`] the codec · [`tree`] stacks as canonical preorder trees, and their join.

pub mod batch;
pub mod content;
pub mod dictionary;
pub mod labels;
pub mod pprof;
pub mod symbols;
pub mod tree;
pub mod types;

pub use batch::{Batch, BatchDefect, LabelSets, MappingRange, PprofExtras, Profiles, Samples};
pub use dictionary::Dictionary;
pub use labels::{Labels, Stream};
pub use symbols::{
    FunctionIx, Functions, Lines, LocationIx, Locations, Mappings, NONE, StackIx, Stacks, StringIx, Strings, Symbols,
};
pub use types::{ProfileType, ValueType};
