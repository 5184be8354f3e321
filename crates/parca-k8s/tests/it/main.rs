//! The charm from outside, over a unit agent in memory.

mod continuity;
mod dispatch;
mod hostile;
mod integrate;
mod recorded;
mod refresh;
mod statuses;
