//! Takes figures: all of them, or those named on the command line.

use bench::figure;

type Figure = (&'static str, fn());

const FIGURES: &[Figure] = &[
    ("decode", figure::decode::run),
    ("ingest", figure::ingest::run),
    ("agent", figure::agent::run),
    ("import", figure::import::run),
    ("query", figure::query::run),
    ("reports", figure::reports::run),
    ("catalogue", figure::catalogue::run),
    ("rest", figure::rest::run),
    ("server", figure::server::run),
    ("charm", figure::charm::run),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let known = |name: &str| FIGURES.iter().any(|&(figure, _)| figure == name);
    if let Some(name) = wanted.iter().find(|name| !known(name)) {
        let names: Vec<&str> = FIGURES.iter().map(|&(name, _)| name).collect();
        eprintln!("there is no figure {name:?}: there are {}", names.join(", "));
        std::process::exit(64);
    }
    for (name, run) in FIGURES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            run();
        }
    }
}
