//! `decima juju jobs`: what a unit's relations make of the scrape configuration, or what is wrong with them.

use std::io::Read;

use parca_scrape::unit_dump::UnitDump;
use parca_scrape::{ProfilingEndpointConsumer, fit};
use scrape::config::Config;

use crate::exit::Exit;

const USAGE: &str = "\
usage: decima juju jobs [--endpoint NAME] [FILE]

Prints the scrape configuration that the charm would make of a unit's relations, and on stderr what is wrong with them.
FILE holds what `juju show-unit UNIT` prints for a unit of the application that scrapes, in YAML or JSON, or bare data
bags; without it, or for -, it is read from stdin:

    juju show-unit parca-k8s/0 | decima juju jobs

  --endpoint NAME  read the relations of this endpoint, not those that look like parca_scrape

Exit code: 0 all is well, 1 something is wrong, 64 FILE cannot be read or is none.";

/// More than `juju show-unit` ever prints.
const DUMP_BYTES_MAX: u64 = 16 << 20;

/// Stands below the jobs to make them a whole configuration that can be checked.
const STORAGE: &str = "object_storage: {bucket: {type: FILESYSTEM, config: {directory: ./data}}}\n";

pub fn run(arguments: &[String]) -> Result<(), Exit> {
    let mut arguments = arguments.iter().map(String::as_str);
    match arguments.next() {
        Some("jobs") => {}
        None | Some("-h" | "--help" | "help") => {
            println!("{USAGE}");
            return Ok(());
        }
        Some(other) => return Err(Exit::Flags(format!("no such command: juju {other}\n\n{USAGE}"))),
    }
    let (mut file, mut endpoint) = (None, None);
    while let Some(argument) = arguments.next() {
        match argument {
            "-h" | "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            "--endpoint" => {
                let name = arguments.next().ok_or_else(|| Exit::Flags("--endpoint wants a name".to_owned()))?;
                endpoint = Some(name);
            }
            other if other.starts_with("--endpoint=") => endpoint = other.strip_prefix("--endpoint="),
            other if other.len() > 1 && other.starts_with('-') => {
                return Err(Exit::Flags(format!("unknown flag {other}\n\n{USAGE}")));
            }
            name if file.is_none() => file = Some(name),
            more => return Err(Exit::Flags(format!("one FILE only, not also {more}"))),
        }
    }
    jobs(file.filter(|name| *name != "-"), endpoint)
}

fn jobs(file: Option<&str>, endpoint: Option<&str>) -> Result<(), Exit> {
    let name = file.unwrap_or("stdin");
    let dump =
        UnitDump::parse(&read(file)?, endpoint).map_err(|error| Exit::Configuration(format!("{name}: {error}")))?;
    let (jobs, defects) = ProfilingEndpointConsumer::standalone().read(&dump.relations);
    let nameless = jobs.iter().filter(|job| !parca_scrape::is_named(job)).count();
    let jobs = juju::json::Json::from(fit(jobs));
    let yaml = juju::yaml::write(&juju::json::Json::object([("scrape_configs", jobs)]));
    print!("{yaml}");

    let mut wrong: Vec<String> = dump.notes;
    wrong.extend(defects.iter().map(ToString::to_string));
    if nameless > 0 {
        wrong.push(format!("{nameless} jobs without a name are left out: parca.yaml takes none"));
    }
    if let Err(error) = Config::load((yaml + STORAGE).as_bytes()) {
        wrong.extend(error.issues.iter().map(|issue| format!("the configuration above, {issue}")));
    }
    match wrong.as_slice() {
        [] => Ok(()),
        wrong => Err(Exit::Failure(wrong.join("\ndecima: error: "))),
    }
}

fn read(file: Option<&str>) -> Result<String, Exit> {
    let name = file.unwrap_or("stdin");
    let failure = |error: std::io::Error| Exit::Configuration(format!("cannot read {name}: {error}"));
    let source: Box<dyn Read> = match file {
        Some(path) => Box::new(std::fs::File::open(path).map_err(failure)?),
        None => Box::new(std::io::stdin()),
    };
    let mut bytes = Vec::new();
    source.take(DUMP_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failure)?;
    if bytes.len() as u64 > DUMP_BYTES_MAX {
        return Err(Exit::Configuration(format!("{name} has more than {DUMP_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Exit::Configuration(format!("{name} is no UTF-8")))
}
