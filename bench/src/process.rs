//! The built server as a child process: started in a directory of its own, watched through /proc, ended when dropped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// From the start of the process until its port answered.
    pub ready: Duration,
    _directory: tempfile::TempDir,
}

impl Server {
    /// The release build that lies beside this program.
    pub fn binary() -> Result<PathBuf, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let binary = own.with_file_name("decima");
        match binary.is_file() {
            true => Ok(binary),
            false => Err(format!("{} is not there: cargo build --release -p decima", binary.display())),
        }
    }

    pub fn start(binary: &Path) -> Self {
        Self::start_with(binary, &[])
    }

    /// With these variables in its environment.
    pub fn start_with(binary: &Path, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the server");
        let config = "object_storage:\n  bucket:\n    type: FILESYSTEM\n    config:\n      directory: ./objects\n";
        std::fs::write(directory.path().join("parca.yaml"), config).expect("a configuration");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let started = Instant::now();
        let child = Command::new(binary)
            .args(["--config-path", "parca.yaml", "--storage-path", "data", "--http-address"])
            .arg(port.to_string())
            .envs(environment.iter().copied())
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        while TcpStream::connect(port).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "the server does not answer");
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { child, address: port, ready: started.elapsed(), _directory: directory }
    }

    /// CPU time of all its threads, user and system, to the kernel's tick of 10 ms.
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // after the name, which is in parentheses: state is field 3, utime 14, stime 15
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// `VmRSS` or `VmHWM` (its peak), in bytes.
    pub fn memory(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(field)).expect("a field of status");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("kB") * 1024
    }

    /// Lets `VmHWM` begin again at what it holds now.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("the server still runs");
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the server still runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
