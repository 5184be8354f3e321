//! The charm from outside, over a unit agent in memory.

mod dispatch;
