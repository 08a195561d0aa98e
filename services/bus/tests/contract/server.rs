//! A `redis-server` of a test's own, which can be killed, restarted and paused.

use std::fs::File;
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

    /// Starts one that is a node of a Redis Cluster, of its own so far. The port by which it talks to the others is given, too: by itself
    /// it takes its own plus 10,000, which may be anybody's.
    pub async fn start_clustered() -> Self {
        Self::start(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]).await
    }

    /// Starts it again, on the same port and empty.
    pub async fn restart(&mut self) {
        self.kill().await;
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(&self.arguments).current_dir(self.folder.path());
        let log_path = self.folder.path().join("log");
        let log = File::create(&log_path).expect("a log can be written");
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).kill_on_drop(true);
        let mut process =
            command.spawn().expect("these tests need the program redis-server (Debian: apt-get install redis-server)");
        // With a password it answers, too, though not that.
        eventually("redis-server answers", async || {
            let ended = process.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "redis-server ended: {}", std::fs::read_to_string(&log_path).unwrap_or_default());
            let answer = self.cli(&["PING"]).await;
            (answer.contains("PONG") || answer.contains("NOAUTH")).then_some(())
        })
        .await;
        self.process = Some(process);
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
