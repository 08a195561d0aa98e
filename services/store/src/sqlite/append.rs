//! The transaction of group commit: read what decides, decide, write. A handful of statements, however many rooms and messages.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, InstanceId, RoomId, Seq};
use sqlx::sqlite::SqliteConnection;

use super::batch::Draft;
use super::plan::{Decision, Plan, RoomState, Sender};
use super::row;
use super::texts::{Texts, chunks};
use crate::{AppendError, Appended, StoreError};

/// Where an entry that was appended before stands.
type Known = HashMap<(Sender, u64), (Seq, u64)>;

/// Appends `drafts` in order and applies their effects. The answers are the drafts', in their order; a refused one changes nothing.
///
/// # Errors
/// The database failed: the transaction must be rolled back, and all of them with it.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    drafts: Vec<Draft>,
) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
    let now_ms = super::select_now_ms(connection).await?;
    let mut plan = read(connection, &drafts).await?;
    let decisions: Vec<Decision> = drafts.iter().map(|draft| plan.decide(draft.envelope.header())).collect();
    let known = read_known(connection, &drafts, &decisions).await?;

    let mut new: Vec<(&Draft, Seq)> = Vec::with_capacity(drafts.len());
    for (draft, decision) in drafts.iter().zip(&decisions) {
        if let Decision::New(seq) = decision {
            new.push((draft, *seq));
        }
    }
    if !new.is_empty() {
        new.sort_by_key(|(draft, seq)| (draft.envelope.header().room, *seq));
        insert_entries(connection, &new, now_ms).await?;
        write_effects(connection, &plan, &new).await?;
    }
    let answers = drafts.iter().zip(decisions).map(|(draft, decision)| answer(draft, decision, &known, now_ms));
    Ok(answers.collect())
}

fn answer(draft: &Draft, decision: Decision, known: &Known, now_ms: u64) -> Result<Appended, AppendError> {
    match decision {
        Decision::New(seq) => {
            let frame = EntryFrame::new(seq, now_ms, draft.envelope.bytes());
            Ok(Appended { seq, at_ms: now_ms, frame: Some(frame) })
        }
        Decision::KnownHere(seq) => Ok(Appended { seq, at_ms: now_ms, frame: None }),
        Decision::Known => {
            let (seq, at_ms) = *known.get(&identity(draft)).ok_or(AppendError::Gone)?;
            Ok(Appended { seq, at_ms, frame: None })
        }
        Decision::Refused(why) => Err(why),
    }
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

/// Reads rooms, memberships and next counters of everyone in the batch.
async fn read(connection: &mut SqliteConnection, drafts: &[Draft]) -> Result<Plan, StoreError> {
    static ROOMS: LazyLock<Texts> = LazyLock::new(|| {
        Texts::new(1, |rows| {
            format!("select room, head, epoch, access_version from room where room in (values {rows})")
        })
    });
    static MEMBERS: LazyLock<Texts> = LazyLock::new(|| {
        Texts::new(2, |rows| {
            format!("select room, device from member where state = 1 and (room, device) in (values {rows})")
        })
    });
    static SENDERS: LazyLock<Texts> = LazyLock::new(|| {
        Texts::new(3, |rows| {
            format!(
                "select room, device, instance, next from sender_instance
                 where (room, device, instance) in (values {rows})"
            )
        })
    });
    let senders = distinct(drafts.iter().map(sender));
    let mut plan = Plan::default();
    for chunk in chunks(&distinct(senders.iter().map(|(room, ..)| *room))) {
        let mut query = sqlx::query(ROOMS.for_rows(chunk.len()));
        for room in chunk {
            query = query.bind(&room.0[..]);
        }
        for row in query.fetch_all(&mut *connection).await? {
            let state = RoomState {
                head: row::seq(&row, "head")?,
                epoch: row::small(&row, "epoch")?,
                access_version: row::number(&row, "access_version")?,
            };
            plan.rooms.insert(RoomId(row::bytes(&row, "room")?), state);
        }
    }
    for chunk in chunks(&distinct(senders.iter().map(|(room, device, _)| (*room, *device)))) {
        let mut query = sqlx::query(MEMBERS.for_rows(chunk.len()));
        for (room, device) in chunk {
            query = query.bind(&room.0[..]).bind(&device.0[..]);
        }
        for row in query.fetch_all(&mut *connection).await? {
            plan.members.insert((RoomId(row::bytes(&row, "room")?), DeviceId(row::bytes(&row, "device")?)));
        }
    }
    for chunk in chunks(&senders) {
        let mut query = sqlx::query(SENDERS.for_rows(chunk.len()));
        for (room, device, instance) in chunk {
            query = query.bind(&room.0[..]).bind(&device.0[..]).bind(&instance.0[..]);
        }
        for row in query.fetch_all(&mut *connection).await? {
            plan.next.insert(sender_of(&row)?, row::number(&row, "next")?);
        }
    }
    Ok(plan)
}

fn sender_of(row: &sqlx::sqlite::SqliteRow) -> Result<Sender, StoreError> {
    Ok((
        RoomId(row::bytes(row, "room")?),
        DeviceId(row::bytes(row, "device")?),
        InstanceId(row::bytes(row, "instance")?),
    ))
}

/// Looks up where the duplicates of earlier commits stand.
async fn read_known(
    connection: &mut SqliteConnection,
    drafts: &[Draft],
    decisions: &[Decision],
) -> Result<Known, StoreError> {
    static ENTRIES: LazyLock<Texts> = LazyLock::new(|| {
        Texts::new(3, |rows| {
            format!(
                "select room, device, instance, counter, seq, at_ms from entry
                 where (room, instance, counter) in (values {rows})"
            )
        })
    });
    let asked = drafts.iter().zip(decisions).filter(|(_, decision)| matches!(decision, Decision::Known));
    let asked = distinct(asked.map(|(draft, _)| identity(draft)));
    let mut known = Known::new();
    for chunk in chunks(&asked) {
        let mut query = sqlx::query(ENTRIES.for_rows(chunk.len()));
        for ((room, _, instance), counter) in chunk {
            query = query.bind(&room.0[..]).bind(&instance.0[..]).bind(row::stored(*counter));
        }
        for row in query.fetch_all(&mut *connection).await? {
            let identity = (sender_of(&row)?, row::number(&row, "counter")?);
            known.insert(identity, (row::seq(&row, "seq")?, row::number(&row, "at_ms")?));
        }
    }
    Ok(known)
}

/// Inserts entries without looking at them.
pub(super) async fn insert_entries(
    connection: &mut SqliteConnection,
    new: &[(&Draft, Seq)],
    at_ms: u64,
) -> Result<(), StoreError> {
    static INSERT: LazyLock<Texts> = LazyLock::new(|| {
        Texts::new(10, |rows| {
            format!(
                "insert into entry (room, seq, at_ms, kind, device, instance, counter, target_seq, hash, envelope)
                 values {rows}"
            )
        })
    });
    for chunk in chunks(new) {
        let mut query = sqlx::query(INSERT.for_rows(chunk.len()));
        for (draft, seq) in chunk {
            let header = draft.envelope.header();
            query = query
                .bind(&header.room.0[..])
                .bind(row::stored(seq.0))
                .bind(row::stored(at_ms))
                .bind(i64::from(header.kind as u8))
                .bind(&header.device.0[..])
                .bind(&header.instance.0[..])
                .bind(row::stored(header.counter))
                .bind(row::stored(header.target.0))
                .bind(&draft.hash.0[..])
                .bind(draft.envelope.bytes().as_ref());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Notes the next counters of senders.
pub(super) async fn upsert_senders(
    connection: &mut SqliteConnection,
    senders: &[(Sender, u64)],
) -> Result<(), StoreError> {
    static UPSERT: LazyLock<Texts> = LazyLock::new(|| {
        Texts::new(4, |rows| {
            format!(
                "insert into sender_instance (room, device, instance, next) values {rows}
                 on conflict (room, device, instance) do update set next = excluded.next"
            )
        })
    });
    for chunk in chunks(senders) {
        let mut query = sqlx::query(UPSERT.for_rows(chunk.len()));
        for ((room, device, instance), next) in chunk {
            query = query.bind(&room.0[..]).bind(&device.0[..]).bind(&instance.0[..]).bind(row::stored(*next));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Writes everything but the entries: counters, heads, profiles, and who has left.
async fn write_effects(
    connection: &mut SqliteConnection,
    plan: &Plan,
    new: &[(&Draft, Seq)],
) -> Result<(), StoreError> {
    static HEADS: LazyLock<Texts> = LazyLock::new(|| {
        Texts::new(3, |rows| {
            format!(
                "with grown (room, head, access_version) as (values {rows})
                 update room set head = grown.head, access_version = grown.access_version
                 from grown where room.room = grown.room"
            )
        })
    });
    let senders = distinct(new.iter().map(|(draft, _)| sender(draft)));
    let senders: Vec<(Sender, u64)> = senders.into_iter().map(|sender| (sender, plan.next[&sender])).collect();
    upsert_senders(connection, &senders).await?;

    let rooms = distinct(new.iter().map(|(draft, _)| draft.envelope.header().room));
    for chunk in chunks(&rooms) {
        let mut query = sqlx::query(HEADS.for_rows(chunk.len()));
        for room in chunk {
            let state = plan.rooms[room];
            query = query.bind(&room.0[..]).bind(row::stored(state.head.0)).bind(row::stored(state.access_version));
        }
        query.execute(&mut *connection).await?;
    }
    for ((room, device), seq) in &plan.profiles {
        sqlx::query("update member set profile_seq = $3 where room = $1 and device = $2")
            .bind(&room.0[..])
            .bind(&device.0[..])
            .bind(row::stored(seq.0))
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
    Ok(())
}
