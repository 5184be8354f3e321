//! The Pebble in memory against the real one: random calls to both, and what each answers.
//!
//! `DECIMA_SEQUENCES` says how many sequences (default: 600), `DECIMA_SEED` where to begin; a difference names the seed of its
//! sequence. What a clock or chance decides is left out: times, numbers of changes and tasks, how often the state of a change was
//! noticed, and which of several defects is named; so are the line numbers of a layer's defects. What Pebble does in its own time is
//! asked for again until it is so, for some seconds.

mod calls;
mod random;

use std::cell::Cell;
use std::fs;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use juju::pebble::*;

use super::real::RealPebble;
use calls::{Call, play, state};
use random::Random;

/// Most of their time they wait for services to stay up a second.
const AT_ONCE: usize = 32;

const CALLS: usize = 16;

/// As long as the real one may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(10);

const BEAT: Duration = Duration::from_millis(20);

/// The programs of the real container, as far as the calls use them.
fn twin(flag: &Rc<Cell<bool>>, owner: &FileInfo) -> MemoryPebble {
    let words = |command: &Exec| command.command.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let wrote = |code: i32, stdout: &str, stderr: &str| ExecOutput {
        exit_code: code,
        stdout: stdout.into(),
        stderr: stderr.into(),
    };
    let shell = move |command: &Exec| match words(command).as_str() {
        "sh -c exit 7" => wrote(7, "", ""),
        "sh -c echo out; echo err >&2; exit 2" => wrote(2, "out\n", "err\n"),
        "sh -c seq 7; exit 3" => wrote(3, "1\n2\n3\n4\n5\n6\n7\n", ""),
        other => panic!("the twin knows no {other}"),
    };
    let flag = flag.clone();
    let (user_id, group_id) = (owner.user_id.unwrap(), owner.group_id.unwrap());
    let twin = MemoryPebble::new()
        .with_services(|words| match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["sleep", _] => Run::stays(),
            ["sh", "-c", "echo up; exec sleep 1000"] => Run::stays().writing(["up"]),
            ["sh", "-c", "exit 0"] => Run::exits(0),
            ["sh", "-c", "echo no port >&2; exit 3"] => Run::exits(3).writing(["no port"]),
            _ => Run::missing(),
        })
        .with_probes(|name| match name {
            "web" => Err("Get \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: connect: connection refused".to_owned()),
            _ => Err("dial tcp 127.0.0.1:1: connect: connection refused".to_owned()),
        })
        .with_program("echo", move |command| wrote(0, &(command.command[1..].join(" ") + "\n"), ""))
        .with_program("cat", |command| ExecOutput { stdout: command.stdin.clone(), ..ExecOutput::default() })
        .with_program("pwd", move |command| wrote(0, &format!("{}\n", command.working_dir.as_deref().unwrap()), ""))
        .with_program("printenv", move |command| match command.environment.get(&command.command[1]) {
            Some(value) => wrote(0, &format!("{value}\n"), ""),
            None => wrote(1, "", ""),
        })
        .with_program("sh", shell)
        .with_program("sleep", |_| Ended::TimedOut)
        .with_program("true", move |_| wrote(0, "", ""))
        .with_program("false", move |_| wrote(1, "", ""))
        .with_program("test", move |_| wrote(i32::from(!flag.get()), "", ""));
    match user_id {
        0 => twin,
        id => twin.with_user(&owner.user, id, &owner.group, group_id).running_as(id, group_id),
    }
}

/// Plays one sequence on both. Returns how many calls it had.
///
/// # Errors
/// The first difference.
fn compare(seed: u64) -> std::result::Result<usize, String> {
    let mut random = Random::new(seed);
    let real = RealPebble::start();
    let work = real.path("work");
    fs::create_dir(&work).unwrap();
    let owner = real.client.list_files(&work, None, true).unwrap().remove(0);
    let flag = Rc::new(Cell::new(false));
    let twin = twin(&flag, &owner);
    let options = MakeDir { make_parents: true, ..MakeDir::default() };
    twin.make_dir(&work, &options).unwrap();
    let mut told = Vec::new();
    for _ in 0..CALLS {
        let call = Call::random(&mut random, &work, &real.path("flag"));
        if let Call::Flag(up) = call {
            flag.set(up);
            match up {
                true => fs::write(real.path("flag"), "").unwrap(),
                false => drop(fs::remove_file(real.path("flag"))),
            }
        }
        told.push(format!("{call:?}"));
        let differ = |what: &str, real: &str, twin: &str| {
            Err(format!("seed {seed}: {what}\n{}\n  real: {real}\n  twin: {twin}", told.join("\n")))
        };
        let wanted = play(&twin, &call);
        let until = Instant::now() + PATIENCE;
        let mut got = play(&real.client, &call);
        // of several defects Pebble names the one that it meets first on its walk over a map: what it refuses is asked again too
        while got != wanted && (call.is_read() || got.starts_with("BadRequest")) && Instant::now() < until {
            thread::sleep(if call.is_read() { BEAT } else { Duration::ZERO });
            got = play(&real.client, &call);
        }
        if got != wanted {
            return differ("they answer differently", &got, &wanted);
        }
        let wanted = state(&twin);
        let mut got = state(&real.client);
        while got != wanted && Instant::now() < until {
            thread::sleep(BEAT);
            got = state(&real.client);
        }
        if got != wanted {
            return differ("they end up differently", &got, &wanted);
        }
    }
    Ok(CALLS)
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn random_calls_are_answered_by_the_twin_as_by_the_real_pebble() {
    let first = setting("DECIMA_SEED").unwrap_or(1);
    let sequences = setting("DECIMA_SEQUENCES").unwrap_or(600);
    let (next, calls) = (AtomicU64::new(0), AtomicUsize::new(0));
    let differences = Mutex::new(Vec::new());
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= sequences {
                        return;
                    }
                    match compare(first + number) {
                        Ok(count) => drop(calls.fetch_add(count, Ordering::Relaxed)),
                        Err(why) => differences.lock().unwrap_or_else(PoisonError::into_inner).push(why),
                    }
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    println!(
        "twin of Pebble: {sequences} sequences, {} calls in those without a difference, {} differences, {:.0} s",
        calls.into_inner(),
        differences.len(),
        begun.elapsed().as_secs_f64()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
