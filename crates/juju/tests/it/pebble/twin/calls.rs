//! The calls: made by chance, played on a Pebble, and what came of them as a text that can be compared.

use std::fmt::Debug;
use std::time::Duration;

use juju::json::{Json, Object};
use juju::pebble::*;

use super::random::Random;

#[derive(Debug)]
pub enum Call {
    /// Sets what the check `flag` looks at.
    Flag(bool),
    AddLayer {
        label: String,
        layer: Json,
        combine: bool,
    },
    Plan,
    Services(Vec<&'static str>),
    /// Asks, and waits until it is done.
    Act(ServiceAction, Vec<&'static str>),
    Changes(ChangesSelect, Option<&'static str>),
    /// One of those that are about services or commands, or one that there is not.
    Change(usize),
    Wait(usize),
    Abort(usize),
    List {
        path: String,
        pattern: Option<&'static str>,
        itself: bool,
    },
    Read(String),
    Write {
        path: String,
        content: &'static str,
        options: WriteFile,
    },
    MakeDir {
        path: String,
        options: MakeDir,
    },
    Remove {
        path: String,
        recursive: bool,
    },
    Exec(Exec),
    Checks(Option<CheckLevel>, Vec<&'static str>),
    ChangeChecks(CheckAction, Vec<&'static str>),
    Refresh(&'static str),
    Health(Option<CheckLevel>, Vec<&'static str>),
    Notify {
        key: &'static str,
        data: Vec<(&'static str, String)>,
        repeat_after: Option<Duration>,
    },
    /// `after`: the time of which custom notice.
    Notices {
        select: NoticesSelect,
        after: Option<usize>,
    },
    Notice(usize),
    BadNotice(&'static str),
    Logs(Vec<&'static str>, Option<u32>),
    Identities,
    ChangeIdentities(IdentityAction, Vec<(&'static str, Option<Identity>)>),
    Signal(&'static str, Vec<&'static str>),
}

const SERVICES: [&str; 3] = ["one", "three", "two"];
const CHECKS: [&str; 4] = ["exec", "flag", "port", "web"];

impl Call {
    pub fn random(random: &mut Random, work: &str, flag: &str) -> Call {
        let services = |random: &mut Random| match random.below(12) {
            0 => vec![],
            1 => vec!["nobody"],
            2 => vec!["one", "one"],
            _ => random.some(&SERVICES),
        };
        let checks = |random: &mut Random| match random.below(10) {
            0 => vec!["nobody"],
            1 => vec!["nobody", "another"],
            _ => random.some(&CHECKS),
        };
        let level = |random: &mut Random| {
            let levels = [None, None, Some(CheckLevel::Alive), Some(CheckLevel::Ready), Some(CheckLevel::Unknown)];
            let last = if random.once_in(8) { 5 } else { 4 };
            levels[random.below(last)]
        };
        match random.below(100) {
            0..18 => {
                let labels = ["base", "base", "base", "over", "over", "a/x", "a/y", "a", "pebble-x", ""];
                let last = if random.once_in(4) { labels.len() } else { 7 };
                let label = labels[random.below(last)].to_owned();
                Call::AddLayer { label, layer: layer(random, flag), combine: !random.once_in(4) }
            }
            18..20 => Call::Plan,
            20..22 => Call::Services(services(random)),
            22..37 => {
                use ServiceAction::*;
                let action = random.pick(&[Start, Start, Stop, Restart, Autostart, Replan, Replan]);
                let named = !matches!(action, Autostart | Replan) || random.once_in(10);
                Call::Act(action, if named { services(random) } else { vec![] })
            }
            37..40 => {
                use ChangesSelect::*;
                let about = random.pick(&[None, None, Some("one"), Some("nobody"), Some("")]);
                Call::Changes(random.pick(&[All, InProgress, Ready]), about)
            }
            40 => Call::Change(random.below(6)),
            41 => Call::Wait(random.below(6)),
            42 => Call::Abort(random.below(6)),
            43..47 => Call::List {
                path: path(random, work),
                pattern: random.pick(&[
                    None,
                    None,
                    Some("*"),
                    Some("a*"),
                    Some("?"),
                    Some("[a-b]"),
                    Some("["),
                    Some(""),
                ]),
                itself: random.once_in(4),
            },
            47..50 => Call::Read(path(random, work)),
            50..57 => Call::Write {
                path: path(random, work),
                content: random.pick(&["", "text", "\r\n--0\0\r\n"]),
                options: WriteFile {
                    make_dirs: !random.once_in(3),
                    permissions: random.pick(&[0o644, 0o600, 0o755, 0o777, 0o1777]),
                    owner: owner(random),
                },
            },
            57..61 => Call::MakeDir {
                path: path(random, work),
                options: MakeDir {
                    make_parents: !random.once_in(3),
                    permissions: random.pick(&[0o755, 0o700, 0o777, 0o4755]),
                    owner: owner(random),
                },
            },
            61..64 => Call::Remove { path: path(random, work), recursive: random.once_in(2) },
            64..69 => Call::Exec(command(random, work)),
            69..72 => Call::Checks(level(random), checks(random)),
            72..75 => Call::ChangeChecks(random.pick(&[CheckAction::Start, CheckAction::Stop]), checks(random)),
            75..80 => Call::Refresh(random.pick(&["exec", "flag", "flag", "port", "web", "nobody", ""])),
            80 => Call::Flag(random.once_in(2)),
            81..83 => Call::Health(level(random), checks(random)),
            83..86 => Call::Notify {
                key: random.pick(&[
                    "example.com/a",
                    "example.com/a",
                    "example.com/b-c/d",
                    "example.com/",
                    "Example.com/a",
                    "a/b",
                ]),
                data: match random.below(5) {
                    0 => vec![("k", "v".repeat(4090))],
                    1 => vec![("k", "ü \"".to_owned()), ("l", String::new())],
                    2 => vec![("k", "v".repeat(5000))],
                    _ => vec![],
                },
                repeat_after: random.pick(&[None, Some(Duration::from_secs(5400)), Some(Duration::from_millis(1))]),
            },
            86..89 => Call::Notices {
                select: NoticesSelect {
                    all_users: random.once_in(4),
                    user_id: random.pick(&[None, None, Some(4242)]),
                    types: random.pick(&[
                        vec!["custom".into()],
                        vec!["custom".into()],
                        vec![],
                        vec!["none".into()],
                        vec!["warning".into(), "custom".into()],
                    ]),
                    keys: random.pick(&[
                        vec![],
                        vec!["example.com/a".into()],
                        vec!["example.com/z".into(), "example.com/b-c/d".into()],
                    ]),
                    after: random.once_in(10).then(|| "soon".to_owned()),
                    wait: random.once_in(4).then_some(Duration::from_millis(30)),
                },
                after: random.once_in(3).then(|| random.below(2)),
            },
            89 => match random.below(3) {
                0 => Call::BadNotice(random.pick(&["999", "../x", ""])),
                _ => Call::Notice(random.below(2)),
            },
            90..93 => match random.pick(&[None, Some(0), Some(1), Some(2)]) {
                None => Call::Logs(services(random), None),
                count => Call::Logs(vec![random.pick(&SERVICES)], count),
            },
            93..97 => {
                use IdentityAction::*;
                let action = random.pick(&[Add, Add, Update, Replace, Remove]);
                let only_one = random.pick(&[vec!["mary"], vec!["bob"], vec!["eve"], vec!["1x"], vec!["a b"]]);
                let names = if random.once_in(2) { only_one } else { random.some(&["bob", "mary"]) };
                let identities = names.into_iter().map(|name| (name, identity(random, action))).collect();
                Call::ChangeIdentities(action, identities)
            }
            97 => Call::Identities,
            _ => {
                let signals = ["SIGTERM", "SIGHUP", "SIGKILL", "SIGCONT", "SIGWINCH", "SIGFOO", "TERM"];
                let mut names = services(random);
                // whether a second signal still meets what the first has ended is a matter of time
                names.dedup();
                Call::Signal(random.pick(&signals), names)
            }
        }
    }

    /// It changes nothing, so that it may be asked again.
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Call::Plan
                | Call::Services(_)
                | Call::Changes(..)
                | Call::Change(_)
                | Call::List { .. }
                | Call::Checks(..)
                | Call::Health(..)
                | Call::Notices { .. }
                | Call::Logs(..)
        )
    }
}

fn path(random: &mut Random, work: &str) -> String {
    if random.once_in(20) {
        return random.pick(&["relative", "", "a/../b"]).to_owned();
    }
    let mut path = work.to_owned();
    for _ in 0..random.below(4) {
        path.push('/');
        path.push_str(random.pick(&["a", "a", "b", "c.txt", "d \"e\"", "ü"]));
    }
    if random.once_in(25) {
        path.push_str(random.pick(&["/*x", "/a/../b", "/./a", "//b"]));
    }
    path
}

fn owner(random: &mut Random) -> Owner {
    match random.below(20) {
        0 => Owner { user: Some("no-such-user".to_owned()), ..Owner::default() },
        1 => Owner { group: Some("no-such-group".to_owned()), ..Owner::default() },
        2 => Owner { user: Some("root".to_owned()), user_id: Some(4242), ..Owner::default() },
        3 => Owner { user_id: Some(424_242), ..Owner::default() },
        4 => Owner { group_id: Some(0), ..Owner::default() },
        _ => Owner::default(),
    }
}

fn command(random: &mut Random, work: &str) -> Exec {
    let commands: [&[&str]; 12] = [
        &["echo", "a", "ü b"],
        &["cat"],
        &["pwd"],
        &["printenv", "X"],
        &["printenv", "Y"],
        &["sh", "-c", "exit 7"],
        &["sh", "-c", "echo out; echo err >&2; exit 2"],
        &["true"],
        &["sleep", "100"],
        &["/no/such/program"],
        &["no-such-program"],
        &[],
    ];
    Exec {
        stdin: random.pick(&[Vec::new(), b"in\n\0".to_vec()]),
        split_stderr: random.once_in(2),
        environment: if random.once_in(2) { [("X".to_owned(), "mine".to_owned())].into() } else { [].into() },
        working_dir: random.pick(&[None, None, Some(work.to_owned()), Some(format!("{work}/a"))]),
        service_context: random.pick(&[None, None, None, Some("one".to_owned()), Some("nobody".to_owned())]),
        timeout: Duration::from_millis(if random.once_in(2) { 200 } else { 250 }),
        owner: if random.once_in(6) { owner(random) } else { Owner::default() },
        ..Exec::new(random.pick(&commands).iter().copied())
    }
    .patient()
}

/// What ends by itself has the time to do so, on a machine that is busy too.
trait Patient {
    fn patient(self) -> Self;
}

impl Patient for Exec {
    fn patient(mut self) -> Exec {
        if self.command.first().is_none_or(|program| program != "sleep") {
            self.timeout = Duration::from_secs(30);
        }
        self
    }
}

fn object(members: Vec<(&str, Json)>) -> Json {
    Json::object(members)
}

fn list(of: &[&str]) -> Json {
    Json::Array(of.iter().map(|&item| Json::from(item)).collect())
}

/// A layer, most of the time one that makes sense.
fn layer(random: &mut Random, flag: &str) -> Json {
    if random.once_in(20) {
        return random.pick(&[Json::Null, list(&["a"]), Json::from("a long scalar"), Json::from(5), object(vec![])]);
    }
    let mut sections = Object::new();
    let mut bad = random.once_in(4);
    if random.once_in(4) {
        sections.insert("summary".to_owned(), random.pick(&[Json::from("a summary"), Json::Null, Json::from(true)]));
    }
    if !random.once_in(4) {
        let mut services = Object::new();
        for name in SERVICES {
            if random.once_in(2) {
                let fields = service(random, name, &mut bad);
                services.insert(name.to_owned(), fields);
            }
        }
        if bad && random.once_in(4) {
            bad = false;
            let name = random.pick(&["", "pebble", "-minus", "null"]);
            let value = if name == "null" { Json::Null } else { object(vec![("override", "replace".into())]) };
            services.insert(name.to_owned(), value);
        }
        sections.insert("services".to_owned(), Json::Object(services));
    }
    if random.once_in(3) {
        let mut checks = Object::new();
        for name in CHECKS {
            if random.once_in(3) {
                let fields = check(random, name, flag, &mut bad);
                checks.insert(name.to_owned(), fields);
            }
        }
        sections.insert("checks".to_owned(), Json::Object(checks));
    }
    if random.once_in(6) {
        let target = log_target(random, &mut bad);
        sections.insert("log-targets".to_owned(), object(vec![("far", target)]));
    }
    if bad && random.once_in(3) {
        let (name, value) = random.pick(&[
            ("surplus", Json::from(1)),
            ("services", list(&["a"])),
            ("description", list(&["a"])),
            ("checks", 1.5.into_json()),
        ]);
        sections.insert(name.to_owned(), value);
    }
    Json::Object(sections)
}

fn overriding(random: &mut Random, bad: &mut bool) -> Vec<(&'static str, Json)> {
    let told = if *bad && random.once_in(6) {
        *bad = false;
        random.pick(&[None, Some("add")])
    } else {
        random.pick(&[Some("merge"), Some("replace")])
    };
    told.map(|told| ("override", Json::from(told))).into_iter().collect()
}

fn service(random: &mut Random, name: &str, bad: &mut bool) -> Json {
    let mut fields = overriding(random, bad);
    let commands = [
        "sleep 1000",
        "sleep 1000",
        "sleep 2000",
        "sleep 1000 [ --more ]",
        "sh -c 'echo up; exec sleep 1000'",
        "sh -c 'exit 0'",
        "sh -c 'echo no port >&2; exit 3'",
        "/no/such/program",
        "no-such-program",
    ];
    // what does not stay up would come again: not within this test
    fields.push(("backoff-delay", random.pick(&["1h", "1h", "90m"]).into()));
    // more words than one in brackets are not what `sleep` takes
    let command = random.pick(&commands);
    if !random.once_in(12) {
        fields.push(("command", if command.contains('[') { "sleep [ 1000 ]" } else { command }.into()));
    }
    for (field, values) in [
        ("startup", [Json::from("enabled"), Json::from("enabled"), Json::from("disabled"), Json::Null]),
        ("summary", ["a: \"b\"\n😀".into(), "".into(), 5.into(), true.into()]),
        ("on-success", ["ignore".into(), "restart".into(), "".into(), Json::Null]),
        ("on-failure", ["ignore".into(), "restart".into(), "ignore".into(), Json::Null]),
        ("requires", [list(&["one"]), list(&["three"]), list(&[]), list(&[])]),
        ("after", [list(&["one"]), list(&["two", "three"]), list(&[]), list(&["nobody"])]),
        (
            "environment",
            [object(vec![("X", "theirs".into())]), object(vec![("Y", 5.into())]), object(vec![]), Json::Null],
        ),
        (
            "on-check-failure",
            [
                object(vec![("flag", "restart".into())]),
                object(vec![("exec", "ignore".into())]),
                object(vec![]),
                Json::Null,
            ],
        ),
        ("kill-delay", ["1m30s".into(), "500ms".into(), "0.5h".into(), Json::Null]),
        ("backoff-factor", [1.5.into_json(), 2.into(), "3".into(), Json::Null]),
        ("user-id", [Json::Null, Json::Null, Json::Null, 424_242.into()]),
    ] {
        if random.once_in(5) {
            fields.push((field, random.pick(&values)));
        }
    }
    if name == "three" && random.once_in(4) {
        fields.retain(|(field, _)| *field != "after");
        fields.push(("before", list(&["two"])));
    }
    if *bad && random.once_in(2) {
        *bad = false;
        let (field, value) = random.pick(&[
            ("surplus", Json::from("x")),
            ("command", "a 'b".into()),
            ("command", "[ a ]".into()),
            ("command", "a [ b ] c".into()),
            ("command", "a ]".into()),
            ("command", list(&["a"])),
            ("after", "one".into()),
            ("environment", "X=1".into()),
            ("environment", list(&["X=1"])),
            ("environment", object(vec![("X", list(&["1"]))])),
            ("on-success", "success-shutdown".into()),
            ("on-failure", "explode".into()),
            ("on-check-failure", object(vec![("flag", "explode".into())])),
            ("backoff-factor", 0.5.into_json()),
            ("backoff-factor", "much".into()),
            ("backoff-limit", "long".into()),
            ("backoff-limit", list(&["1s"])),
            ("user-id", "root".into()),
            ("requires", list(&["nobody"])),
        ]);
        fields.retain(|(known, _)| *known != field);
        fields.push((field, value));
    }
    object(fields)
}

trait IntoJson {
    fn into_json(self) -> Json;
}

impl IntoJson for f64 {
    fn into_json(self) -> Json {
        juju::json::Number::from_f64(self).map_or(Json::Null, Json::Number)
    }
}

fn check(random: &mut Random, name: &str, flag: &str, bad: &mut bool) -> Json {
    let mut fields = overriding(random, bad);
    // none runs by itself within this test
    fields.push(("period", random.pick(&["1h", "1h", "2h"]).into()));
    let test = format!("test -e {flag}");
    let commands = ["true", "false", "sh -c 'seq 7; exit 3'", "no-such-program", "/no/such/program"];
    let (kind, how) = match name {
        "flag" => ("exec", vec![("command", Json::from(test))]),
        "exec" => {
            let mut exec = vec![("command", Json::from(random.pick(&commands)))];
            if random.once_in(3) {
                exec.push(("environment", object(vec![("X", "check".into())])));
            }
            if random.once_in(4) {
                exec.push(("service-context", "one".into()));
            }
            ("exec", exec)
        }
        "port" => ("tcp", vec![("port", 1.into()), ("host", "127.0.0.1".into())]),
        _ => ("http", vec![("url", "http://127.0.0.1:1/".into()), ("headers", object(vec![("A", "b".into())]))]),
    };
    fields.push((kind, object(how)));
    for (field, values) in [
        ("level", [Json::from("alive"), Json::from("ready"), Json::from("")]),
        ("startup", ["enabled".into(), "disabled".into(), Json::Null]),
        ("threshold", [1.into(), 2.into(), 0.into()]),
        ("timeout", ["2s".into(), "3h".into(), Json::Null]),
    ] {
        if random.once_in(2) {
            fields.push((field, random.pick(&values)));
        }
    }
    if *bad && random.once_in(2) {
        *bad = false;
        let (field, value) = random.pick(&[
            ("level", Json::from("high")),
            ("startup", "maybe".into()),
            ("period", "0s".into()),
            ("timeout", "0s".into()),
            ("threshold", "two".into()),
            ("http", object(vec![])),
            ("tcp", object(vec![("host", "a".into())])),
            ("exec", object(vec![("command", "'".into())])),
            ("exec", object(vec![("command", "true".into()), ("service-context", "nobody".into())])),
            ("exec", object(vec![("command", "true".into()), ("user", "no-such-user".into())])),
            ("exec", object(vec![("surplus", 1.into())])),
        ]);
        fields.retain(|(known, _)| *known != field);
        fields.push((field, value));
    }
    object(fields)
}

fn log_target(random: &mut Random, bad: &mut bool) -> Json {
    let mut fields = overriding(random, bad);
    fields.push(("type", random.pick(&["loki", "loki", "opentelemetry", "syslog"]).into()));
    fields.push(("location", "http://127.0.0.1:1/".into()));
    fields.push(("services", random.pick(&[list(&["all"]), list(&["-all"]), list(&[])])));
    if random.once_in(2) {
        fields.push(("labels", object(vec![("a", "b".into())])));
    }
    if *bad {
        *bad = false;
        let (field, value) = random.pick(&[
            ("type", Json::from("paper")),
            ("labels", object(vec![("pebble_x", "b".into())])),
            ("services", list(&["-nobody"])),
            ("location", "".into()),
            ("type", "".into()),
        ]);
        fields.retain(|(known, _)| *known != field);
        fields.push((field, value));
    }
    object(fields)
}

fn identity(random: &mut Random, action: IdentityAction) -> Option<Identity> {
    let absent = match action {
        IdentityAction::Remove => 9,
        IdentityAction::Replace => 4,
        _ => 1,
    };
    if random.below(10) < absent {
        return None;
    }
    Some(Identity {
        access: random.pick(&[Access::Admin, Access::Read, Access::Metrics, Access::Untrusted, Access::Unknown]),
        local: random.pick(&[None, Some(4242), Some(4243), Some(4244)]).map(|user_id| LocalIdentity { user_id }),
        basic: random
            .pick(&[None, None, Some(""), Some("$6$salt$hash")])
            .map(|text| BasicIdentity { password: text.to_owned() }),
        cert: random.once_in(10).then(|| CertIdentity { pem: "none".to_owned() }),
    })
}

/// What a Pebble is like, once it has come to rest.
pub fn state(pebble: &dyn Pebble) -> String {
    let services = play(pebble, &Call::Services(Vec::new()));
    let running = play(pebble, &Call::Changes(ChangesSelect::InProgress, None));
    let checks = play(pebble, &Call::Checks(None, Vec::new()));
    format!("{services}\n{running}\n{checks}")
}

/// Plays a call; what came of it, without what a clock or chance decides.
pub fn play(pebble: &dyn Pebble, call: &Call) -> String {
    match call {
        Call::Flag(_) => String::new(),
        Call::AddLayer { label, layer, combine } => told(pebble.add_layer(label, layer, *combine)),
        Call::Plan => told(pebble.plan().map(|plan| sorted(&plan).dumps())),
        Call::Services(names) => told(pebble.services(names).map(|services| {
            let known = |service: ServiceInfo| {
                (service.name, service.startup, service.current, service.current_since.is_some())
            };
            services.into_iter().map(known).collect::<Vec<_>>()
        })),
        Call::Act(action, names) => told(pebble.change_services(*action, names).and_then(|id| {
            let change = pebble.wait_change(&id, Duration::from_secs(60))?;
            Ok((told_change(&change), PebbleError::of_change(&change).map(|error| undated(&error.message))))
        })),
        Call::Changes(select, about) => told(pebble.changes(*select, *about).map(|changes| {
            let mut changes: Vec<_> = changes.iter().map(told_change).collect();
            changes.sort();
            changes
        })),
        Call::Change(at) => told(pebble.change(&change_id(pebble, *at)).map(|change| told_change(&change))),
        Call::Wait(at) => {
            let change = pebble.wait_change(&change_id(pebble, *at), Duration::from_secs(60));
            told(change.map(|change| told_change(&change)))
        }
        Call::Abort(at) => {
            let id = change_id(pebble, *at);
            told(pebble.abort_change(&id).map(|change| told_change(&change))).replace(id.as_str(), "ID")
        }
        Call::List { path, pattern, itself } => told(pebble.list_files(path, *pattern, *itself).map(|mut infos| {
            infos.iter_mut().for_each(|info| info.last_modified.clear());
            infos
        })),
        Call::Read(path) => told(pebble.read_file(path)),
        Call::Write { path, content, options } => told(pebble.write_file(path, content.as_bytes(), options)),
        Call::MakeDir { path, options } => told(pebble.make_dir(path, options)),
        Call::Remove { path, recursive } => told(pebble.remove_path(path, *recursive)),
        Call::Exec(command) => told(pebble.exec(command)),
        Call::Checks(level, names) => told(pebble.checks(*level, names).map(told_checks)),
        Call::ChangeChecks(action, names) => told(pebble.change_checks(*action, names)),
        // the rest of the answer may be of before or after it was counted
        Call::Refresh(name) => told(pebble.refresh_check(name).map(|refresh| (refresh.info.name, refresh.error))),
        Call::Health(level, names) => told(pebble.health(*level, names)),
        Call::Notify { key, data, repeat_after } => {
            let data: Vec<(&str, &str)> = data.iter().map(|(name, value)| (*name, value.as_str())).collect();
            told(pebble.notify(key, &data, *repeat_after).map(|id| pebble.notice(&id).map(told_notice)))
        }
        Call::Notices { select, after } => {
            let mut select = select.clone();
            if let Some(at) = after {
                select.after = custom(pebble).get(*at).map(|notice| notice.last_repeated.clone()).or(select.after);
            }
            told(pebble.notices(&select).map(|notices| {
                let ordered = notices.iter().all(|notice| notice.notice_type == "custom");
                let mut notices: Vec<_> = notices.into_iter().map(told_notice).collect();
                if !ordered {
                    notices.sort();
                }
                notices
            }))
        }
        Call::Notice(at) => match custom(pebble).get(*at) {
            Some(notice) => told(pebble.notice(&notice.id).map(told_notice)),
            None => "none".to_owned(),
        },
        Call::BadNotice(id) => told(pebble.notice(id).map(told_notice)),
        Call::Logs(names, count) => told(pebble.logs(names, *count).map(|lines| {
            let mut lines: Vec<_> = lines.into_iter().map(|line| (line.service, line.message)).collect();
            // lanes start side by side
            lines.sort_by(|a, b| a.0.cmp(&b.0));
            lines
        })),
        Call::Identities => told(pebble.identities()),
        Call::ChangeIdentities(action, identities) => {
            let identities: Vec<_> = identities.iter().map(|(name, identity)| (*name, identity.as_ref())).collect();
            told(pebble.change_identities(*action, &identities).and_then(|()| pebble.identities()))
        }
        Call::Signal(signal, names) => told(pebble.send_signal(signal, names)),
    }
}

fn told<T: Debug>(result: juju::pebble::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?} {:?} {:?}", error.kind, error.status, undated(&error.message)),
    }
}

/// Without times at the beginnings of lines, without the lines' numbers in a layer, and without those of temporary files.
fn undated(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let is_time = |word: &str| word.len() >= 20 && word.as_bytes()[4] == b'-' && word.contains('T');
        match (line.split_once(' '), line.trim_start().strip_prefix("line ").and_then(|rest| rest.split_once(':'))) {
            (Some((time, rest)), _) if is_time(time) => rest.to_owned(),
            (_, Some((_, rest))) => format!("  line ?:{rest}"),
            _ => line.to_owned(),
        }
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut pieces = text.split('~').map(|piece| {
        let name = piece.trim_end_matches(|c: char| c.is_ascii_digit());
        if name.ends_with('.') && name.len() < piece.len() { name } else { piece }
    });
    let mut undated = pieces.next().unwrap_or_default().to_owned();
    pieces.for_each(|piece| undated += &format!("~{piece}"));
    undated
}

fn told_change(change: &Change) -> String {
    let tasks: Vec<_> = change
        .tasks
        .iter()
        .map(|task| {
            let log: Vec<_> = task.log.iter().map(|line| undated(line)).collect();
            let data: Vec<_> = task.data.iter().map(|(key, value)| (key, value.dumps())).collect();
            format!("{} {} {} {log:?} {data:?}", task.kind, task.summary, task.status)
        })
        .collect();
    let ready = (change.ready, change.ready_time.is_some());
    format!("{} {:?} {} {ready:?} {:?} {tasks:?}", change.kind, change.summary, change.status, change.err)
}

fn told_checks(checks: Vec<CheckInfo>) -> Vec<String> {
    let told = |check: CheckInfo| {
        let changes = (check.change_id.is_some(), check.prev_change_id.is_some());
        format!(
            "{:?}",
            (
                check.name,
                check.level,
                check.startup,
                check.status,
                check.successes,
                check.failures,
                check.threshold,
                changes
            )
        )
    };
    checks.into_iter().map(told).collect()
}

fn told_notice(notice: Notice) -> String {
    let is_change = notice.notice_type == "change-update";
    let key = if is_change { String::new() } else { notice.key };
    // how many statuses of a change were seen is a matter of time
    let occurrences = if is_change { 0 } else { notice.occurrences };
    let repeated = !is_change && notice.last_repeated == notice.last_occurred;
    format!(
        "{:?}",
        (
            notice.user_id,
            notice.notice_type,
            key,
            occurrences,
            repeated,
            notice.last_data,
            notice.repeat_after,
            notice.expire_after
        )
    )
}

fn custom(pebble: &dyn Pebble) -> Vec<Notice> {
    let select = NoticesSelect { types: vec!["custom".to_owned()], ..NoticesSelect::default() };
    pebble.notices(&select).unwrap()
}

/// Those that checks run in come in any order; the others do not.
fn change_id(pebble: &dyn Pebble, at: usize) -> ChangeId {
    let changes = pebble.changes(ChangesSelect::All, None).unwrap();
    let mut others = changes.into_iter().filter(|change| !change.kind.ends_with("-check"));
    others.nth(at).map_or_else(|| "99999".parse().unwrap(), |change| change.id)
}

/// Objects by their keys.
fn sorted(json: &Json) -> Json {
    match json {
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Json::object(members)
        }
        Json::Array(items) => Json::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
