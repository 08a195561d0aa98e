//! What a task commits: batches of messages.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use snug_protocol::RoomId;
use tokio::time::Instant;

use super::super::super::append;
use super::super::transaction;
use super::{Awaited, Task};
use crate::StoreError;
use crate::sql::Scope;
use crate::sql::batch::{self, Draft, Waiting};
use crate::sql::error::{is_conflict, is_lock_timeout};

/// How long a message waits, before or in its turn, for a room that somebody else has locked. Longer than the server lets a silent client
/// hold it.
const ROOM_PATIENCE: Duration = Duration::from_secs(8);

/// The answers to a batch; `None` for what must come again.
type Answers = Result<Vec<Option<append::Answer>>, StoreError>;

impl Task {
    /// Commits the next batch, as far as may be without locks, and then the rest; a room goes one way as a whole, so that its order is kept.
    /// How many messages there were.
    pub(super) async fn commit_batch(&mut self) -> usize {
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
                self.shared.metrics.remembered.add(done.remembered as u64);
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
        let (recent, batch) = (self.recent.clone(), Arc::clone(drafts));
        let connection = self.connection.as_mut().expect("it was just opened");
        let done = transaction::append(connection, |connection| {
            Box::pin(async move { append::append_at_once(connection, &batch, &recent).await })
        });
        let (result, is_usable) = done.await;
        if result.is_err() {
            // What of it was written is not known.
            self.recent.forget_all();
        }
        (result, is_usable)
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
        drafts.iter().for_each(|draft| self.recent.lock().forget(draft.envelope.header().room));
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
