//! Random calls of hook tools: sensible ones, and those that a tool refuses.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::world::{FOREIGN_SECRET, OWN_SECRETS};

/// A tool, its arguments and its standard input.
pub(super) type Call = (String, Vec<String>, Option<String>);

pub(super) fn pick(from: &'static [&'static str]) -> BoxedStrategy<String> {
    proptest::sample::select(from).prop_map(str::to_owned).boxed()
}

/// One word of each list, in order.
fn words(parts: Vec<BoxedStrategy<String>>) -> BoxedStrategy<Vec<String>> {
    parts.boxed()
}

/// Some options of a list, each with the words it stands for.
fn some(parts: Vec<BoxedStrategy<Vec<String>>>) -> BoxedStrategy<Vec<String>> {
    let maybe: Vec<_> = parts.into_iter().map(|p| proptest::option::weighted(0.4, p)).collect();
    maybe.prop_map(|parts| parts.into_iter().flatten().flatten().collect()).boxed()
}

fn flag(name: &'static str, value: BoxedStrategy<String>) -> BoxedStrategy<Vec<String>> {
    prop_oneof![
        3 => value.clone().prop_map(move |v| vec![name.to_owned(), v]),
        1 => value.prop_map(move |v| vec![format!("{name}={v}")]),
    ]
    .boxed()
}

fn plain(name: &'static str) -> BoxedStrategy<Vec<String>> {
    Just(vec![name.to_owned()]).boxed()
}

const UNITS: &[&str] = &["pg/0", "pg/1", "pg/10", "mine/0", "mine/1", "web/0", "pg", "x", "UPPER", "pg/01", "gone/3"];
const APPS: &[&str] = &["pg", "mine", "other", "pg/0"];
pub(super) const KEYS: &[&str] = &["host", "port", "k", "egress-subnets", "ünï", "a b"];
const VALUES: &[&str] =
    &["", "1", "hello", "a=b", "é\u{1f600}", "two\nlines", "\"quoted\"", "-dash", "{\"j\": [1]}", "true"];
const RELATIONS: &[&str] =
    &["db:3", "3", "db:4", "web:5", "cluster:0", "0", "db:12", "odd:3", "db:99", "99", "db:x", "", ":", "db:3:4"];
const SECRETS: &[&str] =
    &[OWN_SECRETS[0], OWN_SECRETS[0], OWN_SECRETS[1], OWN_SECRETS[2], FOREIGN_SECRET, "cccccccccccccccccccc"];
const LABELS: &[&str] = &["one", "two", "three", "theirs", "nobody"];

fn relation() -> BoxedStrategy<Vec<String>> {
    prop_oneof![
        flag("-r", pick(RELATIONS)),
        flag("-r", pick(&["db:3", "web:5", "0"])),
        flag("--relation", pick(RELATIONS))
    ]
    .boxed()
}

fn secret() -> BoxedStrategy<String> {
    (pick(SECRETS), proptest::sample::select(&["", "secret:", "secret://model/"][..]))
        .prop_map(|(s, p)| format!("{p}{s}"))
        .boxed()
}

fn content(file: &str) -> BoxedStrategy<Vec<String>> {
    let mapping = format!("--file={file}.yaml");
    let file = format!("from-file#file={file}");
    let keys: &[&str] = &["token", "user-name", "key1", "no", "Bad", "ends-"];
    let pair = (pick(keys), pick(VALUES)).prop_map(|(k, v)| format!("{k}={v}"));
    let good = (pick(&["token", "user-name"]), pick(VALUES)).prop_map(|(k, v)| format!("{k}={v}"));
    let base64 = pick(&["token#base64=aGVsbG8=", "token#base64=YQ==", "user-name#base64=", "token#base64=w6nDqQo/"]);
    let pair = prop_oneof![
        6 => good, 1 => pair, 1 => Just(file), 1 => Just(mapping), 1 => base64, 1 => pick(&["=x", "novalue"]),
    ];
    proptest::collection::vec(pair, 0..3).boxed()
}

fn json_input() -> BoxedStrategy<String> {
    let value = prop_oneof![
        8 => pick(VALUES).prop_map(Value::String),
        1 => prop_oneof![Just(json!(7)), Just(json!(true)), Just(json!(false)), Just(json!(1.5)), Just(Value::Null)],
        1 => prop_oneof![Just(json!([1])), Just(json!({"x": "y"}))],
    ];
    let mapping = proptest::collection::vec((pick(KEYS), value), 0..4)
        .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>()).to_string());
    prop_oneof![9 => mapping, 1 => Just(String::new()), 1 => Just("[1]".to_owned())].boxed()
}

/// A call of a tool: arguments in parts, some of which may be left out.
pub(super) fn call(file: &str) -> BoxedStrategy<Call> {
    // JSON most of the time, since that is what a charm asks for
    let format = || {
        prop_oneof![2 => Just(Vec::new()), 2 => Just(vec!["--format=yaml".to_owned()]), 12 => Just(vec!["--format=json".to_owned()]), 4 => Just(vec!["--format".to_owned(), "json".to_owned()]),
            1 => Just(vec!["--format=xml".to_owned()])]
        .boxed()
    };
    let smart_too = || prop_oneof![3 => format(), 1 => Just(Vec::new())].boxed();
    let no_input = |tool: &'static str, parts: Vec<BoxedStrategy<Vec<String>>>| {
        parts.prop_map(move |parts| (tool.to_owned(), parts.concat(), None::<String>)).boxed()
    };
    let word = |from: &'static [&'static str]| words(vec![pick(from)]);
    let maybe = |part: BoxedStrategy<Vec<String>>| some(vec![part]);
    let endpoint = || word(&["db", "web", "cluster", "odd", "juju-info", "admin"]);
    let pairs = |keys: &'static [&'static str]| {
        proptest::collection::vec((pick(keys), pick(VALUES)).prop_map(|(k, v)| format!("{k}={v}")), 0..4).boxed()
    };
    let whom = || prop_oneof![word(UNITS), word(&["pg/0", "mine/0"])].boxed();
    let app = || prop_oneof![word(APPS), word(&["pg", "mine"])].boxed();
    let port =
        || word(&["80", "443/tcp", "53/udp", "8000-8010/tcp", "icmp", "ICMP", "0", "70000", "9-1", "x", "80/sctp"]);
    let dashes = || maybe(plain("--"));
    let action_keys: &[&str] = &["out", "deep.one", "deep.two.x", "Bad", "ends-", "stdout", "stderr-encoding.x", "a-b"];
    let secret_flags = || {
        some(vec![
            flag("--label", pick(LABELS)),
            flag("--description", pick(VALUES)),
            flag("--expire", pick(&["2030-01-01T00:00:00Z", "10h"])),
            flag("--rotate", pick(&["never", "daily"])),
        ])
    };
    let owner = || maybe(flag("--owner", pick(&["unit", "unit", "application", "nobody"])));
    let calls = vec![
        (2, no_input("is-leader", vec![smart_too(), maybe(word(&["extra"]))])),
        (2, no_input("relation-ids", vec![smart_too(), maybe(endpoint())])),
        (2, no_input("relation-ids", vec![format(), endpoint()])),
        (2, no_input("relation-list", vec![smart_too(), maybe(relation()), maybe(plain("--app"))])),
        (1, no_input("relation-model-get", vec![format(), relation()])),
        (4, no_input("relation-get", vec![format(), relation(), word(&["-"]), whom()])),
        (4, no_input("relation-get", vec![format(), relation(), plain("--app"), word(&["-"]), app()])),
        (3, no_input("relation-get", vec![format(), maybe(relation()), maybe(plain("--app")), maybe(word(KEYS))])),
        (1, no_input("relation-get", vec![format(), relation(), word(&["-"]), whom(), maybe(word(&["more"]))])),
        (4, no_input("relation-set", vec![relation(), maybe(plain("--app")), dashes(), pairs(KEYS)])),
        (1, no_input("relation-set", vec![maybe(relation()), dashes(), word(&["novalue", "=x", "host=1"])])),
        (
            6,
            (relation(), maybe(plain("--app")), pairs(KEYS), json_input())
                .prop_map(|(r, app, pairs, input)| {
                    let file = vec!["--file".to_owned(), "-".to_owned()];
                    ("relation-set".to_owned(), [r, app, file, pairs].concat(), Some(input))
                })
                .boxed(),
        ),
        (
            2,
            no_input(
                "config-get",
                vec![format(), maybe(plain("--all")), maybe(word(&["flag", "level", "count", "odd"]))],
            ),
        ),
        (1, no_input("config-get", vec![word(&["flag", "level", "count", "text", "unset"])])),
        (2, no_input("status-get", vec![format(), maybe(plain("--include-data")), maybe(plain("--application"))])),
        (
            3,
            no_input(
                "status-set",
                vec![
                    maybe(word(&["--application=True", "--application=false", "--application"])),
                    maybe(word(&["active", "blocked", "waiting", "maintenance", "error", "unknown", "fine"])),
                    dashes(),
                    maybe(word(VALUES)),
                    some(vec![word(&["surplus"])]),
                ],
            ),
        ),
        (
            1,
            no_input("application-version-set", vec![dashes(), maybe(word(&["1.2", "v3", "-4"])), maybe(word(&["x"]))]),
        ),
        (
            1,
            no_input(
                "juju-log",
                vec![maybe(flag("--log-level", pick(&["WARNING", "debug"]))), dashes(), maybe(word(VALUES))],
            ),
        ),
        (2, no_input("open-port", vec![maybe(flag("--endpoints", pick(&["db"]))), port()])),
        (1, no_input("open-port", vec![maybe(port()), maybe(port())])),
        (2, no_input("close-port", vec![port()])),
        (2, no_input("opened-ports", vec![smart_too()])),
        (2, no_input("network-get", vec![format(), maybe(flag("-r", pick(RELATIONS))), maybe(endpoint())])),
        (1, no_input("network-get", vec![smart_too(), word(&["--ingress-address", "--egress-subnets"]), endpoint()])),
        (1, no_input("unit-get", vec![smart_too(), word(&["private-address"])])),
        (1, no_input("goal-state", vec![format()])),
        (1, no_input("credential-get", vec![format()])),
        (1, no_input("resource-get", vec![maybe(word(&["blob", "other"])), maybe(word(&["x"]))])),
        (1, no_input("juju-reboot", vec![maybe(plain("--now"))])),
        (1, no_input("storage-add", vec![maybe(word(&["data=1", "data", "cache=2"]))])),
        (1, no_input("storage-list", vec![smart_too(), maybe(word(&["data", "cache"]))])),
        (
            1,
            no_input(
                "storage-get",
                vec![format(), flag("-s", pick(&["data/0", "data/1"])), maybe(word(&["location", "kind", "x"]))],
            ),
        ),
        (2, no_input("state-get", vec![format(), maybe(word(&["k", "host", "-"]))])),
        (2, no_input("state-set", vec![dashes(), pairs(KEYS)])),
        (1, json_input().prop_map(|i| ("state-set".to_owned(), vec!["--file=-".to_owned()], Some(i))).boxed()),
        (1, no_input("state-delete", vec![word(KEYS)])),
        (5, no_input("secret-add", vec![owner(), secret_flags(), content(file)])),
        (
            4,
            no_input(
                "secret-get",
                vec![
                    format(),
                    maybe(words(vec![secret()])),
                    maybe(flag("--label", pick(LABELS))),
                    maybe(plain("--refresh")),
                    maybe(plain("--peek")),
                ],
            ),
        ),
        (
            2,
            no_input(
                "secret-get",
                vec![format(), words(vec![secret()]), word(&["token", "user-name", "odd"]), maybe(word(&["x"]))],
            ),
        ),
        (
            3,
            no_input(
                "secret-info-get",
                vec![format(), maybe(words(vec![secret()])), maybe(flag("--label", pick(LABELS)))],
            ),
        ),
        (2, no_input("secret-ids", vec![smart_too()])),
        (4, no_input("secret-set", vec![words(vec![secret()]), secret_flags(), content(file)])),
        (1, no_input("secret-set", vec![secret_flags()])),
        (
            1,
            no_input(
                "secret-remove",
                vec![maybe(words(vec![secret()])), maybe(flag("--revision", pick(&["1", "2", "7"])))],
            ),
        ),
        (
            2,
            no_input(
                "secret-grant",
                vec![words(vec![secret()]), maybe(relation()), maybe(flag("--unit", pick(UNITS)))],
            ),
        ),
        (
            2,
            no_input(
                "secret-revoke",
                vec![
                    words(vec![secret()]),
                    maybe(relation()),
                    maybe(flag("--unit", pick(UNITS))),
                    maybe(flag("--app", pick(APPS))),
                ],
            ),
        ),
        (2, no_input("action-get", vec![format(), maybe(word(&["name", "deep.er", "deep", "odd.x", "name.x"]))])),
        (2, no_input("action-set", vec![dashes(), pairs(action_keys), maybe(word(&["novalue"]))])),
        (1, no_input("action-fail", vec![dashes(), maybe(word(&["because", "-1"]))])),
        (1, no_input("action-log", vec![word(&["half", "done"])])),
    ];
    let spoilt =
        (proptest::strategy::Union::new_weighted(calls.clone()), pick(&["--nope", "-z=1", "--format", "--label"]))
            .prop_map(|((tool, mut args, input), bad)| {
                args.push(bad);
                (tool, args, input)
            });
    prop_oneof![30 => proptest::strategy::Union::new_weighted(calls), 1 => spoilt].boxed()
}
