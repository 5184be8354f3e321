//! What a user meets: crashes, bad input, the first minute.

mod bad_input;
mod crash;
mod first_minute;
