//! One task that writes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use snug_protocol::RoomId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::super::open::Opener;
use super::super::{Connection, append};
use super::{APPENDS_IN_HAND_MAX, QUEUE_LIMIT, Shared, Ways, Write, too_many, transaction};
use crate::StoreError;
use crate::sql::Scope;
use crate::sql::batch::{self, Draft, Waiting};
use crate::sql::contended::Contended;
use crate::sql::error::{is_conflict, is_lock_timeout};
use crate::sql::recent::Recent;

/// Other writes between two batches of messages, one more for so many messages of the batch, and how long they may take together before the
/// last of them, unless the batch took longer.
const WRITES_A_TURN: usize = 4;
const MESSAGES_A_WRITE: usize = 256;
const TURN_LIMIT: Duration = Duration::from_millis(50);
/// How long nothing is tried after a connection could not be opened; twice as long each time.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Messages that are a batch worth its cost: with so many in the queue none waits for more.
const GATHERED_ENOUGH: usize = batch::MESSAGES_MAX / 4;

/// A connection that was used this short a time ago need not show that it still leads to the database.
const FRESH: Duration = Duration::from_secs(1);

/// How long a message waits, before or in its turn, for a room that somebody else has locked. Longer than the server lets a silent client
/// hold it.
const ROOM_PATIENCE: Duration = Duration::from_secs(8);

/// A room that somebody else had locked.
#[derive(Clone, Copy)]
struct Awaited {
    room: RoomId,
    /// It has just been waited for in vain: the next batch sees to others.
    rests: bool,
}

/// The answers to a batch; `None` for what must come again.
type Answers = Result<Vec<Option<append::Answer>>, StoreError>;

/// Since the last connection could not be opened.
struct Away {
    until: Instant,
    pause: Duration,
}

pub(super) struct Task {
    appends: mpsc::Receiver<Waiting>,
    writes: mpsc::Receiver<Write>,
    /// Taken from the queue, in order, and not yet committed.
    waiting: VecDeque<Waiting>,
    /// The room that the last batch found locked by somebody else: the next one waits for it, for a moment.
    awaited: Option<Awaited>,
    contended: Contended,
    /// What batches without locks have left.
    recent: Recent,
    /// `None` after a failure, until the next work.
    connection: Option<Connection>,
    used_at: Instant,
    away: Option<Away>,
    /// When the last batch began.
    batch_began: Option<Instant>,
    ways: Ways,
    shared: Shared,
    /// Dropped last: whoever waits for the end finds the database closed and its lock free.
    _ended: DropGuard,
}

impl Task {
    pub fn new(
        (appends, writes): (mpsc::Receiver<Waiting>, mpsc::Receiver<Write>),
        connection: Connection,
        ways: Ways,
        shared: Shared,
        ended: DropGuard,
    ) -> Self {
        Self {
            appends,
            writes,
            waiting: VecDeque::new(),
            awaited: None,
            contended: Contended::default(),
            recent: Recent::default(),
            connection: Some(connection),
            used_at: Instant::now(),
            away: None,
            batch_began: None,
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
            }
            if !self.waiting.is_empty() {
                self.take_queued();
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
                self.take_queued();
            }
            Some(write) = self.writes.recv() => self.run_write(write).await,
            else => return false,
        }
        true
    }

    /// Waits until the next batch may begin, and sees to other writes meanwhile.
    async fn gather(&mut self) {
        let (Some(began), stop) = (self.batch_began, self.shared.stop.clone()) else { return };
        let moment = began + self.shared.gathers();
        while self.appends.len() < GATHERED_ENOUGH && Instant::now() < moment {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(moment) => return,
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

    /// Commits the next batch, as far as may be without locks, and then the rest; a room goes one way as a whole, so that its order is kept.
    /// How many messages there were.
    async fn commit_batch(&mut self) -> usize {
        let batch = batch::take(&mut self.waiting);
        let messages = batch.len();
        let (awaited, resting) = match self.awaited.take() {
            Some(Awaited { room, rests: true }) => (None, BTreeSet::from([room])),
            Some(Awaited { room, rests: false }) => (Some(room), BTreeSet::new()),
            None => (None, BTreeSet::new()),
        };
        let (mut left, batch) = parted(batch, &resting);
        if !batch.is_empty() {
            self.batch_began = Some(Instant::now());
            // A batch for one room has nothing else to do than to wait for it.
            let is_of_one_room = batch.iter().all(|waiting| room_of(waiting) == room_of(&batch[0]));
            let awaited = awaited.or_else(|| is_of_one_room.then(|| room_of(&batch[0])));
            let locked_rooms = self.rooms_to_lock(&batch);
            let (mut with_locks, at_once) = parted(batch, &locked_rooms);
            let (needing_locks, mut again) = self.commit_at_once(at_once).await;
            with_locks.extend(needing_locks);
            left.append(&mut self.commit_under_locks(with_locks, awaited).await);
            left.append(&mut again);
        }
        if let Some(room) = resting.first() {
            self.awaited = Some(Awaited { room: *room, rests: false });
        }
        let mut left = VecDeque::from(left);
        left.append(&mut self.waiting);
        self.waiting = left;
        messages
    }

    /// The rooms of a batch that are locked before they are read.
    fn rooms_to_lock(&mut self, batch: &[Waiting]) -> BTreeSet<RoomId> {
        if self.contended.is_empty() {
            return BTreeSet::new();
        }
        let rooms: BTreeSet<RoomId> = batch.iter().map(room_of).collect();
        rooms.into_iter().filter(|room| self.contended.take_turn(*room)).collect()
    }

    /// Commits messages without locks on rooms. What needs them after all, and what is to come again.
    async fn commit_at_once(&mut self, batch: Vec<Waiting>) -> (Vec<Waiting>, Vec<Waiting>) {
        if batch.is_empty() {
            return (Vec::new(), batch);
        }
        let (began, drafts) = self.begin(&batch);
        let (result, is_usable) = match self.connection().await {
            Ok(_) => self.append_at_once(&drafts).await,
            Err(error) => (Err(error), true),
        };
        self.shared.metrics.commits.observe(began.elapsed());
        self.keep(is_usable).await;
        match result {
            Ok(done) => {
                done.contended.into_iter().for_each(|room| self.contended.note(room));
                let left = answer(batch, done.answers);
                parted(left, &done.to_be_locked)
            }
            Err(error) if is_usable && (is_conflict(&error) || is_lock_timeout(&error)) => (batch, Vec::new()),
            Err(error) => {
                let answers = failed(&batch, false, None, &error);
                (Vec::new(), answer(batch, answers))
            }
        }
    }

    async fn append_at_once(&mut self, drafts: &Arc<[Draft]>) -> (Result<append::Done, StoreError>, bool) {
        // Lost, as is right, when the database fails in between.
        let (mut recent, batch) = (std::mem::take(&mut self.recent), Arc::clone(drafts));
        let connection = self.connection.as_mut().expect("it was just opened");
        let done = transaction::append(connection, |connection| {
            Box::pin(async move {
                let done = append::append_at_once(connection, &batch, &mut recent).await?;
                Ok((done, recent))
            })
        });
        let (result, is_usable) = done.await;
        let done = result.map(|(done, recent)| {
            self.recent = recent;
            done
        });
        (done, is_usable)
    }

    /// Commits messages under locks on their rooms, after waiting for `awaited` for a moment. Those of rooms that somebody else is writing to
    /// are returned, and the first of those rooms is waited for next time, and left alone the time after if that was in vain: a transaction
    /// waits only while it holds nothing, so none ever waits in a circle, and a room that is held for long keeps hardly anybody waiting but
    /// its own senders.
    async fn commit_under_locks(&mut self, batch: Vec<Waiting>, awaited: Option<RoomId>) -> Vec<Waiting> {
        if batch.is_empty() {
            return batch;
        }
        let awaited = awaited.filter(|room| batch.iter().any(|waiting| room_of(waiting) == *room));
        let (began, drafts) = self.begin(&batch);
        let (result, is_usable) = match self.connection().await {
            Ok(_) => self.append_under_locks(&drafts, awaited).await,
            Err(error) => (Err(error), true),
        };
        self.shared.metrics.commits.observe(began.elapsed());
        let locked = result.as_ref().is_err_and(is_lock_timeout).then(|| awaited.unwrap_or_else(|| room_of(&batch[0])));
        let given_up = locked.filter(|room| {
            let oldest = batch.iter().find(|waiting| room_of(waiting) == *room);
            oldest.is_some_and(|oldest| oldest.since.elapsed() > ROOM_PATIENCE)
        });
        let answers = result.unwrap_or_else(|error| failed(&batch, locked.is_some(), given_up, &error));
        let left = answer(batch, answers);
        left.iter().for_each(|waiting| self.contended.note(room_of(waiting)));
        self.awaited = left.first().map(|waiting| {
            let room = locked.filter(|_| given_up.is_none()).unwrap_or_else(|| room_of(waiting));
            Awaited { room, rests: locked.is_some() }
        });
        self.keep(is_usable).await;
        left
    }

    /// The answers to a batch, and whether the connection may be used again.
    async fn append_under_locks(&mut self, drafts: &Arc<[Draft]>, awaited: Option<RoomId>) -> (Answers, bool) {
        drafts.iter().for_each(|draft| self.recent.forget(draft.envelope.header().room));
        let connection = self.connection.as_mut().expect("it was just opened");
        transaction::run(connection, Scope::Batch, &|connection| {
            let drafts = Arc::clone(drafts);
            Box::pin(async move { append::append_free(connection, &drafts, awaited).await })
        })
        .await
    }

    /// Counts a batch, and returns when it began and what is in it.
    fn begin(&self, batch: &[Waiting]) -> (Instant, Arc<[Draft]>) {
        self.shared.metrics.batches.observe_things(batch.len());
        (Instant::now(), batch.iter().map(|waiting| waiting.draft.clone()).collect())
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
                Ok(connection) => (self.connection, self.recent) = (Some(connection), Recent::default()),
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

fn room_of(waiting: &Waiting) -> RoomId {
    waiting.draft.envelope.header().room
}

/// What is of these rooms, and what is not; both in order.
fn parted(batch: Vec<Waiting>, rooms: &BTreeSet<RoomId>) -> (Vec<Waiting>, Vec<Waiting>) {
    if rooms.is_empty() {
        return (Vec::new(), batch);
    }
    batch.into_iter().partition(|waiting| rooms.contains(&room_of(waiting)))
}

/// Gives the answers that there are. Whose is not, in order.
fn answer(batch: Vec<Waiting>, answers: Vec<Option<append::Answer>>) -> Vec<Waiting> {
    let mut left = Vec::new();
    for (waiting, answer) in batch.into_iter().zip(answers) {
        match answer {
            Some(answer) => {
                let _ = waiting.answer.send(answer);
            }
            None => left.push(waiting),
        }
    }
    left
}

/// The answers to a batch that was not committed. Where that is for a lock, all come again but those whose room is given up.
fn failed(
    batch: &[Waiting],
    is_locked: bool,
    given_up: Option<RoomId>,
    error: &StoreError,
) -> Vec<Option<append::Answer>> {
    let is_hit = |waiting: &Waiting| !is_locked || given_up == Some(room_of(waiting));
    let answers: Vec<_> = batch.iter().map(|waiting| is_hit(waiting).then(|| Err(error.clone().into()))).collect();
    let messages = answers.iter().flatten().count();
    if messages > 0 {
        tracing::warn!(%error, messages, "messages were not committed");
    }
    answers
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
