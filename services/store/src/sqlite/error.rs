//! What an error of the driver means to a caller.

use std::sync::Arc;

use crate::{AppendError, CreateInviteError, CreateRoomError, EnterError, StepError, StoreError};

/// SQLite's primary result codes; the higher bits of a code only refine it.
pub(super) mod code {
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

/// The primary result code, if the database itself refused.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(code::FULL) => Self::Full,
            Some(code::CORRUPT | code::NOTADB | code::CONSTRAINT | code::MISMATCH) => Self::Corrupt(error.to_string()),
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
