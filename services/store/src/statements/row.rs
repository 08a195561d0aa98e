//! Columns to domain types. A value that does not fit was not written by us: `Corrupt`.

use snug_protocol::envelope::HEADER_BYTES;
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{MemberState, Role};
use snug_protocol::{EntryKind, EnvelopeHash, Seq};
use sqlx::Row as _;

use super::Row;
use crate::sql::list::Value;
use crate::{GrantKind, Standing, StoreError};

fn unfit(column: &str) -> StoreError {
    StoreError::corrupt(format!("column {column} holds a value that does not fit"))
}

/// An id, key or hash.
pub(in super::super) fn bytes<const N: usize>(row: &Row, column: &str) -> Result<[u8; N], StoreError> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(|_| unfit(column))
}

/// The same, or `None` where there is none.
pub(super) fn optional_bytes<const N: usize>(row: &Row, column: &str) -> Result<Option<[u8; N]>, StoreError> {
    let found = row.try_get::<Option<&[u8]>, _>(column)?;
    found.map(<[u8; N]>::try_from).transpose().map_err(|_| unfit(column))
}

pub(in super::super) fn number(row: &Row, column: &str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| unfit(column))
}

pub(super) fn optional_number(row: &Row, column: &str) -> Result<Option<u64>, StoreError> {
    row.try_get::<Option<i64>, _>(column)?.map(u64::try_from).transpose().map_err(|_| unfit(column))
}

pub(super) fn small(row: &Row, column: &str) -> Result<u32, StoreError> {
    u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| unfit(column))
}

/// The outcome of a condition.
pub(super) fn flag(row: &Row, column: &str) -> Result<bool, StoreError> {
    Ok(row.try_get(column)?)
}

pub(super) fn seq(row: &Row, column: &str) -> Result<Seq, StoreError> {
    number(row, column).map(Seq)
}

/// From columns `seq`, `at_ms`, `hash`, `envelope`. Of an erased entry's envelope only the header is there.
pub(super) fn entry(row: &Row) -> Result<EntryFrame, StoreError> {
    let (seq, at_ms) = (seq(row, "seq")?, number(row, "at_ms")?);
    let envelope = row.try_get::<&[u8], _>("envelope")?;
    match <&[u8; HEADER_BYTES]>::try_from(envelope) {
        Ok(header) => Ok(EntryFrame::tombstone(seq, at_ms, header, &EnvelopeHash(bytes(row, "hash")?))),
        Err(_) => Ok(EntryFrame::new(seq, at_ms, envelope)),
    }
}

/// A question's place among those of its statement, as the list's column `number`.
pub(super) fn place(at: usize) -> Value<'static> {
    Value::Number(limit(at))
}

/// What was found for `count` questions, in their order, of rows whose column `number` says which question they answer. A row that does not
/// fit is one question's error, not everybody's.
pub(super) fn in_order<A>(
    count: usize,
    rows: &[Row],
    answer: impl Fn(&Row) -> Result<A, StoreError>,
) -> Result<Vec<Result<Option<A>, StoreError>>, StoreError> {
    let mut answers: Vec<_> = std::iter::repeat_with(|| Ok(None)).take(count).collect();
    for row in rows {
        let at =
            usize::try_from(number(row, "number")?).ok().filter(|at| *at < count).ok_or_else(|| unfit("number"))?;
        answers[at] = answer(row).map(Some);
    }
    Ok(answers)
}

/// A count of rows as the database takes it.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

pub(super) const fn role_number(role: Role) -> i64 {
    match role {
        Role::Owner => 1,
        Role::Moderator => 2,
        Role::Member => 3,
    }
}

pub(super) fn role(row: &Row) -> Result<Role, StoreError> {
    match row.try_get("role")? {
        1i64 => Ok(Role::Owner),
        2 => Ok(Role::Moderator),
        3 => Ok(Role::Member),
        _ => Err(unfit("role")),
    }
}

/// How a state of membership is stored.
pub(super) mod state {
    pub const MEMBER: i64 = 1;
    pub const LEFT: i64 = 2;
    pub const REMOVED: i64 = 3;
    pub const BANNED: i64 = 4;
    pub const RECOVERY: i64 = 5;
    pub const RETIRED: i64 = 6;
}

/// From columns `role` and `state`.
pub(super) fn standing(row: &Row) -> Result<Standing, StoreError> {
    match row.try_get("state")? {
        state::MEMBER => role(row).map(Standing::Member),
        state::LEFT => Ok(Standing::Left),
        state::REMOVED => Ok(Standing::Removed),
        state::BANNED => Ok(Standing::Banned),
        state::RECOVERY => Ok(Standing::Recovery),
        state::RETIRED => Ok(Standing::Retired),
        _ => Err(unfit("state")),
    }
}

/// As [`standing`], or `None` where an outer join found no member.
pub(super) fn optional_standing(row: &Row) -> Result<Option<Standing>, StoreError> {
    row.try_get::<Option<i64>, _>("state")?.map(|_| standing(row)).transpose()
}

pub(super) fn entry_kind(row: &Row) -> Result<EntryKind, StoreError> {
    let number = u8::try_from(row.try_get::<i64, _>("kind")?).ok();
    number.and_then(EntryKind::from_u8).ok_or_else(|| unfit("kind"))
}

/// The state of one who is or was a member.
pub(super) fn member_state(row: &Row) -> Result<MemberState, StoreError> {
    match standing(row)? {
        Standing::Member(_) => Ok(MemberState::Member),
        Standing::Left => Ok(MemberState::Left),
        Standing::Removed => Ok(MemberState::Removed),
        Standing::Banned => Ok(MemberState::Banned),
        Standing::Recovery | Standing::Retired => Err(unfit("state")),
    }
}

pub(super) const fn grant_kind_number(kind: GrantKind) -> i64 {
    match kind {
        GrantKind::Password => 1,
        GrantKind::Invite => 2,
    }
}

pub(super) fn grant_kind(row: &Row) -> Result<GrantKind, StoreError> {
    match row.try_get("kind")? {
        1i64 => Ok(GrantKind::Password),
        2 => Ok(GrantKind::Invite),
        _ => Err(unfit("kind")),
    }
}
