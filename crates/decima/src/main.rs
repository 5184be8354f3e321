//! The binary: flags, subcommands, wiring, signals. No logic.
//!
//! Exit codes: 0 stopped as asked, 1 wrong flags or a failure, 2 an import left something out, 64 wrong configuration.

mod buckets;
mod check;
mod exit;
mod flags;
mod forwarding;
mod heap;
mod import;
mod juju;
mod logging;
mod place;
mod serve;
mod signals;
mod workload;

use std::process::ExitCode;

use exit::Exit;
use flags::Parsed;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            eprintln!("{exit}");
            exit.code()
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), Exit> {
    match arguments.first().map(String::as_str) {
        Some("juju") => return juju::run(&arguments[1..]),
        Some("check") => return check::run(&arguments[1..]),
        Some("import") => return import::run(&arguments[1..]),
        _ => {}
    }
    let (command, arguments) = match arguments.first().map(String::as_str) {
        Some("demo-workload") => (workload::run as fn(&flags::Flags) -> Result<(), Exit>, &arguments[1..]),
        _ => (serve::run as fn(&flags::Flags) -> Result<(), Exit>, &arguments[..]),
    };
    match flags::parse(arguments, |name| std::env::var(name).ok()).map_err(Exit::Flags)? {
        Parsed::Help => {
            print!("{}", flags::help());
            Ok(())
        }
        Parsed::Run(flags) if flags.version => {
            println!("decima, version {} (commit: {})", env!("CARGO_PKG_VERSION"), env!("DECIMA_COMMIT"));
            Ok(())
        }
        Parsed::Run(flags) => {
            logging::install(level(&flags.log_level), format(&flags.log_format));
            std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
            command(&flags)
        }
    }
}

fn level(name: &str) -> tracing::Level {
    match name {
        "error" => tracing::Level::ERROR,
        "warn" => tracing::Level::WARN,
        "debug" => tracing::Level::DEBUG,
        _ => tracing::Level::INFO,
    }
}

fn format(name: &str) -> logging::Format {
    if name == "json" { logging::Format::Json } else { logging::Format::Logfmt }
}
