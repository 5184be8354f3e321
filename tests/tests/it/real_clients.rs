//! The programs that people have pointed at Parca, pointed at us: grpcurl, Go's pprof, and Grafana's data source.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use e2e::{Client, Place, Server, pprof, recorded, tool, wire};
use serde_json::{Value, json};
use tonic::Code;

/// 2026-01-15T12:00:00Z, when the recorded profiles begin.
const START: i64 = 1_768_478_400;

/// After the last of them.
const END: i64 = START + 86_400;

/// Runs a tool to its end.
fn run(name: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    let mut command = Command::new(tool(name));
    command.args(arguments).stdin(Stdio::null());
    // pprof looks for binaries and for a place to keep copies
    command.env("PPROF_TMPDIR", std::env::temp_dir()).env("PPROF_BINARY_PATH", "/nowhere");
    command.output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a tool printed that succeeded.
fn printed(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

mod grpcurl {
    use super::*;

    /// grpcurl ends with 64 and the number of the status that it was answered.
    const CODES: i32 = 64;

    fn call(address: &str, method: &str, request: &Value) -> Output {
        let request = request.to_string();
        run("grpcurl", ["-plaintext", "-max-time", "30", "-d", &request, address, method])
    }

    fn answer(address: &str, method: &str, request: &Value) -> Value {
        let output = call(address, method, request);
        assert!(output.status.success(), "{method} {request}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    async fn started() -> (Place, Server, String) {
        let place = Place::new("");
        let server = Server::start(&place, &[]).await;
        let address = server.address.to_string();
        (place, server, address)
    }

    #[tokio::test]
    async fn lists_and_describes_all_services_by_reflection() {
        let (_place, _server, address) = started().await;
        let services = printed("grpcurl", &["-plaintext", &address, "list"]);
        for service in [
            "grpc.health.v1.Health",
            "opentelemetry.proto.collector.profiles.v1development.ProfilesService",
            "parca.debuginfo.v1alpha1.DebuginfoService",
            "parca.profilestore.v1alpha1.AgentsService",
            "parca.profilestore.v1alpha1.ProfileStoreService",
            "parca.query.v1alpha1.QueryService",
            "parca.scrape.v1alpha1.ScrapeService",
            "parca.telemetry.v1alpha1.TelemetryService",
        ] {
            assert!(services.lines().any(|line| line == service), "no {service} in:\n{services}");
            let described = printed("grpcurl", &["-plaintext", &address, "describe", service]);
            assert!(described.contains(&format!("{service} is a service")), "{described}");
        }
        let request = printed("grpcurl", &["-plaintext", &address, "describe", "parca.query.v1alpha1.QueryRequest"]);
        assert!(request.contains("sandwich_by_function"), "{request}");
        let health = answer(&address, "grpc.health.v1.Health/Check", &json!({}));
        assert_eq!(health, json!({"status": "SERVING"}));
    }

    #[tokio::test]
    async fn writes_a_profile_and_asks_for_types_values_over_time_and_a_report() {
        let (_place, _server, address) = started().await;
        let file = fs::read(recorded::input("cpu_web_a_00.pb.gz")).expect("an input");
        let labels = json!([{"name": "__name__", "value": "process_cpu"}, {"name": "job", "value": "web"}]);
        let written = answer(
            &address,
            "parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw",
            &json!({"series": [{"labels": {"labels": labels}, "samples": [{"rawProfile": BASE64.encode(&file)}]}]}),
        );
        assert_eq!(written, json!({}));

        let types = answer(&address, "parca.query.v1alpha1.QueryService/ProfileTypes", &json!({}));
        let of = |sample: &str, unit: &str| {
            json!({"name": "process_cpu", "sampleType": sample, "sampleUnit": unit, "periodType": "cpu",
                "periodUnit": "nanoseconds", "delta": true})
        };
        assert_eq!(types, json!({"types": [of("cpu", "nanoseconds"), of("samples", "count")]}));

        // What Go's pprof says that the file holds.
        let total: i64 = samples_of(&recorded::input("cpu_web_a_00.pb.gz"), "cpu").values().sum();
        let query = r#"process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta{job="web"}"#;
        let range = answer(
            &address,
            "parca.query.v1alpha1.QueryService/QueryRange",
            &json!({"query": query, "start": "2026-01-15T11:59:00Z", "end": "2026-01-15T12:01:00Z", "step": "10s",
                "sumBy": ["job"]}),
        );
        let series = &range["series"][0];
        assert_eq!(series["labelset"], json!({"labels": [{"name": "job", "value": "web"}]}));
        let samples = series["samples"].as_array().expect("samples");
        assert_eq!(samples.len(), 1, "{range}");
        assert_eq!(samples[0]["timestamp"], "2026-01-15T12:00:00Z");
        assert_eq!(samples[0]["value"], total.to_string());
        assert_eq!(samples[0]["valuePerSecond"].as_f64(), Some(total as f64 / 10e9), "cores over ten seconds");

        let top = answer(
            &address,
            "parca.query.v1alpha1.QueryService/Query",
            &json!({"mode": "MODE_MERGE", "reportType": "REPORT_TYPE_TOP",
                "merge": {"query": query, "start": "2026-01-15T12:00:00Z", "end": "2026-01-15T12:00:00Z"}}),
        );
        assert_eq!(top["total"], total.to_string());
        let flat = |node: &Value| node["flat"].as_str().map_or(0, |flat| flat.parse::<i64>().expect("a number"));
        let list = top["top"]["list"].as_array().expect("nodes");
        assert_eq!(list.iter().map(flat).sum::<i64>(), total);
    }

    #[tokio::test]
    async fn is_told_what_is_wrong_by_code_and_words() {
        let (_place, _server, address) = started().await;
        let asked = |query: &str| {
            let request = json!({"query": query, "start": "2026-01-15T12:00:00Z", "end": "2026-01-15T13:00:00Z"});
            call(&address, "parca.query.v1alpha1.QueryService/QueryRange", &request)
        };
        for (query, code, name, words) in [
            ("memory:inuse_space:bytes:space:bytes", Code::NotFound, "NotFound", "No data found for the query"),
            ("memory:inuse_space", Code::InvalidArgument, "InvalidArgument", "memory:inuse_space"),
            (
                "memory:inuse_space:bytes:space:bytes{job=",
                Code::InvalidArgument,
                "InvalidArgument",
                "failed to parse query",
            ),
        ] {
            let output = asked(query);
            let stderr = text(&output.stderr);
            assert_eq!(output.status.code(), Some(CODES + code as i32), "{query}: {stderr}");
            assert!(stderr.contains(&format!("Code: {name}")) && stderr.contains(words), "{query}: {stderr}");
        }
    }

    #[test]
    fn speaks_tls_to_a_server_whose_certificate_it_was_given() {
        let place = Place::new("");
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        fs::write(place.path().join("tls.crt"), certified.cert.pem()).expect("written");
        fs::write(place.path().join("tls.key"), certified.signing_key.serialize_pem()).expect("written");
        let server = Server::start_with_tls(&place, &["--tls-cert-file", "tls.crt", "--tls-key-file", "tls.key"]);
        let secure = server.address.to_string();
        let ca = place.path().join("tls.crt");
        let ca = ca.to_str().expect("a path in UTF-8");
        let services = printed("grpcurl", &["-cacert", ca, &secure, "list"]);
        assert!(services.contains("parca.query.v1alpha1.QueryService"), "{services}");
        let stranger = run("grpcurl", [&secure, "list"]);
        assert!(!stranger.status.success(), "a certificate that nobody vouches for was trusted");
    }
}

/// Values by the lines of `pprof -top`: names of functions with their flat and cumulative values, in the sample's own unit.
fn top(sample: &str, files: &[&Path]) -> BTreeMap<String, (i64, i64)> {
    let unit = match sample {
        "cpu" | "delay" => "nanoseconds",
        "alloc_space" | "inuse_space" => "B",
        _ => "",
    };
    let mut arguments: Vec<String> =
        ["-symbolize=none", "-top", "-nodecount=1000000", "-nodefraction=0"].map(str::to_owned).into();
    arguments.extend([format!("-sample_index={sample}"), format!("-unit={unit}")]);
    arguments.extend(files.iter().map(|file| file.display().to_string()));
    let output = run("pprof", &arguments);
    assert!(output.status.success(), "{files:?}: {}", text(&output.stderr));
    let printed = text(&output.stdout);
    let mut lines = printed.lines().skip_while(|line| !line.contains("flat%"));
    assert!(lines.next().is_some(), "no table in:\n{printed}");
    let number = |text: &str| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        digits.parse::<i64>().unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    let mut values = BTreeMap::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [flat, _, _, cumulative, _, name @ ..] = words.as_slice() else { panic!("not a row: {line}") };
        let before = values.insert(name.join(" "), (number(flat), number(cumulative)));
        assert_eq!(before, None, "twice: {line}");
    }
    values
}

/// Values by stack, as `pprof -raw` prints the samples of a file: leaf first, a location by its frames or its address.
fn samples_of(file: &Path, sample: &str) -> BTreeMap<Vec<String>, i64> {
    let printed = printed("pprof", &["-symbolize=none", "-raw", &file.display().to_string()]);
    let mut lines = printed.lines().skip_while(|line| *line != "Samples:").skip(1);
    let types = lines.next().expect("the types of the samples");
    let at = types.split_whitespace().position(|kind| kind.split('/').next() == Some(sample));
    let at = at.unwrap_or_else(|| panic!("no {sample} among {types}"));
    let mut rows: Vec<(i64, Vec<u64>)> = Vec::new();
    for line in lines.by_ref().take_while(|line| *line != "Locations") {
        // `10 20: 3 1 2`, then perhaps lines of labels
        let Some((values, ids)) = line.split_once(':') else { continue };
        let values: Option<Vec<i64>> = values.split_whitespace().map(|value| value.parse().ok()).collect();
        let ids: Option<Vec<u64>> = ids.split_whitespace().map(|id| id.parse().ok()).collect();
        if let (Some(values), Some(ids)) = (values, ids) {
            rows.push((values[at], ids));
        }
    }
    let mut locations: BTreeMap<u64, String> = BTreeMap::new();
    let mut current = 0;
    for line in lines.take_while(|line| *line != "Mappings") {
        // `     1: 0x4a2f M=1 main.work /src/main.go:10:0 s=8`, inlined callers on lines of their own
        let frame = match line.split_once(": 0x") {
            Some((id, rest)) => {
                current = id.trim().parse().expect("the number of a location");
                rest.split_once(' ').map_or("", |(_, frame)| frame)
            }
            None => line,
        };
        let location = locations.entry(current).or_default();
        location.push_str(frame.trim());
        location.push(';');
    }
    let mut stacks = BTreeMap::new();
    for (value, ids) in rows {
        *stacks.entry(ids.iter().map(|id| locations[id].clone()).collect()).or_default() += value;
    }
    stacks
}

/// A server with all that the recordings of Parca were made with.
async fn recorded_server(flags: &[&str]) -> (Place, Server, Client) {
    let place = Place::new("");
    let server = Server::start(&place, flags).await;
    let client = server.client();
    recorded::write_all(&client).await.expect("written");
    (place, server, client)
}

fn merge(query: &str, start: i64, end: i64) -> wire::MergeProfile {
    let at = |seconds| Some(wire::Timestamp::of_seconds(seconds));
    wire::MergeProfile { query: query.to_owned(), start: at(start), end: at(end) }
}

fn merged(query: &str) -> wire::QueryRequest {
    let merge = Some(merge(query, START - 86_400, END));
    wire::QueryRequest { mode: wire::MODE_MERGE, merge, ..wire::QueryRequest::default() }
}

fn single(query: &str, time: wire::Timestamp) -> wire::QueryRequest {
    let single = Some(wire::SingleProfile { time: Some(time), query: query.to_owned() });
    wire::QueryRequest { mode: wire::MODE_SINGLE, single, ..wire::QueryRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn go_pprof_reads_from_an_export_what_it_reads_from_the_files_that_came_in() {
    let (place, _server, client) = recorded_server(&[]).await;
    let export = place.path().join("export.pb.gz");
    let many = |prefix: &str, range: std::ops::Range<usize>| -> Vec<_> {
        range.map(|at| recorded::input(&format!("{prefix}_{at:02}.pb.gz"))).collect()
    };
    let one = |name: &str| vec![recorded::input(name)];
    let cpu = r#"process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta{job="web",instance="a"}"#;
    let heap = r#"memory:inuse_space:bytes:space:bytes{job="web",instance="a"}"#;
    let cases = [
        (merged(cpu), "cpu", many("cpu_web_a", 0..10)),
        (single(cpu, wire::Timestamp::of_seconds(START)), "cpu", one("cpu_web_a_00.pb.gz")),
        (merged(heap), "inuse_space", many("heap_web", 0..10)),
        (merged("mutex:delay:nanoseconds:contentions:count"), "delay", one("mutex_web.pb.gz")),
        (merged("mutex:contentions:count:contentions:count"), "contentions", one("mutex_web.pb.gz")),
        (merged(r#"goroutine:goroutine:count:goroutine:count{job="web"}"#), "goroutine", one("goroutine_web.pb.gz")),
    ];
    for (request, sample, files) in cases {
        let reply = client.query(wire::QueryRequest { report_type: wire::REPORT_PPROF, ..request.clone() }).await;
        let Some(wire::Report::Pprof(bytes)) = reply.expect("an export").report else { panic!("not a pprof") };
        fs::write(&export, bytes).expect("written");
        let files: Vec<&Path> = files.iter().map(|file| file.as_path()).collect();

        let mut came_in: BTreeMap<Vec<String>, i64> = BTreeMap::new();
        for file in &files {
            for (stack, value) in samples_of(file, sample) {
                *came_in.entry(stack).or_default() += value;
            }
        }
        came_in.retain(|_, value| *value != 0);
        let total: i64 = came_in.values().sum();
        assert!(total > 0, "{sample} {files:?}");
        assert_eq!(samples_of(&export, sample), came_in, "-raw of {sample} {files:?}");
        let mut shown = top(sample, &files);
        shown.retain(|_, values| *values != (0, 0));
        assert_eq!(top(sample, &[&export]), shown, "-top of {sample} {files:?}");

        let graph = client.query(wire::QueryRequest { report_type: wire::REPORT_FLAMEGRAPH_ARROW, ..request }).await;
        assert_eq!(graph.expect("a flame graph").total, total, "{sample} {files:?}");
    }
}

mod grafana {
    use super::*;

    /// The moment of some profile of a type.
    async fn some_time(client: &Client, kind: &str) -> wire::Timestamp {
        let request = wire::QueryRangeRequest {
            query: kind.to_owned(),
            start: Some(wire::Timestamp::of_seconds(START - 86_400)),
            end: Some(wire::Timestamp::of_seconds(END)),
            step: Some(wire::Duration { seconds: 0, nanos: 1_000_000 }),
        };
        let range: wire::QueryRangeResponse =
            client.call("/parca.query.v1alpha1.QueryService/QueryRange", request).await.expect(kind);
        range.series[0].samples[0].timestamp.expect("a time")
    }

    fn function(condition: wire::StringCondition) -> wire::Criteria {
        let function_name = Some(wire::FunctionName { condition: Some(condition) });
        wire::Criteria { criteria: Some(wire::FilterCriteria { function_name }) }
    }

    /// What a flame graph can be asked of: the profiles of a type one by one, together, compared, and none.
    async fn selections(client: &Client, kind: &str) -> Vec<(&'static str, wire::QueryRequest)> {
        let of = |request: wire::QueryRequest| match request.single {
            Some(single) => wire::DiffSelection { single: Some(single), ..wire::DiffSelection::default() },
            None => wire::DiffSelection { mode: 1, merge: request.merge, ..wire::DiffSelection::default() },
        };
        let diff = |a, b, absolute| wire::QueryRequest {
            mode: wire::MODE_DIFF,
            diff: Some(wire::DiffProfile { a: Some(of(a)), b: Some(of(b)), absolute }),
            ..wire::QueryRequest::default()
        };
        let one = single(kind, some_time(client, kind).await);
        let all = merged(kind);
        let none = merged(&format!(r#"{kind}{{job="nobody"}}"#));
        vec![
            ("single", one.clone()),
            ("grown", diff(one.clone(), all.clone(), Some(true))),
            ("shrunk", diff(all.clone(), one, None)),
            ("new", diff(none.clone(), all.clone(), None)),
            ("gone", diff(all.clone(), none.clone(), Some(true))),
            ("merge", all),
            ("none", none),
        ]
    }

    /// Everything else that can be asked of it.
    fn shapes() -> Vec<(String, wire::QueryRequest)> {
        let plain = wire::QueryRequest::default;
        let by = |fields: &[&str]| {
            let fields = fields.iter().map(|field| (*field).to_owned()).collect();
            wire::QueryRequest { group_by: Some(wire::GroupBy { fields }), ..plain() }
        };
        let filter = |filter| wire::QueryRequest { filter: vec![wire::Filter { filter: Some(filter) }], ..plain() };
        let contains = |name: &str| wire::StringCondition::Contains(name.to_owned());
        let trim = |percent| wire::QueryRequest { node_trim_threshold: Some(percent), ..plain() };
        let sandwich = |name: &str| wire::QueryRequest { sandwich_by_function: Some(name.to_owned()), ..plain() };
        let fields = ["function_name", "function_file_name", "mapping_file", "location_address", "timestamp"];
        let mut shapes = vec![
            ("plain".to_owned(), plain()),
            ("by-job".to_owned(), by(&["labels.job"])),
            ("by-two-labels".to_owned(), by(&["labels.job", "labels.instance"])),
            ("by-no-label".to_owned(), by(&["labels.nosuch"])),
            ("by-all".to_owned(), by(&[&fields[..], &["labels.job"]].concat())),
            ("stacks".to_owned(), filter(wire::FilterOf::Stack(function(contains("a"))))),
            ("frames".to_owned(), filter(wire::FilterOf::Frame(function(contains("r"))))),
            ("no-stack".to_owned(), filter(wire::FilterOf::Stack(function(contains("nowhere"))))),
            ("no-frame".to_owned(), filter(wire::FilterOf::Frame(function(contains("nowhere"))))),
            ("trim-1".to_owned(), trim(1.0)),
            ("trim-100".to_owned(), trim(100.0)),
            ("sandwich".to_owned(), sandwich("main.main")),
            ("sandwich-none".to_owned(), sandwich("nowhere")),
        ];
        shapes.extend(fields.map(|field| (format!("by-{field}"), by(&[field]))));
        shapes
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn reads_every_flame_graph_of_every_type_mode_grouping_filter_and_direction() {
        let (place, _server, client) = recorded_server(&[]).await;
        let mut expected: BTreeMap<String, (bool, i64, i64)> = BTreeMap::new();
        let (mut types, mut refused) = (0, BTreeSet::new());
        // all of their samples have stacks, and values above 0
        let whole = ["process_cpu:", "deep:", "recursion:", "inlined:", "mappings:", "unicode:", "conflict:"];
        let mut kinds = client.types().await.expect("types");
        // what no selector can name; and one type is enough of profiles that have several
        kinds.retain(|kind| !kind.contains(['-', '.']));
        kinds.dedup_by_key(|kind| kind.split(':').next().map(str::to_owned));
        for kind in kinds {
            // the largest one once, plainly; it is the same code as for the others
            let large = kind.starts_with("big:");
            types += 1;
            for (selection, request) in selections(&client, &kind).await {
                for (shape, like) in shapes() {
                    for (direction, invert) in [("", None), ("-inverted", Some(true))] {
                        for (report, report_type) in
                            [("graph", wire::REPORT_FLAMEGRAPH_ARROW), ("chart", wire::REPORT_FLAMECHART)]
                        {
                            if large && (shape != "plain" || report != "graph") {
                                continue;
                            }
                            let name = format!("{report}-{selection}-{shape}{direction}");
                            let request = wire::QueryRequest {
                                report_type,
                                invert_call_stack: invert,
                                mode: request.mode,
                                merge: request.merge.clone(),
                                single: request.single.clone(),
                                diff: request.diff.clone(),
                                ..like.clone()
                            };
                            let reply = match client.query(request).await {
                                Ok(reply) => reply,
                                // a chart is of one profile over time; so is a graph by time
                                Err(status)
                                    if (report == "chart" || ["by-timestamp", "by-all"].contains(&shape.as_str()))
                                        && (status.message().contains("a comparison has no times")
                                            || status
                                                .message()
                                                .contains("multiple samples for the same timestamp")) =>
                                {
                                    assert_eq!(status.code(), Code::Internal);
                                    refused.insert(format!("{report} {selection} {shape}: {}", status.message()));
                                    continue;
                                }
                                Err(status) => panic!("{kind} {name}: {status}"),
                            };
                            let Some(wire::Report::FlamegraphArrow(graph)) = reply.report else {
                                panic!("{kind} {name}: not a flame graph")
                            };
                            let file = place.path().join(format!("{types}-{name}.arrow"));
                            fs::write(&file, &graph.record).expect("written");
                            // a value stands nowhere if its frames were trimmed or filtered, or if it came without any
                            let has_frames =
                                !shape.contains("frame") && whole.iter().any(|name| kind.starts_with(name));
                            let is_whole = has_frames && graph.trimmed == 0;
                            let known = (is_whole, reply.total, graph.height.into());
                            expected.insert(file.display().to_string(), known);
                        }
                    }
                }
            }
        }
        assert!(types >= 20 && expected.len() > 7500, "{types} types, {} flame graphs", expected.len());

        let output = run("datasource", ["record"].into_iter().chain(expected.keys().map(String::as_str)));
        let stderr = text(&output.stderr);
        assert!(
            output.status.success(),
            "{} refused, as\n{}",
            stderr.lines().count(),
            &stderr[..stderr.len().min(4000)]
        );
        let printed = text(&output.stdout);
        assert_eq!(printed.lines().count(), expected.len());
        let mut wrong = Vec::new();
        for line in printed.lines() {
            let read: Value = serde_json::from_str(line).expect("JSON");
            let file = read["file"].as_str().expect("a file");
            let (is_whole, total, height) = expected[file];
            let found = (read["total"].as_i64().expect("a total"), read["height"].as_i64().expect("a height"));
            // the reply's height is that of the tree before it was trimmed
            if is_whole && found.0 != total || found.1 > height {
                wrong.push(format!("{file}: {found:?}, not {:?}", (total, height)));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of {}:\n{}",
            wrong.len(),
            expected.len(),
            wrong[..wrong.len().min(20)].join("\n")
        );
        println!("{} flame graphs; refused:\n{refused:#?}", expected.len());
    }

    #[tokio::test]
    async fn makes_all_its_calls_below_the_root_and_below_a_path() {
        let place = Place::new("");
        let server = Server::start(&place, &["--path-prefix=/some/prefix"]).await;
        let client = server.client();
        let labels = [("__name__", pprof::NAME), ("job", "shop")];
        for second in 0..60 {
            // leaf first: 3 is called by 2, which the root 1 calls
            let stacks = [(vec![3, 2, 1], 5), (vec![2, 1], 2), (vec![4, 1], 1)];
            client.write(&labels, pprof::cpu(START + second, &stacks)).await.expect("written");
        }
        let contract = recorded::contract().display().to_string();
        let times = [START - 1200, START + 1200].map(|time| time.to_string());
        let url = format!("http://{}", server.address);
        for url in [url.clone(), format!("{url}/some/prefix"), format!("{url}/some/prefix/api/")] {
            let arguments = ["ask", &contract, &url, &times[0], &times[1], pprof::CALLS, r#"{job="shop"}"#];
            let lines: Vec<Value> = printed("datasource", &arguments)
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect();
            let [types, labels, series, graph] = lines.as_slice() else { panic!("{lines:?}") };
            assert_eq!(types["types"], json!([pprof::CALLS, pprof::CPU]));
            assert_eq!(labels["labels"], json!({"job": ["shop"]}));
            // without a step, 2400 s in 800 points; not summed by anything
            assert_eq!(series["series"], json!({}));
            let points: Vec<(i64, i64)> = serde_json::from_value(series["points"].clone()).expect("points");
            assert_eq!(points, (0..20).map(|at| (START + 3 * at, 24)).collect::<Vec<_>>());
            let row = |name: &str, level: i64, value: i64, own: i64| json!({"Name": name, "Level": level, "Value": value, "Self": own});
            assert_eq!(
                graph["flameGraph"],
                json!([
                    row("total", 0, 480, 0),
                    row("e2e::frame_1", 1, 480, 0),
                    row("e2e::frame_2", 2, 420, 120),
                    row("e2e::frame_3", 3, 300, 300),
                    row("e2e::frame_4", 2, 60, 60),
                ])
            );
            assert_eq!(graph["unit"], "count");
        }
        // and an error arrives as one
        let wrong = run("datasource", ["ask", &contract, &url, &times[0], &times[1], "no:such:type:at:all", ""]);
        assert_eq!(wrong.status.code(), Some(1));
        assert!(text(&wrong.stderr).contains("not_found: "), "{}", text(&wrong.stderr));
    }
}
