//! A real cluster on this machine: `snug` processes over Redis and Postgres behind a load balancer, with a fault proxy at every joint.
//!
//! ```text
//! client ── load balancer ── front ─▶ node ── postgres proxy ─▶ Postgres
//!                                        └── redis proxy ── thief ─▶ Redis
//! ```
//!
//! Each node has proxies of its own, so that one can be cut off while the others go on. What is absent: what a fault is for, and when.

mod thief;

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use snug_backing::{FaultProxy, LoadBalancer, Postgres, Redis, free_port};
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{eventually, http};

pub use thief::Thief;

/// How far the clock of a node is off that has one of its own.
pub const CLOCK_OFF_SECONDS: u64 = 600;

/// Limits that nobody here runs into, and short waits where an operator has a slower load balancer.
const SETTINGS: [&str; 16] = [
    "--http-per-second=100000",
    "--http-burst=100000",
    "--creates-per-minute=100000",
    "--joins-per-minute=100000",
    "--joins-burst=100000",
    "--joins-per-address-per-minute=100000",
    "--sends-per-second=100000",
    "--sends-burst=100000",
    "--sign-ins-per-minute=100000",
    "--connections-per-address=100000",
    "--sockets-per-address=100000",
    "--sockets-per-device=10000",
    "--trusted-proxies=127.0.0.1",
    "--drain-wait-ms=1500",
    "--drain-move-ms=2000",
    "--log-format=json",
];

/// What is unusual about a cluster.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The node whose clock is [`CLOCK_OFF_SECONDS`] ahead.
    pub clock_off: Option<usize>,
    /// More arguments for every node.
    pub args: Vec<String>,
}

/// A running cluster; it ends when it is dropped.
pub struct Fleet {
    /// What people open: the load balancer.
    pub url: String,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// What they share for a moment.
    pub redis: Redis,
    /// What they share for good.
    pub postgres: Postgres,
    /// The database's URL, past the proxies.
    pub database: String,
    _balancer: LoadBalancer,
    _folder: TempDir,
}

/// One node and the joints around it.
pub struct Node {
    /// Where it listens itself.
    pub address: SocketAddr,
    /// Between the load balancer and the node.
    pub front: FaultProxy,
    /// Between the node and Redis.
    pub redis: FaultProxy,
    /// Between that proxy and Redis.
    pub thief: Thief,
    /// Between the node and Postgres.
    pub postgres: FaultProxy,
    args: Vec<String>,
    clock_is_off: bool,
    log: PathBuf,
    process: Option<Process>,
}

impl Fleet {
    /// Starts everything, and waits until the load balancer leads to every node.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(nodes: usize, options: &Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (redis, postgres) = tokio::join!(Redis::start(&[]), Postgres::start());
        let database = postgres.database().await;
        let addresses: Vec<SocketAddr> = (0..nodes).map(|_| SocketAddr::from(([127, 0, 0, 1], free_port()))).collect();
        let mut fronts = Vec::new();
        for address in &addresses {
            fronts.push(FaultProxy::start(*address).await.expect("a port"));
        }
        let targets: Vec<SocketAddr> = fronts.iter().map(FaultProxy::address).collect();
        let balancer = LoadBalancer::start(&targets).await;
        let url = format!("http://{}", balancer.address());
        let mut fleet =
            Self { url, nodes: Vec::new(), redis, postgres, database, _balancer: balancer, _folder: folder };
        for (number, (address, front)) in addresses.into_iter().zip(fronts).enumerate() {
            let node = fleet.node(number, address, front, options).await;
            fleet.nodes.push(node);
        }
        for number in 0..nodes {
            fleet.restart(number).await;
        }
        fleet
    }

    async fn node(&self, number: usize, address: SocketAddr, front: FaultProxy, options: &Options) -> Node {
        let thief = Thief::start(self.redis.address()).await.expect("a port");
        let redis = FaultProxy::start(thief.address()).await.expect("a port");
        let postgres = FaultProxy::start(self.postgres.address()).await.expect("a port");
        let folder = self._folder.path();
        let mut args = vec![
            format!("--listen={address}"),
            format!("--public-url={}", self.url),
            format!("--data-dir={}", folder.join(format!("node-{number}")).display()),
            format!("--pepper-file={}", pepper(folder).display()),
            format!("--database-url={}", postgres.through(&self.database)),
            format!("--redis-url={}", redis.through(self.redis.url())),
        ];
        args.extend(SETTINGS.map(str::to_owned));
        args.extend(options.args.iter().cloned());
        let log = folder.join(format!("node-{number}.log"));
        let clock_is_off = options.clock_off == Some(number);
        Node { address, front, redis, thief, postgres, args, clock_is_off, log, process: None }
    }

    /// Starts a node that does not run, and waits until the load balancer leads to it.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn restart(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let seen = node.front.counts().connections;
        node.process = Some(node.start().await);
        // A check that was refused is none, so a few connections are a few that the load balancer was content with.
        eventually("the load balancer checks the node", async || {
            (node.front.counts().connections >= seen + 3).then_some(())
        })
        .await;
    }

    /// Which node has the most connections.
    #[must_use]
    pub fn busiest(&self) -> usize {
        self.busiest_but(None)
    }

    /// The same among the others than this one.
    ///
    /// # Panics
    /// When there are no others.
    #[must_use]
    pub fn busiest_but(&self, spared: Option<usize>) -> usize {
        let others = (0..self.nodes.len()).filter(|number| Some(*number) != spared);
        others.max_by_key(|number| self.nodes[*number].front.counts().open).expect("there is another")
    }
}

impl Drop for Fleet {
    /// What the nodes said is kept when a test fails.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let kept = std::env::temp_dir().join(format!("snug-fleet-{}", std::process::id()));
        let copied = std::fs::create_dir_all(&kept).and_then(|()| {
            self.nodes.iter().try_for_each(|node| {
                let name = node.log.file_name().expect("a file");
                std::fs::copy(&node.log, kept.join(name)).map(drop)
            })
        });
        match copied {
            Ok(()) => eprintln!("the nodes' logs are in {}", kept.display()),
            Err(error) => eprintln!("the nodes' logs are lost: {error}"),
        }
    }
}

impl Node {
    async fn start(&self) -> Process {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let log = std::fs::File::options().create(true).append(true).open(&self.log).expect("a file of ours");
        let mut command = process::command(&args);
        command.env("SNUG_LOG", "info,snug_gateway=debug").stderr(log);
        if self.clock_is_off {
            command.env("LD_PRELOAD", libfaketime()).env("FAKETIME", format!("+{CLOCK_OFF_SECONDS}"));
            // Waits are measured by the other clock, which is right.
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        }
        Process::spawn(command).await
    }

    /// kill -9; returns the signal that it died of.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn kill(&mut self) -> Option<i32> {
        self.process.take().expect("it runs").kill().await.signal()
    }

    /// SIGTERM; returns whether it ended well.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn terminate(&mut self) -> bool {
        self.process.take().expect("it runs").terminate().await
    }

    /// Whether it was started and not ended since by [`Node::kill`] or [`Node::terminate`].
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The sessions that have begun at it, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionBegun> {
        let log = self.log();
        log.lines().filter_map(|line| SessionBegun::of(&serde_json::from_str(line).ok()?)).collect()
    }

    /// Everything that it has logged, in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often it has filled a gap from the store.
    #[must_use]
    pub fn fills(&self) -> usize {
        self.log().matches("filled a gap from the store").count()
    }

    /// How far its clock is ahead of ours, in seconds, by the date that it writes into its answers.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn clock_ahead(&self) -> i64 {
        let asked = http().get(format!("http://{}/livez", self.address)).send();
        let answer = crate::in_time("the node answers", asked).await.expect("an answer");
        let date = answer.headers().get("date").expect("a date").to_str().expect("text").to_owned();
        let date = httpdate::parse_http_date(&date).expect("a date as HTTP writes it");
        let seconds = |ahead: Duration| i64::try_from(ahead.as_secs()).expect("not so far");
        match date.duration_since(SystemTime::now()) {
            Ok(ahead) => seconds(ahead),
            Err(behind) => -seconds(behind.duration()),
        }
    }
}

/// A line of a node's log.
pub struct SessionBegun {
    /// As the node wrote it; later times are greater.
    pub began_at: String,
    /// Whose it is.
    pub device: String,
}

impl SessionBegun {
    fn of(line: &serde_json::Value) -> Option<Self> {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let is_it = line["message"] == "a session begins";
        is_it.then(|| Some(Self { began_at: text("timestamp")?, device: text("device")? })).flatten()
    }
}

/// One pepper for all nodes, made by whoever asks first.
fn pepper(folder: &Path) -> PathBuf {
    let path = folder.join("pepper");
    if !path.exists() {
        let bytes: [u8; 32] = crate::guest::random();
        let line = format!("1 {}\n", snug_protocol::encode_base64(&bytes));
        std::fs::write(&path, line).expect("a folder of ours");
    }
    path
}

fn libfaketime() -> PathBuf {
    let machines = std::fs::read_dir("/usr/lib").expect("Linux").flatten().map(|entry| entry.path());
    let found = machines.map(|path| path.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("libfaketime is missing: tests/setup/faketime brings it"))
}
