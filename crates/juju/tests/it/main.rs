//! The SDK against the real things.

mod pebble;
