//! Answers held against slow, simple versions of the same questions, over random profiles.

mod limits;
mod listings;
mod memory;
mod oracle;
mod random;
mod ranges;
mod reports;
mod trees;
