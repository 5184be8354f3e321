//! A `decima` process with a directory and a port of its own.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Client, Mounts, raw};

/// A debug build on a machine whose disk is busy, with a WAL to replay.
const READY_SECONDS: u64 = 120;

/// Longer than any graceful shutdown.
const EXIT_SECONDS: u64 = 60;

/// The binary under test: the one that `DECIMA_BINARY` names, else the one of this workspace, built now if it is out of date.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = env::var_os("DECIMA_BINARY") {
            return PathBuf::from(path);
        }
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = Command::new(cargo).args(["build", "--quiet", "-p", "decima"]).status().expect("cargo runs");
        assert!(build.success(), "decima does not build");
        // target/debug/deps/it-0123 -> target/debug/decima
        let test = env::current_exe().expect("a test has a path");
        test.ancestors().nth(2).expect("target/debug").join("decima")
    })
}

/// An empty directory with a configuration, in which servers run one after the other.
pub struct Place {
    directory: TempDir,
}

impl Place {
    /// `scrape_configs` is YAML behind that key, or empty.
    pub fn new(scrape_configs: &str) -> Place {
        let place = Place { directory: tempfile::tempdir().expect("a temporary directory") };
        place.write_config(&format!(
            "object_storage:\n  bucket:\n    type: FILESYSTEM\n    config:\n      directory: ./data\nscrape_configs:{}\n",
            if scrape_configs.is_empty() { " []" } else { scrape_configs }
        ));
        place
    }

    /// With a whole configuration.
    pub fn with_config(yaml: &str) -> Place {
        let place = Place { directory: tempfile::tempdir().expect("a temporary directory") };
        place.write_config(yaml);
        place
    }

    pub fn write_config(&self, yaml: &str) {
        fs::write(self.path().join("parca.yaml"), yaml).expect("a configuration file");
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the server keeps profiles.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }
}

/// A running server; ended when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

/// A server that is no more.
#[derive(Debug)]
pub struct Exited {
    pub status: ExitStatus,
    /// Everything that it printed.
    pub log: String,
}

impl Server {
    /// Starts a server and waits until it answers.
    pub async fn start(place: &Place, flags: &[&str]) -> Server {
        let mut server = Server::spawn(place, free_address(), flags, None);
        server.wait_until_ready().await;
        server
    }

    /// The same on a port that the configuration names.
    pub async fn start_at(place: &Place, address: SocketAddr, flags: &[&str]) -> Server {
        let mut server = Server::spawn(place, address, flags, None);
        server.wait_until_ready().await;
        server
    }

    /// The same, seeing the file systems of `mounts`.
    pub async fn start_in(mounts: &Mounts, place: &Place, flags: &[&str]) -> Server {
        let mut server = Server::spawn(place, free_address(), flags, Some(mounts));
        server.wait_until_ready().await;
        server
    }

    /// The same with variables in its environment.
    pub async fn start_with(place: &Place, flags: &[&str], variables: &[(&str, &str)]) -> Server {
        let address = free_address();
        let mut command = Server::command(address, flags, place, None);
        command.envs(variables.iter().copied());
        let mut server = Server::run(command, place, address);
        server.wait_until_ready().await;
        server
    }

    /// Starts a server that speaks TLS, and waits until it listens.
    pub fn start_with_tls(place: &Place, flags: &[&str]) -> Server {
        let mut server = Server::spawn(place, free_address(), flags, None);
        let end = Instant::now() + Duration::from_secs(READY_SECONDS);
        while TcpStream::connect(server.address).is_err() {
            let exited = server.child.try_wait().expect("a child");
            assert!(exited.is_none(), "the server ended with {exited:?}:\n{}", server.log());
            assert!(Instant::now() < end, "not listening after {READY_SECONDS} s:\n{}", server.log());
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// Starts a server that should refuse to run, and waits for its end.
    pub fn refused(place: &Place, address: SocketAddr, flags: &[&str], mounts: Option<&Mounts>) -> Exited {
        Server::spawn(place, address, flags, mounts).wait()
    }

    fn spawn(place: &Place, address: SocketAddr, flags: &[&str], mounts: Option<&Mounts>) -> Server {
        Server::run(Server::command(address, flags, place, mounts), place, address)
    }

    fn command(address: SocketAddr, flags: &[&str], place: &Place, mounts: Option<&Mounts>) -> Command {
        let mut command = match mounts {
            Some(mounts) => mounts.command(place.path(), binary()),
            None => Command::new(binary()),
        };
        command.args(["--config-path", "parca.yaml", "--http-address", &address.to_string()]).args(flags);
        command
    }

    fn run(mut command: Command, place: &Place, address: SocketAddr) -> Server {
        // One log for all servers of a place would mix their lines.
        let log = place.path().join(format!("server-{}.log", address.port()));
        let output = fs::File::create(&log).expect("a log file");
        let child = command
            .current_dir(place.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output)
            .spawn()
            .expect("decima starts");
        Server { child, address, log }
    }

    /// The bundled program to look at. It is ready when it is scraped, not before.
    pub fn demo_workload(place: &Place, address: SocketAddr) -> Server {
        let mut command = Command::new(binary());
        command.args(["demo-workload", "--http-address", &address.to_string()]);
        Server::run(command, place, address)
    }

    /// Where it answers plain HTTP at `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        let (status, text) = raw::http("GET", &self.url("/metrics"), b"");
        assert_eq!(status, 200, "{text}");
        text
    }

    /// The value of one of its metrics, labels and all as they stand there, or the sum over the labels where none are given; `None` if
    /// it is not there, as a counter that has rows by what was counted is not before the first.
    pub fn figure(&self, name: &str) -> Option<f64> {
        let text = self.metrics();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(' ') || rest.starts_with('{'))?;
            rest.rsplit(' ').next()
        });
        values.map(|value| value.parse::<f64>().expect("a number")).reduce(|sum, value| sum + value)
    }

    /// The same of one that is there from the start.
    pub fn metric(&self, name: &str) -> f64 {
        self.figure(name).unwrap_or_else(|| panic!("there is no {name} in\n{}", self.metrics()))
    }

    async fn wait_until_ready(&mut self) {
        let end = Instant::now() + Duration::from_secs(READY_SECONDS);
        let client = self.client();
        while client.targets().await.is_err() {
            let exited = self.child.try_wait().expect("a child");
            assert!(exited.is_none(), "the server ended with {exited:?}:\n{}", self.log());
            assert!(Instant::now() < end, "not ready after {READY_SECONDS} s:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it had so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a running process");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.and_then(|kilobytes| kilobytes.parse::<u64>().ok()).expect("a peak") << 10
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// `kill -9`, and nothing is flushed.
    pub fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Asks the server to end, as a service manager does.
    pub fn stop(self) -> Exited {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::TERM).expect("a child of ours");
        self.wait()
    }

    fn wait(mut self) -> Exited {
        let end = Instant::now() + Duration::from_secs(EXIT_SECONDS);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return Exited { status, log: self.log() };
            }
            assert!(Instant::now() < end, "still running after {EXIT_SECONDS} s:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address with a port that was free a moment ago.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}
