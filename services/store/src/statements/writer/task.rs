//! One task that writes.

mod committing;

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use snug_protocol::RoomId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::super::Connection;
use super::super::open::Opener;
use super::{APPENDS_IN_HAND_MAX, QUEUE_LIMIT, Shared, Ways, Write, too_many};
use crate::StoreError;
use crate::calling::Called;
use crate::sql::batch::{self, Waiting};
use crate::sql::contended::Contended;
use crate::sql::recent::SharedRecent;

/// Other writes between two batches of messages, one more for so many messages of the batch, and how long they may take together before the
/// last of them, unless the batch took longer.
const WRITES_A_TURN: usize = 4;
const MESSAGES_A_WRITE: usize = 256;
const TURN_LIMIT: Duration = Duration::from_millis(50);
/// How long nothing is tried after a connection could not be opened; twice as long each time.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Messages that are a batch worth its cost: with so many in the queue none waits for more. What is left in senders' sockets is not seen.
const GATHERED_ENOUGH: usize = batch::MESSAGES_MAX / 2;
/// How often a task that gathers looks how many there are, and whether it still is to.
const GATHERING_LOOK: Duration = Duration::from_millis(10);

/// How long a batch waits at most for those whom it has called, and no longer than it gathers. Of some sixty sessions all have handed over
/// what they have after 5 ms on a busy node, and after 30 nearly always.
const HAND_OVER_LIMIT: Duration = Duration::from_millis(50);

/// A connection that was used this short a time ago need not show that it still leads to the database.
const FRESH: Duration = Duration::from_secs(1);

/// A room that somebody else had locked.
#[derive(Clone, Copy)]
struct Awaited {
    room: RoomId,
    /// It has just been waited for in vain: the next batch sees to others.
    rests: bool,
}

/// Since the last connection could not be opened.
struct Away {
    until: Instant,
    pause: Duration,
}

/// What a task is given to do.
pub(super) struct Queues {
    pub appends: mpsc::Receiver<Waiting>,
    pub writes: mpsc::Receiver<Write>,
    /// Who has messages for the next batch and hands them over when it begins.
    pub called: Called,
    /// What the task remembers, and others add to.
    pub recent: SharedRecent,
}

pub(super) struct Task {
    appends: mpsc::Receiver<Waiting>,
    writes: mpsc::Receiver<Write>,
    called: Called,
    /// Taken from the queue, in order, and not yet committed.
    waiting: VecDeque<Waiting>,
    /// The room that the last batch found locked by somebody else: the next one waits for it, for a moment.
    awaited: Option<Awaited>,
    /// The rooms that are locked before they are read.
    contended: Contended,
    /// What batches without locks have left, and what was heard since.
    recent: SharedRecent,
    /// `None` after a failure, until the next work.
    connection: Option<Connection>,
    used_at: Instant,
    away: Option<Away>,
    /// When the last batch began, and when those were last called who waited for one.
    batch_began: Option<Instant>,
    called_at: Option<Instant>,
    ways: Ways,
    shared: Shared,
    /// Dropped last: whoever waits for the end finds the database closed and its lock free.
    _ended: DropGuard,
}

impl Task {
    pub fn new(
        Queues { appends, writes, called, recent }: Queues,
        connection: Connection,
        ways: Ways,
        shared: Shared,
        ended: DropGuard,
    ) -> Self {
        Self {
            appends,
            writes,
            called,
            waiting: VecDeque::new(),
            awaited: None,
            contended: Contended::default(),
            recent,
            connection: Some(connection),
            used_at: Instant::now(),
            away: None,
            batch_began: None,
            called_at: None,
            ways,
            shared,
            _ended: ended,
        }
    }

    pub async fn run(mut self) {
        loop {
            if self.shared.stop.is_cancelled() {
                self.appends.close();
                self.writes.close();
                self.called.close();
            }
            if !self.waiting.is_empty() {
                self.take_in_all().await;
            } else if !self.wait().await {
                break;
            }
            let began = Instant::now();
            let messages = self.commit_batch().await;
            self.run_writes(WRITES_A_TURN + messages / MESSAGES_A_WRITE, began.elapsed().max(TURN_LIMIT)).await;
        }
        // Before the writer's own connection, so that its last work finds nobody in the way.
        self.ways.readers.close().await;
        if let Some(connection) = self.connection.take() {
            self.ways.opener.finish(connection).await;
        }
    }

    /// Waits for work and does it if it is not a message; false when there will be none. Once told to stop, or when every handle is
    /// gone, the queues are emptied and that is all.
    async fn wait(&mut self) -> bool {
        let stop = self.shared.stop.clone();
        tokio::select! {
            biased;
            // Closed queues are emptied first, and then there is no branch left but the last.
            () = stop.cancelled(), if !self.appends.is_closed() => {}
            Some(waiting) = self.appends.recv() => {
                self.take_in(waiting);
                // Those whose messages were just committed send their next ones now: let them, they fit into this commit.
                tokio::task::yield_now().await;
                self.gather().await;
                self.take_in_all().await;
            }
            true = self.called.some_wait() => {
                self.gather().await;
                self.take_in_all().await;
            }
            Some(write) = self.writes.recv() => self.run_write(write).await,
            else => return false,
        }
        true
    }

    /// Waits until the next batch may begin, and sees to other writes meanwhile.
    async fn gather(&mut self) {
        let stop = self.shared.stop.clone();
        loop {
            // Who only waits is called no more often than batches begin; a message waits for the last batch and for no call.
            let has_messages = !self.waiting.is_empty() || !self.appends.is_empty();
            let began = if has_messages { self.batch_began } else { self.batch_began.max(self.called_at) };
            let Some(began) = began else { return };
            let (now, moment) = (Instant::now(), began + self.shared.gathers());
            if self.appends.len() >= GATHERED_ENOUGH || moment <= now {
                return;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(moment.min(now + GATHERING_LOOK)) => {}
                Some(write) = self.writes.recv() => self.run_write(write).await,
            }
        }
    }

    /// What has come, and what those have who wait for the batch.
    async fn take_in_all(&mut self) {
        self.call().await;
        self.take_queued();
    }

    /// Has those who wait for the batch hand over what they have, and sees to other writes meanwhile. A batch that is large without that does
    /// not wait for it.
    async fn call(&mut self) {
        let mut handing_over = self.called.call();
        self.called_at = Some(Instant::now());
        if self.waiting.len() + self.appends.len() >= GATHERED_ENOUGH {
            return;
        }
        let mut limit = pin!(tokio::time::sleep(self.shared.gathers().min(HAND_OVER_LIMIT)));
        loop {
            tokio::select! {
                biased;
                () = handing_over.end() => return,
                () = &mut limit => return,
                Some(write) = self.writes.recv() => self.run_write(write).await,
            }
        }
    }

    fn take_queued(&mut self) {
        let mut refused = 0;
        while self.waiting.len() < APPENDS_IN_HAND_MAX {
            let Ok(waiting) = self.appends.try_recv() else { break };
            refused += usize::from(!self.take_in(waiting));
        }
        if refused > 0 {
            tracing::warn!(
                messages = refused,
                "more is sent than the database takes: what has waited for long is refused"
            );
        }
    }

    /// Takes a message from the queue, or refuses it.
    fn take_in(&mut self, waiting: Waiting) -> bool {
        let is_late = is_late(waiting.since.elapsed(), self.appends.len());
        if is_late {
            let _ = waiting.answer.send(Err(too_many().into()));
        } else {
            self.waiting.push_back(waiting);
        }
        !is_late
    }

    async fn run_writes(&mut self, writes: usize, limit: Duration) {
        let began = Instant::now();
        for _ in 0..writes {
            if began.elapsed() > limit {
                break;
            }
            let Ok(write) = self.writes.try_recv() else { break };
            self.run_write(write).await;
        }
    }

    async fn run_write(&mut self, write: Write) {
        let is_usable = write(self.connection().await).await;
        self.keep(is_usable).await;
    }

    /// The connection, a new one after a failure. While the database does not let one in, most work is refused at once.
    async fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if let Some(connection) = &mut self.connection
            && self.used_at.elapsed() > FRESH
            && !Opener::is_alive(connection).await
        {
            // Nobody's work was lost with it, so nobody need hear of it.
            self.connection = None;
        }
        if self.connection.is_none() {
            if self.away.as_ref().is_some_and(|away| Instant::now() < away.until) {
                return Err(StoreError::unavailable("the database is away"));
            }
            match self.ways.opener.connect().await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.recent.forget_all();
                }
                Err(error) => {
                    let pause = self.away.take().map_or(PAUSE_FIRST, |away| (away.pause * 2).min(PAUSE_MAX));
                    tracing::warn!(%error, pause_ms = pause.as_millis(), "no connection to the database");
                    self.away = Some(Away { until: Instant::now() + pause, pause });
                    return Err(error.into());
                }
            }
            if self.away.take().is_some() {
                tracing::info!("the database is back");
            }
        }
        Ok(self.connection.as_mut().expect("it was opened above if it was not there"))
    }

    /// Throws the connection away unless it is usable: closing it ends whatever it had begun.
    async fn keep(&mut self, is_usable: bool) {
        self.used_at = Instant::now();
        if !is_usable && let Some(connection) = self.connection.take() {
            Opener::discard(connection).await;
        }
    }
}

/// Whether a message has waited for so long that it is refused. Not where few are behind it: after a standstill they are soon done.
fn is_late(waited: Duration, behind: usize) -> bool {
    waited > QUEUE_LIMIT && behind >= APPENDS_IN_HAND_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_waited_for_long_are_refused_only_while_more_wait_than_are_soon_done() {
        let (long, short) = (QUEUE_LIMIT + Duration::from_millis(1), QUEUE_LIMIT);
        assert!(is_late(long, APPENDS_IN_HAND_MAX));
        assert!(!is_late(long, APPENDS_IN_HAND_MAX - 1) && !is_late(short, APPENDS_IN_HAND_MAX));
    }
}
