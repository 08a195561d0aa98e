//! A `redis-server` of a test's own, which can be killed, restarted and paused.

use std::process::Stdio;
use std::time::Duration;

use snug_backing::free_port;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::fixture::eventually;

pub struct Server {
    process: Option<Child>,
    pub port: u16,
    arguments: Vec<String>,
    folder: TempDir,
}

impl Server {
    /// Starts one that keeps nothing on disk, with further `arguments`.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut server = Self {
            process: None,
            port: free_port(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            folder: TempDir::new().expect("a folder can be made"),
        };
        server.restart().await;
        server
    }

    /// Starts it again, on the same port and empty.
    pub async fn restart(&mut self) {
        self.kill().await;
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(&self.arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        self.process = Some(
            command.spawn().expect("these tests need the program redis-server (Debian: apt-get install redis-server)"),
        );
        // With a password it answers, too, though not that.
        eventually("redis-server answers", async || {
            let answer = self.cli(&["PING"]).await;
            (answer.contains("PONG") || answer.contains("NOAUTH")).then_some(())
        })
        .await;
    }

    /// Ends it without a warning.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("it can be killed");
        }
    }

    /// Stops it where it is; connections stay open, and nothing is answered.
    pub async fn pause(&self) {
        self.signal("-STOP").await;
    }

    /// Lets it go on.
    pub async fn go_on(&self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, signal: &str) {
        let id = self.process.as_ref().and_then(Child::id).expect("it runs").to_string();
        let done = Command::new("kill").args([signal, &id]).status().await.expect("kill runs");
        assert!(done.success());
    }

    /// What `redis-cli` answers.
    pub async fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(arguments).output();
        let output =
            tokio::time::timeout(Duration::from_secs(30), output).await.expect("it answers").expect("redis-cli runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
