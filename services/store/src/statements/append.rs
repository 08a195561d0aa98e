//! Group commit: read what decides, decide, write. A handful of statements, however many rooms and messages.
//!
//! A batch goes by what is remembered of its rooms ([`Recent`]) or read, and is written to those that are still so: what was decided holds if
//! the room is still that one, and its head and `access_version` are what they were, since whatever a decision depends on moves one of them.
//! But for two things, after which an entry is as good as just before: an erasure without a word in the log, for age or with its author's
//! removal, and somebody's coming in while the last owner leaves.
//!
//! So nothing needs a lock on its room ([`append_at_once`]), and what only makes logs longer is one statement in Postgres; where there is
//! more to write, that is the first of a transaction. Rooms that several nodes write to at once are never for long as they were: those are
//! locked before they are read ([`append_free`]). In SQLite the transaction is the lock on everything.

mod effects;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use snug_protocol::frame::EntryFrame;
use snug_protocol::{RoomId, Seq};
use tokio::time::Instant;

use super::texts::ENTRIES;
use super::{Connection, dialect, growth, locks};
use crate::sql::batch::Draft;
use crate::sql::growth::{EntryRow, Grown, Growth, Written};
use crate::sql::list::{Value, number};
use crate::sql::plan::{Decision, Plan, RoomState, Sender};
use crate::sql::recent::{Recent, SharedRecent};
use crate::{AppendError, Appended, StoreError};
use read::Known;

/// What becomes of a draft.
pub(super) type Answer = Result<Appended, AppendError>;

/// What keeps others from the rooms of a batch from before they are read until it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// The transaction.
    Transaction,
    Nothing,
}

/// Appends those of `drafts` whose rooms nobody else is writing to, having waited for `awaited`; inside a transaction. The answers are the
/// drafts', in their order; `None` is for those that must come again.
///
/// # Errors
/// The database failed, or `awaited` was not free in time: the transaction must be rolled back, and all of them with it.
pub(super) async fn append_free(
    connection: &mut Connection,
    drafts: &[Draft],
    awaited: Option<RoomId>,
) -> Result<Vec<Option<Answer>>, StoreError> {
    let free = locks::free_rooms(connection, awaited, distinct(drafts.iter().map(room_of))).await?;
    let ours: Vec<&Draft> = drafts.iter().filter(|draft| free.locked.contains(&room_of(draft))).collect();
    let done = append(connection, &ours, &SharedRecent::default(), Hold::Transaction).await?;
    if !done.contended.is_empty() {
        return Err(StoreError::unavailable("a room changed under its lock"));
    }
    let mut answers = done.answers.into_iter();
    let answer = |draft| {
        if free.missing.contains(&room_of(draft)) {
            return Some(Err(AppendError::NotAMember));
        }
        if free.locked.contains(&room_of(draft)) { answers.next().flatten() } else { None }
    };
    Ok(drafts.iter().map(answer).collect())
}

/// What came of a batch.
pub(super) struct Done {
    /// The drafts', in their order; `None` is for those that must come again.
    pub answers: Vec<Option<Answer>>,
    /// Rooms of those that were just read and not so any more.
    pub contended: BTreeSet<RoomId>,
    /// Rooms of those that are to be locked: these, and where something was refused that may not have to be. The others' were only not as
    /// remembered.
    pub to_be_locked: BTreeSet<RoomId>,
    /// How many were written to rooms that were not read for.
    pub remembered: usize,
}

/// Appends drafts without a lock on their rooms, as far as nobody writes to them meanwhile. In SQLite inside a transaction.
///
/// # Errors
/// The database failed. Nothing was written, or it is not known whether all was; `recent` is to be forgotten, and a transaction that was
/// begun to be rolled back.
pub(super) async fn append_at_once(
    connection: &mut Connection,
    drafts: &[Draft],
    recent: &SharedRecent,
) -> Result<Done, StoreError> {
    let hold = if dialect::BEGIN_LOCKS_ALL { Hold::Transaction } else { Hold::Nothing };
    append(connection, &drafts.iter().collect::<Vec<_>>(), recent, hold).await
}

async fn append(
    connection: &mut Connection,
    drafts: &[&Draft],
    recent: &SharedRecent,
    hold: Hold,
) -> Result<Done, StoreError> {
    let (decided, recalled) = decide_by(recent, connection, drafts).await?;
    let uncertain = if hold == Hold::Nothing { decided.refused_by_later_reads(drafts) } else { BTreeSet::new() };
    let outcome = write(connection, drafts, decided, hold, &uncertain).await?;
    let changed: BTreeSet<RoomId> = outcome.left_out.difference(&uncertain).copied().collect();
    {
        let mut recent = recent.lock();
        outcome.remember(drafts, &mut recent);
        changed.iter().for_each(|room| recent.doubt(*room));
    }
    let contended: BTreeSet<RoomId> = changed.difference(&recalled).copied().collect();
    let is_remembered =
        |(draft, answer): &(&&Draft, &Option<Answer>)| recalled.contains(&room_of(draft)) && answer.is_some();
    let remembered = drafts.iter().zip(&outcome.answers).filter(is_remembered).count();
    Ok(Done { to_be_locked: &contended | &uncertain, contended, answers: outcome.answers, remembered })
}

/// Decides on drafts by what is remembered of their rooms and what is read of the others. The rooms that are remembered.
async fn decide_by(
    recent: &SharedRecent,
    connection: &mut Connection,
    drafts: &[&Draft],
) -> Result<(Decided, BTreeSet<RoomId>), StoreError> {
    let senders = distinct(drafts.iter().map(|draft| sender(draft)));
    loop {
        let mut recollection = Plan::default();
        let recalled = recent.lock().recall(&senders, Instant::now(), &mut recollection);
        let others: Vec<&Draft> = drafts.iter().filter(|draft| !recalled.contains(&room_of(draft))).copied().collect();
        let mut plan = read::read(connection, &others).await?;
        {
            let recent = recent.lock();
            let proofs = plan.rooms.iter().filter_map(|(room, state)| Some((*room, recent.newest(*room, state)?)));
            plan.newest = proofs.collect();
        }
        plan.newest.extend(recollection.newest);
        plan.rooms.append(&mut recollection.rooms);
        plan.authors.extend(recollection.authors);
        plan.next.extend(recollection.next);
        let decided = decide(connection, drafts, plan).await?;
        // Nothing is written for these that would show whether the room is still as it was, or still that room.
        let unproven = drafts.iter().zip(&decided.decisions).filter(|(_, it)| !matches!(it, Decision::New(_)));
        let doubtful: Vec<RoomId> =
            unproven.map(|(draft, _)| room_of(draft)).filter(|it| recalled.contains(it)).collect();
        if doubtful.is_empty() {
            return Ok((decided, recalled));
        }
        let mut recent = recent.lock();
        doubtful.into_iter().for_each(|room| recent.forget(room));
    }
}

/// What is to become of drafts.
struct Decided {
    plan: Plan,
    /// The rooms as they were before.
    seen: BTreeMap<RoomId, RoomState>,
    /// The drafts', in their order.
    decisions: Vec<Decision>,
}

impl Decided {
    /// The rooms in which something was refused for what was read later than the rest: the same draft may have been written by another node
    /// in between, and what it is about been erased.
    fn refused_by_later_reads(&self, drafts: &[&Draft]) -> BTreeSet<RoomId> {
        let is_refused = |decision: &Decision| {
            use AppendError::{LastOwner, NotAllowed, TargetGone, TargetInvalid};
            matches!(decision, Decision::Refused(TargetInvalid | TargetGone | NotAllowed | LastOwner))
        };
        let refused = drafts.iter().zip(&self.decisions).filter(|(_, decision)| is_refused(decision));
        refused.map(|(draft, _)| room_of(draft)).collect()
    }
}

/// What became of drafts.
struct Outcome {
    /// The drafts', in their order. `None`: of a room that was left out.
    answers: Vec<Option<Answer>>,
    /// Rooms that somebody else wrote to, which nothing held, or of which it is not certain.
    left_out: BTreeSet<RoomId>,
    plan: Plan,
    seen: BTreeMap<RoomId, RoomState>,
}

impl Outcome {
    /// Keeps in mind how rooms stand that were written to.
    fn remember(&self, drafts: &[&Draft], recent: &mut Recent) {
        let senders = distinct(drafts.iter().map(|draft| sender(draft)));
        for senders in senders.chunk_by(|one, other| one.0 == other.0) {
            let room = senders[0].0;
            let was =
                self.seen.get(&room).filter(|was| self.plan.rooms.get(&room).is_some_and(|is| is.head > was.head));
            if let Some(was) = was.filter(|_| !self.left_out.contains(&room)) {
                recent.keep(room, was, senders, &self.plan, Instant::now());
            }
        }
    }
}

/// Decides on drafts in order, by what is read of their senders and rooms in `plan` and what they are about.
async fn decide(connection: &mut Connection, drafts: &[&Draft], mut plan: Plan) -> Result<Decided, StoreError> {
    read::read_targets(connection, drafts, &mut plan).await?;
    read::read_headcounts(connection, drafts, &mut plan).await?;
    let seen = plan.rooms.clone();
    let decisions = drafts.iter().map(|draft| plan.decide(draft.envelope.header())).collect();
    Ok(Decided { plan, seen, decisions })
}

/// Appends drafts as it was decided and applies their effects, but for the rooms that are `uncertain`. A refused one changes nothing.
async fn write(
    connection: &mut Connection,
    drafts: &[&Draft],
    Decided { plan, seen, decisions }: Decided,
    hold: Hold,
    uncertain: &BTreeSet<RoomId>,
) -> Result<Outcome, StoreError> {
    let mut new: Vec<(&Draft, Seq)> = Vec::with_capacity(drafts.len());
    for (draft, decision) in drafts.iter().zip(&decisions) {
        if let Decision::New(seq) = decision
            && !uncertain.contains(&room_of(draft))
        {
            new.push((*draft, *seq));
        }
    }
    new.sort_by_key(|(draft, seq)| (room_of(draft), *seq));
    let begins = hold == Hold::Nothing && plan.does_more_than_grow();
    if begins {
        sqlx::query(dialect::BEGIN).execute(&mut *connection).await?;
    }
    let (mut left_out, at_ms) = grow(connection, &plan, &seen, &new).await?;
    left_out.extend(uncertain);
    effects::write(connection, &plan, &left_out).await?;
    if begins {
        sqlx::query("commit").execute(&mut *connection).await?;
    }
    // Only now: what it repeats may stand in this batch, or have been erased by it.
    let known = read::read_known(connection, drafts, &decisions).await?;
    let answers = drafts.iter().zip(decisions).map(|(draft, decision)| {
        // What was decided about the others of such a room counted on those that were not written.
        let is_decided = !left_out.contains(&room_of(draft));
        is_decided.then(|| answer(draft, decision, &known, at_ms))
    });
    let answers = answers.collect();
    Ok(Outcome { answers, left_out, plan, seen })
}

/// Writes new entries and heads. The rooms that were left out, because they are not as they were `seen`, and the entries' time.
async fn grow(
    connection: &mut Connection,
    plan: &Plan,
    seen: &BTreeMap<RoomId, RoomState>,
    new: &[(&Draft, Seq)],
) -> Result<(BTreeSet<RoomId>, u64), StoreError> {
    if new.is_empty() {
        return Ok((BTreeSet::new(), plan.now_ms));
    }
    let rooms = distinct(new.iter().map(|(draft, _)| room_of(draft)));
    let grown =
        rooms.iter().map(|room| Grown { was: &seen[room], newest: plan.newest.get(room), room, is: &plan.rooms[room] });
    let growth = Growth {
        entries: new.iter().map(|new| entry_values(new, plan.now_ms)).collect(),
        rooms: grown.collect(),
        now_ms: plan.now_ms,
    };
    let Written { rooms: written, at_ms } = growth::write(connection, &growth).await?;
    Ok((rooms.into_iter().filter(|room| !written.contains(room)).collect(), at_ms))
}

fn answer(draft: &Draft, decision: Decision, known: &Known, at_ms: u64) -> Answer {
    match decision {
        Decision::New(seq) => {
            let frame = EntryFrame::new(seq, at_ms, draft.envelope.bytes());
            Ok(Appended { seq, at_ms, frame: Some(frame) })
        }
        Decision::Known => {
            let (seq, at_ms) = *known.get(&identity(draft)).and_then(Option::as_ref).ok_or(AppendError::Gone)?;
            Ok(Appended { seq, at_ms, frame: None })
        }
        Decision::Refused(why) => Err(why),
    }
}

fn room_of(draft: &Draft) -> RoomId {
    draft.envelope.header().room
}

fn sender(draft: &Draft) -> Sender {
    let header = draft.envelope.header();
    (header.room, header.device, header.instance)
}

fn identity(draft: &Draft) -> (Sender, u64) {
    (sender(draft), draft.envelope.header().counter)
}

/// Each value once, in order.
fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.collect::<BTreeSet<T>>().into_iter().collect()
}

fn entry_values<'d>((draft, seq): &(&'d Draft, Seq), at_ms: u64) -> EntryRow<'d> {
    let header = draft.envelope.header();
    [
        Value::Bytes(&header.room.0),
        number(seq.0),
        number(at_ms),
        Value::Number(i64::from(header.kind as u8)),
        Value::Bytes(&header.device.0),
        Value::Bytes(&header.instance.0),
        number(header.counter),
        number(header.target.0),
        Value::Bytes(&draft.hash.0),
        Value::Bytes(draft.envelope.bytes()),
    ]
}

/// Inserts entries without looking at them.
pub(super) async fn insert_entries(
    connection: &mut Connection,
    new: &[(&Draft, Seq)],
    at_ms: u64,
) -> Result<(), StoreError> {
    let rows: Vec<_> = new.iter().map(|new| entry_values(new, at_ms)).collect();
    Ok(ENTRIES.execute(connection, &rows).await?)
}
