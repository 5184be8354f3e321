//! `dispatch`: the program that Juju runs for every event of the charm.
//!
//! Exit codes: 0 done, 1 a hook tool failed or this is no dispatch; Juju then tries the hook again.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::{env, fs, thread};

use juju::log::{JujuLog, Lines};
use juju::pebble::Client;
use juju::tools::SpawnedTools;
use juju::{Dispatch, Juju};
use parca_k8s::charm::{self, Outside};
use parca_k8s::kubernetes::ACCOUNT;
use parca_k8s::workload::CONTAINER;
use tracing::Level;

fn main() -> ExitCode {
    let variable = |name: &str| env::var(name).ok();
    let dispatch = match Dispatch::from_vars(variable) {
        Ok(dispatch) => dispatch,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let lines = Lines::default();
    // nothing else in this process sets one
    let _ = tracing::subscriber::set_global_default(JujuLog::new(lines.clone(), Level::INFO));
    let juju = Juju::new(&SpawnedTools, &dispatch);
    let pebble = Client::of_container(CONTAINER);
    let outside =
        Outside { fqdn: fqdn(), resolve: &resolve, variable: &variable, account: Path::new(ACCOUNT), pebble: &pebble };
    let result = charm::dispatch(&juju, &dispatch, &outside);
    if let Err(error) = lines.flush(&juju) {
        eprintln!("{error}");
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// This host's first dotted name in /etc/hosts, where Kubernetes puts the unit's; else its bare name.
fn fqdn() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let names = lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let mut of_this_host = names.filter(|names| names.contains(&name)).flatten();
    of_this_host.find(|name| name.contains('.')).unwrap_or(name).to_owned()
}

/// Asks the system in a thread of its own: its resolver knows no deadline.
fn resolve(host: &str, port: u16, within: Duration) -> io::Result<Vec<SocketAddr>> {
    let (answer, answered) = sync_channel(1);
    let host = host.to_owned();
    // left behind if it takes longer; the process ends soon
    thread::spawn(move || answer.send((host.as_str(), port).to_socket_addrs().map(Vec::from_iter)));
    answered.recv_timeout(within).map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no address in time"))?
}
