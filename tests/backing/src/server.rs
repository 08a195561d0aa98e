//! A server of a test's own: what it runs, and the hand on it.

use std::net::SocketAddr;
use std::time::Duration;

use sqlx::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::container::Container;
use crate::engine::Engine;
use crate::process::Process;
use crate::{eventually, free_port};

/// What every script begins with: Postgres' programs lie beside the PATH on Debian, and psql knows the port by another name.
pub(crate) const PREAMBLE: &str =
    r#"for folder in /usr/lib/postgresql/*/bin /usr/sbin; do PATH="$folder:$PATH"; done; export PATH PGPORT="$PORT"; "#;

/// How long a server may take to answer before it is asked again on another connection.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    Postgres,
    Haproxy,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Redis, Self::Postgres, Self::Haproxy];

    /// The public image, and the stand-in of `tests/setup/containers`, which has the same names and tags.
    pub(crate) fn images(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Redis => [("redis", "7"), ("snug-test/redis", "7")],
            Self::Postgres => [("postgres", "16"), ("snug-test/postgres", "15")],
            Self::Haproxy => [("haproxy", "2.8"), ("snug-test/haproxy", "2.6")],
        }
    }

    /// Whom it must run as when root starts it.
    pub(crate) fn user(self) -> Option<&'static str> {
        (self == Self::Postgres).then_some("postgres")
    }

    /// The signal that asks it to end in good order, clients or not.
    pub(crate) fn orderly(self) -> &'static str {
        match self {
            Self::Redis | Self::Haproxy => "TERM",
            // TERM would wait for the clients to go.
            Self::Postgres => "INT",
        }
    }

    /// Whether it must reach servers on this machine's loopback.
    pub(crate) fn reaches_loopback(self) -> bool {
        self == Self::Haproxy
    }

    /// A server that takes a connection and says nothing does not answer.
    async fn answers(self, port: u16) -> bool {
        timeout(ANSWER_LIMIT, self.answers_some_time(port)).await.unwrap_or(false)
    }

    async fn answers_some_time(self, port: u16) -> bool {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        match self {
            Self::Redis => redis_answers(address).await.is_ok_and(|answer| answer.starts_with(b"+PONG")),
            Self::Postgres => match sqlx::PgConnection::connect(&crate::postgres::url(port, "postgres")).await {
                Ok(connection) => connection.close().await.is_ok(),
                Err(_) => false,
            },
            Self::Haproxy => TcpStream::connect(address).await.is_ok(),
        }
    }
}

async fn redis_answers(address: SocketAddr) -> std::io::Result<[u8; 5]> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// What to run. The same in every engine: a shell script that ends by becoming the server, told by its environment where.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    /// Sees `$PORT`, `$BIND` (the address to listen on), `$DATA` (a folder that outlives stops), `env`, and `args` as `$@`.
    pub(crate) script: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(&'static str, String)>,
}

enum Running {
    Container(Box<Container>),
    Process(Process),
}

/// A server on loopback that one test owns. Its port and data stay the same however often it is stopped and started; it and its data are
/// gone when it is dropped.
pub struct Server {
    kind: Kind,
    port: u16,
    running: Running,
}

impl Server {
    pub(crate) async fn start(spec: Spec) -> Self {
        Self::start_in(Engine::of_this_process().await, spec).await
    }

    pub(crate) async fn start_in(engine: Engine, spec: Spec) -> Self {
        let (kind, port) = (spec.kind, free_port());
        let running = match engine {
            Engine::Containers => Running::Container(Box::new(Container::start(spec, port).await)),
            Engine::Processes => Running::Process(Process::start(spec, port)),
        };
        let server = Self { kind, port, running };
        server.ready().await;
        server
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// kill -9 of the whole server, paused or not, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.end("KILL").await;
    }

    /// Ends it in good order, as an operator's stop does, and waits until it is gone. Clients are not waited for.
    pub async fn stop(&mut self) {
        self.end(self.kind.orderly()).await;
    }

    /// Starts it after a stop or a kill, on the same port and data, and waits until it answers.
    pub async fn start_again(&mut self) {
        match &mut self.running {
            Running::Container(container) => container.start_again().await,
            Running::Process(process) => process.start_again(),
        }
        self.ready().await;
    }

    /// Freezes it (SIGSTOP): connections stay, new ones are accepted by the system, nothing is answered.
    pub async fn pause(&mut self) {
        match &mut self.running {
            Running::Container(container) => container.pause().await,
            Running::Process(process) => process.signal("STOP").await,
        }
    }

    /// Ends a pause.
    pub async fn unpause(&mut self) {
        match &mut self.running {
            Running::Container(container) => container.unpause().await,
            Running::Process(process) => process.signal("CONT").await,
        }
    }

    /// Runs a program beside the server (in its container, if it is in one) and returns what it printed. `psql` finds the server by
    /// itself, `redis-cli` by `-p` and [`Server::port`].
    ///
    /// # Panics
    /// When it fails.
    pub async fn exec(&self, command: &[&str]) -> String {
        match &self.running {
            Running::Container(container) => container.exec(command).await,
            Running::Process(process) => process.exec(command).await,
        }
    }

    async fn end(&mut self, signal: &str) {
        match &mut self.running {
            Running::Container(container) => container.end(signal).await,
            Running::Process(process) => process.end(signal).await,
        }
    }

    async fn ready(&self) {
        eventually(&format!("{:?} answers on port {}", self.kind, self.port), async || {
            assert!(self.is_running().await, "{:?} ended instead of starting: {}", self.kind, self.log().await);
            self.kind.answers(self.port).await
        })
        .await;
    }

    async fn is_running(&self) -> bool {
        match &self.running {
            Running::Container(container) => container.is_running().await,
            Running::Process(process) => process.is_running(),
        }
    }

    /// What it has printed.
    pub async fn log(&self) -> String {
        match &self.running {
            Running::Container(container) => container.log().await,
            Running::Process(process) => process.log(),
        }
    }
}
