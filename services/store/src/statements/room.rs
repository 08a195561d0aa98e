//! Rooms: creating them and finding them.

use std::sync::LazyLock;

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::Role;
use snug_protocol::{DeviceId, EnvelopeHash, GrantId, HistoryId, RoomId, Seq};
use sqlx::Row as _;
use tokio_util::task::TaskTracker;

use super::append::insert_entries;
use super::lists::Lists;
use super::{Connection, Database, Pool, Row, epoch, grant, locks, member, row, select_now_ms};
use crate::sql::Scope;
use crate::sql::batch::Draft;
use crate::sql::error::unique_violation;
use crate::sql::list::Kind::{Bytes, Number};
use crate::sql::list::{Value, number, stored};
use crate::sql::loader::Loader;
use crate::{CreateRoomError, FollowState, Grant, GrantKind, Lookup, NewRoom, Quotas, Room, StoreError};

/// Rooms, each with a device's place in it and an entry's hash.
static FOLLOW_STATES: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Number, Bytes, Bytes, Number], |rows| {
        format!(
            "with asked (number, room, device, seq) as ({rows})
             select asked.number, room.room, room.name, room.history, room.head, room.epoch, room.chain_seq, room.locked,
                    room.access_version, room.created_at_ms, member.state, member.role, entry.hash as cursor_hash
             from asked
             join room on room.room = asked.room
             left join member on member.room = asked.room and member.device = asked.device
             left join entry on entry.room = asked.room and entry.seq = asked.seq"
        )
    })
});

/// Who wants to know how which rooms stand: the room, the device, and its cursor.
pub(super) type FollowStates = Loader<(RoomId, DeviceId, Seq), Option<FollowState>>;

pub(super) fn loader(readers: &Pool, tasks: &TaskTracker) -> FollowStates {
    let readers = readers.clone();
    Loader::new(tasks, move |asked| Box::pin(select_follow_states(readers.clone(), asked)))
}

async fn select_follow_states(
    readers: Pool,
    asked: Vec<(RoomId, DeviceId, Seq)>,
) -> Result<Vec<Result<Option<FollowState>, StoreError>>, StoreError> {
    let rows: Vec<_> = asked
        .iter()
        .enumerate()
        .map(|(at, (room, device, cursor))| {
            [row::place(at), Value::Bytes(&room.0), Value::Bytes(&device.0), number(cursor.0)]
        })
        .collect();
    let found = FOLLOW_STATES.fetch_all(&mut *readers.acquire().await?, &rows).await?;
    row::in_order(asked.len(), &found, |found| {
        Ok(FollowState {
            room: room_of(found)?,
            standing: row::optional_standing(found)?,
            cursor_hash: row::optional_bytes(found, "cursor_hash")?.map(EnvelopeHash),
        })
    })
}

impl Database {
    pub async fn create_room(&self, new: NewRoom, quotas: &Quotas) -> Result<(Room, EntryFrame), CreateRoomError> {
        let quotas = *quotas;
        // Not the new room's scope: it has no row to be locked, and its keys decide who was first.
        self.writer
            .write(Scope::Elsewhere, move |connection| {
                let new = new.clone();
                Box::pin(async move { create_room(connection, new, &quotas).await })
            })
            .await
    }

    pub async fn name_taken(&self, likeness: &str) -> Result<bool, StoreError> {
        is_name_taken(&mut *self.readers.acquire().await?, likeness).await
    }

    pub async fn lookup(&self, likeness: &str) -> Result<Option<Lookup>, StoreError> {
        const SELECT: &str = "select room.room, room_grant.grant_id, room_grant.kdf
             from room join room_grant on room_grant.room = room.room and room_grant.kind = 1
             where room.likeness = $1";
        let found = sqlx::query(SELECT).bind(likeness).fetch_optional(&self.readers).await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(Lookup {
            room: RoomId(row::bytes(&found, "room")?),
            grant: GrantId(row::bytes(&found, "grant_id")?),
            kdf: row::small(&found, "kdf")?,
        }))
    }

    pub async fn room(&self, room: RoomId) -> Result<Option<Room>, StoreError> {
        let found = select_room(&mut *self.readers.acquire().await?, room).await?;
        Ok(found.map(|(room, _)| room))
    }

    pub async fn follow_state(
        &self,
        room: RoomId,
        device: DeviceId,
        cursor: Seq,
    ) -> Result<Option<FollowState>, StoreError> {
        self.follow_states.ask((room, device, cursor)).await
    }

    pub async fn rooms_of(&self, device: DeviceId) -> Result<Vec<(Room, Role)>, StoreError> {
        const SELECT: &str = "select room.room, room.name, room.history, room.head, room.epoch, room.chain_seq, room.locked, room.access_version,
                    room.created_at_ms, member.role
             from member join room on room.room = member.room
             where member.device = $1 and member.state = 1 order by room.name, room.room";
        let rows = sqlx::query(SELECT).bind(&device.0[..]).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((room_of(row)?, row::role(row)?))).collect()
    }

    pub async fn begin_new_life(&self, room: RoomId, history: HistoryId) -> Result<bool, StoreError> {
        const UPDATE: &str = "update room set history = $3 where room = $1 and history = $2";
        let new = new_history();
        self.writer
            .write(Scope::Room(room), move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(UPDATE).bind(&room.0[..]).bind(&history.0[..]).bind(&new.0[..]);
                    Ok(query.execute(connection).await?.rows_affected() > 0)
                })
            })
            .await
    }
}

fn new_history() -> HistoryId {
    let mut history = [0; 16];
    getrandom::fill(&mut history).expect("the operating system has random bytes");
    HistoryId(history)
}

fn room_of(row: &Row) -> Result<Room, StoreError> {
    Ok(Room {
        room: RoomId(row::bytes(row, "room")?),
        name: row.try_get("name")?,
        history: HistoryId(row::bytes(row, "history")?),
        head: row::seq(row, "head")?,
        epoch: row::small(row, "epoch")?,
        chain: row::seq(row, "chain_seq")?,
        locked: row.try_get("locked")?,
        access_version: row::number(row, "access_version")?,
        created_at_ms: row::number(row, "created_at_ms")?,
    })
}

/// A room, and where the record of its newest epoch stands.
pub(super) async fn select_room(connection: &mut Connection, room: RoomId) -> Result<Option<(Room, Seq)>, StoreError> {
    const SELECT: &str =
        "select room, name, history, head, epoch, epoch_seq, chain_seq, locked, access_version, created_at_ms
         from room where room = $1";
    let found = sqlx::query(SELECT).bind(&room.0[..]).fetch_optional(connection).await?;
    found.map(|row| Ok((room_of(&row)?, row::seq(&row, "epoch_seq")?))).transpose()
}

/// Whether newcomers are refused. A room that is not there refuses nobody.
pub(super) async fn is_locked(connection: &mut Connection, room: RoomId) -> Result<bool, StoreError> {
    const SELECT: &str = "select exists (select 1 from room where room = $1 and locked)";
    Ok(sqlx::query_scalar(SELECT).bind(&room.0[..]).fetch_one(connection).await?)
}

async fn is_name_taken(connection: &mut Connection, likeness: &str) -> Result<bool, StoreError> {
    const SELECT: &str = "select exists (select 1 from room where likeness = $1) as is_taken";
    Ok(sqlx::query_scalar(SELECT).bind(likeness).fetch_one(connection).await?)
}

async fn is_id_taken(connection: &mut Connection, room: RoomId) -> Result<bool, StoreError> {
    const SELECT: &str = "select exists (select 1 from room where room = $1)
                              or exists (select 1 from erasure where room = $1) as is_taken";
    Ok(sqlx::query_scalar(SELECT).bind(&room.0[..]).fetch_one(connection).await?)
}

async fn create_room(
    connection: &mut Connection,
    new: NewRoom,
    quotas: &Quotas,
) -> Result<(Room, EntryFrame), CreateRoomError> {
    if is_name_taken(connection, &new.likeness).await? {
        return Err(CreateRoomError::NameTaken);
    }
    if is_id_taken(connection, new.room).await? {
        return Err(CreateRoomError::IdTaken);
    }
    if new.recovery.device == new.owner.device {
        return Err(CreateRoomError::IdTaken);
    }
    locks::device(connection, new.owner.device).await?;
    if member::count_rooms(connection, new.owner.device).await? >= quotas.rooms_per_device_max {
        return Err(CreateRoomError::TooManyRooms);
    }
    let now_ms = select_now_ms(connection).await?;
    let room = Room {
        room: new.room,
        name: new.name,
        history: new_history(),
        head: Seq(1),
        epoch: new.epoch_record.header().epoch,
        chain: Seq(1),
        locked: false,
        access_version: 1,
        created_at_ms: now_ms,
    };
    let password = Grant {
        room: new.room,
        grant: new.grant,
        kind: GrantKind::Password,
        kdf: new.kdf,
        secret: new.secret,
        made_by: new.owner.device,
        created_at_ms: now_ms,
        expires_at_ms: None,
        expired: false,
        uses: 0,
        uses_max: None,
    };
    member::insert_device(connection, &new.owner).await?;
    member::insert_device(connection, &new.recovery).await?;
    insert_room(connection, &room, &new.likeness).await?;
    grant::insert_grant(connection, &password).await?;
    member::admit(connection, new.room, new.owner.device, Role::Owner, now_ms).await?;
    member::insert_recovery(connection, new.room, new.recovery.device, now_ms).await?;
    let record = new.epoch_record.hash();
    epoch::insert_epoch(connection, new.room, room.epoch, record).await?;
    epoch::insert_keys(connection, new.room, record, &[(new.recovery.device, new.recovery_key)]).await?;
    let frame = append_record(connection, Draft { hash: new.epoch_record.hash(), envelope: new.epoch_record }, now_ms);
    Ok((room, frame.await?))
}

/// Makes the epoch record seq 1.
async fn append_record(connection: &mut Connection, record: Draft, now_ms: u64) -> Result<EntryFrame, StoreError> {
    insert_entries(connection, &[(&record, Seq(1))], now_ms).await?;
    Ok(EntryFrame::new(Seq(1), now_ms, record.envelope.bytes()))
}

/// # Errors
/// Its name or its id is taken by a room that was not there when the transaction looked.
async fn insert_room(connection: &mut Connection, room: &Room, likeness: &str) -> Result<(), CreateRoomError> {
    const INSERT: &str = "insert into room
         (room, name, likeness, history, head, epoch, epoch_seq, chain_seq, locked, slow_ms, retention_ms, retained_seq,
          access_version, created_at_ms)
         values ($1, $2, $3, $4, $5, $6, $5, $5, false, 0, 0, 0, $7, $8)";
    let inserted = sqlx::query(INSERT)
        .bind(&room.room.0[..])
        .bind(&room.name)
        .bind(likeness)
        .bind(&room.history.0[..])
        .bind(stored(room.head.0))
        .bind(i64::from(room.epoch))
        .bind(stored(room.access_version))
        .bind(stored(room.created_at_ms))
        .execute(connection)
        .await;
    match inserted {
        Ok(_) => Ok(()),
        Err(error) => Err(match unique_violation(&error) {
            Some("room_likeness_key") => CreateRoomError::NameTaken,
            Some(_) => CreateRoomError::IdTaken,
            None => error.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::explain::assert_searches;
    use super::FOLLOW_STATES;

    #[tokio::test]
    async fn following_a_room_looks_at_a_row_of_each_table() {
        for text in FOLLOW_STATES.texts() {
            assert_searches(text).await;
        }
    }
}
