//! The SDK against the real things: a real Pebble, and the in-memory unit agent beside the simulator.

mod environment;
mod fuzz;
mod hook_tools;
mod model;
mod pebble;
mod reconcile;
mod run;
