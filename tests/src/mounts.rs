//! File systems that only our own processes see: a small one, to fill it; one that cannot be written.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A mount namespace, kept by a sleeping process. Needs no root: a user namespace gives the right to mount.
pub struct Mounts {
    holder: Child,
}

impl Mounts {
    /// Mounts what `script` (POSIX shell) mounts. `None` where the system does not allow namespaces to users.
    pub fn new(script: &str) -> Option<Mounts> {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--mount"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        if !unshare().args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status().is_ok_and(|status| status.success()) {
            return None;
        }
        let ready = tempfile::NamedTempFile::new().expect("a temporary file");
        let shell = format!("{script} && echo ready > {} && exec sleep 600", ready.path().display());
        let holder = unshare().args(["sh", "-e", "-c", &shell]).spawn().expect("unshare runs");
        let mut mounts = Mounts { holder };
        let end = Instant::now() + Duration::from_secs(10);
        while fs::read_to_string(ready.path()).unwrap_or_default().is_empty() {
            let ended = mounts.holder.try_wait().expect("a child");
            assert!(ended.is_none() && Instant::now() < end, "{script}: {ended:?}");
            thread::sleep(Duration::from_millis(10));
        }
        Some(mounts)
    }

    /// A command in `directory` that sees the mounts. Its process is the program itself.
    pub fn command(&self, directory: &Path, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "--user", "--mount", "--target", &self.holder.id().to_string()]);
        // A directory that was entered before the mounts were does not see them.
        command.args(["sh", "-c", r#"cd "$1" && shift && exec "$@""#, "sh"]).arg(directory).arg(program);
        command
    }

    /// Runs `script` (POSIX shell) in `directory`, where the mounts are seen.
    pub fn run(&self, directory: &Path, script: &str) {
        let status = self
            .command(directory, Path::new("sh"))
            .args(["-e", "-c", script])
            .stdin(Stdio::null())
            .status()
            .expect("nsenter runs");
        assert!(status.success(), "{script}");
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // Both fail if the process is gone already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
