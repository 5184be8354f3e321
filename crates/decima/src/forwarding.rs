//! `--mode=scraper-only` and `--mode=forwarder`: what is scraped and what is pushed goes on to another server, by way of a buffer on
//! disk. Nothing is kept here, and no question answered.

use std::path::Path;
use std::sync::Arc;

use forward::{Forwarder, Metrics, Spool, SpoolOptions, Token, Upstream, UpstreamOptions};
use prometheus_client::registry::Registry;
use scrape::{Config, Scraper};
use server::Server;
use store::{Budget, Clock, LocalDisk, SystemClock, SystemRandom};
use tracing::{error, info, warn};

use crate::exit::Exit;
use crate::flags::Flags;
use crate::place;
use crate::serve::{Front, server_options, store_options};
use crate::signals::stop_token;

/// Below the data directory. Its name is known to `place`, too.
const FOLDER: &str = "forward";

/// Serves until a signal asks it to stop. Without `config` nothing is scraped.
pub async fn serve(flags: &Flags, config: Option<Config>) -> Result<(), Exit> {
    let failure = |error: &dyn std::fmt::Display| Exit::Failure(error.to_string());
    let stop = stop_token().map_err(|error| failure(&error))?;
    let upstream = upstream(flags)?;
    let mut registry = Registry::default();
    let front = Front::bind(flags, &mut registry).await?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let random = Arc::new(SystemRandom);
    let spool = spool(flags, random.clone())?;
    let metrics = Metrics::register(&mut registry);
    let forwarder = Forwarder::new(spool, upstream.clone(), clock.clone(), random, metrics);

    let memory = Budget::new(store_options(flags).memory_bytes);
    let options = server_options(flags)?;
    let labels: Vec<(String, String)> = flags.external_label.clone().unwrap_or_default().into_iter().collect();
    let writer = server::forwarding_writer(forwarder.clone(), labels, clock, &memory, &options);
    let jobs = config.map(|config| config.scrape_configs).unwrap_or_default();
    let mut scrape_options = scrape::Options::new(jobs, env!("CARGO_PKG_VERSION"));
    scrape_options.directory = Path::new(&flags.config_path).parent().map(Path::to_owned).unwrap_or_default();
    let scraper = Scraper::new(scrape_options, writer.clone(), &mut registry).map_err(|error| failure(&error))?;
    let server = Server::forwarding(options, upstream, &memory, writer, scraper.handle(), registry)
        .map_err(|error| failure(&error))?;

    info!(server = flags.store_address, mode = flags.mode, "profiles are handed on");
    let scraping = tokio::spawn(scraper.run(stop.clone()));
    let forwarding = tokio::spawn(forwarder.run(stop.clone()));
    front.serve(server, &stop).await;
    for (what, task) in [("the scraper", scraping), ("the forwarder", forwarding)] {
        if let Err(error) = task.await {
            error!(%error, "{what} ended badly");
        }
    }
    info!("stopped");
    Ok(())
}

fn upstream(flags: &Flags) -> Result<Upstream, Exit> {
    let wrong = |why: &str| Exit::Configuration(format!("--mode={}: {why}", flags.mode));
    if flags.store_address.is_empty() {
        return Err(wrong("--store-address=HOST:PORT must name the server that profiles are handed on to"));
    }
    let token = match (flags.bearer_token.as_str(), flags.bearer_token_file.as_str()) {
        ("", "") => Token::None,
        (token, "") => Token::Text(token.to_owned()),
        ("", file) => Token::File(file.into()),
        _ => return Err(wrong("--bearer-token and --bearer-token-file name two tokens: give one of them")),
    };
    let options = UpstreamOptions {
        plain_text: flags.insecure,
        any_certificate: flags.insecure_skip_verify,
        token,
        headers: flags.grpc_headers.clone().unwrap_or_default().into_iter().collect(),
        ..UpstreamOptions::new(&flags.store_address)
    };
    Upstream::new(options).map_err(|why| wrong(&why))
}

fn spool(flags: &Flags, random: Arc<SystemRandom>) -> Result<Spool, Exit> {
    let bytes = u64::try_from(flags.forward_buffer_size).ok().filter(|bytes| *bytes > 0);
    let bytes = bytes.ok_or_else(|| Exit::Configuration("--forward-buffer-size must be more than 0".to_owned()))?;
    let opening = |error: &dyn std::fmt::Display| Exit::Failure(format!("cannot open the forward buffer: {error}"));
    let place = place::below(Path::new(&flags.storage_path)).map_err(|error| opening(&error))?.join(FOLDER);
    let disk = LocalDisk::open(&place).map_err(|error| opening(&error))?;
    let since = format!("second {} of Unix time", SystemClock::new().now_ns() / 1_000_000_000);
    let (spool, found) =
        Spool::open(Arc::new(disk), random, SpoolOptions::new(bytes), &since).map_err(|error| opening(&error))?;
    info!(place = %place.display(), messages = found.entries, "the forward buffer is open");
    if found.lost_bytes > 0 {
        let bytes = found.lost_bytes;
        warn!(bytes, "the forward buffer ends in a torn message, or is damaged in places; what is whole was read");
    }
    Ok(spool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    #[tokio::test]
    async fn an_upstream_needs_an_address_and_one_token_at_most() {
        let refused = |arguments: &[&str]| match upstream(&flags::of(arguments)).map(|_| ()) {
            Err(Exit::Configuration(message)) => message,
            other => panic!("{other:?}"),
        };
        let missing = refused(&["--mode=forwarder"]);
        assert!(missing.starts_with("--mode=forwarder: --store-address=HOST:PORT must name"), "{missing}");
        let wrong = refused(&["--mode=scraper-only", "--store-address=nowhere"]);
        assert_eq!(wrong, "--mode=scraper-only: \"nowhere\" is no address of a server: give host:port");
        let two = ["--mode=forwarder", "--store-address=a:1", "--bearer-token=a", "--bearer-token-file=b"];
        assert!(refused(&two).contains("two tokens"));
        assert!(upstream(&flags::of(&["--mode=forwarder", "--store-address=a:1", "--insecure"])).is_ok());
    }
}
