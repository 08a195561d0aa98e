//! `make bench`: starts nodes with what they stand on, as operators have them but for the limits, and has `snug-load` measure them.
//!
//! First one node that is alone (SQLite, full durability), then two nodes over Redis and Postgres, and last, unless scenarios are named,
//! how costs grow up to four nodes. Takes the folder of the programs, the folder for the reports, and arguments that `snug-load run` is
//! to have besides.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use snug_backing::{Postgres, Redis};
use snug_tests::process::Process;
use tokio::process::Command;

/// Nobody here is to run into a limit.
const SETTINGS: [&str; 13] = [
    "--log=warn",
    "--listen=127.0.0.1:0",
    "--http-per-second=1000000",
    "--http-burst=1000000",
    "--creates-per-minute=1000000",
    "--joins-per-minute=1000000",
    "--joins-burst=1000000",
    "--joins-per-address-per-minute=1000000",
    "--sends-per-second=1000000",
    "--sends-burst=1000000",
    "--sign-ins-per-minute=1000000",
    "--connections-per-address=1000000",
    "--sockets-per-address=1000000",
];

/// Over how many nodes the cost of a delivery is followed.
const NODES_MOST: usize = 4;

struct Bench {
    programs: PathBuf,
    out: PathBuf,
    more: Vec<String>,
}

impl Bench {
    async fn node(&self, folder: &Path, number: usize, args: &[String]) -> Process {
        let mut command = Command::new(self.programs.join("snug"));
        let data = folder.join(format!("node-{number}"));
        command.arg("serve").args(SETTINGS).args(args).arg(format!("--data-dir={}", data.display()));
        command.kill_on_drop(true);
        Process::spawn(command).await
    }

    /// Has these nodes measured; fails if deliveries were wrong.
    async fn measure(
        &self,
        name: &str,
        title: &str,
        nodes: &[Process],
        watch: &[(&str, u32)],
        args: &[&str],
    ) -> anyhow::Result<()> {
        let mut command = Command::new(self.programs.join("snug-load"));
        command.arg("run").arg(format!("--title={title}")).arg(format!("--out={}", self.out.join(name).display()));
        for node in nodes {
            command.arg(format!("--node={}={}", node.url, node.id().context("it runs")?));
        }
        for (name, pid) in watch {
            command.arg(format!("--watch={name}={pid}"));
        }
        let status = command.args(args).args(&self.more).kill_on_drop(true).status().await?;
        ensure!(status.success(), "{title}: {status}");
        Ok(())
    }

    async fn alone(&self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let node = self.node(folder.path(), 0, &[]).await;
        self.measure("embedded", "Snug, one node with SQLite", &[node], &[], &[]).await
    }

    async fn cluster(&self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let (redis, postgres) = tokio::join!(Redis::start(&[]), Postgres::start());
        let pepper = folder.path().join("pepper");
        let made = Command::new(self.programs.join("snug")).arg("make-pepper").arg(&pepper).output().await?;
        ensure!(made.status.success(), "no pepper was made");
        let args = [
            format!("--pepper-file={}", pepper.display()),
            format!("--database-url={}", postgres.database().await),
            format!("--redis-url={}", redis.url()),
        ];
        let mut nodes = vec![self.node(folder.path(), 0, &args).await, self.node(folder.path(), 1, &args).await];
        let mut watch = Vec::new();
        let port = redis.port().to_string();
        let said = redis.exec(&["redis-cli", "-p", &port, "info", "server"]).await;
        let id = said.lines().find_map(|line| line.trim().strip_prefix("process_id:"));
        if let Some(pid) = id.and_then(|id| id.parse().ok()).filter(|pid| is_named(*pid, "redis-server")) {
            watch.push(("redis", pid));
        }
        if let Some(pid) = postmaster(postgres.port()) {
            watch.push(("postgres", pid));
        }
        self.measure("cluster", "Snug, two nodes with Redis and Postgres", &nodes, &watch, &[]).await?;
        if self.more.iter().any(|argument| argument.starts_with("--scenario")) {
            return Ok(());
        }
        for number in nodes.len()..NODES_MOST {
            nodes.push(self.node(folder.path(), number, &args).await);
        }
        self.measure("growth", "Snug, how costs grow", &nodes, &watch, &["--scenario=growth"]).await
    }
}

/// A process of this name that is not in a container's own numbering.
fn is_named(pid: u32, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|known| known.trim() == name)
}

/// The Postgres that listens on this port, by its command line; it is not seen if it is in a container.
fn postmaster(port: u16) -> Option<u32> {
    let port = port.to_string();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|pid| is_named(*pid, "postgres")).find(|pid| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == port.as_bytes()))
    })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (programs, out) =
        arguments.next().zip(arguments.next()).context("the folder of the programs, and that for the reports")?;
    let bench = Bench { programs: programs.into(), out: out.into(), more: arguments.collect() };
    bench.alone().await?;
    bench.cluster().await
}
