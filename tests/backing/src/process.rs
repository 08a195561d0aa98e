//! A server as a plain process, where no container can run: the same script, signals instead of an engine.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::time::timeout;

use crate::server::{PREAMBLE, Spec};
use crate::watcher::Watcher;
use crate::{PATIENCE, eventually};

pub(crate) struct Process {
    spec: Spec,
    port: u16,
    folder: TempDir,
    /// Whom it runs as, where that is not who we are.
    user: Option<(u32, u32)>,
    child: Child,
    /// The server's other processes at its last pause.
    frozen: Vec<u32>,
    watcher: Watcher,
}

impl Process {
    pub(crate) fn start(spec: Spec, port: u16) -> Self {
        let folder = tempfile::Builder::new().prefix("snug-test-").tempdir().expect("a folder");
        std::fs::create_dir(data(folder.path())).expect("a folder");
        let user = spec.kind.user().and_then(other_user);
        if let Some((user, group)) = user {
            for path in [folder.path(), &data(folder.path())] {
                std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may");
            }
        }
        let mut watcher = Watcher::start();
        let child = spawn(&spec, port, folder.path(), user, &mut watcher);
        Self { spec, port, folder, user, child, frozen: Vec::new(), watcher }
    }

    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.spec, self.port, self.folder.path(), self.user, &mut self.watcher);
    }

    pub(crate) fn is_running(&self) -> bool {
        is_alive(self.child.id())
    }

    /// SIGKILL goes to all of the server's processes, every other signal to its first.
    pub(crate) async fn end(&mut self, signal: &str) {
        let all = self.processes();
        let first = [self.child.id()];
        let told: &[u32] = if signal == "KILL" { &all } else { &first };
        send(signal, told);
        eventually("the process ends", async || matches!(self.child.try_wait(), Ok(Some(_)))).await;
        // What it forked ends by itself, and holds on to shared memory until then.
        eventually("all its processes end", async || !all[1..].iter().any(|id| is_alive(*id))).await;
    }

    /// To all of the server's processes.
    pub(crate) async fn signal(&mut self, signal: &str) {
        if signal == "STOP" {
            // The first one first: then it forks no more.
            send(signal, &[self.child.id()]);
            self.frozen = self.processes();
        }
        send(signal, &self.frozen);
    }

    /// The first process and all that it forked.
    fn processes(&self) -> Vec<u32> {
        let first = self.child.id();
        let children = Command::new("pgrep").args(["-P", &first.to_string()]).output().expect("pgrep runs");
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        std::iter::once(first).chain(children.split_whitespace().filter_map(|id| id.parse().ok())).collect()
    }

    pub(crate) async fn exec(&self, command: &[&str]) -> String {
        let mut run = shell(&self.spec, self.port, self.folder.path(), self.user, r#"exec "$@""#);
        run.args(command).stdin(Stdio::null());
        let mut run = tokio::process::Command::from(run);
        let output = timeout(PATIENCE, run.kill_on_drop(true).output()).await;
        let output = output.unwrap_or_else(|_| panic!("{command:?} does not end")).expect("sh runs");
        assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            send("KILL", &self.processes());
            let _ = self.child.wait();
        }
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn spawn(spec: &Spec, port: u16, folder: &Path, user: Option<(u32, u32)>, watcher: &mut Watcher) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a file of ours");
    let mut command = shell(spec, port, folder, user, &spec.script);
    command.args(&spec.args).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a file of ours")).stderr(log);
    let child = command.spawn().expect("sh runs");
    let (id, folder) = (child.id(), folder.display());
    watcher.in_the_end(&format!("kill -9 $(pgrep -P {id}) {id}; rm -rf '{folder}'"));
    child
}

fn shell(spec: &Spec, port: u16, folder: &Path, user: Option<(u32, u32)>, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{PREAMBLE} {script}"), "sh"]).current_dir(folder).process_group(0);
    command.env("PORT", port.to_string()).env("BIND", "127.0.0.1").env("DATA", data(folder));
    command.envs(spec.env.iter().map(|(name, value)| (*name, value)));
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command
}

/// The ids of `name` and its group, if we are root and it has some: some servers refuse to run as root.
fn other_user(name: &str) -> Option<(u32, u32)> {
    let number = |args: &[&str]| {
        let output = Command::new("id").args(args).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
    };
    let root = number(&["-u"])? == 0;
    root.then(|| number(&["-u", name]).zip(number(&["-g", name]))).flatten()
}

fn send(signal: &str, processes: &[u32]) {
    let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
    // Some of them may have ended since they were listed.
    let _ = Command::new("kill").arg(format!("-{signal}")).args(&processes).stderr(Stdio::null()).status();
}

/// Whether it runs; one that has ended and that nobody has asked about yet does not.
fn is_alive(process: u32) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", &process.to_string()]).output().expect("ps runs");
    !matches!(state.stdout.trim_ascii().first(), None | Some(b'Z'))
}
