use std::path::PathBuf;

use serde_json::{Map, Value, json};
use server::go_time::format_duration;

use super::*;

/// The flags as the recording names them: fields of Parca's Go structure.
fn recorded_form(flags: &Flags) -> Map<String, Value> {
    let first = json!({
        "BearerToken": flags.bearer_token,
        "BearerTokenFile": flags.bearer_token_file,
        "BlockProfileRate": flags.block_profile_rate,
        "CORSAllowedOrigins": flags.cors_allowed_origins,
        "ConfigPath": flags.config_path,
        "Debuginfo.CacheDir": flags.debuginfo_cache_dir,
        "Debuginfo.UploadMaxDuration": format_duration(flags.debuginfo_upload_max_duration),
        "Debuginfo.UploadMaxSize": flags.debuginfo_upload_max_size,
        "Debuginfo.UploadsSignedURL": flags.debuginfo_uploads_signed_url,
        "Debuginfod.HTTPRequestTimeout": format_duration(flags.debuginfod_http_request_timeout),
        "Debuginfod.UpstreamServers": flags.debuginfod_upstream_servers,
        "EnablePersistence": flags.enable_persistence,
        "ExternalLabel": flags.external_label,
        "GRPCHeaders": flags.grpc_headers,
        "HTTPAddress": flags.http_address,
        "HTTPReadTimeout": format_duration(flags.http_read_timeout),
        "HTTPWriteTimeout": format_duration(flags.http_write_timeout),
        "Hidden.ClickHouse.Address": flags.clickhouse_address,
        "Hidden.ClickHouse.Database": flags.clickhouse_database,
        "Hidden.ClickHouse.Enabled": flags.clickhouse_enabled,
        "Hidden.ClickHouse.Password": flags.clickhouse_password,
        "Hidden.ClickHouse.Secure": flags.clickhouse_secure,
        "Hidden.ClickHouse.Table": flags.clickhouse_table,
        "Hidden.ClickHouse.Username": flags.clickhouse_username,
    });
    let second = json!({
        "Hidden.DebugNormalizeAddresses": flags.debug_normalize_addresses,
        "Hidden.IcebergStorage": flags.iceberg_storage,
        "Insecure": flags.insecure,
        "InsecureSkipVerify": flags.insecure_skip_verify,
        "Logs.Format": flags.log_format,
        "Logs.Level": flags.log_level,
        "Mode": flags.mode,
        "MutexProfileFraction": flags.mutex_profile_fraction,
        "OTLP.Address": flags.otlp_address,
        "OTLP.Exporter": flags.otlp_exporter,
        "OTLP.Insecure": flags.otlp_insecure,
        "PathPrefix": flags.path_prefix,
        "Port": flags.port,
        "ProfileShareServer": flags.profile_share_server,
        "Storage.ActiveMemory": flags.storage_active_memory,
        "Storage.EnableWAL": flags.storage_enable_wal,
        "Storage.IndexOnDisk": flags.storage_index_on_disk,
        "Storage.Path": flags.storage_path,
        "Storage.RowGroupSize": flags.storage_row_group_size,
        "Storage.SnapshotTriggerSize": flags.storage_snapshot_trigger_size,
        "StoreAddress": flags.store_address,
        "Symbolizer.DemangleMode": flags.symbolizer_demangle_mode,
        "Symbolizer.ExternalAddr2linePath": flags.symbolizer_external_addr2line_path,
        "Symbolizer.NumberOfTries": flags.symbolizer_number_of_tries,
        "Version": flags.version,
    });
    [first, second].into_iter().filter_map(|half| half.as_object().cloned()).flatten().collect()
}

fn cases() -> Vec<Value> {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vectors");
    let folder = std::env::var_os("DECIMA_VECTORS").map_or_else(own, PathBuf::from);
    let path = folder.join("flags.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn flags_vectors_agree() {
    let cases = cases();
    let defaults = recorded_form(&Flags::default());
    let mut differ = Vec::new();
    for case in &cases {
        let arguments: Vec<String> = serde_json::from_value(case["input"].clone()).expect("arguments");
        let got = match parse(&arguments, |_| None) {
            Ok(Parsed::Help) => Err("exit without error (help)".to_owned()),
            Ok(Parsed::Run(flags)) => Ok(recorded_form(&flags)),
            Err(error) => Err(error),
        };
        let wanted = match case["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => {
                let mut form = defaults.clone();
                form.extend(case["expect"].as_object().expect("an object").clone());
                Ok(form)
            }
        };
        if got != wanted {
            differ.push(format!("{}: want {wanted:?}, got {got:?}", case["id"]));
        }
    }
    println!("flags.jsonl: {} cases, {} unexplained differences", cases.len(), differ.len());
    assert!(!cases.is_empty() && differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn the_environment_gives_what_the_command_line_does_not() {
    let environment = |name: &str| (name == "PARCA_BEARER_TOKEN").then(|| "secret".to_owned());
    let run =
        |arguments: &[&str]| match parse(&arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>(), environment) {
            Ok(Parsed::Run(flags)) => flags,
            other => panic!("{other:?}"),
        };
    assert_eq!(run(&[]).bearer_token, "secret");
    assert_eq!(run(&["--bearer-token=mine"]).bearer_token, "mine");
}

#[test]
fn a_flag_that_does_nothing_is_told_only_when_it_is_given() {
    assert!(Flags::default().without_effect().is_empty());
    let arguments = ["--storage-enable-wal".to_owned(), "--path-prefix=/x".to_owned()];
    let Ok(Parsed::Run(flags)) = parse(&arguments, |_| None) else { panic!("valid flags") };
    assert_eq!(flags.without_effect(), ["--storage-enable-wal has no effect: what is acknowledged is always on disk"]);
}
