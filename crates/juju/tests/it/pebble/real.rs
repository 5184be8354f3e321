//! A real Pebble of one's own, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use juju::pebble::{Client, Pebble};

pub struct RealPebble {
    process: Child,
    pub client: Client,
    /// Emptied when this is dropped. Workload files may go below it.
    pub folder: tempfile::TempDir,
}

/// Where `scripts/need pebble` puts it. Without it the tests fail: to skip them would be to pass them.
fn binary() -> PathBuf {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/pebble/pebble");
    assert!(binary.exists(), "there is no {}: build it with `scripts/need pebble`", binary.display());
    binary
}

impl RealPebble {
    pub fn start() -> RealPebble {
        let folder = tempfile::Builder::new().prefix("pebble").tempdir().unwrap();
        let socket = folder.path().join("socket");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(binary())
            // as Juju does: nothing starts before it is asked for
            .args(["run", "--create-dirs", "--hold"])
            .env_clear()
            .env("PEBBLE", folder.path().join("state"))
            .env("PEBBLE_SOCKET", &socket)
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/")
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let pebble = RealPebble { process, client: Client::new(socket), folder };
        let until = Instant::now() + Duration::from_secs(20);
        while !pebble.client.is_up().unwrap() {
            assert!(Instant::now() < until, "Pebble did not come up: {}", pebble.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        pebble
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for RealPebble {
    fn drop(&mut self) {
        // asked, it ends its services too; killed, it would leave them behind
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let until = Instant::now() + Duration::from_secs(10);
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
