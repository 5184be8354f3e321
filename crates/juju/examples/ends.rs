//! A charm that ends as the option of that name says: `well`, `badly`, or in a `panic`. For the tests of [`juju::run()`].

use std::process::ExitCode;

use juju::{Desired, Status, ToolError, Unit};

fn main() -> ExitCode {
    juju::run(|name| std::env::var(name).ok(), charm)
}

fn charm(unit: &Unit<'_>) -> Result<(), ToolError> {
    let how: String = unit.juju.config()?.get_or("ends", "well".to_owned()).unwrap_or_default();
    tracing::info!(event = %unit.dispatch.event, how, "it begins");
    // a thread's lines count too
    std::thread::spawn(|| tracing::warn!("on its way")).join().unwrap_or_default();
    unit.juju.set_ports(&[juju::Port::tcp(80)].into())?;
    match how.as_str() {
        "badly" => unit.juju.run("relation-get", &["-r", "99", "-", "x/0"], None).map(drop),
        "panic" => panic!("out of order"),
        _ => unit.settle(&[], |_| Desired { unit_status: vec![Status::active("")], ..Desired::default() }).map(drop),
    }
}
