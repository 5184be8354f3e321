//! Answers held against slow, simple versions of the same questions, over random profiles.

mod charts;
mod exports;
mod functions;
mod groups;
mod limits;
mod listings;
mod memory;
mod nested;
mod oracle;
mod random;
mod ranges;
mod reads;
mod reports;
mod series;
mod singles;
mod sources;
mod trees;
mod views;
