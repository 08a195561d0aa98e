//! Epochs: staging their keys, beginning them, handing the keys out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use snug_protocol::limits::{EPOCH_KEY_BYTES, EPOCH_KEYS_PAGE_MAX};
use snug_protocol::{DeviceId, EntryKind, EnvelopeHash, RoomId, Seq};

use super::chain::{self, Place};
use super::lists::Lists;
use super::step::{Password, replace_password};
use super::{Connection, Database, grant, member, row, select_now_ms};
use crate::rules::epoch::{judge_epoch, may_receive, retired};
use crate::rules::step::{Subject, admin_role};
use crate::sql::Scope;
use crate::sql::batch::Draft;
use crate::sql::list::{Kind, Value, stored};
use crate::{EpochBegun, EpochKeys, Grant, NewEpoch, StepError, StoreError};

/// A key sealed to a device.
pub(super) type SealedKey = (DeviceId, [u8; EPOCH_KEY_BYTES]);

const SUBJECTS: &str = "select device, state, role, muted_until_ms from member where room = $1";
const STAGED: &str = "select device from epoch_key where room = $1 and record = $2";
const KEYS: &str = "select epoch_key.device, case when epoch_key.device = $3 then epoch_key.sealed end as sealed
     from epoch join epoch_key on epoch_key.room = epoch.room and epoch_key.record = epoch.record
     where epoch.room = $1 and epoch.epoch = $2 order by epoch_key.device";
const SEAL: &str = "select epoch_key.sealed from epoch join epoch_key on epoch_key.room = epoch.room and epoch_key.record = epoch.record
     where epoch.room = $1 and epoch.epoch = $2 and epoch_key.device = $3";
const EXCLUDE: &str = "update member set state = 2 where room = $1 and state = 1 and not exists (
         select 1 from epoch_key where epoch_key.room = $1 and epoch_key.record = $2 and epoch_key.device = member.device)";
/// Of who was never heard nothing is kept: its keys verify nothing, and it may neither be muted nor have a role to come back to. Looked up one
/// by one: by a join the whole log might be read.
const FORGET: &str = concat!(
    "delete from member where room = $1 and state = 2 and role = 3 and muted_until_ms = 0
         and (select 1 from entry",
    indexed_by!("entry_identity"),
    " where entry.room = $1 and entry.device = member.device limit 1) is null"
);
static INSERT_KEYS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Kind::Bytes; 4], |rows| {
        format!(
            "insert into epoch_key (room, record, device, sealed) {rows}
             on conflict (room, record, device) do update set sealed = excluded.sealed"
        )
    })
});

impl Database {
    pub async fn stage_epoch_keys(
        &self,
        room: RoomId,
        author: DeviceId,
        epoch: u32,
        record: EnvelopeHash,
        keys: Vec<SealedKey>,
    ) -> Result<(), StepError> {
        if keys.len() > EPOCH_KEYS_PAGE_MAX {
            return Err(StepError::TooManyEntries);
        }
        let keys: Arc<[SealedKey]> = keys.into();
        self.writer
            .write(Scope::Room(room), move |connection| {
                let keys = Arc::clone(&keys);
                Box::pin(async move { stage(connection, room, author, epoch, record, &keys).await })
            })
            .await
    }

    pub async fn begin_epoch(&self, new: NewEpoch) -> Result<EpochBegun, StepError> {
        let room = new.record.header().room;
        self.writer
            .write(Scope::Room(room), move |connection| {
                let new = new.clone();
                Box::pin(async move { begin(connection, new).await })
            })
            .await
    }

    pub async fn epoch_seals(&self, room: RoomId, epoch: u32, of: &[DeviceId]) -> Result<Vec<SealedKey>, StoreError> {
        let mut seals = Vec::with_capacity(of.len());
        for device in of {
            let query = sqlx::query(SEAL).bind(&room.0[..]).bind(i64::from(epoch)).bind(&device.0[..]);
            if let Some(found) = query.fetch_optional(&self.readers).await? {
                seals.push((*device, row::bytes(&found, "sealed")?));
            }
        }
        Ok(seals)
    }

    pub async fn epoch_keys(&self, room: RoomId, epoch: u32, device: DeviceId) -> Result<EpochKeys, StoreError> {
        let query = sqlx::query(KEYS).bind(&room.0[..]).bind(i64::from(epoch)).bind(&device.0[..]);
        let mut keys = EpochKeys::default();
        for found in query.fetch_all(&self.readers).await? {
            let recipient = DeviceId(row::bytes(&found, "device")?);
            if recipient == device {
                keys.key = Some(row::bytes(&found, "sealed")?);
            }
            keys.recipients.push(recipient);
        }
        Ok(keys)
    }
}

async fn stage(
    connection: &mut Connection,
    room: RoomId,
    author: DeviceId,
    epoch: u32,
    record: EnvelopeHash,
    keys: &[SealedKey],
) -> Result<(), StepError> {
    let standing = chain::select_subject(connection, room, author).await?.map(|subject| subject.standing);
    admin_role(standing)?;
    let found = sqlx::query("select epoch from room where room = $1").bind(&room.0[..]);
    let present = row::small(&found.fetch_optional(&mut *connection).await?.ok_or(StepError::NotAMember)?, "epoch")?;
    if epoch != present.saturating_add(1) || is_in_force(connection, room, record).await? {
        return Err(StepError::StaleEpoch { epoch: present });
    }
    for (device, _) in keys {
        may_receive(chain::select_subject(connection, room, *device).await?)?;
    }
    note_staging(connection, room, author, record).await?;
    insert_keys(connection, room, record, keys).await?;
    Ok(())
}

/// Whether a record with this hash has begun an epoch: its keys are not to be changed any more.
async fn is_in_force(connection: &mut Connection, room: RoomId, record: EnvelopeHash) -> Result<bool, StoreError> {
    const SELECT: &str = "select exists (select 1 from epoch where room = $1 and record = $2)";
    Ok(sqlx::query_scalar(SELECT).bind(&room.0[..]).bind(&record.0[..]).fetch_one(connection).await?)
}

/// Notes for which record an author stages, and forgets what it had staged for another: so a room holds no more staged keys than it has
/// admins and members.
async fn note_staging(
    connection: &mut Connection,
    room: RoomId,
    author: DeviceId,
    record: EnvelopeHash,
) -> Result<(), StoreError> {
    const SELECT: &str = "select record from epoch_staging where room = $1 and author = $2";
    const UPSERT: &str = "insert into epoch_staging (room, author, record, staged_at_ms) values ($1, $2, $3, $4)
         on conflict (room, author) do update set record = excluded.record, staged_at_ms = excluded.staged_at_ms";
    let now_ms = select_now_ms(connection).await?;
    let before = sqlx::query(SELECT).bind(&room.0[..]).bind(&author.0[..]).fetch_optional(&mut *connection).await?;
    if let Some(before) = before {
        let before = EnvelopeHash(row::bytes(&before, "record")?);
        if before != record {
            forget_keys(connection, room, before).await?;
        }
    }
    let query = sqlx::query(UPSERT).bind(&room.0[..]).bind(&author.0[..]).bind(&record.0[..]);
    query.bind(stored(now_ms)).execute(connection).await?;
    Ok(())
}

/// Forgets the keys of a record that has begun no epoch. Returns how many.
pub(super) async fn forget_keys(
    connection: &mut Connection,
    room: RoomId,
    record: EnvelopeHash,
) -> Result<u64, StoreError> {
    const DELETE: &str = "delete from epoch_key where room = $1 and record = $2
         and not exists (select 1 from epoch where epoch.room = $1 and epoch.record = $2)";
    Ok(sqlx::query(DELETE).bind(&room.0[..]).bind(&record.0[..]).execute(connection).await?.rows_affected())
}

/// Notes sealed keys. They are in force when their record is noted by [`insert_epoch`].
pub(super) async fn insert_keys(
    connection: &mut Connection,
    room: RoomId,
    record: EnvelopeHash,
    keys: &[SealedKey],
) -> Result<(), StoreError> {
    // A device that is named twice would be inserted twice by one statement.
    let keys: Vec<SealedKey> = keys.iter().copied().collect::<BTreeMap<_, _>>().into_iter().collect();
    let rows = keys.iter().map(|(device, sealed)| [&room.0, &record.0[..], &device.0, sealed].map(Value::Bytes));
    let rows: Vec<_> = rows.collect();
    Ok(INSERT_KEYS.execute(connection, &rows).await?)
}

/// Notes which record has begun an epoch.
pub(super) async fn insert_epoch(
    connection: &mut Connection,
    room: RoomId,
    epoch: u32,
    record: EnvelopeHash,
) -> Result<(), StoreError> {
    const INSERT: &str = "insert into epoch (room, epoch, record) values ($1, $2, $3)";
    let query = sqlx::query(INSERT).bind(&room.0[..]).bind(i64::from(epoch)).bind(&record.0[..]);
    query.execute(connection).await?;
    Ok(())
}

async fn begin(connection: &mut Connection, new: NewEpoch) -> Result<EpochBegun, StepError> {
    let draft = Draft { hash: new.record.hash(), envelope: new.record.clone() };
    let (seq, role, now_ms) = match chain::place(connection, &draft, EntryKind::EpochRecord, 1).await? {
        Place::Known(appended) => return Ok(EpochBegun::before(appended)),
        Place::Next { seq, role, now_ms, .. } => (seq, role, now_ms),
    };
    let header = *draft.envelope.header();
    let room = header.room;
    let subjects = select_subjects(connection, room).await?;
    let keys = select_staged(connection, room, draft.hash).await?;
    let excluded = judge_epoch(&new, role, &subjects, &keys, now_ms)?;
    for device in &new.remove {
        end_membership(connection, room, *device, new.ban).await?;
    }
    exclude_all_without(connection, room, draft.hash).await?;
    if let Some((recovery, key)) = new.recovery {
        retire(connection, room, &retired(&subjects)).await?;
        member::insert_device(connection, &recovery).await?;
        member::insert_recovery(connection, room, recovery.device, now_ms).await?;
        insert_keys(connection, room, draft.hash, &[(recovery.device, key)]).await?;
    }
    let revoked = revoke_invites(connection, room).await?;
    let NewEpoch { grant, kdf, secret, sent_at_ms, .. } = new;
    let password = Password { room, grant, kdf, secret, made_by: header.device };
    replace_password(connection, password, now_ms).await?;
    insert_epoch(connection, room, header.epoch, draft.hash).await?;
    let appended = chain::push(connection, &draft, seq, now_ms).await?;
    enter_epoch(connection, room, header.epoch, seq, sent_at_ms).await?;
    Ok(EpochBegun { appended, revoked, excluded })
}

async fn select_subjects(connection: &mut Connection, room: RoomId) -> Result<BTreeMap<DeviceId, Subject>, StoreError> {
    let rows = sqlx::query(SUBJECTS).bind(&room.0[..]).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((DeviceId(row::bytes(row, "device")?), chain::subject(row)?))).collect()
}

async fn select_staged(
    connection: &mut Connection,
    room: RoomId,
    record: EnvelopeHash,
) -> Result<BTreeSet<DeviceId>, StoreError> {
    let rows = sqlx::query(STAGED).bind(&room.0[..]).bind(&record.0[..]).fetch_all(connection).await?;
    rows.iter().map(|row| row::bytes(row, "device").map(DeviceId)).collect()
}

/// Ends a membership by an admin's will: role and mute end with it, as in the chain. Who is banned stays so.
async fn end_membership(
    connection: &mut Connection,
    room: RoomId,
    device: DeviceId,
    ban: bool,
) -> Result<(), StoreError> {
    const ENDED: &str =
        "update member set state = case when state = 4 then state else $3 end, role = 3, muted_until_ms = 0
         where room = $1 and device = $2";
    let state = if ban { row::state::BANNED } else { row::state::REMOVED };
    sqlx::query(ENDED).bind(&room.0[..]).bind(&device.0[..]).bind(state).execute(connection).await?;
    Ok(())
}

/// Ends the standing of recovery devices in the place of which another comes.
async fn retire(connection: &mut Connection, room: RoomId, devices: &[DeviceId]) -> Result<(), StoreError> {
    const RETIRED: &str = "update member set state = $3, role = 3 where room = $1 and device = $2";
    for device in devices {
        let query = sqlx::query(RETIRED).bind(&room.0[..]).bind(&device.0[..]).bind(row::state::RETIRED);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// All members who get no key have left. They keep their roles, as one who leaves does; those who have none and never said anything are
/// forgotten, or a guest with many devices would leave as many rows behind.
async fn exclude_all_without(
    connection: &mut Connection,
    room: RoomId,
    record: EnvelopeHash,
) -> Result<(), StoreError> {
    sqlx::query(EXCLUDE).bind(&room.0[..]).bind(&record.0[..]).execute(&mut *connection).await?;
    sqlx::query(FORGET).bind(&room.0[..]).execute(connection).await?;
    Ok(())
}

/// Deletes all invites. Returns those that were still valid.
async fn revoke_invites(connection: &mut Connection, room: RoomId) -> Result<Vec<Grant>, StoreError> {
    let invites = grant::select_invites(connection, room).await?;
    let delete = sqlx::query("delete from room_grant where room = $1 and kind = 2").bind(&room.0[..]);
    delete.execute(connection).await?;
    Ok(invites)
}

/// Moves the room on to its new epoch, whose record stands at `seq`. Mutes that were over at the record's time end with the old one, and
/// steps are counted anew.
async fn enter_epoch(
    connection: &mut Connection,
    room: RoomId,
    epoch: u32,
    seq: Seq,
    sent_at_ms: u64,
) -> Result<(), StoreError> {
    const MOVE: &str =
        "update room set epoch = $2, epoch_seq = $3, access_version = access_version + 1 where room = $1";
    const UNMUTE: &str = "update member set muted_until_ms = 0
         where room = $1 and muted_until_ms > 0 and muted_until_ms <= $2";
    let query = sqlx::query(MOVE).bind(&room.0[..]).bind(i64::from(epoch)).bind(stored(seq.0));
    query.execute(&mut *connection).await?;
    sqlx::query(UNMUTE).bind(&room.0[..]).bind(stored(sent_at_ms)).execute(&mut *connection).await?;
    sqlx::query("update member set steps = 0 where room = $1 and steps > 0")
        .bind(&room.0[..])
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::explain::{assert_searches, assert_uses};
    use super::*;

    #[tokio::test]
    async fn keys_and_members_are_found_by_key() {
        for statement in [SUBJECTS, STAGED, KEYS, SEAL, EXCLUDE, FORGET].into_iter().chain(INSERT_KEYS.texts()) {
            assert_searches(statement).await;
        }
        assert_uses(FORGET, "entry_identity", &["room", "device"]).await;
    }
}
