//! The tasks that write. Each has a connection of its own, and queues that are fair where a database's locks are not.
//!
//! Group commit needs no timer: the first message is committed at once, and what arrives while that commit is in flight is the next
//! batch. Only on a node that has more to do than it has time for is a batch held back, see [`Writer::gather`]; callers may leave there
//! what they have until it begins ([`calling`](crate::calling)). Other writes are a transaction each and take turns with the batches.
//! SQLite has one writer at a time and so one task; Postgres has several, and a room always goes to the same one: its order is kept, and a
//! node never waits for itself.

mod task;
mod transaction;

use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use snug_protocol::frame::EntryFrame;
use snug_protocol::{Envelope, RoomId, Seq};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::open::Opener;
use super::{Connection, Pool};
use crate::calling::{Callers, callers};
use crate::error::Failure;
use crate::sql::Scope;
use crate::sql::batch::{Draft, Waiting};
use crate::sql::recent::SharedRecent;
use crate::{AppendError, Appended, BeforeBatch, StoreError, StoreMetrics};

/// Messages in a task's queue; what comes then is refused. At 24 KiB each 1.6 GB, of at least 2,048 senders: each has 32 on their way.
const APPENDS_QUEUED_MAX: usize = 65_536;
/// Messages in a task's hands, for its next batches.
const APPENDS_IN_HAND_MAX: usize = 2048;
/// Other writes in a task's queue.
const WRITES_QUEUED_MAX: usize = 1024;
/// How long a message waits in a queue, if many others are behind it, and other work for a place in a full one.
const QUEUE_LIMIT: Duration = Duration::from_secs(5);

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A transaction and its answer. Returns whether the connection may be used again.
type Write = Box<dyn for<'c> FnOnce(Result<&'c mut Connection, StoreError>) -> BoxFuture<'c, bool> + Send + 'static>;

/// What the tasks and their handle share.
#[derive(Clone, Default)]
struct Shared {
    stop: CancellationToken,
    metrics: Arc<StoreMetrics>,
    gathers_us: Arc<AtomicU64>,
}

impl Shared {
    fn gathers(&self) -> Duration {
        Duration::from_micros(self.gathers_us.load(Ordering::Relaxed))
    }
}

/// The ways to the database that the tasks have: they keep its lock, and end with the last task.
#[derive(Clone)]
struct Ways {
    opener: Arc<Opener>,
    readers: Pool,
}

/// The handle to the tasks. They end when they are told to close, or when the handle is dropped.
pub(in super::super) struct Writer {
    lanes: Vec<Lane>,
    /// Which lane a room is in. Drawn at random: who chooses a room's id does not choose whom it keeps waiting.
    hasher: RandomState,
    shared: Shared,
}

/// The queues of one task.
///
/// Nobody waits for a place in that of messages: whoever did might be overtaken by their own next message, which finds one free. It holds
/// what its senders would hold else, and they have few messages on their way.
struct Lane {
    appends: mpsc::Sender<Waiting>,
    writes: mpsc::Sender<Write>,
    callers: Callers,
    recent: SharedRecent,
    ended: CancellationToken,
}

impl Lane {
    /// Queues a message for its answer. Those of one caller are in the queue in the order of their calls.
    fn append(&self, envelope: Envelope) -> Result<oneshot::Receiver<Result<Appended, AppendError>>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let hash = envelope.hash();
        let waiting = Waiting { draft: Draft { envelope, hash }, since: Instant::now(), answer };
        match self.appends.try_send(waiting) {
            Ok(()) => Ok(answered),
            Err(TrySendError::Full(_)) => Err(too_many()),
            Err(TrySendError::Closed(_)) => Err(StoreError::closed()),
        }
    }
}

impl Writer {
    /// Starts a task on each of `connections`; `opener` is to open another after a failure.
    pub fn start(connections: Vec<Connection>, opener: Opener, readers: &Pool, tasks: &TaskTracker) -> Self {
        let (shared, ways) = (Shared::default(), Ways { opener: Arc::new(opener), readers: readers.clone() });
        let lanes = connections.into_iter().map(|connection| {
            let (append_queue, appends) = mpsc::channel(APPENDS_QUEUED_MAX);
            let (write_queue, writes) = mpsc::channel(WRITES_QUEUED_MAX);
            let (callers, called) = callers();
            let ended = CancellationToken::new();
            let recent = SharedRecent::default();
            let queues = task::Queues { appends, writes, called, recent: recent.clone() };
            let task = task::Task::new(queues, connection, ways.clone(), shared.clone(), ended.clone().drop_guard());
            tasks.spawn(task.run());
            Lane { appends: append_queue, writes: write_queue, callers, recent, ended }
        });
        Self { lanes: lanes.collect(), hasher: RandomState::new(), shared }
    }

    pub const fn metrics(&self) -> &Arc<StoreMetrics> {
        &self.shared.metrics
    }

    /// From now on there is so long from the beginning of one batch of a task to that of the next, unless many messages wait already; and
    /// then those are called who wait for it. For a node that has more to do than it has time for: a batch costs much the same whatever is
    /// in it, and those that come when the last one has ended are small and many. The first message after a pause never waits.
    pub fn gather(&self, time: Duration) {
        self.shared.gathers_us.store(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Resolves when the task that writes to `room` is about to begin its next batch, which it does when it has gathered, for those who wait
    /// so if for no others.
    pub fn before_batch(&self, room: RoomId) -> Option<BeforeBatch> {
        self.lane(room).callers.before_batch()
    }

    /// The room's log is said to reach `newest`, and to have these entries, in their order.
    pub fn hear(&self, room: RoomId, newest: Seq, entries: &[EntryFrame]) {
        self.lane(room).recent.lock().hear(room, newest, entries, Instant::now());
    }

    /// How much is in the queues.
    pub fn waiting(&self) -> usize {
        let of = |lane: &Lane| {
            (lane.appends.max_capacity() - lane.appends.capacity())
                + (lane.writes.max_capacity() - lane.writes.capacity())
        };
        self.lanes.iter().map(of).sum()
    }

    /// Whether a task is gone, closed or crashed.
    pub fn has_ended(&self) -> bool {
        self.lanes.iter().any(|lane| lane.ended.is_cancelled())
    }

    /// Refuses new work and waits until what was queued is done.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        for lane in &self.lanes {
            lane.ended.cancelled().await;
        }
    }

    fn lane(&self, room: RoomId) -> &Lane {
        let lanes = self.lanes.len() as u64;
        &self.lanes[usize::try_from(self.hasher.hash_one(room) % lanes).expect("below the number of lanes")]
    }

    /// The lane of what belongs to no room: the one with the shortest queue.
    fn idlest_lane(&self) -> &Lane {
        self.lanes.iter().max_by_key(|lane| lane.writes.capacity()).expect("there is at least one lane")
    }

    /// Queues a message; what is returned waits until it is committed. Once queued, dropping it does not take the message back.
    ///
    /// There is one of these for each message that is on its way, so it is small: the message itself is in the queue.
    pub fn append(&self, envelope: Envelope) -> impl Future<Output = Result<Appended, AppendError>> + Send + use<> {
        let queued = self.lane(envelope.header().room).append(envelope);
        async move { queued?.await.map_err(|_| StoreError::closed())? }
    }

    /// Runs `work` in a transaction, after locking what `scope` names: committed if it returns `Ok`, rolled back else. It may run more
    /// than once, after a rollback. Once queued, dropping the future does not stop it.
    pub async fn write<T, E, F>(&self, scope: Scope, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: Failure + Send + 'static,
        F: for<'c> Fn(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + Sync + 'static,
    {
        let lane = match scope {
            Scope::Room(room) => self.lane(room),
            Scope::Batch | Scope::Elsewhere => self.idlest_lane(),
        };
        let (answer, answered) = oneshot::channel();
        let write = write(scope, work, answer);
        lane.writes.send_timeout(write, QUEUE_LIMIT).await.map_err(|error| refused(&error))?;
        answered.await.map_err(|_| StoreError::closed())?
    }

    /// Runs `work` as [`Writer::write`] does, some time and without an answer; not at all when too much is waiting.
    pub fn write_unless_busy<F>(&self, work: F)
    where
        F: for<'c> Fn(&'c mut Connection) -> BoxFuture<'c, Result<(), StoreError>> + Send + Sync + 'static,
    {
        let (answer, _) = oneshot::channel();
        if self.idlest_lane().writes.try_send(write(Scope::Elsewhere, work, answer)).is_err() {
            tracing::debug!("a write that may wait was left out");
        }
    }
}

fn refused<T>(error: &mpsc::error::SendTimeoutError<T>) -> StoreError {
    match error {
        mpsc::error::SendTimeoutError::Timeout(_) => too_many(),
        mpsc::error::SendTimeoutError::Closed(_) => StoreError::closed(),
    }
}

fn too_many() -> StoreError {
    StoreError::unavailable("too many writes are waiting")
}

fn write<T, E, F>(scope: Scope, work: F, answer: oneshot::Sender<Result<T, E>>) -> Write
where
    T: Send + 'static,
    E: Failure + Send + 'static,
    F: for<'c> Fn(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + Sync + 'static,
{
    Box::new(move |connection| {
        Box::pin(async move {
            let (result, is_usable) = match connection {
                Ok(connection) => transaction::run(connection, scope, &work).await,
                Err(error) => (Err(error.into()), true),
            };
            // Whoever asked may have gone; the work is done all the same.
            let _ = answer.send(result);
            is_usable
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::batch::tests::waiting;

    #[test]
    fn what_finds_the_queue_full_or_closed_is_refused_at_once_and_what_is_in_it_stays() {
        let (appends, mut queue) = mpsc::channel(2);
        let (writes, callers, ended) = (mpsc::channel(1).0, callers().0, CancellationToken::new());
        let lane = Lane { appends, writes, callers, recent: SharedRecent::default(), ended };
        let append = |counter| lane.append(waiting(1, counter, 256).draft.envelope);
        let answers = [0, 1, 2].map(append);
        assert!(answers[0].is_ok() && answers[1].is_ok());
        assert!(matches!(answers[2], Err(StoreError::Unavailable(_))), "{:?}", answers[2]);
        queue.close();
        assert!(append(2).is_err());
        let queued = std::iter::from_fn(|| queue.try_recv().ok()).map(|it| it.draft.envelope.header().counter);
        assert!(queued.eq([0, 1]));
    }
}
