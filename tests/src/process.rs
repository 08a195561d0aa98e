//! The real binary `snug` as a process of its own, to be killed.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// Where cargo put the binary: beside the test's own folder, or beside the program that asks.
///
/// # Panics
/// When it has not been built: `make test` builds it first.
#[must_use]
pub fn binary() -> PathBuf {
    let asks = std::env::current_exe().expect("a path");
    let folders = asks.parent().into_iter().chain(asks.parent().and_then(Path::parent));
    let found = folders.map(|folder| folder.join("snug")).find(|binary| binary.exists());
    found.unwrap_or_else(|| panic!("snug is missing near {}: cargo build --workspace --all-features", asks.display()))
}

/// A running `snug`; killed when dropped.
pub struct Process {
    child: Child,
    /// What it printed as its address.
    pub url: String,
}

/// `snug` with only these settings and a quiet log.
#[must_use]
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.env_clear().env("SNUG_LOG", "warn").args(args).kill_on_drop(true).stdin(Stdio::null());
    command
}

impl Process {
    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn start(args: &[&str]) -> Self {
        Self::spawn(command(args)).await
    }

    /// Starts `command`, which is `snug` in whatever surroundings, and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = crate::in_time("snug is ready", lines.next_line()).await.expect("readable");
        let line = line.unwrap_or_else(|| panic!("snug ended before it was ready: {command:?}"));
        let url = line.strip_prefix("Snug is ready: ").expect("the line that scripts wait for").to_owned();
        Self { child, url: url.replace("localhost", "127.0.0.1") }
    }

    /// The process's id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// kill -9, and waits until it is gone; returns how it ended.
    pub async fn kill(&mut self) -> ExitStatus {
        self.child.kill().await.expect("it was running");
        self.child.wait().await.expect("it was ours")
    }

    /// SIGTERM, and waits until it has ended; returns whether it ended well.
    pub async fn terminate(&mut self) -> bool {
        let id = self.child.id().expect("it was running").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill runs");
        assert!(sent.success());
        crate::in_time("snug stops", self.child.wait()).await.expect("it was ours").success()
    }
}

/// Runs `snug` where it cannot start; returns what it said.
///
/// # Panics
/// When it starts, or ends well.
pub async fn refuses_to_start(args: &[&str]) -> String {
    let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let (mut said, mut out) = (String::new(), String::new());
    let (mut stderr, mut stdout) = (child.stderr.take().expect("piped"), child.stdout.take().expect("piped"));
    let reading = async { tokio::join!(stderr.read_to_string(&mut said), stdout.read_to_string(&mut out)) };
    let (read, _) = crate::in_time("snug gives up", reading).await;
    read.expect("text");
    let status = crate::in_time("snug gives up", child.wait()).await.expect("it was ours");
    assert!(!status.success(), "it should have failed, but said {said:?} and {out:?}");
    said
}
