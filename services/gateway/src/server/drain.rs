//! Serving, and stopping without losing anything.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::{Listen, Server, accept, chores};

/// How long a stop takes at most, in all.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(25);
/// What of it is kept for closing sockets, whatever the settings say.
const CLOSING_RESERVE: Duration = Duration::from_secs(8);
/// And what for ending tasks and closing the database after that.
const ENDING_RESERVE: Duration = Duration::from_secs(2);

impl<L: Listen> Server<L> {
    /// Accepts connections until `shutdown`, then drains: not ready, and for a moment everything as before, until the load balancer has
    /// seen that; nothing new accepted; clients told to move; appends in flight committed and sockets closed; tasks ended, bus and store
    /// closed. Within `DRAIN_LIMIT`, and at once when nobody is connected.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (accepting, http) = (self.stop.child_token(), TaskTracker::new());
        let connections = accept::Connections {
            tls: self.tls,
            router: self.router,
            stop: accepting.clone(),
            tasks: http.clone(),
            places: self.places,
        };
        let accept = self.tasks.spawn(accept::run(self.listener, connections));
        self.tasks.spawn(chores(self.chores, self.stop.clone()));
        self.watching.run(&self.tasks, &self.stop);
        shutdown.await;
        let deadline = Instant::now() + DRAIN_LIMIT;
        let (table, presence) = (&self.handles.session.table, &self.handles.session.presence);
        let farewell = self.settings.farewell();
        tracing::info!(sockets = table.count(), "stopping");
        self.handles.readiness.drain();
        let _ = timeout_at(deadline.min(Instant::now() + farewell.wait), table.empty()).await;
        accepting.cancel();
        let _ = accept.await;
        http.close();
        let closes_at = (Instant::now() + farewell.move_within).min(deadline - CLOSING_RESERVE);
        if table.count() > 0 && closes_at > Instant::now() && !farewell.move_within.is_zero() {
            let moved = async {
                table.tell_to_move(closes_at).await;
                table.empty().await;
            };
            let _ = timeout_at(closes_at, moved).await;
        }
        self.close_sockets.cancel();
        table.close_all();
        let quiet = async { tokio::join!(table.empty(), http.wait()) };
        if timeout_at(deadline - ENDING_RESERVE, quiet).await.is_err() {
            tracing::warn!(sockets = table.count(), requests = http.len(), "not everything ended in time");
        }
        let _ = timeout(ENDING_RESERVE / 4, presence.resign()).await;
        self.stop.cancel();
        self.tasks.close();
        let closed = async {
            if !self.leaves_store_open {
                self.handles.store.close().await;
            }
            self.tasks.wait().await;
        };
        if timeout_at(deadline, closed).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "tasks did not end in time");
        }
    }
}
