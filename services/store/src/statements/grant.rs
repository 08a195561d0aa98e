//! Grants: passwords and invites.

use snug_protocol::{DeviceId, GrantId, RoomId};
use sqlx::Row as _;

use super::{Connection, Database, Row, member, room, row, select_now_ms};
use crate::rules::{expired_invites_max, ms};
use crate::sql::Scope;
use crate::sql::list::stored;
use crate::{CreateInviteError, Grant, GrantKind, GrantSecret, NewInvite, Quotas, Standing, StoreError};

/// The columns of a [`Grant`]; `expired` by the clock at reading.
macro_rules! select_grants {
    ($where:literal) => {
        concat!(
            "select room, grant_id, kind, kdf, verifier, sealed_blob, pepper, made_by, created_at_ms, expires_at_ms,
                    coalesce(expires_at_ms <= ",
            now_ms!(),
            ", false) as expired, uses, uses_max
             from room_grant ",
            $where
        )
    };
}

impl Database {
    pub async fn grant(&self, room: RoomId, grant: GrantId) -> Result<Option<Grant>, StoreError> {
        select_grant(&mut *self.readers.acquire().await?, room, grant).await
    }

    pub async fn replace_grant_secret(
        &self,
        room: RoomId,
        grant: GrantId,
        old_pepper: u32,
        secret: &GrantSecret,
    ) -> Result<bool, StoreError> {
        const UPDATE: &str = "update room_grant set verifier = $4, sealed_blob = $5, pepper = $6
             where room = $1 and grant_id = $2 and pepper = $3";
        let secret = secret.clone();
        self.writer
            .write(Scope::Room(room), move |connection| {
                let secret = secret.clone();
                Box::pin(async move {
                    let query = sqlx::query(UPDATE)
                        .bind(&room.0[..])
                        .bind(&grant.0[..])
                        .bind(i64::from(old_pepper))
                        .bind(secret.verifier)
                        .bind(secret.sealed_blob)
                        .bind(i64::from(secret.pepper));
                    Ok(query.execute(connection).await?.rows_affected() > 0)
                })
            })
            .await
    }

    pub async fn create_invite(&self, new: NewInvite, quotas: &Quotas) -> Result<Grant, CreateInviteError> {
        let quotas = *quotas;
        self.writer
            .write(Scope::Room(new.room), move |connection| {
                let new = new.clone();
                Box::pin(async move { create_invite(connection, new, &quotas).await })
            })
            .await
    }

    pub async fn invites(&self, room: RoomId) -> Result<Vec<Grant>, StoreError> {
        select_invites(&mut *self.readers.acquire().await?, room).await
    }

    pub async fn delete_invite(&self, room: RoomId, grant: GrantId) -> Result<bool, StoreError> {
        const DELETE: &str = "delete from room_grant where room = $1 and grant_id = $2 and kind = 2";
        self.writer
            .write(Scope::Room(room), move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(DELETE).bind(&room.0[..]).bind(&grant.0[..]);
                    Ok(query.execute(connection).await?.rows_affected() > 0)
                })
            })
            .await
    }
}

fn grant_of(row: &Row) -> Result<Grant, StoreError> {
    let uses_max = row::optional_number(row, "uses_max")?.map(u32::try_from).transpose();
    Ok(Grant {
        room: RoomId(row::bytes(row, "room")?),
        grant: GrantId(row::bytes(row, "grant_id")?),
        kind: row::grant_kind(row)?,
        kdf: row::small(row, "kdf")?,
        secret: GrantSecret {
            verifier: row.try_get("verifier")?,
            sealed_blob: row.try_get("sealed_blob")?,
            pepper: row::small(row, "pepper")?,
        },
        made_by: DeviceId(row::bytes(row, "made_by")?),
        created_at_ms: row::number(row, "created_at_ms")?,
        expires_at_ms: row::optional_number(row, "expires_at_ms")?,
        expired: row.try_get("expired")?,
        uses: row::small(row, "uses")?,
        uses_max: uses_max.map_err(|_| StoreError::corrupt("column uses_max holds a value that does not fit"))?,
    })
}

pub(super) async fn select_grant(
    connection: &mut Connection,
    room: RoomId,
    grant: GrantId,
) -> Result<Option<Grant>, StoreError> {
    const SELECT: &str = select_grants!("where room = $1 and grant_id = $2");
    let found = sqlx::query(SELECT).bind(&room.0[..]).bind(&grant.0[..]).fetch_optional(connection).await?;
    found.map(|row| grant_of(&row)).transpose()
}

/// A room's invites that have not expired, newest first.
pub(super) async fn select_invites(connection: &mut Connection, room: RoomId) -> Result<Vec<Grant>, StoreError> {
    const SELECT: &str = select_grants!("where room = $1 and kind = 2 order by created_at_ms desc, grant_id desc");
    let rows = sqlx::query(SELECT).bind(&room.0[..]).fetch_all(connection).await?;
    let mut invites = rows.iter().map(grant_of).collect::<Result<Vec<_>, _>>()?;
    invites.retain(|invite| !invite.expired);
    Ok(invites)
}

pub(super) async fn insert_grant(connection: &mut Connection, grant: &Grant) -> Result<(), StoreError> {
    const INSERT: &str = "insert into room_grant (room, grant_id, kind, kdf, verifier, sealed_blob, pepper, made_by,
             created_at_ms, expires_at_ms, uses, uses_max)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    sqlx::query(INSERT)
        .bind(&grant.room.0[..])
        .bind(&grant.grant.0[..])
        .bind(row::grant_kind_number(grant.kind))
        .bind(i64::from(grant.kdf))
        .bind(&grant.secret.verifier[..])
        .bind(&grant.secret.sealed_blob[..])
        .bind(i64::from(grant.secret.pepper))
        .bind(&grant.made_by.0[..])
        .bind(stored(grant.created_at_ms))
        .bind(grant.expires_at_ms.map(stored))
        .bind(i64::from(grant.uses))
        .bind(grant.uses_max.map(i64::from))
        .execute(connection)
        .await?;
    Ok(())
}

/// Counts one device that became a member by this grant.
pub(super) async fn count_use(connection: &mut Connection, room: RoomId, grant: GrantId) -> Result<(), StoreError> {
    const UPDATE: &str = "update room_grant set uses = uses + 1 where room = $1 and grant_id = $2";
    sqlx::query(UPDATE).bind(&room.0[..]).bind(&grant.0[..]).execute(connection).await?;
    Ok(())
}

/// Invites that have not expired by `now_ms`.
async fn count_invites(connection: &mut Connection, room: RoomId, now_ms: u64) -> Result<u64, StoreError> {
    const COUNT: &str = "select count(*) as invites from room_grant
         where room = $1 and kind = 2 and (expires_at_ms is null or expires_at_ms > $2)";
    let counted = sqlx::query(COUNT).bind(&room.0[..]).bind(stored(now_ms)).fetch_one(connection).await?;
    row::number(&counted, "invites")
}

async fn count_grants(connection: &mut Connection, room: RoomId) -> Result<u64, StoreError> {
    const COUNT: &str = "select count(*) as grants from room_grant where room = $1";
    row::number(&sqlx::query(COUNT).bind(&room.0[..]).fetch_one(connection).await?, "grants")
}

async fn delete_expired(connection: &mut Connection, room: RoomId, now_ms: u64) -> Result<(), StoreError> {
    const DELETE: &str = "delete from room_grant where room = $1 and kind = 2 and expires_at_ms <= $2";
    sqlx::query(DELETE).bind(&room.0[..]).bind(stored(now_ms)).execute(connection).await?;
    Ok(())
}

async fn create_invite(
    connection: &mut Connection,
    new: NewInvite,
    quotas: &Quotas,
) -> Result<Grant, CreateInviteError> {
    let standing = member::select_standing(connection, new.room, new.made_by).await?;
    if standing.and_then(Standing::role).is_none() {
        return Err(CreateInviteError::NotAMember);
    }
    if standing != Some(Standing::Recovery) && room::is_locked(connection, new.room).await? {
        return Err(CreateInviteError::Locked);
    }
    if select_grant(connection, new.room, new.grant).await?.is_some() {
        return Err(CreateInviteError::IdTaken);
    }
    let now_ms = select_now_ms(connection).await?;
    if count_invites(connection, new.room, now_ms).await? >= quotas.invites_per_room_max {
        return Err(CreateInviteError::TooManyInvites);
    }
    if count_grants(connection, new.room).await? > expired_invites_max(quotas) {
        delete_expired(connection, new.room, now_ms).await?;
    }
    let expires_at_ms = new.expires_in.map(|span| now_ms + ms(span));
    let invite = Grant {
        room: new.room,
        grant: new.grant,
        kind: GrantKind::Invite,
        kdf: 0,
        secret: new.secret,
        made_by: new.made_by,
        created_at_ms: now_ms,
        expires_at_ms,
        expired: expires_at_ms.is_some_and(|end| end <= now_ms),
        uses: 0,
        uses_max: new.uses_max,
    };
    insert_grant(connection, &invite).await?;
    Ok(invite)
}
