//! What an error of the driver means to a caller.

use std::sync::Arc;

use sqlx::postgres::PgDatabaseError;

use crate::{AppendError, CreateInviteError, CreateRoomError, EnterError, StepError, StoreError};

/// SQLite's primary result codes; the higher bits of a code only refine it.
pub(crate) mod sqlite {
    pub const BUSY: i32 = 5;
    pub const LOCKED: i32 = 6;
    pub const READONLY: i32 = 8;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const CANTOPEN: i32 = 14;
    pub const CONSTRAINT: i32 = 19;
    pub const MISMATCH: i32 = 20;
    pub const NOTADB: i32 = 26;
}

/// Postgres's codes (its manual, appendix A). The first two letters are a class.
pub(crate) mod postgres {
    pub const READ_ONLY: &str = "25006";
    pub const NOT_AUTHORISED: &str = "28000";
    pub const WRONG_PASSWORD: &str = "28P01";
    pub const NO_SUCH_DATABASE: &str = "3D000";
    pub const NO_SUCH_SCHEMA: &str = "3F000";
    pub const NOT_SERIALIZABLE: &str = "40001";
    pub const DEADLOCK: &str = "40P01";
    pub const NO_RIGHT: &str = "42501";
    pub const DISK_FULL: &str = "53100";
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    pub const LOCK_NOT_AVAILABLE: &str = "55P03";
    pub const STARTING: &str = "57P03";
    /// Classes of what should never happen: data, constraints, statements, the server's own checks of its files.
    pub const BROKEN: [&str; 4] = ["22", "23", "42", "XX"];
}

/// The primary result code, if SQLite itself refused.
pub(crate) fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    let error = error.as_database_error()?;
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return None;
    }
    let extended: i32 = error.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// The code, if Postgres itself refused.
pub(crate) fn postgres_code(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// The code, if Postgres itself refused.
fn code_of(error: &StoreError) -> Option<&str> {
    match error {
        StoreError::Unavailable(cause) => postgres_code(cause.downcast_ref::<sqlx::Error>()?),
        StoreError::Full | StoreError::Corrupt(_) => None,
    }
}

/// Whether the transaction lost against another one, and was rolled back.
pub(crate) fn is_conflict(error: &StoreError) -> bool {
    matches!(code_of(error), Some(postgres::DEADLOCK | postgres::NOT_SERIALIZABLE))
}

/// Whether a lock was waited for too long.
pub(crate) fn is_lock_timeout(error: &StoreError) -> bool {
    code_of(error) == Some(postgres::LOCK_NOT_AVAILABLE)
}

/// Whether the server takes no writes.
pub(crate) fn is_read_only(error: &StoreError) -> bool {
    code_of(error) == Some(postgres::READ_ONLY)
}

/// The name of the unique constraint that a statement would have violated, empty if the database does not tell.
pub(crate) fn unique_violation(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error().filter(|error| error.is_unique_violation())?;
    Some(error.constraint().unwrap_or_default())
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(code) = postgres_code(&error) {
            return match code {
                postgres::DISK_FULL => Self::Full,
                code if postgres::BROKEN.iter().any(|class| code.starts_with(class)) => {
                    Self::Corrupt(error.to_string())
                }
                _ => Self::Unavailable(Arc::new(error)),
            };
        }
        match sqlite_code(&error) {
            Some(sqlite::FULL) => Self::Full,
            Some(sqlite::CORRUPT | sqlite::NOTADB | sqlite::CONSTRAINT | sqlite::MISMATCH) => {
                Self::Corrupt(error.to_string())
            }
            Some(_) => Self::Unavailable(Arc::new(error)),
            None => match error {
                sqlx::Error::RowNotFound
                | sqlx::Error::TypeNotFound { .. }
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_) => Self::Corrupt(error.to_string()),
                _ => Self::Unavailable(Arc::new(error)),
            },
        }
    }
}

macro_rules! through_store_error {
    ($($error:ty),*) => {
        $(impl From<sqlx::Error> for $error {
            fn from(error: sqlx::Error) -> Self {
                Self::Store(error.into())
            }
        })*
    };
}
through_store_error!(AppendError, CreateRoomError, CreateInviteError, EnterError, StepError);
