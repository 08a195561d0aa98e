//! Members of rooms, and devices.

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::Role;
use snug_protocol::{DeviceId, GrantId, RoomId, Seq};
use sqlx::Row as _;

use super::{Connection, Database, Row, grant, locks, room, row, select_now_ms};
use crate::rules::opens_locked;
use crate::sql::Scope;
use crate::sql::list::stored;
use crate::{DeviceKeys, EnterError, Entering, Member, Quotas, Standing, StoreError};

/// The columns of a [`Member`]; those of the profile's entry are null if there is none.
macro_rules! select_members {
    ($where:literal) => {
        concat!(
            "select member.device, device.sign_key, device.agree_key, member.role, member.state, member.joined_at_ms,
                    member.profile_seq, entry.seq, entry.at_ms, entry.hash, entry.envelope
             from member
             join device on device.device = member.device
             left join entry on entry.room = member.room and entry.seq = member.profile_seq ",
            $where
        )
    };
}

impl Database {
    pub async fn enter(
        &self,
        room: RoomId,
        grant: GrantId,
        device: DeviceKeys,
        quotas: &Quotas,
    ) -> Result<Entering, EnterError> {
        let quotas = *quotas;
        self.writer
            .write(Scope::Room(room), move |connection| {
                Box::pin(async move { enter(connection, room, grant, device, &quotas).await })
            })
            .await
    }

    pub async fn standing(&self, room: RoomId, device: DeviceId) -> Result<Option<Standing>, StoreError> {
        // All who follow a room ask this at one time, when somebody is put out of it.
        Ok(self.follow_states.ask((room, device, Seq::ZERO)).await?.and_then(|state| state.standing))
    }

    pub async fn member(&self, room: RoomId, device: DeviceId) -> Result<Option<Member>, StoreError> {
        const SELECT: &str = select_members!("where member.room = $1 and member.device = $2 and member.state < 5");
        let found = sqlx::query(SELECT).bind(&room.0[..]).bind(&device.0[..]).fetch_optional(&self.readers).await?;
        found.map(|row| member_of(&row)).transpose()
    }

    pub async fn members(
        &self,
        room: RoomId,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        const SELECT: &str = select_members!(
            "where member.room = $1 and member.device > $2 and member.state < 5
                             order by member.device limit $3"
        );
        // Every id is greater than no bytes.
        let after = after.map_or_else(Vec::new, |device| device.0.to_vec());
        let query = sqlx::query(SELECT).bind(&room.0[..]).bind(after).bind(row::limit(limit));
        query.fetch_all(&self.readers).await?.iter().map(member_of).collect()
    }

    pub async fn device(&self, device: DeviceId) -> Result<Option<DeviceKeys>, StoreError> {
        let found = sqlx::query("select device, sign_key, agree_key from device where device = $1")
            .bind(&device.0[..])
            .fetch_optional(&self.readers)
            .await?;
        found.map(|row| keys_of(&row)).transpose()
    }
}

fn keys_of(row: &Row) -> Result<DeviceKeys, StoreError> {
    Ok(DeviceKeys {
        device: DeviceId(row::bytes(row, "device")?),
        sign_key: row::bytes(row, "sign_key")?,
        agree_key: row::bytes(row, "agree_key")?,
    })
}

fn member_of(row: &Row) -> Result<Member, StoreError> {
    let profile = row.try_get::<Option<i64>, _>("seq")?;
    Ok(Member {
        keys: keys_of(row)?,
        role: row::role(row)?,
        state: row::member_state(row)?,
        joined_at_ms: row::number(row, "joined_at_ms")?,
        profile: profile.map(|_| row::entry(row)).transpose()?,
    })
}

pub(super) async fn select_standing(
    connection: &mut Connection,
    room: RoomId,
    device: DeviceId,
) -> Result<Option<Standing>, StoreError> {
    const SELECT: &str = "select state, role from member where room = $1 and device = $2";
    let found = sqlx::query(SELECT).bind(&room.0[..]).bind(&device.0[..]).fetch_optional(connection).await?;
    found.map(|row| row::standing(&row)).transpose()
}

/// Rooms that `device` is a member of now.
pub(super) async fn count_rooms(connection: &mut Connection, device: DeviceId) -> Result<u64, StoreError> {
    const COUNT: &str = "select count(*) as rooms from member where device = $1 and state = 1";
    row::number(&sqlx::query(COUNT).bind(&device.0[..]).fetch_one(connection).await?, "rooms")
}

/// Who was a member and is not takes nobody's place, or guests could come and go until nobody else gets in.
async fn count_members(connection: &mut Connection, room: RoomId) -> Result<u64, StoreError> {
    const COUNT: &str = "select count(*) as members from member where room = $1 and state = 1";
    row::number(&sqlx::query(COUNT).bind(&room.0[..]).fetch_one(connection).await?, "members")
}

/// Its id is a hash of its keys, so one that is known has the same.
pub(super) async fn insert_device(connection: &mut Connection, keys: &DeviceKeys) -> Result<(), StoreError> {
    const INSERT: &str =
        "insert into device (device, sign_key, agree_key) values ($1, $2, $3) on conflict (device) do nothing";
    let query = sqlx::query(INSERT).bind(&keys.device.0[..]).bind(&keys.sign_key[..]).bind(&keys.agree_key[..]);
    query.execute(connection).await?;
    Ok(())
}

/// Makes `device` a member with this role, or again with the role it had.
pub(super) async fn admit(
    connection: &mut Connection,
    room: RoomId,
    device: DeviceId,
    role: Role,
    now_ms: u64,
) -> Result<(), StoreError> {
    const UPSERT: &str = "insert into member (room, device, role, state, joined_at_ms) values ($1, $2, $3, 1, $4)
         on conflict (room, device) do update set state = 1, joined_at_ms = excluded.joined_at_ms";
    sqlx::query(UPSERT)
        .bind(&room.0[..])
        .bind(&device.0[..])
        .bind(row::role_number(role))
        .bind(stored(now_ms))
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes a room's recovery device, which is no member.
pub(super) async fn insert_recovery(
    connection: &mut Connection,
    room: RoomId,
    device: DeviceId,
    now_ms: u64,
) -> Result<(), StoreError> {
    const INSERT: &str = "insert into member (room, device, role, state, joined_at_ms) values ($1, $2, 1, 5, $3)";
    sqlx::query(INSERT).bind(&room.0[..]).bind(&device.0[..]).bind(stored(now_ms)).execute(connection).await?;
    Ok(())
}

async fn enter(
    connection: &mut Connection,
    room: RoomId,
    grant: GrantId,
    keys: DeviceKeys,
    quotas: &Quotas,
) -> Result<Entering, EnterError> {
    let grant = grant::select_grant(connection, room, grant).await?.ok_or(EnterError::Gone)?;
    let standing = select_standing(connection, room, keys.device).await?;
    if matches!(standing, Some(Standing::Banned | Standing::Retired)) {
        return Err(EnterError::Banned);
    }
    if grant.expired {
        return Err(EnterError::Expired);
    }
    let new_member = standing.and_then(Standing::role).is_none();
    if new_member {
        if room::is_locked(connection, room).await? {
            let host = select_standing(connection, room, grant.made_by).await?;
            if !opens_locked(grant.kind, host) {
                return Err(EnterError::Locked);
            }
        }
        if grant.uses_max.is_some_and(|max| grant.uses >= max) {
            return Err(EnterError::UsedUp);
        }
        if count_members(connection, room).await? >= quotas.members_per_room_max {
            return Err(EnterError::TooManyMembers);
        }
        locks::device(connection, keys.device).await?;
        if count_rooms(connection, keys.device).await? >= quotas.rooms_per_device_max {
            return Err(EnterError::TooManyRooms);
        }
        let now_ms = select_now_ms(connection).await?;
        insert_device(connection, &keys).await?;
        admit(connection, room, keys.device, Role::Member, now_ms).await?;
        grant::count_use(connection, room, grant.grant).await?;
    }
    let (room, epoch_seq) = room::select_room(connection, room).await?.ok_or(EnterError::Gone)?;
    let standing = select_standing(connection, room.room, keys.device).await?;
    let role = standing.and_then(Standing::role);
    let role = role.ok_or_else(|| StoreError::corrupt("a device was admitted and is not a member"))?;
    let epoch_record = select_entry(connection, room.room, epoch_seq).await?;
    Ok(Entering { room, role, new_member, epoch_record })
}

async fn select_entry(connection: &mut Connection, room: RoomId, seq: Seq) -> Result<EntryFrame, StoreError> {
    const SELECT: &str = "select seq, at_ms, hash, envelope from entry where room = $1 and seq = $2";
    let found = sqlx::query(SELECT).bind(&room.0[..]).bind(stored(seq.0)).fetch_optional(connection).await?;
    row::entry(&found.ok_or_else(|| StoreError::corrupt("a room's epoch record is missing"))?)
}
