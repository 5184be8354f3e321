//! What a user meets: crashes, bad input, the first minute.

mod bad_input;
mod bad_profiles;
mod charm_metrics;
mod crash;
mod debuginfo;
mod first_minute;
mod forward;
mod hostile;
mod import;
mod juju_jobs;
mod known_stacks;
mod object_store;
mod real_clients;
mod roles;
