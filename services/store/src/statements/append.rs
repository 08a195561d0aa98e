//! Group commit: read what decides, decide, write. A handful of statements, however many rooms and messages.
//!
//! A batch is written under locks, in a transaction ([`append_free`]), or, where a way to the database is what costs, first without any:
//! read, decide, and one statement that writes to those rooms that are still as they were read ([`append_at_once`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::Role;
use snug_protocol::{DeviceId, EntryKind, Header, HistoryId, InstanceId, RoomId, Seq};
use sqlx::Row as _;

use super::lists::Lists;
use super::texts::{COUNTERS, ENTRIES};
use super::{Connection, Row, growth, locks, row, tombstone};
use crate::rules::append::{Author, Headcount, Target, Terms};
use crate::sql::batch::Draft;
use crate::sql::growth::{EntryRow, Grown, Growth};
use crate::sql::list::Kind::{Bytes, Number};
use crate::sql::list::{Value, number, stored};
use crate::sql::plan::{Decision, Plan, RoomState, Sender};
use crate::{AppendError, Appended, Standing, StoreError};

/// Everything that decides on a sender's messages, in one statement. Lists of rows are joined and not compared with `in`: SQLite finds
/// rows of several columns by their key only in a join.
static SENDERS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Bytes, Bytes], |rows| {
        format!(
            "with asked (room, device, instance) as ({rows})
             select asked.room, asked.device, asked.instance, room.history, room.head, room.epoch, room.slow_ms, room.access_version,
                    member.state, member.role, coalesce(member.muted_until_ms, 0) as muted_until_ms,
                    coalesce(member.wrote_at_ms, 0) as wrote_at_ms, coalesce(sender.next, 0) as next, {now_ms} as now_ms
             from asked
             join room on room.room = asked.room
             left join member on member.room = asked.room and member.device = asked.device
             left join sender_instance as sender
             on sender.room = asked.room and sender.device = asked.device and sender.instance = asked.instance",
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
    let mut answers = append(connection, &ours, Hold::Locks).await?.into_iter();
    let answer = |draft| {
        if free.missing.contains(&room_of(draft)) {
            return Some(Err(AppendError::NotAMember));
        }
        if free.locked.contains(&room_of(draft)) { answers.next().flatten() } else { None }
    };
    Ok(drafts.iter().map(answer).collect())
}

/// Appends messages without a transaction around it and without a lock, as far as nobody writes to their rooms meanwhile: what was decided
/// holds if the room is still that one, and its head and `access_version` are what they were: whatever a decision depends on
/// moves one of them. The answers are the drafts', in their order; `None` is for
/// those that must come again, with locks.
///
/// # Errors
/// The database failed. Nothing was written, or it is not known whether all was.
pub(super) async fn append_at_once(
    connection: &mut Connection,
    drafts: &[Draft],
) -> Result<Vec<Option<Answer>>, StoreError> {
    append(connection, &drafts.iter().collect::<Vec<_>>(), Hold::Nothing).await
}

/// Whether a batch may go by [`append_at_once`]. What is about another entry, or changes more than the log, depends on rows that can
/// change while the room's own stays.
pub(super) fn can_go_at_once(kind: EntryKind) -> bool {
    growth::AT_ONCE && kind == EntryKind::Message
}

/// What keeps others from the rooms of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Locks, until the transaction ends.
    Locks,
    Nothing,
}

/// Appends `drafts` in order and applies their effects. The answers are the drafts', in their order; a refused one changes nothing. `None`:
/// somebody else wrote to the room, which nothing held.
///
/// # Errors
/// The database failed: the transaction must be rolled back, and all of them with it.
async fn append(connection: &mut Connection, drafts: &[&Draft], hold: Hold) -> Result<Vec<Option<Answer>>, StoreError> {
    let mut plan = read(connection, drafts).await?;
    read_targets(connection, drafts, &mut plan).await?;
    read_headcounts(connection, drafts, &mut plan).await?;
    let seen = plan.rooms.clone();
    let decisions: Vec<Decision> = drafts.iter().map(|draft| plan.decide(draft.envelope.header())).collect();
    let mut new: Vec<(&Draft, Seq)> = Vec::with_capacity(drafts.len());
    for (draft, decision) in drafts.iter().zip(&decisions) {
        if let Decision::New(seq) = decision {
            new.push((*draft, *seq));
        }
    }
    if hold == Hold::Nothing && plan.does_more_than_grow() {
        return Ok(vec![None; drafts.len()]);
    }
    new.sort_by_key(|(draft, seq)| (room_of(draft), *seq));
    let left_out = grow(connection, &plan, &seen, &new).await?;
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
        is_decided.then(|| answer(draft, decision, &known, plan.now_ms))
    });
    Ok(answers.collect())
}

/// Writes new entries, counters and heads. The rooms that were left out, because they are not as they were `seen`.
async fn grow(
    connection: &mut Connection,
    plan: &Plan,
    seen: &BTreeMap<RoomId, RoomState>,
    new: &[(&Draft, Seq)],
) -> Result<BTreeSet<RoomId>, StoreError> {
    if new.is_empty() {
        return Ok(BTreeSet::new());
    }
    let senders = distinct(new.iter().map(|(draft, _)| sender(draft)));
    let senders: Vec<(Sender, u64)> = senders.into_iter().map(|sender| (sender, plan.next[&sender])).collect();
    let rooms = distinct(new.iter().map(|(draft, _)| room_of(draft)));
    let grown = rooms.iter().map(|room| {
        let place = |state: &RoomState| (state.head, state.access_version);
        Grown { room, history: &seen[room].history, was: place(&seen[room]), is: place(&plan.rooms[room]) }
    });
    let growth = Growth {
        entries: new.iter().map(|new| entry_values(new, plan.now_ms)).collect(),
        counters: senders.iter().map(counter_values).collect(),
        rooms: grown.collect(),
    };
    let written = growth::write(connection, &growth).await?;
    Ok(rooms.into_iter().filter(|room| !written.contains(room)).collect())
}

fn answer(draft: &Draft, decision: Decision, known: &Known, now_ms: u64) -> Answer {
    match decision {
        Decision::New(seq) => {
            let frame = EntryFrame::new(seq, now_ms, draft.envelope.bytes());
            Ok(Appended { seq, at_ms: now_ms, frame: Some(frame) })
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

/// Notes the next counters of senders.
pub(super) async fn upsert_senders(connection: &mut Connection, senders: &[(Sender, u64)]) -> Result<(), StoreError> {
    let rows: Vec<_> = senders.iter().map(counter_values).collect();
    Ok(COUNTERS.execute(connection, &rows).await?)
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
    use super::super::explain::assert_searches;
    use super::*;

    #[tokio::test]
    async fn a_batch_finds_its_rows_by_their_keys() {
        for lists in [&SENDERS, &KNOWN, &TARGETS, &ENTRIES, &COUNTERS] {
            for text in lists.texts() {
                assert_searches(text).await;
            }
        }
        assert_searches(HEADCOUNT).await;
    }
}
