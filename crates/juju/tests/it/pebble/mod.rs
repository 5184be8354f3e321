//! The client against a real Pebble.

mod real;
mod twin;

use std::time::{Duration, Instant};

use juju::json::Json;
use juju::pebble::*;
use real::RealPebble;

fn layer(yaml: &str) -> Json {
    juju::yaml::parse(yaml).unwrap()
}

/// The error's kind and words.
fn refused<T: std::fmt::Debug>(result: juju::pebble::Result<T>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    (error.kind, error.message)
}

const SLEEPERS: &str = "
services:
  one: {override: replace, command: sleep 1000, startup: enabled}
  two: {override: replace, command: sleep 1000}
";

#[test]
fn a_container_that_is_not_there_is_told_from_one_that_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let client = Client::new(&socket).with_timeout(Duration::from_millis(200));
    assert!(!client.is_up().unwrap());

    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let begun = Instant::now();
    assert_eq!(client.is_up().unwrap_err().kind, ErrorKind::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(2));

    drop(listener);
    assert!(!client.is_up().unwrap(), "a socket that nobody listens on any more");
}

#[test]
fn it_says_its_version() {
    let pebble = RealPebble::start();
    let info = pebble.client.system_info().unwrap();
    assert_eq!(info.version, "v1.32.1");
    assert!(!info.boot_id.is_empty());
}

#[test]
fn layers_are_added_combined_and_refused() {
    let pebble = &RealPebble::start().client;
    assert_eq!(pebble.plan().unwrap().dumps(), "{}");
    pebble.add_layer("base", &layer(SLEEPERS), false).unwrap();
    let (kind, message) = refused(pebble.add_layer("base", &layer(SLEEPERS), false));
    assert_eq!((kind, message.as_str()), (ErrorKind::BadRequest, "layer \"base\" already exists"));
    let no_override = layer("services: {one: {command: x}}");
    let (kind, message) = refused(pebble.add_layer("base", &no_override, true));
    assert_eq!(kind, ErrorKind::BadRequest);
    assert!(message.contains("must define \"override\" for service \"one\""), "{message}");
    let merged = layer(r#"services: {two: {override: merge, summary: "a: \"b\"\n😀"}}"#);
    pebble.add_layer("base", &merged, true).unwrap();
    let plan = pebble.plan().unwrap();
    let two = plan.get("services").unwrap().get("two").unwrap();
    assert_eq!(two.get("command").unwrap().as_str(), Some("sleep 1000"));
    assert_eq!(two.get("summary").unwrap().as_str(), Some("a: \"b\"\n😀"));
}

#[test]
fn services_start_stop_and_replan() {
    let pebble = &RealPebble::start().client;
    let (kind, _) = refused(pebble.change_services(ServiceAction::Autostart, &[]));
    assert_eq!(kind, ErrorKind::NoDefaultServices);
    pebble.add_layer("base", &layer(SLEEPERS), false).unwrap();
    assert_eq!(pebble.services(&["nobody"]).unwrap(), []);
    let statuses = || pebble.services(&[]).unwrap().into_iter().map(|s| (s.name, s.current)).collect::<Vec<_>>();
    let are = |one, two| vec![("one".to_owned(), one), ("two".to_owned(), two)];
    assert_eq!(statuses(), are(ServiceStatus::Inactive, ServiceStatus::Inactive));

    let change = pebble.do_services(ServiceAction::Replan, &[]).unwrap();
    assert_eq!((change.kind.as_str(), change.status.as_str(), change.ready), ("replan", "Done", true));
    assert_eq!(statuses(), are(ServiceStatus::Active, ServiceStatus::Inactive));
    pebble.do_services(ServiceAction::Start, &["two"]).unwrap();
    pebble.send_signal("SIGCONT", &["two"]).unwrap();
    pebble.do_services(ServiceAction::Stop, &["one", "two"]).unwrap();
    assert_eq!(statuses(), are(ServiceStatus::Inactive, ServiceStatus::Inactive));

    let (kind, message) = refused(pebble.change_services(ServiceAction::Start, &["nobody"]));
    assert_eq!(kind, ErrorKind::BadRequest, "{message}");
    assert!(message.contains("nobody"), "{message}");
    assert!(pebble.send_signal("SIGHUP", &["one"]).is_err(), "it does not run");

    let all = pebble.changes(ChangesSelect::All, Some("one")).unwrap();
    assert_eq!(all.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(), ["replan", "stop"]);
    assert_eq!(pebble.change(&all[0].id).unwrap().summary, all[0].summary);
}

#[test]
fn a_failed_start_carries_what_the_service_said() {
    let pebble = &RealPebble::start().client;
    let fails = "services: {bad: {override: replace, command: \"sh -c 'echo no port >&2; exit 3'\"}}";
    pebble.add_layer("base", &layer(fails), false).unwrap();
    let error = pebble.do_services(ServiceAction::Start, &["bad"]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ChangeFailed);
    assert!(error.message.contains("cannot perform the following tasks"), "{error}");
    assert!(error.message.contains("no port"), "{error}");
    assert_eq!(error.change.unwrap().status, "Error");
    let lines = pebble.logs(&["bad"], Some(10)).unwrap();
    assert_eq!(lines.iter().map(|l| l.message.as_str()).collect::<Vec<_>>(), ["no port"]);
    assert_eq!(pebble.logs(&[], None).unwrap().len(), 1);
}

#[test]
fn waiting_ends_at_its_time_and_a_change_can_be_aborted() {
    let pebble = &RealPebble::start().client;
    pebble.add_layer("base", &layer(SLEEPERS), false).unwrap();
    let id = pebble.change_services(ServiceAction::Start, &["one"]).unwrap();
    assert_eq!(refused(pebble.wait_change(&id, Duration::from_millis(50))).0, ErrorKind::Timeout);
    let change = pebble.abort_change(&id).unwrap();
    assert!(["Abort", "Hold", "Undone", "Error"].contains(&change.status.as_str()), "{}", change.status);
    assert!(pebble.wait_change(&id, Duration::from_secs(10)).unwrap().ready);
}

#[test]
fn unknown_changes_and_notices_are_not_found() {
    let pebble = &RealPebble::start().client;
    assert_eq!(refused(pebble.notice("999")).0, ErrorKind::NotFound);
    assert_eq!(refused(pebble.notice("../changes")).0, ErrorKind::BadRequest);
    assert_eq!(refused(pebble.change(&"999".parse().unwrap())).0, ErrorKind::NotFound);
    assert!("../x".parse::<ChangeId>().is_err());
}

#[test]
fn files_are_written_read_listed_and_removed() {
    let pebble = RealPebble::start();
    let (client, path) = (&pebble.client, |name: &str| pebble.path(name));
    let binary: Vec<u8> = (0..=255).cycle().take(3 << 20).chain(*b"\r\n--").collect();
    for (name, content) in [("plain", &b"hello"[..]), ("empty", b""), ("a \"b\" \\ ü%&", b"x"), ("large", &binary)] {
        client.write_file(&path(name), content, &WriteFile::default()).unwrap();
        assert_eq!(client.read_file(&path(name)).unwrap(), content, "{name}");
    }
    let deep = path("dir/deep/file");
    assert_eq!(refused(client.write_file(&deep, b"", &WriteFile::default())).0, ErrorKind::NotFound);
    let with_dirs = WriteFile { make_dirs: true, permissions: 0o600, ..WriteFile::default() };
    client.write_file(&deep, b"abc", &with_dirs).unwrap();
    let info = &client.list_files(&deep, None, false).unwrap()[0];
    assert_eq!((info.name.as_str(), info.size, info.permissions.as_str()), ("file", Some(3), "600"));
    assert_eq!((info.file_type, info.user_id), (FileType::File, Some(rustix::process::getuid().as_raw())));

    let names = |pattern, itself| {
        let listed = client.list_files(&path("dir"), pattern, itself).unwrap();
        listed.into_iter().map(|i| (i.name, i.file_type)).collect::<Vec<_>>()
    };
    assert_eq!(names(None, false), [("deep".to_owned(), FileType::Directory)]);
    assert_eq!(names(Some("x*"), false), []);
    assert_eq!(names(None, true), [("dir".to_owned(), FileType::Directory)]);

    assert_eq!(refused(client.remove_path(&path("dir"), false)).0, ErrorKind::GenericFileError);
    client.remove_path(&path("dir"), true).unwrap();
    client.remove_path(&path("dir"), true).unwrap();
    assert_eq!(refused(client.remove_path(&path("dir"), false)).0, ErrorKind::NotFound);
    assert_eq!(refused(client.list_files(&path("dir"), None, false)).0, ErrorKind::NotFound);
    assert_eq!(refused(client.read_file(&path("dir"))).0, ErrorKind::NotFound);
    assert_eq!(client.read_file_if_there(&path("dir")).unwrap(), None);
    assert_eq!(refused(client.read_file(pebble.folder.path().to_str().unwrap())).0, ErrorKind::GenericFileError);
    assert_eq!(refused(client.write_file("relative", b"", &WriteFile::default())).0, ErrorKind::GenericFileError);
}

#[test]
fn directories_are_made_with_or_without_their_parents() {
    let pebble = RealPebble::start();
    let (client, path) = (&pebble.client, |name: &str| pebble.path(name));
    assert_eq!(refused(client.make_dir(&path("a/b"), &MakeDir::default())).0, ErrorKind::NotFound);
    let parents = MakeDir { make_parents: true, permissions: 0o700, ..MakeDir::default() };
    client.make_dir(&path("a/b"), &parents).unwrap();
    client.make_dir(&path("a/b"), &parents).unwrap();
    assert_eq!(refused(client.make_dir(&path("a/b"), &MakeDir::default())).0, ErrorKind::GenericFileError);
    assert_eq!(client.list_files(&path("a/b"), None, true).unwrap()[0].permissions, "700");
    let nobody =
        MakeDir { owner: Owner { user: Some("no such user".into()), ..Owner::default() }, ..MakeDir::default() };
    assert_eq!(refused(client.make_dir(&path("c"), &nobody)).0, ErrorKind::GenericFileError);
}

#[test]
fn commands_run_with_their_streams_environment_and_exit_code() {
    let pebble = &RealPebble::start().client;
    let mut command = Exec::new(["sh", "-c", "cat; echo $X; pwd; echo bad >&2; exit 7"]);
    command.stdin = b"in\n".to_vec();
    command.environment = [("X".to_owned(), "ü y".to_owned())].into();
    command.working_dir = Some("/usr".to_owned());
    let want = |stdout: &str, stderr: &str| ExecOutput { exit_code: 7, stdout: stdout.into(), stderr: stderr.into() };
    assert_eq!(pebble.exec(&command).unwrap(), want("in\nü y\n/usr\n", "bad\n"));
    command.split_stderr = false;
    assert_eq!(pebble.exec(&command).unwrap(), want("in\nü y\n/usr\nbad\n", ""));
}

#[test]
fn large_input_and_output_flow_at_the_same_time() {
    let pebble = &RealPebble::start().client;
    let mut command = Exec::new(["cat"]);
    command.stdin = (0..=255_u8).cycle().take(5_000_001).collect();
    assert!(pebble.exec(&command).unwrap().stdout == command.stdin);
    command.command = vec!["head".into(), "-c1".into()];
    assert_eq!(pebble.exec(&command).unwrap().stdout, [0], "a command need not read all of its input");
}

#[test]
fn commands_that_do_not_exist_or_last_too_long_are_errors() {
    let pebble = &RealPebble::start().client;
    let (kind, message) = refused(pebble.exec(&Exec::new(["/no/such/program"])));
    assert_eq!(kind, ErrorKind::BadRequest, "{message}");
    let begun = Instant::now();
    let slow = Exec { timeout: Duration::from_millis(200), ..Exec::new(["sleep", "100"]) };
    let (kind, message) = refused(pebble.exec(&slow));
    assert_eq!(kind, ErrorKind::ChangeFailed, "{message}");
    assert!(message.contains("timed out after 200ms"), "{message}");
    // what it leaves behind holds its output open: Pebble waits, we do not
    let leaves = Exec { timeout: Duration::from_millis(200), ..Exec::new(["sh", "-c", "sleep 6 & exit 0"]) };
    assert_eq!(refused(pebble.exec(&leaves)).0, ErrorKind::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(6));
}

#[test]
fn signals_reach_a_command_while_it_runs() {
    let pebble = &RealPebble::start().client;
    let trap = "trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.01; done";
    let running = pebble.start(&Exec::new(["sh", "-c", trap])).unwrap();
    let signaller = running.signaller();
    /// Sends the signal when the command says that it is ready.
    struct OnReady(Signaller, Vec<u8>);
    impl std::io::Write for OnReady {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.1.is_empty() {
                self.0.signal("SIGUSR1").unwrap();
            }
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut output = OnReady(signaller, Vec::new());
    let code = running.communicate(b"", &mut output, &mut std::io::sink()).unwrap();
    assert_eq!((code, String::from_utf8(output.1).unwrap().as_str()), (5, "ready\ngot it\n"));
    let running = pebble.start(&Exec::new(["sleep", "100"])).unwrap();
    running.signaller().signal("SIGKILL").unwrap();
    assert_eq!(running.communicate(b"", &mut std::io::sink(), &mut std::io::sink()).unwrap(), 128 + 9);
}

#[test]
fn checks_go_up_and_down_and_health_follows() {
    let pebble = RealPebble::start();
    let (client, flag) = (&pebble.client, pebble.path("flag"));
    let checks = format!(
        "checks:
           alive: {{override: replace, level: alive, exec: {{command: 'true'}}}}
           flag: {{override: replace, level: ready, threshold: 1, period: 1h, exec: {{command: 'test -e {flag}'}}}}
           off: {{override: replace, startup: disabled, exec: {{command: 'false'}}}}"
    );
    client.add_layer("base", &layer(&checks), false).unwrap();
    client.do_services(ServiceAction::Replan, &[]).ok();
    assert!(!client.refresh_check("flag").unwrap().error.is_empty());
    // the outcome is answered before it is counted
    let until = |status: CheckStatus| {
        let end = Instant::now() + Duration::from_secs(10);
        while client.checks(None, &["flag"]).unwrap()[0].status != status {
            assert!(Instant::now() < end, "never {status:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until(CheckStatus::Down);
    assert!(!client.health(None, &[]).unwrap());
    assert!(!client.health(Some(CheckLevel::Ready), &["flag"]).unwrap());
    assert!(client.health(Some(CheckLevel::Alive), &[]).unwrap());
    client.write_file(&flag, b"", &WriteFile::default()).unwrap();
    assert_eq!(client.refresh_check("flag").unwrap().error, "");
    until(CheckStatus::Up);
    assert!(client.health(None, &[]).unwrap());

    let names = |level| client.checks(level, &[]).unwrap().into_iter().map(|c| c.name).collect::<Vec<_>>();
    assert_eq!(names(None), ["alive", "flag", "off"]);
    assert_eq!(names(Some(CheckLevel::Alive)), ["alive"]);
    let off = &client.checks(None, &["off"]).unwrap()[0];
    assert_eq!((off.startup, off.status, off.threshold), (Startup::Disabled, CheckStatus::Inactive, 3));
    assert_eq!(client.change_checks(CheckAction::Start, &["off", "flag"]).unwrap(), ["off"]);
    assert_eq!(client.change_checks(CheckAction::Stop, &["off"]).unwrap(), ["off"]);
    assert_eq!(client.change_checks(CheckAction::Stop, &["off"]).unwrap(), [""; 0]);
    assert_eq!(refused(client.change_checks(CheckAction::Stop, &["nobody"])).0, ErrorKind::BadRequest);
    assert_eq!(refused(client.refresh_check("nobody")).0, ErrorKind::NotFound);
}

#[test]
fn notices_are_recorded_selected_and_waited_for() {
    let pebble = &RealPebble::start().client;
    let id = pebble.notify("example.com/a", &[("k", "v")], Some(Duration::from_secs(3600))).unwrap();
    assert_eq!(pebble.notify("example.com/a", &[("k", "w")], None).unwrap(), id);
    let notice = pebble.notice(&id).unwrap();
    assert_eq!((notice.key.as_str(), notice.notice_type.as_str(), notice.occurrences), ("example.com/a", "custom", 2));
    assert_eq!(notice.last_data["k"], "w");
    assert!(notice.first_occurred < notice.last_occurred);
    pebble.notify("example.com/b", &[], None).unwrap();
    let custom = NoticesSelect { types: vec!["custom".into()], ..NoticesSelect::default() };
    let keys = |select: &NoticesSelect| pebble.notices(select).unwrap().into_iter().map(|n| n.key).collect::<Vec<_>>();
    assert_eq!(keys(&custom), ["example.com/a", "example.com/b"]);
    assert_eq!(keys(&NoticesSelect { keys: vec!["example.com/b".into()], ..custom.clone() }), ["example.com/b"]);
    assert_eq!(keys(&NoticesSelect { after: Some(notice.last_repeated), ..custom.clone() }), ["example.com/b"]);
    let begun = Instant::now();
    let nothing = NoticesSelect {
        keys: vec!["example.com/c".into()],
        wait: Some(Duration::from_millis(300)),
        ..NoticesSelect::default()
    };
    assert_eq!(keys(&nothing), [""; 0]);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(refused(pebble.notify("no domain", &[], None)).0, ErrorKind::BadRequest);
}

#[test]
fn identities_are_added_changed_and_removed() {
    let pebble = &RealPebble::start().client;
    let local = |user_id, access| Identity { access, local: Some(LocalIdentity { user_id }), basic: None, cert: None };
    let (mary, read) = (local(4242, Access::Read), local(4243, Access::Read));
    pebble.change_identities(IdentityAction::Add, &[("mary", Some(&mary)), ("bob", Some(&read))]).unwrap();
    assert_eq!(pebble.identities().unwrap()["mary"], mary);
    let taken = pebble.change_identities(IdentityAction::Add, &[("mary", Some(&mary))]);
    assert_eq!(refused(taken).0, ErrorKind::BadRequest);
    let admin = local(4242, Access::Admin);
    pebble.change_identities(IdentityAction::Update, &[("mary", Some(&admin))]).unwrap();
    pebble.change_identities(IdentityAction::Replace, &[("bob", None)]).unwrap();
    assert_eq!(pebble.identities().unwrap(), [("mary".to_owned(), admin)].into());
    pebble.change_identities(IdentityAction::Remove, &[("mary", None)]).unwrap();
    assert_eq!(pebble.identities().unwrap(), [].into());
}
