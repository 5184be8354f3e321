//! `decima import`: what an existing Parca, or files of pprof, know, into the store of the configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bucket::{BlockingObjects, Options, Provider};
use import::{FileOptions, Importer, Progress, Report, parca};
use prometheus_client::registry::Registry;
use server::{Replay, ServerOptions};
use store::{Objects, Store};

use crate::buckets;
use crate::check;
use crate::exit::Exit;
use crate::flags::Flags;
use crate::serve;

const USAGE: &str = "\
usage: decima import [flags] [SOURCE...]

Brings profiles into the store of a configuration while no server runs on it. A SOURCE is

  a folder with blocks/parca/stacktraces   the bucket of a Parca
  FILE.yaml                                a configuration: the bucket that it names, of a Parca
  any other folder                         the files in it, at any depth, whose names end as those of pprof do
  any other file                           a pprof

Without one it is the bucket of the configuration itself: that of the Parca whose place Decima takes. What was imported before is
not imported again, and an import that was interrupted goes on. Nothing that is read is changed.

      --config-path=FILE           The configuration of the server to be. Not given: parca.yaml.
      --storage-path=DIR           Its --storage-path. Not given: data.
      --storage-active-memory=INT  Its --storage-active-memory.
      --name=NAME                  Of profiles in files. Not given: by what they measure.
      --label=NAME=VALUE           Of profiles in files; may be given more than once.
      --dry-run                    Read and count everything, keep nothing.

A table of what came in goes to stdout, how far it is to stderr.

Exit code: 0 all of it is in the store, 1 it could not go on (what is in the store stays, and the next import goes on), 2 some of it
cannot be read and was left out, 64 wrong configuration.";

#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    flags: Flags,
    files: Files,
    dry_run: bool,
    sources: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Files {
    name: Option<String>,
    labels: Vec<(String, String)>,
}

pub fn run(arguments: &[String]) -> Result<(), Exit> {
    if arguments.iter().any(|argument| matches!(argument.as_str(), "-h" | "--help")) {
        println!("{USAGE}");
        return Ok(());
    }
    let arguments = parse(arguments).map_err(|what| Exit::Flags(format!("{what}\n\n{USAGE}")))?;
    // the one provider in the process; a second installation would only find the first
    let _ = rustls::crypto::ring::default_provider().install_default();
    let report = match arguments.dry_run {
        true => read(&arguments, None)?,
        false => {
            let store = open(&arguments.flags)?;
            let report = read(&arguments, Some(&store));
            store.close();
            report?
        }
    };
    println!("{report}");
    let (found, whole) = (report.read + report.known > 0, report.is_whole());
    match (found, whole) {
        (_, false) => Err(Exit::Partly("some of it cannot be read and was left out: see above".to_owned())),
        (false, true) => Err(Exit::Failure("there is no profile in what was named".to_owned())),
        (true, true) => Ok(()),
    }
}

fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let mut parsed = Arguments::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(flag) = argument.strip_prefix("--") else {
            match argument.as_str() {
                flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}")),
                source => parsed.sources.push(source.to_owned()),
            }
            continue;
        };
        if flag == "dry-run" {
            parsed.dry_run = true;
            continue;
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let mut value = || value.clone().or_else(|| rest.next().cloned()).ok_or(format!("--{name} wants a value"));
        match name {
            "config-path" => parsed.flags.config_path = value()?,
            "storage-path" => parsed.flags.storage_path = value()?,
            "storage-active-memory" => {
                let value = value()?;
                parsed.flags.storage_active_memory =
                    value.parse().map_err(|_| format!("--{name} wants a number, not {value:?}"))?;
            }
            "name" => parsed.files.name = Some(value()?).filter(|name| !name.is_empty()),
            "label" => {
                let value = value()?;
                let (name, value) =
                    value.split_once('=').ok_or_else(|| format!("--label wants NAME=VALUE, not {value:?}"))?;
                if name.is_empty() || name.starts_with("__") {
                    return Err(format!("{name:?} is no name of a label"));
                }
                parsed.files.labels.push((name.to_owned(), value.to_owned()));
            }
            _ => return Err(format!("unknown flag --{name}")),
        }
    }
    Ok(parsed)
}

fn open(flags: &Flags) -> Result<Store, Exit> {
    let config = check::load(&flags.config_path)?;
    let failure = |error: store::StoreError| Exit::Failure(error.to_string());
    let bucket = buckets::connect(&config.bucket, &mut Registry::default()).map_err(failure)?;
    let environment = serve::environment(flags, &config, &bucket)?;
    let replay = Arc::new(Replay::new(ServerOptions::default().ingest));
    let (store, report) = Store::open(serve::store_options(flags), environment, replay).map_err(|error| {
        let hint = match error.kind {
            store::Kind::InUse => "; stop the server first, it may start again when the import has ended",
            _ => "",
        };
        Exit::Failure(format!("cannot open the store: {error}{hint}"))
    })?;
    for quarantined in &report.quarantined {
        eprintln!("block {} of the store is left out of all answers: {}", quarantined.block, quarantined.reason);
    }
    report.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    Ok(store)
}

fn read(arguments: &Arguments, store: Option<&Store>) -> Result<Report, Exit> {
    let failure =
        |error: store::StoreError| Exit::Failure(format!("the import stopped here, and the next one goes on: {error}"));
    let mut importer = Importer::new(store, tell);
    let options = FileOptions { name: arguments.files.name.clone(), labels: arguments.files.labels.clone() };
    let of_configuration = [arguments.flags.config_path.clone()];
    let sources = if arguments.sources.is_empty() { &of_configuration[..] } else { &arguments.sources };
    for source in sources {
        let path = Path::new(source);
        let is_bucket = path.join(parca::FOLDER).is_dir();
        let is_configuration = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        let options_of_bucket = match (is_bucket, is_configuration || arguments.sources.is_empty()) {
            (true, _) => {
                Options { prefix: String::new(), provider: Provider::Filesystem { directory: source.clone() } }
            }
            (false, true) => buckets::options(&check::load(source)?.bucket),
            (false, false) => {
                importer.files(&PathBuf::from(path), &options).map_err(failure)?;
                continue;
            }
        };
        let bucket =
            BlockingObjects::connect(&options_of_bucket, buckets::metrics(&options_of_bucket)).map_err(failure)?;
        let blocks = parca::find(&bucket).map_err(|error| Exit::Failure(error.to_string()))?;
        if blocks.is_empty() {
            eprintln!(
                "{}: no block of a Parca is there; it writes them only with --enable-persistence, when its memory is full and at its end",
                bucket.describe(parca::FOLDER)
            );
        }
        importer.blocks(&bucket, &blocks).map_err(failure)?;
    }
    importer.finish().map_err(failure)
}

fn tell(progress: Progress<'_>) {
    let Progress { source, number, sources, samples } = progress;
    match sources {
        0 => eprintln!("{samples} samples so far; reading {source}"),
        _ => eprintln!("{samples} samples so far; reading block {number} of {sources}, {source}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, String> {
        parse(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_take_their_value_behind_a_sign_or_as_the_next_word() {
        let arguments = parsed(&["--config-path", "a.yaml", "x", "--label=job=a=b", "--dry-run", "y", "--name=cpu"]);
        let arguments = arguments.expect("sound");
        assert_eq!((arguments.flags.config_path.as_str(), arguments.dry_run), ("a.yaml", true));
        assert_eq!(arguments.sources, ["x", "y"]);
        assert_eq!(arguments.files.labels, [("job".to_owned(), "a=b".to_owned())]);
        assert_eq!(arguments.files.name.as_deref(), Some("cpu"));
    }

    #[test]
    fn wrong_flags_are_refused_by_name() {
        for (arguments, what) in [
            (&["--config-path"][..], "--config-path wants a value"),
            (&["--label=job"], "NAME=VALUE"),
            (&["--label=__name__=x"], "no name of a label"),
            (&["--http-address=:1"], "unknown flag --http-address"),
            (&["-x"], "unknown flag -x"),
            (&["--storage-active-memory=much"], "a number"),
        ] {
            let refused = parsed(arguments).expect_err("refused");
            assert!(refused.contains(what), "{refused}");
        }
    }
}
