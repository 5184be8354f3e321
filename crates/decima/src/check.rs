//! `decima check config`: what is wrong with a parca.yaml, and where, before a server is started with it.

use std::io::Read;

use scrape::config::{Config, Storage};

use crate::exit::Exit;

const USAGE: &str = "\
usage: decima check config FILE

Reads FILE (- for stdin) as the server reads parca.yaml, and says all that is wrong with it with line, column and path. It
opens no bucket, and asks no target.

Exit code: 0 a server can be started with it, 64 it cannot, or FILE cannot be read.";

/// More than any list of targets takes; the parser has bounds of its own. bytes
const FILE_BYTES_MAX: u64 = 64 << 20;

pub fn run(arguments: &[String]) -> Result<(), Exit> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments.is_empty() || arguments.iter().any(|argument| matches!(*argument, "-h" | "--help" | "help")) {
        println!("{USAGE}");
        return Ok(());
    }
    match arguments[..] {
        ["config", flag] if flag.len() > 1 && flag.starts_with('-') => {
            Err(Exit::Flags(format!("unknown flag {flag}\n\n{USAGE}")))
        }
        ["config", file] => {
            let config = load(file)?;
            println!("{}: {}", name(file), summary(&config));
            Ok(())
        }
        ["config"] => Err(Exit::Flags(format!("check config wants a FILE\n\n{USAGE}"))),
        ["config", _, more, ..] => Err(Exit::Flags(format!("one FILE only, not also {more}"))),
        _ => Err(Exit::Flags(format!("no such command: check {}\n\n{USAGE}", arguments[0]))),
    }
}

/// The configuration in `file`, or all that is wrong with it.
pub fn load(file: &str) -> Result<Config, Exit> {
    let name = name(file);
    let text = read(file).map_err(|error| Exit::Configuration(format!("cannot read {name}: {error}")))?;
    Config::load(&text).map_err(|error| {
        let issues: Vec<String> = error.issues.iter().map(|issue| format!("{name}: {issue}")).collect();
        Exit::Configuration(format!("wrong configuration\n{}", issues.join("\n")))
    })
}

fn name(file: &str) -> &str {
    if file == "-" { "stdin" } else { file }
}

fn read(file: &str) -> std::io::Result<Vec<u8>> {
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(std::fs::File::open(path)?),
    };
    let mut text = Vec::new();
    source.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn summary(config: &Config) -> String {
    let place = match &config.bucket.storage {
        Storage::Filesystem { directory } => format!("the folder {directory}"),
        Storage::S3(s3) => format!("the S3 bucket {} of {}", s3.bucket, s3.endpoint),
        Storage::Gcs(gcs) => format!("the GCS bucket {}", gcs.bucket),
        Storage::Azure(azure) => {
            format!("the container {} of the Azure account {}", azure.container, azure.storage_account)
        }
    };
    let jobs = config.scrape_configs.len();
    let targets: usize =
        config.scrape_configs.iter().flat_map(|job| &job.static_configs).map(|group| group.targets.len()).sum();
    format!("all is well: data in {place}, {jobs} jobs, {targets} static targets")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str]) -> Result<(), Exit> {
        run(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_wrong_configuration_is_told_with_file_line_and_column() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("parca.yaml");
        let file = path.to_str().expect("text");
        std::fs::write(&path, "object_storage:\n  bukket: {}\n").expect("written");
        let exit = check(&["config", file]).expect_err("wrong");
        assert!(matches!(exit, Exit::Configuration(_)), "{exit}");
        assert!(exit.to_string().contains(&format!("{file}: line 2, column 3: ")), "{exit}");
        let missing = check(&["config", "/no/such/parca.yaml"]).expect_err("missing");
        assert!(missing.to_string().contains("cannot read /no/such/parca.yaml"), "{missing}");
        assert!(matches!(missing, Exit::Configuration(_)), "{missing}");
    }

    #[test]
    fn a_configuration_that_would_start_a_server_is_summed_up() {
        let text = "object_storage: {bucket: {type: FILESYSTEM, config: {directory: ./data}}}\n\
                    scrape_configs:\n- {job_name: a, static_configs: [{targets: [x:1, y:2]}]}\n- {job_name: b}\n";
        let config = Config::load(text.as_bytes()).expect("valid");
        assert_eq!(summary(&config), "all is well: data in the folder ./data, 2 jobs, 2 static targets");
    }

    #[test]
    fn wrong_arguments_say_how_it_is_used() {
        for arguments in [&["config"][..], &["config", "--quick"], &["configs", "x"]] {
            let exit = check(arguments).expect_err("refused");
            assert!(matches!(exit, Exit::Flags(_)) && exit.to_string().contains("usage: "), "{exit}");
        }
        let two = check(&["config", "a", "b"]).expect_err("refused");
        assert!(two.to_string().contains("one FILE only, not also b"), "{two}");
    }
}
