//! Several nodes in this process that share a store and a backplane, each on a runtime of its own, so that one can be killed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use snug_bus::{Backplane, Bus, NodeId, RedisBackplane, RedisOptions};
use snug_gateway::Server;
use snug_store::Store;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::guest::random;
use crate::lossy::LossyBus;
use crate::node::settings;

/// The Redis that nodes of [`Cluster::new`] share, if this variable names one; else they share a bus within this process.
pub const REDIS_URL: &str = "SNUG_TEST_REDIS_URL";

/// What the nodes share. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    /// The database.
    pub store: Store,
    between: Between,
    /// Of the pepper.
    folder: Arc<TempDir>,
}

/// What is between the nodes.
#[derive(Clone)]
enum Between {
    Process(Backplane),
    Redis { url: String, prefix: String },
}

/// A node of a cluster. Dropping it kills it.
pub struct ClusterNode {
    /// Its address, `http://127.0.0.1:port`.
    pub url: String,
    stop: CancellationToken,
    tasks: TaskTracker,
    runtime: Option<Runtime>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// Over a fresh store in memory.
    #[must_use]
    pub fn new() -> Self {
        match std::env::var(REDIS_URL) {
            Ok(url) => Self::on_redis(&url),
            Err(_) => Self::over(Store::memory(), Backplane::local()),
        }
    }

    /// Over a fresh store in memory and a part of this Redis that nobody else uses.
    #[must_use]
    pub fn on_redis(url: &str) -> Self {
        let prefix = format!("{:x}:", u64::from_ne_bytes(random()));
        let between = Between::Redis { url: url.to_owned(), prefix };
        Self { store: Store::memory(), between, folder: folder() }
    }

    /// Over these.
    #[must_use]
    pub fn over(store: Store, backplane: Backplane) -> Self {
        Self { store, between: Between::Process(backplane), folder: folder() }
    }

    /// Where its pepper is, or is to be made for a database that lasts.
    #[must_use]
    pub fn pepper_file(&self) -> PathBuf {
        self.folder.path().join("pepper")
    }

    /// A node more.
    pub async fn node(&self, args: &[&str]) -> ClusterNode {
        self.start(args, |backplane| (backplane, ())).await.0
    }

    /// A node whose bus loses what it is told to.
    pub async fn node_with_losses(&self, args: &[&str]) -> (ClusterNode, Arc<LossyBus>) {
        let lossy = |backplane: Backplane| {
            let bus = LossyBus::over(Arc::clone(&backplane.bus));
            (Backplane { bus: Arc::clone(&bus) as Arc<dyn Bus>, ..backplane }, bus)
        };
        self.start(args, lossy).await
    }

    async fn start<T: Send + 'static>(
        &self,
        args: &[&str],
        wrap: impl FnOnce(Backplane) -> (Backplane, T) + Send + 'static,
    ) -> (ClusterNode, T) {
        let mut settings = settings(args);
        settings.data_dir = self.folder.path().to_owned();
        settings.pepper_file = Some(self.pepper_file());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a thread");
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (cluster, node_tasks, stopped) = (self.clone(), tasks.clone(), stop.clone());
        let starting = runtime.spawn(async move {
            let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
            let url = format!("http://127.0.0.1:{}", listener.local_addr().expect("bound").port());
            let over = CancellationToken::new();
            let (backplane, wrapped) = wrap(cluster.between.backplane(&over).await);
            let server = Server::over(settings, listener, cluster.store, backplane, TaskTracker::new()).await;
            let server = server.expect("the node starts").leaving_the_store_open();
            node_tasks.spawn(async move {
                server.run(stopped.cancelled_owned()).await;
                over.cancel();
            });
            (url, wrapped)
        });
        let (url, wrapped) = crate::in_time("the node starts", starting).await.expect("no panic");
        tasks.close();
        (ClusterNode { url, stop, tasks, runtime: Some(runtime) }, wrapped)
    }
}

impl Between {
    /// A node's end of it.
    async fn backplane(self, over: &CancellationToken) -> Backplane {
        match self {
            Self::Process(backplane) => backplane,
            Self::Redis { url, prefix } => {
                let options = RedisOptions { prefix, ..RedisOptions::default() };
                let node = NodeId(random());
                let connected = RedisBackplane::connect(&url, node, options, &TaskTracker::new(), over.clone()).await;
                connected.expect("the Redis that was named").backplane
            }
        }
    }
}

fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a folder"))
}

impl ClusterNode {
    /// Begins to stop the node in order and returns what tells when it has.
    #[must_use]
    pub fn begin_stop(&self) -> TaskTracker {
        self.stop.cancel();
        self.tasks.clone()
    }

    /// Stops the node in order and waits until it has.
    pub async fn stop(self) {
        crate::in_time("the node stops", self.begin_stop().wait()).await;
    }

    /// Ends the node between two instructions: it says nothing to anybody, and the system closes its connections.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for ClusterNode {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
