//! `decima import`: the switch from a Parca, with a bucket that a real one left and with what it then answered.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use e2e::{Place, S3Server, Server, pprof, recorded::DEBUGINFO_METADATA};

/// 15 January 2026, 08:00.
const START: i64 = 1_768_464_000;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/import-parca")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Every file below `folder`, with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push((path.clone(), fs::read(&path).expect("a file"))),
            }
        }
    }
    found.sort();
    found
}

/// A place whose configuration names the bucket of a Parca that ran there.
fn place_of_a_parca() -> Place {
    let place = Place::new("");
    copy(&testdata().join("bucket"), &place.data());
    place
}

fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = Command::new(e2e::binary());
    command.current_dir(place.path()).arg("import").args(arguments).stdin(Stdio::null());
    command
}

struct Imported {
    code: Option<i32>,
    out: String,
    err: String,
}

fn import(place: &Place, arguments: &[&str]) -> Imported {
    let Output { status, stdout, stderr } = command(place, arguments).output().expect("decima runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Imported { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Holds what the server answers against what the Parca answered.
fn check(server: &Server) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let installed = Command::new(root.join("scripts/need")).arg("python").status().expect("scripts/need runs");
    assert!(installed.success());
    let output = Command::new(root.join("target/python/bin/python"))
        .arg(testdata().join("check"))
        .args(["--target", &server.address.to_string()])
        .output()
        .expect("check runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_imported_a_parcas_bucket_answers_as_that_parca_did() {
    let place = place_of_a_parca();
    let bucket = place.data().join("blocks");
    let before = contents(&bucket);

    let dry = import(&place, &["--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}{}", dry.out, dry.err);
    assert!(!place.data().join("decima").exists(), "a dry run writes nothing");

    let first = import(&place, &[]);
    assert_eq!(first.code, Some(0), "{}{}", first.out, first.err);
    assert_eq!(first.out, dry.out);
    assert!(first.out.contains("2 read, 0 known before"), "{}", first.out);
    let of = |name: &str| first.out.lines().find(|line| line.starts_with(name)).expect("a type").to_owned();
    let columns = |line: String| line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
    // three profiles of the CPU went in; the total is the sum of the answers by job
    assert_eq!(columns(of("process_cpu:cpu:"))[0], "3", "{}", first.out);

    let server = Server::start(&place, &[]).await;
    println!("{}", check(&server));
    server.stop();

    let again = import(&place, &["data"]);
    assert_eq!(again.code, Some(0), "{}{}", again.out, again.err);
    assert_eq!(again.out, "0 read, 2 known before\n");
    let server = Server::start(&place, &[]).await;
    check(&server);
    assert!(contents(&bucket) == before, "an import reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_of_a_configuration_may_be_in_s3_and_be_the_servers_own() {
    let s3 = S3Server::start();
    copy(&testdata().join("bucket"), &s3.objects().join("team"));
    let place = Place::new("");
    place.write_config(&s3.object_storage(s3.address, "team"));
    let imported = import(&place, &[]);
    assert_eq!(imported.code, Some(0), "{}{}", imported.out, imported.err);
    let server = Server::start(&place, &[]).await;
    check(&server);
    server.stop();
    // to another place, by a configuration of which only the bucket is asked for
    let other = Place::new("");
    fs::write(other.path().join("old.yaml"), s3.object_storage(s3.address, "team")).expect("written");
    let imported = import(&other, &["old.yaml"]);
    assert!(imported.out.contains("2 read, 0 known before"), "{}{}", imported.out, imported.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_is_broken_is_told_and_costs_no_other() {
    let place = place_of_a_parca();
    let blocks = place.data().join("blocks/parca/stacktraces");
    let mut paths: Vec<PathBuf> = contents(&blocks).into_iter().map(|(path, _)| path).collect();
    paths.sort();
    let whole = fs::read(&paths[0]).expect("a block");
    fs::write(&paths[0], &whole[..whole.len() / 2]).expect("written");
    // a page is overwritten: what the footer says stays true
    let mut flipped = fs::read(&paths[1]).expect("a block");
    flipped[10_000..10_200].iter_mut().for_each(|byte| *byte = !*byte);
    let third = blocks.join("01M84B9RZZZZZZZZZZZZZZZZZZ");
    fs::create_dir(&third).expect("a folder");
    fs::write(third.join("data.parquet"), flipped).expect("written");

    let imported = import(&place, &[]);
    assert_eq!(imported.code, Some(2), "{}{}", imported.out, imported.err);
    assert!(imported.out.contains("2 read, 0 known before"), "{}", imported.out);
    let left_out: Vec<&str> = imported.out.lines().filter(|line| line.starts_with("left out: ")).collect();
    assert_eq!(left_out.len(), 2, "{}", imported.out);
    let cut = left_out[0];
    assert!(cut.contains("01M84B9R9HDCD5AVG83YRS19JS/data.parquet: ") && cut.ends_with("or something else"), "{cut}");
    let flipped = left_out[1];
    assert!(flipped.contains("626 rows of ") && flipped.contains("row group 0: column \"stacktrace\""), "{flipped}");
    assert!(imported.err.contains("some of it cannot be read"), "{}", imported.err);

    // nor does it become whole by another import
    let imported = import(&place, &[]);
    assert_eq!(imported.code, Some(2), "{}{}", imported.out, imported.err);
    assert!(imported.out.contains("0 read, 2 known before"), "{}", imported.out);
    assert!(imported.out.lines().any(|line| line == flipped), "{}", imported.out);

    // the file comes back from a backup
    fs::write(&paths[0], &whole).expect("written");
    fs::remove_dir_all(&third).expect("removed");
    let imported = import(&place, &[]);
    assert_eq!(imported.code, Some(0), "{}{}", imported.out, imported.err);
    assert!(imported.out.contains("1 read, 1 known before"), "{}", imported.out);
    check(&Server::start(&place, &[]).await);

    // and the one whose page was overwritten, once
    fs::create_dir(&third).expect("a folder");
    fs::copy(&paths[1], third.join("data.parquet")).expect("copied");
    for known in ["1 read, 2 known before", "0 read, 3 known before"] {
        let imported = import(&place, &[]);
        assert_eq!(imported.code, Some(0), "{}{}", imported.out, imported.err);
        assert!(imported.out.contains(known), "{}", imported.out);
        assert_eq!(imported.out.lines().count() > 1, known.starts_with('1'), "samples came in: {}", imported.out);
    }
}

/// The least memory that there is: what is imported becomes blocks after every few MiB.
const LEAST_MEMORY: &str = "--storage-active-memory=67108864";

/// A profile of its own second whose stacks are all new, so that blocks are soon due.
fn profile(second: i64) -> Vec<u8> {
    let stacks: Vec<(Vec<u64>, i64)> = (0..1_000)
        .map(|stack| {
            let path = second as u64 * 1_000 + stack;
            let mut frames: Vec<u64> = (0..16).map(|level| 1_000 + level * 100 + path % 97).collect();
            frames.extend([100 + path / 97 % 97, 300 + path / 9_409 % 97, 500 + path / 912_673]);
            (frames, 1)
        })
        .collect();
    pprof::cpu(START + second, &stacks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_again_and_again_brings_everything_in_once() {
    const FILES: i64 = 300;
    let place = Place::new("");
    let folder = place.path().join("old");
    fs::create_dir_all(folder.join("deeper")).expect("a folder");
    for second in 0..FILES {
        let name = format!("{}{second:04}.pb.gz", if second % 3 == 0 { "deeper/" } else { "" });
        fs::write(folder.join(name), profile(second)).expect("written");
    }
    fs::write(folder.join("notes.txt"), "not a profile").expect("written");
    let arguments = [LEAST_MEMORY, "--name", pprof::NAME, "--label=job=old", "old"];
    let manifests = || fs::read_dir(place.data().join("catalog")).map_or(0, Iterator::count);
    let mut kills = 0;
    loop {
        let before = manifests();
        let mut child = command(&place, &arguments);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("decima runs");
        // until it has committed something beside its own start, and a little longer
        let end = Instant::now() + Duration::from_secs(120);
        while child.try_wait().expect("a child").is_none() && manifests() < before + 2 {
            assert!(Instant::now() < end, "it commits nothing, after {kills} kills");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(7 * kills)).await;
        let ended = child.try_wait().expect("a child");
        child.kill().expect("a child of ours");
        child.wait().expect("a child of ours");
        if ended.is_some() || kills == 20 {
            break;
        }
        kills += 1;
    }
    assert!(kills > 1, "it was killed {kills} times");
    let rest = import(&place, &arguments);
    assert_eq!(rest.code, Some(0), "{}{}", rest.out, rest.err);
    assert!(rest.out.contains("1 files passed over"), "{}", rest.out);
    let again = import(&place, &arguments);
    assert!(again.out.starts_with(&format!("0 read, {FILES} known before")), "{}", again.out);

    let server = Server::start(&place, &[]).await;
    let query = format!("{}{{job=\"old\"}}", pprof::CALLS);
    let values = server.client().values(&query, START - 10, START + 10_000).await.expect("values");
    let wanted: Vec<(i64, i64)> = (0..FILES).map(|second| (START + second, 1_000)).collect();
    assert_eq!(values, wanted);
    println!("killed {kills} times; the last run: {}", rest.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_server_runs_on_the_store_an_import_says_so_and_changes_nothing() {
    let place = place_of_a_parca();
    let server = Server::start(&place, &[]).await;
    let refused = import(&place, &[]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(refused.err.contains("in use") && refused.err.contains("stop the server first"), "{}", refused.err);
    assert!(!server.client().has_data().await.expect("an answer"));
    server.stop();
    assert_eq!(import(&place, &[]).code, Some(0));
    assert!(Server::start(&place, &[]).await.client().has_data().await.expect("an answer"));
}

#[test]
fn what_is_wrong_with_a_command_or_a_source_is_told_in_one_place() {
    let place = Place::new("");
    let refused = import(&place, &["--http-address=:1"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("unknown flag --http-address") && refused.err.contains("usage: "), "{}", refused.err);
    let missing = import(&place, &["--config-path=none.yaml"]);
    assert_eq!(missing.code, Some(64), "{}", missing.err);
    let nothing = import(&place, &[]);
    assert_eq!(nothing.code, Some(1), "{}", nothing.out);
    assert!(nothing.err.contains("--enable-persistence"), "{}", nothing.err);
    let absent = import(&place, &["no-such-folder"]);
    assert_eq!(absent.code, Some(2), "{}", absent.err);
    assert!(absent.out.contains("left out: no-such-folder: "), "{}", absent.out);
    fs::write(place.path().join("x.pb.gz"), "not a profile").expect("written");
    let broken = import(&place, &["x.pb.gz"]);
    assert_eq!(broken.code, Some(2), "{}", broken.err);
    assert!(broken.out.contains("left out: x.pb.gz: "), "{}", broken.out);
    let help = import(&place, &["--help"]);
    assert!(help.code == Some(0) && help.out.starts_with("usage: decima import"), "{}", help.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_a_time_or_a_name_gets_the_files_time_and_the_usual_name() {
    let place = Place::new("");
    let path = place.path().join("cpu.pb");
    fs::write(&path, pprof::cpu(0, &[(vec![1, 2], 5)])).expect("written");
    let file = fs::File::options().write(true).open(&path).expect("a file");
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(START as u64 + 30)).expect("a time");
    let imported = import(&place, &["cpu.pb"]);
    assert_eq!(imported.code, Some(0), "{}{}", imported.out, imported.err);
    let server = Server::start(&place, &[]).await;
    let named = pprof::CALLS.replace(pprof::NAME, "process_cpu");
    let values = server.client().values(&named, START, START + 100).await.expect("values");
    assert_eq!(values, [(START + 30, 5)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debuginfo_in_a_parcas_folder_is_known_where_it_lies() {
    let place = place_of_a_parca();
    let folder = place.data().join("debuginfo/feed0001");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("metadata"), DEBUGINFO_METADATA).expect("written");
    fs::write(folder.join("debuginfo"), b"\x7fELF\x02\x01\x01 and more").expect("written");
    assert_eq!(import(&place, &[]).code, Some(0));
    let server = Server::start(&place, &[]).await;
    let (wanted, reason) = server.client().should_upload("feed0001").await.expect("an answer");
    assert!(!wanted && reason.contains("already exists"), "{reason}");
    assert!(server.client().should_upload("feed0002").await.expect("an answer").0);
}
