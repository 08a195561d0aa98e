//! What decides on a batch, and where what it repeats stands.

use std::collections::HashMap;
use std::sync::LazyLock;

use snug_protocol::http::Role;
use snug_protocol::{DeviceId, EntryKind, Header, HistoryId, InstanceId, RoomId, Seq};
use sqlx::Row as _;

use super::super::lists::Lists;
use super::super::texts::next_counter;
use super::super::{Connection, Row, row};
use super::{distinct, identity, sender};
use crate::rules::append::{Author, Headcount, Target, Terms};
use crate::sql::batch::Draft;
use crate::sql::list::Kind::{Bytes, Number};
use crate::sql::list::{Value, number};
use crate::sql::plan::{Decision, Plan, RoomState, Sender};
use crate::{Standing, StoreError};

/// Everything that decides on a sender's messages, in one statement. Lists of rows are joined and not compared with `in`: SQLite finds
/// rows of several columns by their key only in a join.
static SENDERS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Bytes, Bytes], |rows| {
        format!(
            "with asked (room, device, instance) as ({rows})
             select asked.room, asked.device, asked.instance, room.history, room.head, room.epoch, room.slow_ms, room.access_version, room.chain_seq,
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
pub(super) type Known = HashMap<(Sender, u64), Option<(Seq, u64)>>;

/// Reads rooms, memberships and next counters of everyone in the batch, and the time. Senders to rooms that are not there are missing.
pub(super) async fn read(connection: &mut Connection, drafts: &[&Draft]) -> Result<Plan, StoreError> {
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
            chain: Seq(row::number(&row, "chain_seq")?),
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
pub(super) async fn read_targets(
    connection: &mut Connection,
    drafts: &[&Draft],
    plan: &mut Plan,
) -> Result<(), StoreError> {
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
pub(super) async fn read_headcounts(
    connection: &mut Connection,
    drafts: &[&Draft],
    plan: &mut Plan,
) -> Result<(), StoreError> {
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
pub(super) async fn read_known(
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

#[cfg(test)]
mod tests {
    use super::super::super::explain::{assert_searches, assert_uses};
    use super::*;

    #[tokio::test]
    async fn a_batch_finds_its_rows_by_their_keys() {
        for lists in [&SENDERS, &KNOWN, &TARGETS] {
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
