//! A gateway node inside the test's process.

use std::net::SocketAddr;

use clap::Parser;
use snug_bus::Backplane;
use snug_gateway::config::Cli;
use snug_gateway::{Server, Settings};
use snug_store::Store;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A running node; dropping it begins its stop.
pub struct Node {
    /// Its address, `http://127.0.0.1:port`.
    pub url: String,
    /// Its database.
    pub store: Store,
    stop: DropGuard,
    tasks: TaskTracker,
    folder: TempDir,
}

/// Settings as the command line and an empty environment give them, with rates that tests do not run into.
#[must_use]
pub fn settings(args: &[&str]) -> Settings {
    let generous = [
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
        "--sockets-per-address=10000",
    ];
    let given = |flag: &str| args.iter().any(|arg| arg.split('=').next() == flag.split('=').next());
    let generous = generous.into_iter().filter(|flag| !given(flag));
    Cli::parse_from(["snug"].into_iter().chain(generous).chain(args.iter().copied())).settings
}

impl Node {
    /// A node over a fresh store in memory.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A node over a fresh store in memory, with settings as on the command line.
    pub async fn start_with(args: &[&str]) -> Self {
        Self::over(Store::memory(), args).await
    }

    /// A node over a given store.
    pub async fn over(store: Store, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = settings(args);
        settings.data_dir = folder.path().to_owned();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let scheme = if settings.tls_cert.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{}", listener.local_addr().expect("bound").port());
        let (tasks, node_tasks, stop) = (TaskTracker::new(), TaskTracker::new(), CancellationToken::new());
        let backplane = Backplane::local();
        let server =
            Server::over(settings, listener, store.clone(), backplane, node_tasks).await.expect("the node starts");
        tasks.spawn(server.run(stop.clone().cancelled_owned()));
        tasks.close();
        Self { url, store, stop: stop.drop_guard(), tasks, folder }
    }

    /// Stops the node in order and waits until it has.
    pub async fn stop(self) {
        drop(self.stop);
        crate::in_time("the node stops", self.tasks.wait()).await;
        drop(self.folder);
    }

    /// Begins to stop the node and returns what tells when it has.
    #[must_use]
    pub fn begin_stop(self) -> TaskTracker {
        drop(self.stop);
        self.tasks
    }
}
