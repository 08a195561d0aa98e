//! Several nodes in this process that share a store and a backplane, each on a runtime of its own, so that one can be killed.

use std::net::SocketAddr;
use std::sync::Arc;

use snug_bus::{Backplane, Bus};
use snug_gateway::Server;
use snug_store::Store;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::lossy::LossyBus;
use crate::node::settings;

/// What the nodes share. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    /// The database.
    pub store: Store,
    /// The bus, the roster and the limits.
    pub backplane: Backplane,
    /// Of the pepper.
    folder: Arc<TempDir>,
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
    /// Over a fresh store in memory and a bus within this process.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Store::memory(), Backplane::local())
    }

    /// Over these.
    #[must_use]
    pub fn over(store: Store, backplane: Backplane) -> Self {
        Self { store, backplane, folder: Arc::new(tempfile::tempdir().expect("a folder")) }
    }

    /// A node more.
    pub async fn node(&self, args: &[&str]) -> ClusterNode {
        self.node_over(self.backplane.clone(), args).await
    }

    /// A node whose bus loses what it is told to.
    pub async fn node_with_losses(&self, args: &[&str]) -> (ClusterNode, Arc<LossyBus>) {
        let bus = LossyBus::over(Arc::clone(&self.backplane.bus));
        let backplane = Backplane { bus: Arc::clone(&bus) as Arc<dyn Bus>, ..self.backplane.clone() };
        (self.node_over(backplane, args).await, bus)
    }

    /// A node over the same store and another backplane.
    pub async fn node_over(&self, backplane: Backplane, args: &[&str]) -> ClusterNode {
        let mut settings = settings(args);
        settings.data_dir = self.folder.path().to_owned();
        settings.pepper_file = Some(self.folder.path().join("pepper"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a thread");
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (store, node_tasks, stopped) = (self.store.clone(), tasks.clone(), stop.clone());
        let starting = runtime.spawn(async move {
            let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
            let url = format!("http://127.0.0.1:{}", listener.local_addr().expect("bound").port());
            let server = Server::over(settings, listener, store, backplane, TaskTracker::new()).await;
            let server = server.expect("the node starts").leaving_the_store_open();
            node_tasks.spawn(server.run(stopped.cancelled_owned()));
            url
        });
        let url = crate::in_time("the node starts", starting).await.expect("no panic");
        tasks.close();
        ClusterNode { url, stop, tasks, runtime: Some(runtime) }
    }
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
