//! The charm from outside, over a unit agent in memory.

mod continuity;
mod dispatch;
mod hostile;
mod recorded;
mod refresh;
mod statuses;
