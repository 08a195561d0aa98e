//! The one task that writes: SQLite has one writer at a time, and a queue of ours is fair where its lock is not.
//!
//! Group commit needs no timer: the first message is committed at once, and what arrives while that commit is in flight is the next
//! batch. Other writes are a transaction each and take turns with the batches.

use std::collections::VecDeque;
use std::fs::File;
use std::pin::Pin;
use std::time::Duration;

use snug_protocol::Envelope;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, SqlitePool};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::append;
use super::batch::{self, Draft, Waiting};
use crate::{AppendError, Appended, StoreError};

/// Messages in the queue, and as many again in the writer's hands.
const APPENDS_QUEUED_MAX: usize = 2048;
/// Other writes in the queue.
const WRITES_QUEUED_MAX: usize = 1024;
/// Other writes between two batches of messages.
const WRITES_A_TURN: usize = 16;
/// How long a caller waits for a place in a full queue.
const QUEUE_LIMIT: Duration = Duration::from_secs(5);

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A transaction and its answer. Returns whether the connection may be used again.
type Write =
    Box<dyn for<'c> FnOnce(Result<&'c mut SqliteConnection, StoreError>) -> BoxFuture<'c, bool> + Send + 'static>;

/// The handle to the writer. The task ends when it is told to close, or when the handle is dropped.
pub(super) struct Writer {
    appends: mpsc::Sender<Waiting>,
    writes: mpsc::Sender<Write>,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Writer {
    /// Starts the task on `connection`, which it owns like `lock`; `options` are to open another after a failure.
    pub fn start(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        readers: SqlitePool,
        lock: File,
        tasks: &TaskTracker,
    ) -> Self {
        let (append_queue, appends) = mpsc::channel(APPENDS_QUEUED_MAX);
        let (write_queue, writes) = mpsc::channel(WRITES_QUEUED_MAX);
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let task = Task {
            appends,
            writes,
            waiting: VecDeque::new(),
            connection: Some(connection),
            options,
            readers,
            stop: stop.clone(),
            _lock: lock,
            _ended: ended.clone().drop_guard(),
        };
        tasks.spawn(task.run());
        Self { appends: append_queue, writes: write_queue, stop, ended }
    }

    /// Whether the task is gone, closed or crashed.
    pub fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Refuses new work and waits until what was queued is done.
    pub async fn close(&self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }

    /// Queues a message and waits until it is committed. Once queued, dropping the future does not take it back.
    pub async fn append(&self, envelope: Envelope) -> Result<Appended, AppendError> {
        let (answer, answered) = oneshot::channel();
        let hash = envelope.hash();
        let waiting = Waiting { draft: Draft { envelope, hash }, answer };
        self.appends.send_timeout(waiting, QUEUE_LIMIT).await.map_err(|error| refused(&error))?;
        answered.await.map_err(|_| StoreError::closed())?
    }

    /// Runs `work` in a transaction: committed if it returns `Ok`, rolled back else. Once queued, dropping the future does not stop it.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let write = write(work, answer);
        self.writes.send_timeout(write, QUEUE_LIMIT).await.map_err(|error| refused(&error))?;
        answered.await.map_err(|_| StoreError::closed())?
    }

    /// Runs `work` as [`Writer::write`] does, some time and without an answer; not at all when too much is waiting.
    pub fn write_unless_busy<F>(&self, work: F)
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<(), StoreError>> + Send + 'static,
    {
        let (answer, _) = oneshot::channel();
        if self.writes.try_send(write(work, answer)).is_err() {
            tracing::debug!("a write that may wait was left out");
        }
    }
}

fn refused<T>(error: &mpsc::error::SendTimeoutError<T>) -> StoreError {
    match error {
        mpsc::error::SendTimeoutError::Timeout(_) => StoreError::unavailable("too many writes are waiting"),
        mpsc::error::SendTimeoutError::Closed(_) => StoreError::closed(),
    }
}

fn write<T, E, F>(work: F, answer: oneshot::Sender<Result<T, E>>) -> Write
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
{
    Box::new(move |connection| {
        Box::pin(async move {
            let (result, is_usable) = match connection {
                Ok(connection) => transaction(connection, work).await,
                Err(error) => (Err(error.into()), true),
            };
            // Whoever asked may have gone; the work is done all the same.
            let _ = answer.send(result);
            is_usable
        })
    })
}

/// Runs `work` between `begin immediate` and `commit`, or `rollback`. Also returns whether the connection is out of the transaction.
///
/// Not sqlx's transaction: SQLite ends a transaction by itself after some errors, and a count that does not notice would go wrong.
async fn transaction<T, E, F>(connection: &mut SqliteConnection, work: F) -> (Result<T, E>, bool)
where
    E: From<StoreError>,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>>,
{
    if let Err(error) = run(connection, "begin immediate").await {
        return (Err(error.into()), false);
    }
    let result = match work(&mut *connection).await {
        Ok(done) => run(connection, "commit").await.map(|()| done).map_err(E::from),
        Err(error) => Err(error),
    };
    let is_usable = result.is_ok() || run(connection, "rollback").await.is_ok();
    (result, is_usable)
}

async fn run(connection: &mut SqliteConnection, statement: &'static str) -> Result<(), StoreError> {
    sqlx::query(statement).execute(connection).await?;
    Ok(())
}

struct Task {
    appends: mpsc::Receiver<Waiting>,
    writes: mpsc::Receiver<Write>,
    /// Taken from the queue, in order, and not yet committed.
    waiting: VecDeque<Waiting>,
    /// `None` after a failure, until the next work.
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    readers: SqlitePool,
    stop: CancellationToken,
    /// Keeps other processes out until the last write is done.
    _lock: File,
    /// Dropped last: whoever waits for the end finds the database closed and the lock free.
    _ended: DropGuard,
}

impl Task {
    async fn run(mut self) {
        loop {
            if self.stop.is_cancelled() {
                self.appends.close();
                self.writes.close();
            }
            if !self.waiting.is_empty() {
                self.take_queued();
            } else if !self.wait().await {
                break;
            }
            self.commit_batch().await;
            self.run_writes().await;
        }
        self.readers.close().await;
        if let Some(mut connection) = self.connection.take() {
            if let Err(error) = run(&mut connection, "pragma wal_checkpoint(truncate)").await {
                tracing::warn!(%error, "the last checkpoint failed; the next start makes up for it");
            }
            let _ = connection.close().await;
        }
    }

    /// Waits for work and does it if it is not a message; false when there will be none. Once told to stop, or when every handle is
    /// gone, the queues are emptied and that is all.
    async fn wait(&mut self) -> bool {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            // Closed queues are emptied first, and then there is no branch left but the last.
            () = stop.cancelled(), if !self.appends.is_closed() => {}
            Some(waiting) = self.appends.recv() => {
                self.waiting.push_back(waiting);
                // Those whose messages were just committed send their next ones now: let them, they fit into this commit.
                tokio::task::yield_now().await;
                self.take_queued();
            }
            Some(write) = self.writes.recv() => self.run_write(write).await,
            else => return false,
        }
        true
    }

    fn take_queued(&mut self) {
        while self.waiting.len() < APPENDS_QUEUED_MAX {
            let Ok(waiting) = self.appends.try_recv() else { break };
            self.waiting.push_back(waiting);
        }
    }

    async fn commit_batch(&mut self) {
        let batch = batch::take(&mut self.waiting);
        if batch.is_empty() {
            return;
        }
        let (drafts, senders): (Vec<Draft>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.draft, waiting.answer)).unzip();
        let (result, is_usable) = match self.connection().await {
            Ok(connection) => transaction(connection, |connection| Box::pin(append::append(connection, drafts))).await,
            Err(error) => (Err(error), true),
        };
        match result {
            Ok(answers) => {
                for (sender, answer) in senders.into_iter().zip(answers) {
                    let _ = sender.send(answer);
                }
            }
            Err(error) => {
                tracing::warn!(%error, messages = senders.len(), "a batch was not committed");
                for sender in senders {
                    let _ = sender.send(Err(error.clone().into()));
                }
            }
        }
        self.keep(is_usable).await;
    }

    async fn run_writes(&mut self) {
        for _ in 0..WRITES_A_TURN {
            let Ok(write) = self.writes.try_recv() else { break };
            self.run_write(write).await;
        }
    }

    async fn run_write(&mut self, write: Write) {
        let is_usable = write(self.connection().await).await;
        self.keep(is_usable).await;
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        Ok(self.connection.as_mut().expect("it was opened above if it was not there"))
    }

    /// Throws the connection away unless it is usable: closing it ends whatever it had begun.
    async fn keep(&mut self, is_usable: bool) {
        if !is_usable && let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }
}
