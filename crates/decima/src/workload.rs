//! `decima demo-workload`: a small program with something to see in its profiles. Named threads do different work in
//! named functions, and what they do changes over time.
//!
//! - `checkout`: prices orders; every other minute a careless tax table makes it slow.
//! - `search`: sorts and scans words; every third minute it does so without its index.
//! - `sessions`: a cache that grows for a minute and is emptied in the next.
//! - `thumbnails`: bursts of arithmetic every few seconds.

mod checkout;
mod search;
mod sessions;
mod thumbnails;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use server::{ListenOptions, Listener, serve_profiles};
use tracing::{info, warn};

use crate::exit::Exit;
use crate::flags::Flags;
use crate::heap;
use crate::signals::stop_token;

/// Where it listens when nobody says.
const ADDRESS_DEFAULT: &str = "127.0.0.1:7171";

/// What one thread does until it is told to stop.
type Work = fn(&Clock);

/// What every thread of the workload knows.
#[derive(Clone)]
struct Clock {
    started: Instant,
    stop: Arc<AtomicBool>,
}

impl Clock {
    fn running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Whole minutes since the start: what the work depends on.
    fn minute(&self) -> u64 {
        self.started.elapsed().as_secs() / 60
    }
}

/// Works until a signal asks it to stop.
pub fn run(flags: &Flags) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Exit::Failure(format!("cannot start threads: {error}")))?;
    runtime.block_on(serve(flags))
}

async fn serve(flags: &Flags) -> Result<(), Exit> {
    let failure = |error: &dyn std::fmt::Display| Exit::Failure(error.to_string());
    let stop = stop_token().map_err(|error| failure(&error))?;
    let address = match flags.given.contains("http-address") {
        true => flags.http_address.clone(),
        false => ADDRESS_DEFAULT.to_owned(),
    };
    let listener =
        Listener::bind(ListenOptions { address, ..ListenOptions::default() }).await.map_err(|error| failure(&error))?;
    let address = listener.address().map_err(|error| failure(&error))?;
    info!(%address, profiles = format!("http://{address}/debug/pprof/"), "the demo workload is running");

    let clock = Clock { started: Instant::now(), stop: Arc::default() };
    let work: [(&str, Work); 4] = [
        ("checkout", checkout::work),
        ("search", search::work),
        ("sessions", sessions::work),
        ("thumbnails", thumbnails::work),
    ];
    let mut threads = Vec::new();
    for (name, work) in work {
        let clock = clock.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&clock));
        threads.push(thread.map_err(|error| failure(&error))?);
    }
    serve_profiles(listener, heap::profiler(), stop.cancelled_owned()).await;
    clock.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        if thread.join().is_err() {
            warn!("a thread of the workload ended badly");
        }
    }
    Ok(())
}

/// Works for about `share` of the time, in slices that a stop does not have to wait for.
fn in_slices(clock: &Clock, share: f64, mut slice: impl FnMut()) {
    while clock.running() {
        let began = Instant::now();
        slice();
        let rest = began.elapsed().mul_f64((1.0 - share) / share).min(Duration::from_millis(500));
        thread::sleep(rest);
    }
}
