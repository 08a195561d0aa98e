//! Steps and what they do.

use snug_protocol::http::Role;
use snug_protocol::{DeviceId, EntryKind, GrantId, RoomId};

use super::chain::{self, Place};
use super::{Connection, Database, answered, grant, row, tombstone};
use crate::rules::step::{Counts, judge_effect, judge_steps, subject_of};
use crate::sql::Scope;
use crate::sql::batch::Draft;
use crate::sql::list::stored;
use crate::{Appended, Grant, GrantKind, GrantSecret, NewStep, StepEffect, StepError, StoreError};

const COUNTS: &str = "select count(*) filter (where role = 1 and state = 1) as owners,
            count(*) filter (where role < 3) as admins, count(*) filter (where muted_until_ms > 0) as muted
     from member where room = $1";

const LOCK: &str = "update room set locked = ($2 <> 0) where room = $1";
const SLOW: &str = "update room set slow_ms = $2 where room = $1";
const RETENTION: &str = "update room set retention_ms = $2 where room = $1";

impl Database {
    pub async fn administer(&self, step: NewStep) -> Result<Appended, StepError> {
        let room = step.envelope.header().room;
        let erased = if let StepEffect::Erase { device } = step.effect { Some(device) } else { None };
        let write = self.writer.write(Scope::Room(room), move |connection| {
            let step = step.clone();
            Box::pin(async move { administer(connection, step).await })
        });
        let appended = answered(write).await?;
        if let Some(device) = erased
            && let Err(error) = self.erase_device(room, device).await
        {
            // The step is committed and its author must be told so; what is noted is erased by the next sweep.
            tracing::warn!(%error, "an erasure was cut short");
        }
        Ok(appended)
    }
}

async fn administer(connection: &mut Connection, step: NewStep) -> Result<Appended, StepError> {
    let draft = Draft { hash: step.envelope.hash(), envelope: step.envelope };
    let (seq, role, steps, now_ms) = match chain::place(connection, &draft, EntryKind::Step, 0).await? {
        Place::Known(appended) => return Ok(appended),
        Place::Next { seq, role, steps, now_ms } => (seq, role, steps, now_ms),
    };
    let header = draft.envelope.header();
    let (room, author) = (header.room, header.device);
    let subject = match subject_of(&step.effect) {
        Some(device) => chain::select_subject(connection, room, device).await?,
        None => None,
    };
    judge_effect(author, role, &step.effect, subject, count(connection, room).await?)?;
    judge_steps(steps)?;
    match step.effect {
        StepEffect::None => {}
        StepEffect::Role { device, role } => set_role(connection, room, device, role).await?,
        StepEffect::Transfer { device } => {
            set_role(connection, room, device, Role::Owner).await?;
            step_down(connection, room, author).await?;
        }
        StepEffect::Lock { locked } => set_room(connection, LOCK, room, u64::from(locked)).await?,
        StepEffect::Slow { interval_ms } => set_room(connection, SLOW, room, interval_ms).await?,
        StepEffect::Retention { age_ms } => set_room(connection, RETENTION, room, age_ms).await?,
        StepEffect::Mute { device, until_ms } => mute(connection, room, device, until_ms).await?,
        StepEffect::Erase { device } => tombstone::note_device(connection, room, device, seq).await?,
        StepEffect::Unban { device } => unban(connection, room, device).await?,
        StepEffect::Password { grant, kdf, secret } => {
            replace_password(connection, Password { room, grant, kdf, secret, made_by: author }, now_ms).await?;
        }
    }
    count_step(connection, room, author).await?;
    Ok(chain::push(connection, &draft, seq, now_ms).await?)
}

async fn count_step(connection: &mut Connection, room: RoomId, author: DeviceId) -> Result<(), StoreError> {
    const UPDATE: &str = "update member set steps = steps + 1 where room = $1 and device = $2";
    sqlx::query(UPDATE).bind(&room.0[..]).bind(&author.0[..]).execute(connection).await?;
    Ok(())
}

async fn count(connection: &mut Connection, room: RoomId) -> Result<Counts, StoreError> {
    let counted = sqlx::query(COUNTS).bind(&room.0[..]).fetch_one(connection).await?;
    Ok(Counts {
        owners: row::number(&counted, "owners")?,
        admins: row::number(&counted, "admins")?,
        muted: row::number(&counted, "muted")?,
    })
}

async fn set_role(connection: &mut Connection, room: RoomId, device: DeviceId, role: Role) -> Result<(), StoreError> {
    const UPDATE: &str = "update member set role = $3 where room = $1 and device = $2";
    let query = sqlx::query(UPDATE).bind(&room.0[..]).bind(&device.0[..]).bind(row::role_number(role));
    query.execute(connection).await?;
    Ok(())
}

/// Makes an owner that has handed the room over a moderator; a recovery device stays as it is.
async fn step_down(connection: &mut Connection, room: RoomId, device: DeviceId) -> Result<(), StoreError> {
    const UPDATE: &str = "update member set role = 2 where room = $1 and device = $2 and state = 1";
    sqlx::query(UPDATE).bind(&room.0[..]).bind(&device.0[..]).execute(connection).await?;
    Ok(())
}

/// Sets one of the room's numbers by one of the updates above.
async fn set_room(
    connection: &mut Connection,
    update: &'static str,
    room: RoomId,
    value: u64,
) -> Result<(), StoreError> {
    sqlx::query(update).bind(&room.0[..]).bind(stored(value)).execute(connection).await?;
    Ok(())
}

async fn mute(connection: &mut Connection, room: RoomId, device: DeviceId, until_ms: u64) -> Result<(), StoreError> {
    const UPDATE: &str = "update member set muted_until_ms = $3 where room = $1 and device = $2";
    sqlx::query(UPDATE).bind(&room.0[..]).bind(&device.0[..]).bind(stored(until_ms)).execute(connection).await?;
    Ok(())
}

async fn unban(connection: &mut Connection, room: RoomId, device: DeviceId) -> Result<(), StoreError> {
    const UPDATE: &str = "update member set state = 3 where room = $1 and device = $2 and state = 4";
    sqlx::query(UPDATE).bind(&room.0[..]).bind(&device.0[..]).execute(connection).await?;
    Ok(())
}

/// A password to be.
pub(super) struct Password {
    pub room: RoomId,
    pub grant: GrantId,
    pub kdf: u32,
    pub secret: GrantSecret,
    pub made_by: DeviceId,
}

/// Puts a password in place of the room's.
///
/// # Errors
/// The room has a grant with its id.
pub(super) async fn replace_password(
    connection: &mut Connection,
    password: Password,
    now_ms: u64,
) -> Result<(), StepError> {
    const DELETE: &str = "delete from room_grant where room = $1 and kind = 1";
    if grant::select_grant(connection, password.room, password.grant).await?.is_some() {
        return Err(StepError::IdTaken);
    }
    sqlx::query(DELETE).bind(&password.room.0[..]).execute(&mut *connection).await?;
    let new = Grant {
        room: password.room,
        grant: password.grant,
        kind: GrantKind::Password,
        kdf: password.kdf,
        secret: password.secret,
        made_by: password.made_by,
        created_at_ms: now_ms,
        expires_at_ms: None,
        expired: false,
        uses: 0,
        uses_max: None,
    };
    Ok(grant::insert_grant(connection, &new).await?)
}

#[cfg(test)]
mod tests {
    use super::super::explain::assert_searches;
    use super::*;

    #[tokio::test]
    async fn rooms_and_their_admins_are_found_by_key() {
        for statement in [COUNTS, LOCK, SLOW, RETENTION] {
            assert_searches(statement).await;
        }
    }
}
