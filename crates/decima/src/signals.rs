//! SIGTERM and SIGINT ask for a graceful stop; a second one is not waited for.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Cancelled by the first signal. The second ends the process at once: what was acknowledged is on disk anyway.
pub fn stop_token() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        for asked in 0.. {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if asked > 0 {
                warn!(signal = name, "asked to stop again: ending at once");
                std::process::exit(1);
            }
            info!(signal = name, "asked to stop");
            stop.cancel();
        }
    });
    Ok(token)
}
