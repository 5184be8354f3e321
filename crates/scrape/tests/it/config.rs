//! What is wrong with a configuration is told with its place and in words that help.

use scrape::config::bucket::Http;
use scrape::config::{Config, Storage};

const BUCKET: &str = "object_storage: {bucket: {type: FILESYSTEM, config: {directory: x}}}\n";

/// The whole text that a user sees, for the jobs below a good bucket.
fn error_of(jobs: &str) -> String {
    let yaml = format!("{BUCKET}scrape_configs:\n{jobs}");
    Config::load(yaml.as_bytes()).expect_err(&yaml).to_string()
}

#[test]
fn a_typo_is_named_with_line_column_and_a_guess() {
    assert_eq!(
        error_of("- job_name: a\n  static_config:\n  - targets: [x]\n"),
        "line 4, column 3: scrape_configs[0].static_config: unknown key (did you mean static_configs?)"
    );
    assert_eq!(
        error_of("- job_name: a\n  profiling_config:\n    pprof_config:\n      memory: {enable: true}\n"),
        "line 6, column 16: scrape_configs[0].profiling_config.pprof_config.memory.enable: unknown key (did you mean \
         enabled?)"
    );
    assert_eq!(
        error_of("- job_name: a\n  honor_labels: true\n"),
        "line 4, column 3: scrape_configs[0].honor_labels: unknown key (known here: job_name, params, scrape_interval, \
         scrape_timeout, scheme, tls_config, normalized_addresses, profiling_config, relabel_configs, static_configs)"
    );
}

#[test]
fn what_parca_knows_and_decima_does_not_yet_is_called_so() {
    assert_eq!(
        error_of("- job_name: a\n  basic_auth: {username: u}\n  kubernetes_sd_configs: [{role: pod}]\n"),
        "line 4, column 3: scrape_configs[0].basic_auth: is not yet supported by this version of Decima\n\
         line 5, column 3: scrape_configs[0].kubernetes_sd_configs: is not yet supported by this version of Decima"
    );
    for kind in ["SWIFT", "COS", "ALIYUNOSS", "BOS", "OCI", "OBS"] {
        let other = bucket_error(&format!("    type: {kind}\n    config: {{bucket: b}}\n"));
        assert_eq!(
            other,
            format!(
                "line 3, column 5: object_storage.bucket.type: {kind} is not yet supported (supported: FILESYSTEM, S3, GCS, \
                 AZURE); many services speak the protocol of S3 too"
            )
        );
    }
}

fn bucket_error(bucket: &str) -> String {
    Config::load(format!("object_storage:\n  bucket:\n{bucket}").as_bytes()).expect_err(bucket).to_string()
}

#[test]
fn what_is_wrong_with_a_remote_bucket_is_told_when_the_file_is_read() {
    let error = |kind: &str, config: &str| {
        let error = bucket_error(&format!("    type: {kind}\n    config: {{{config}}}\n"));
        let (_, told) = error.split_once("object_storage.bucket.config").expect("within the config");
        told.to_owned()
    };
    let s3 = "bucket: b, endpoint: e";
    for (config, told) in [
        ("endpoint: e", ".bucket: cannot be blank"),
        ("bucket: b", ".endpoint: cannot be blank: write host:port, as s3.eu-west-1.amazonaws.com"),
        (
            "bucket: b, endpoint: 'http://e'",
            ".endpoint: write host:port, without scheme and path; `insecure: true` is for HTTP",
        ),
        (
            &format!("{s3}, signature_version2: true"),
            ".signature_version2: is not yet supported by this version of Decima",
        ),
        (&format!("{s3}, bucket_lookup_type: dns"), ".bucket_lookup_type: must be auto, virtual-hosted or path"),
        (
            &format!("{s3}, sts_endpoint: sts.example.com"),
            ".sts_endpoint: must be an https:// URL, as https://sts.eu-west-1.amazonaws.com",
        ),
        (&format!("{s3}, part_size: 1024"), ".part_size: must be from 5 MiB to 1 GiB, in bytes"),
        (&format!("{s3}, sse_config: {{type: SSE-KMS}}"), ".sse_config.kms_key_id: cannot be blank with SSE-KMS"),
        (
            &format!("{s3}, http_config: {{idle_conn_timeout: 90}}"),
            ".http_config.idle_conn_timeout: not a valid duration string: \"90\"",
        ),
        (&format!("{s3}, acces_key: a"), ".acces_key: unknown key (did you mean access_key?)"),
    ] {
        assert_eq!(error("S3", config), told);
    }
    assert_eq!(
        error("S3", &format!("{s3}, secret_key: s")),
        ".access_key: is missing while secret_key is there: give both, or neither for environment and roles"
    );
    assert_eq!(error("GCS", "service_account: '{}'"), ".bucket: cannot be blank");
    assert_eq!(error("AZURE", "container: c"), ".storage_account: cannot be blank");
}

#[test]
fn a_tls_config_of_a_bucket_is_read_whole() {
    let yaml = b"object_storage: {bucket: {type: GCS, config: {bucket: b, http_config: {tls_config: {ca_file: ca.pem, cert_file: c.pem, \
                 key_file: k.pem, server_name: store.internal, insecure_skip_verify: true}}}}}";
    let config = Config::load(yaml).expect("a bucket");
    let Storage::Gcs(gcs) = config.bucket.storage else { panic!("of GCS") };
    let http = Http {
        ca_file: "ca.pem".to_owned(),
        cert_file: "c.pem".to_owned(),
        key_file: "k.pem".to_owned(),
        server_name: "store.internal".to_owned(),
        insecure_skip_verify: true,
        ..Http::default()
    };
    assert_eq!(gcs.http, http);
}

#[test]
fn a_secret_of_a_bucket_is_never_printed() {
    let yaml =
        b"object_storage: {bucket: {type: S3, config: {bucket: b, endpoint: e, access_key: a, secret_key: hush}}}";
    let config = Config::load(yaml).expect("a bucket");
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let error = error_of(
        "- job_name: a\n  scrape_interval: 5\n  scheme: [http]\n- job_name: b\n  scrape_timeout: 1s\n\
         - job_name: c\n  relabel_configs: [{regex: '('}]\n",
    );
    assert_eq!(
        error,
        "line 4, column 20: scrape_configs[0].scrape_interval: not a valid duration string: \"5\"\n\
         line 5, column 11: scrape_configs[0].scheme: expected a string, found a list\n\
         line 7, column 19: scrape_configs[1].scrape_timeout: scrape timeout must be greater than the interval: b (the \
         timeout is 1s, the interval 10s)\n\
         line 9, column 29: scrape_configs[2].relabel_configs[0].regex: error parsing regexp: missing closing ): \
         `^(?s:()$`"
    );
}

#[test]
fn a_missing_bucket_shows_how_one_is_written() {
    let error = Config::load(b"scrape_configs: []").unwrap_err().to_string();
    let (_, example) = error.split_once("as\n").expect("an example");
    Config::load(example.as_bytes()).expect("the example is valid");
    assert!(error.starts_with("line 1, column 1: object_storage.bucket: is missing"), "{error}");
}

#[test]
fn a_duplicate_job_is_told_with_both_its_places() {
    assert_eq!(
        error_of("- job_name: a\n- job_name: a\n"),
        "line 4, column 3: scrape_configs[1]: duplicate job_name found in scrape configs: a (first on line 3)"
    );
}

#[test]
fn syntax_errors_have_a_place() {
    let error = error_of("- job_name: [a\n  scheme: http\n");
    assert!(error.starts_with("line 4, column 9: "), "{error}");
    let error = Config::load(b"").unwrap_err().to_string();
    assert_eq!(error, "line 1, column 1: the file is empty");
}

#[test]
fn aliases_to_aliases_end_in_an_error_and_not_in_memory() {
    let mut yaml = String::from("object_storage:\n  bucket: &a {type: FILESYSTEM, config: {directory: x}}\n");
    yaml.push_str("scrape_configs:\n- &job\n  job_name: a\n  static_configs: &groups\n");
    for _ in 0..3000 {
        yaml.push_str("  - targets: [x, y, z]\n");
    }
    for _ in 0..3000 {
        yaml.push_str("- {<<: *job}\n");
    }
    let error = Config::load(yaml.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("excessive aliasing"), "{}", &error[..200.min(error.len())]);

    let cyclic = format!("{BUCKET}scrape_configs:\n- &job\n  job_name: a\n  <<: *job\n");
    let error = Config::load(cyclic.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("merge keys are nested too deeply"), "{error}");
}

/// The examples of docs/configuration.md: the first is a file, the second goes into its job.
#[test]
fn the_documented_examples_load() {
    let docs = include_str!("../../../../docs/configuration.md");
    let mut examples = docs.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let whole = examples.next().expect("a whole file");
    let part = examples.next().expect("a part of a job");
    let config = Config::load(format!("{whole}{part}").as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let job = &config.scrape_configs[0];
    assert_eq!(job.profiles["process_cpu"].seconds, 5);
    assert!(job.profiles["fgprof"].enabled && !job.profiles["mutex"].enabled);
    assert_eq!(examples.next(), None);
}

#[test]
fn every_key_is_documented() {
    let docs = include_str!("../../../../docs/configuration.md");
    // an error for an unknown key lists the known ones
    for place in [
        "- {unknown_key_here: 1}\n",
        "- profiling_config: {unknown_key_here: 1}\n",
        "- profiling_config: {pprof_config: {memory: {unknown_key_here: 1}}}\n",
        "- static_configs: [{unknown_key_here: 1}]\n",
        "- relabel_configs: [{unknown_key_here: 1}]\n",
    ]
    .map(error_of)
    .into_iter()
    .chain(
        [
            "    type: S3\n    config: {unknown_key_here: 1}\n",
            "    type: S3\n    config: {sse_config: {unknown_key_here: 1}}\n",
            "    type: GCS\n    config: {unknown_key_here: 1}\n",
            "    type: GCS\n    config: {http_config: {unknown_key_here: 1}}\n",
            "    type: GCS\n    config: {http_config: {tls_config: {unknown_key_here: 1}}}\n",
            "    type: AZURE\n    config: {unknown_key_here: 1}\n",
        ]
        .map(bucket_error),
    ) {
        let error = place;
        let (_, known) = error.split_once("(known here: ").expect("a list of keys");
        for key in known.trim_end_matches(')').split(", ") {
            assert!(docs.contains(key), "{key} is not in docs/configuration.md");
        }
    }
}
