//! Keeps sessions in memory: for a minute more and more, then fewer.

use std::collections::HashMap;
use std::hint::black_box;
use std::thread;
use std::time::Duration;

use super::Clock;

/// Bytes of one session.
const SESSION_BYTES: usize = 16 << 10;
/// 32 MiB in all.
const SESSIONS_MAX: u64 = 2_048;

pub(super) fn work(clock: &Clock) {
    let mut sessions = HashMap::new();
    let mut newest = 0;
    while clock.running() {
        if clock.minute().is_multiple_of(2) {
            newest += 1;
            open_session(&mut sessions, newest);
        } else {
            close_sessions(&mut sessions);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[inline(never)]
fn open_session(sessions: &mut HashMap<u64, Vec<u8>>, number: u64) {
    sessions.insert(number % SESSIONS_MAX, render_page(number));
}

#[inline(never)]
fn render_page(number: u64) -> Vec<u8> {
    (0..SESSION_BYTES).map(|at| black_box((number as usize + at) as u8)).collect()
}

#[inline(never)]
fn close_sessions(sessions: &mut HashMap<u64, Vec<u8>>) {
    let closed: Vec<u64> = sessions.keys().copied().take(4).collect();
    for number in closed {
        black_box(sessions.remove(&number));
    }
}
