//! Columns to domain types. A value that does not fit was not written by us: `Corrupt`.

use snug_protocol::Seq;
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{MemberState, Role};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::{GrantKind, StoreError};

fn unfit(column: &str) -> StoreError {
    StoreError::corrupt(format!("column {column} holds a value that does not fit"))
}

/// An id, key or hash.
pub(super) fn bytes<const N: usize>(row: &SqliteRow, column: &str) -> Result<[u8; N], StoreError> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(|_| unfit(column))
}

pub(super) fn number(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| unfit(column))
}

pub(super) fn optional_number(row: &SqliteRow, column: &str) -> Result<Option<u64>, StoreError> {
    row.try_get::<Option<i64>, _>(column)?.map(u64::try_from).transpose().map_err(|_| unfit(column))
}

pub(super) fn small(row: &SqliteRow, column: &str) -> Result<u32, StoreError> {
    u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| unfit(column))
}

pub(super) fn seq(row: &SqliteRow, column: &str) -> Result<Seq, StoreError> {
    number(row, column).map(Seq)
}

/// From columns `seq`, `at_ms`, `envelope`.
pub(super) fn entry(row: &SqliteRow) -> Result<EntryFrame, StoreError> {
    let envelope = row.try_get::<&[u8], _>("envelope")?;
    Ok(EntryFrame::new(seq(row, "seq")?, number(row, "at_ms")?, envelope))
}

/// A number as the database holds it. Ours are below 2^53; one from outside that is not lies behind everything.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count of rows as the database takes it.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

pub(super) const fn role_number(role: Role) -> i64 {
    match role {
        Role::Owner => 1,
        Role::Member => 2,
    }
}

pub(super) fn role(row: &SqliteRow) -> Result<Role, StoreError> {
    match row.try_get("role")? {
        1i64 => Ok(Role::Owner),
        2 => Ok(Role::Member),
        _ => Err(unfit("role")),
    }
}

pub(super) fn member_state(row: &SqliteRow) -> Result<MemberState, StoreError> {
    match row.try_get("state")? {
        1i64 => Ok(MemberState::Member),
        2 => Ok(MemberState::Left),
        _ => Err(unfit("state")),
    }
}

pub(super) const fn grant_kind_number(kind: GrantKind) -> i64 {
    match kind {
        GrantKind::Password => 1,
        GrantKind::Invite => 2,
    }
}

pub(super) fn grant_kind(row: &SqliteRow) -> Result<GrantKind, StoreError> {
    match row.try_get("kind")? {
        1i64 => Ok(GrantKind::Password),
        2 => Ok(GrantKind::Invite),
        _ => Err(unfit("kind")),
    }
}
