//! `dispatch`: the program that Juju runs for every event of the charm.
//!
//! Exit codes: 0 done, 1 a hook tool failed or this is no dispatch; Juju then tries the hook again.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use juju::names::{self, Names};
use parca_k8s::charm::{self, Outside};
use parca_k8s::kubernetes::ACCOUNT;
use parca_k8s::workload::CONTAINER;

/// Kubernetes puts the unit's name into /etc/hosts. Should a name server be asked, this is what the C library gives one.
const FQDN_TIME_LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let variable = |name: &str| env::var(name).ok();
    juju::run(variable, |unit| {
        let names = Names::of_this_host();
        let resolve = |host: &str, port: u16, within: Duration| {
            let addresses = names.addresses(host, within)?;
            Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
        };
        let outside = Outside {
            fqdn: names.fqdn(&names::hostname(), FQDN_TIME_LIMIT),
            resolve: &resolve,
            variable: &variable,
            account: Path::new(ACCOUNT),
            pebble: &*unit.container(CONTAINER),
        };
        charm::dispatch(unit.juju, unit.dispatch, &outside)
    })
}
