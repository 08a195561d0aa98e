//! Group commit: read what decides, decide, write. A handful of statements, however many rooms and messages.
//!
//! A batch is written under locks, in a transaction ([`append_free`]), or, if it is plain messages, first without any: read, decide, and
//! write to those rooms that are still as they were read ([`append_at_once`]), in Postgres by one statement. So what the last batch left need
//! not be read again ([`Recent`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::Role;
use snug_protocol::{DeviceId, EntryKind, Header, HistoryId, InstanceId, RoomId, Seq};
use sqlx::Row as _;
use tokio::time::Instant;

use super::lists::Lists;
use super::texts::{ENTRIES, next_counter};
use super::{Connection, Row, growth, locks, row, tombstone};
use crate::rules::append::{Author, Headcount, Target, Terms};
use crate::sql::batch::Draft;
use crate::sql::growth::{EntryRow, Grown, Growth, Written};
use crate::sql::list::Kind::{Bytes, Number};
use crate::sql::list::{Value, number, stored};
use crate::sql::plan::{Decision, Plan, RoomState, Sender};
use crate::sql::recent::Recent;
use crate::{AppendError, Appended, Standing, StoreError};

/// Everything that decides on a sender's messages, in one statement. Lists of rows are joined and not compared with `in`: SQLite finds
/// rows of several columns by their key only in a join.
static SENDERS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Bytes, Bytes], |rows| {
        format!(
            "with asked (room, device, instance) as ({rows})
             select asked.room, asked.device, asked.instance, room.history, room.head, room.epoch, room.slow_ms, room.access_version,
                    member.state, member.role, coalesce(member.muted_until_ms, 0) as muted_until_ms,
                    coalesce(member.wrote_at_ms, 0) as wrote_at_ms, {next} as next, {now_ms} as now_ms
             from asked
             join room on room.room = asked.room
             left join member on member.room = asked.room and member.device = asked.device",
            next = next_counter!("asked.room", "asked.device", "asked.instance"),
            now_ms = now_ms!()
        )
    })
});
static KNOWN: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Bytes, Bytes, Number], |rows| {
        format!(
            "with asked (room, device, instance, counter) as ({rows})
             select entry.room, entry.device, entry.instance, entry.counter, entry.seq, entry.at_ms,
                    length(entry.envelope) = 76 as is_erased
             from asked join entry on entry.room = asked.room and entry.device = asked.device
                 and entry.instance = asked.instance and entry.counter = asked.counter"
        )
    })
});
/// What messages are about.
static TARGETS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Number], |rows| {
        format!(
            "with asked (room, seq) as ({rows})
             select asked.room, asked.seq, entry.kind, entry.device, length(entry.envelope) = 76 as is_erased,
                    coalesce(member.role, 3) as role
             from asked join entry on entry.room = asked.room and entry.seq = asked.seq
             left join member on member.room = entry.room and member.device = entry.device"
        )
    })
});
const HEADCOUNT: &str = "select count(*) as members, count(*) filter (where role = 1) as owners
     from member where room = $1 and state = 1";
/// Where an entry that was appended before stands; `None` if it has been erased.
type Known = HashMap<(Sender, u64), Option<(Seq, u64)>>;

/// What becomes of a draft.
pub(super) type Answer = Result<Appended, AppendError>;

/// Appends those of `drafts` whose rooms nobody else is writing to, having waited for `awaited`. The answers are the drafts', in their
/// order; `None` is for those that must come again.
///
/// # Errors
/// As [`append`]; or `awaited` was not free in time.
pub(super) async fn append_free(
    connection: &mut Connection,
    drafts: &[Draft],
    awaited: Option<RoomId>,
) -> Result<Vec<Option<Answer>>, StoreError> {
    let free = locks::free_rooms(connection, awaited, distinct(drafts.iter().map(room_of))).await?;
    let ours: Vec<&Draft> = drafts.iter().filter(|draft| free.locked.contains(&room_of(draft))).collect();
    let plan = read(connection, &ours).await?;
    let decided = decide(connection, &ours, plan).await?;
    let done = write(connection, &ours, decided, Hold::Locks).await?;
    let mut answers = done.answers.into_iter();
    let answer = |draft| {
        if free.missing.contains(&room_of(draft)) {
            return Some(Err(AppendError::NotAMember));
        }
        if free.locked.contains(&room_of(draft)) { answers.next().flatten() } else { None }
    };
    Ok(drafts.iter().map(answer).collect())
}

/// What came of a batch without locks.
pub(super) struct AtOnce {
    /// The drafts', in their order; `None` is for those that must come again.
    pub answers: Vec<Option<Answer>>,
    /// Some of those with locks; the others' rooms were only not as remembered, and are going to be read.
    pub needs_locks: bool,
}

/// Appends messages without a lock on their rooms, as far as nobody writes to them meanwhile: what was decided
/// holds if the room is still that one, and its head and `access_version` are what they were: whatever a decision depends on
/// moves one of them. So it does not matter whether they were read just now or are what the last batch left.
///
/// # Errors
/// The database failed. Nothing was written, or it is not known whether all was; `recent` is to be forgotten.
pub(super) async fn append_at_once(
    connection: &mut Connection,
    drafts: &[Draft],
    recent: &mut Recent,
) -> Result<AtOnce, StoreError> {
    let drafts: Vec<&Draft> = drafts.iter().collect();
    let (decided, recalled) = decide_by(recent, connection, &drafts).await?;
    if decided.plan.does_more_than_grow() {
        return Ok(AtOnce { answers: drafts.iter().map(|_| None).collect(), needs_locks: true });
    }
    let done = write(connection, &drafts, decided, Hold::Nothing).await?;
    done.remember(&drafts, recent);
    done.left_out.iter().for_each(|room| recent.doubt(*room));
    let needs_locks = !done.left_out.is_subset(&recalled);
    Ok(AtOnce { answers: done.answers, needs_locks })
}

/// Decides on drafts by what is remembered of their rooms and what is read of the others. The rooms that are remembered.
async fn decide_by(
    recent: &mut Recent,
    connection: &mut Connection,
    drafts: &[&Draft],
) -> Result<(Decided, BTreeSet<RoomId>), StoreError> {
    let senders = distinct(drafts.iter().map(|draft| sender(draft)));
    loop {
        let mut recollection = Plan::default();
        let recalled = recent.recall(&senders, Instant::now(), &mut recollection);
        let others: Vec<&Draft> = drafts.iter().filter(|draft| !recalled.contains(&room_of(draft))).copied().collect();
        let mut plan = read(connection, &others).await?;
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
        doubtful.into_iter().for_each(|room| recent.forget(room));
    }
}

/// Whether a batch may go by [`append_at_once`]. What is about another entry, or changes more than the log, depends on rows that can
/// change while the room's own stays.
pub(super) fn can_go_at_once(kind: EntryKind) -> bool {
    kind == EntryKind::Message
}

/// What keeps others from the rooms of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Locks, until the transaction ends.
    Locks,
    Nothing,
}

/// What is to become of drafts.
struct Decided {
    plan: Plan,
    /// The rooms as they were before.
    seen: BTreeMap<RoomId, RoomState>,
    /// The drafts', in their order.
    decisions: Vec<Decision>,
}

/// What became of drafts.
struct Done {
    /// The drafts', in their order. `None`: somebody else wrote to the room, which nothing held.
    answers: Vec<Option<Answer>>,
    /// The rooms of those.
    left_out: BTreeSet<RoomId>,
    plan: Plan,
    seen: BTreeMap<RoomId, RoomState>,
}

impl Done {
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
    read_targets(connection, drafts, &mut plan).await?;
    read_headcounts(connection, drafts, &mut plan).await?;
    let seen = plan.rooms.clone();
    let decisions = drafts.iter().map(|draft| plan.decide(draft.envelope.header())).collect();
    Ok(Decided { plan, seen, decisions })
}

/// Appends drafts as it was decided and applies their effects. A refused one changes nothing.
///
/// # Errors
/// The database failed: the transaction must be rolled back, and all of them with it.
async fn write(
    connection: &mut Connection,
    drafts: &[&Draft],
    Decided { plan, seen, decisions }: Decided,
    hold: Hold,
) -> Result<Done, StoreError> {
    let mut new: Vec<(&Draft, Seq)> = Vec::with_capacity(drafts.len());
    for (draft, decision) in drafts.iter().zip(&decisions) {
        if let Decision::New(seq) = decision {
            new.push((*draft, *seq));
        }
    }
    new.sort_by_key(|(draft, seq)| (room_of(draft), *seq));
    let (left_out, at_ms) = grow(connection, &plan, &seen, &new).await?;
    if hold == Hold::Locks {
        if !left_out.is_empty() {
            return Err(StoreError::unavailable("a room changed under its lock"));
        }
        write_effects(connection, &plan).await?;
    }
    // Only now: what it repeats may stand in this batch, or have been erased by it.
    let known = read_known(connection, drafts, &decisions).await?;
    let answers = drafts.iter().zip(decisions).map(|(draft, decision)| {
        // What was decided about the others of such a room counted on those that were not written.
        let is_decided = !left_out.contains(&room_of(draft));
        is_decided.then(|| answer(draft, decision, &known, at_ms))
    });
    let answers = answers.collect();
    Ok(Done { answers, left_out, plan, seen })
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
    let grown = rooms.iter().map(|room| {
        let place = |state: &RoomState| (state.head, state.access_version);
        Grown { room, history: &seen[room].history, was: place(&seen[room]), is: place(&plan.rooms[room]) }
    });
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

/// Reads rooms, memberships and next counters of everyone in the batch, and the time. Senders to rooms that are not there are missing.
async fn read(connection: &mut Connection, drafts: &[&Draft]) -> Result<Plan, StoreError> {
    let mut plan = Plan::default();
    let senders = distinct(drafts.iter().map(|draft| sender(draft)));
    let asked: Vec<_> = senders.iter().map(|sender| sender_values(sender)).collect();
    for row in SENDERS.fetch_all(connection, &asked).await? {
        let (room, device, instance) = sender_of(&row)?;
        let state = RoomState {
            history: HistoryId(row::bytes(&row, "history")?),
            head: row::seq(&row, "head")?,
            terms: Terms { epoch: row::small(&row, "epoch")?, slow_ms: row::number(&row, "slow_ms")? },
            access_version: row::number(&row, "access_version")?,
        };
        plan.rooms.insert(room, state);
        let author = Author {
            standing: row::optional_standing(&row)?,
            muted_until_ms: row::number(&row, "muted_until_ms")?,
            wrote_at_ms: row::number(&row, "wrote_at_ms")?,
        };
        plan.authors.insert((room, device), author);
        plan.next.insert((room, device, instance), row::number(&row, "next")?);
        plan.now_ms = row::number(&row, "now_ms")?;
    }
    Ok(plan)
}

/// Reads what messages of the batch are about. No statement if none is about another.
async fn read_targets(connection: &mut Connection, drafts: &[&Draft], plan: &mut Plan) -> Result<(), StoreError> {
    let headers = drafts.iter().map(|draft| draft.envelope.header());
    let asked = distinct(headers.filter(|header| header.kind.is_about_a_message()).map(|it| (it.room, it.target)));
    plan.has_targets = !asked.is_empty();
    let asked: Vec<_> = asked.iter().map(|(room, seq)| [Value::Bytes(&room.0), number(seq.0)]).collect();
    for row in TARGETS.fetch_all(connection, &asked).await? {
        let target = Target {
            kind: row::entry_kind(&row)?,
            author: DeviceId(row::bytes(&row, "device")?),
            role: row::role(&row)?,
            is_erased: row.try_get("is_erased")?,
        };
        plan.targets.insert((RoomId(row::bytes(&row, "room")?), row::seq(&row, "seq")?), target);
    }
    Ok(())
}

/// Counts the members of the rooms that owners want to leave.
async fn read_headcounts(connection: &mut Connection, drafts: &[&Draft], plan: &mut Plan) -> Result<(), StoreError> {
    let leaves = drafts.iter().map(|draft| draft.envelope.header()).filter(|it| it.kind == EntryKind::Leave);
    let is_owner = |header: &&Header| {
        let author = plan.authors.get(&(header.room, header.device));
        author.and_then(|author| author.standing) == Some(Standing::Member(Role::Owner))
    };
    for room in distinct(leaves.filter(is_owner).map(|header| header.room)) {
        let counted = sqlx::query(HEADCOUNT).bind(&room.0[..]).fetch_one(&mut *connection).await?;
        let count = Headcount { owners: row::number(&counted, "owners")?, members: row::number(&counted, "members")? };
        plan.headcounts.insert(room, count);
    }
    Ok(())
}

fn sender_values((room, device, instance): &Sender) -> [Value<'_>; 3] {
    [Value::Bytes(&room.0), Value::Bytes(&device.0), Value::Bytes(&instance.0)]
}

/// A sender with one of its counters.
fn counter_values(((room, device, instance), counter): &(Sender, u64)) -> [Value<'_>; 4] {
    [Value::Bytes(&room.0), Value::Bytes(&device.0), Value::Bytes(&instance.0), number(*counter)]
}

fn sender_of(row: &Row) -> Result<Sender, StoreError> {
    Ok((
        RoomId(row::bytes(row, "room")?),
        DeviceId(row::bytes(row, "device")?),
        InstanceId(row::bytes(row, "instance")?),
    ))
}

/// Looks up where the duplicates of earlier commits stand.
async fn read_known(
    connection: &mut Connection,
    drafts: &[&Draft],
    decisions: &[Decision],
) -> Result<Known, StoreError> {
    let asked = drafts.iter().zip(decisions).filter(|(_, decision)| matches!(decision, Decision::Known));
    let asked = distinct(asked.map(|(draft, _)| identity(draft)));
    let mut known = Known::new();
    let asked: Vec<_> = asked.iter().map(counter_values).collect();
    for row in KNOWN.fetch_all(connection, &asked).await? {
        let identity = (sender_of(&row)?, row::number(&row, "counter")?);
        let place = (row::seq(&row, "seq")?, row::number(&row, "at_ms")?);
        known.insert(identity, (!row.try_get::<bool, _>("is_erased")?).then_some(place));
    }
    Ok(known)
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

/// Writes what is more than growth: profiles, who has left or must wait, and what is deleted.
async fn write_effects(connection: &mut Connection, plan: &Plan) -> Result<(), StoreError> {
    for ((room, device), seq) in &plan.profiles {
        sqlx::query("update member set profile_seq = $3 where room = $1 and device = $2")
            .bind(&room.0[..])
            .bind(&device.0[..])
            .bind(stored(seq.0))
            .execute(&mut *connection)
            .await?;
    }
    for (room, device) in &plan.leavers {
        sqlx::query("update member set state = 2 where room = $1 and device = $2")
            .bind(&room.0[..])
            .bind(&device.0[..])
            .execute(&mut *connection)
            .await?;
    }
    for (room, device) in &plan.slowed {
        sqlx::query("update member set wrote_at_ms = $3 where room = $1 and device = $2")
            .bind(&room.0[..])
            .bind(&device.0[..])
            .bind(stored(plan.now_ms))
            .execute(&mut *connection)
            .await?;
    }
    for (room, seq) in &plan.deleted {
        tombstone::erase_message(connection, *room, *seq).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::explain::{assert_searches, assert_uses};
    use super::*;

    #[tokio::test]
    async fn a_batch_finds_its_rows_by_their_keys() {
        for lists in [&SENDERS, &KNOWN, &TARGETS, &ENTRIES] {
            for text in lists.texts() {
                assert_searches(text).await;
            }
        }
        assert_searches(HEADCOUNT).await;
        for text in SENDERS.texts() {
            assert_uses(text, "entry_identity", &["room", "device", "instance"]).await;
        }
    }
}
