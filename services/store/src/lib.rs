//! The truth: logs, rooms, grants, members and access tokens, in a database.
//!
//! [`Store`] is the only way in, one concrete cloneable handle over its backends: SQLite, Postgres, and `Memory` for tests and
//! simulation. One contract suite (`tests/contract`) holds them to the same promises. `rules.rs` has what is decided the same way by
//! each of them. The project's SQL is in `statements/`, one text that is compiled for both databases; `sqlite/` and `postgres/` hold
//! what is different: opening, locks, lists of rows. The schema is in `migrations/` at the repository's root.
//!
//! Deliberately not here: anything that reads a sealed text, hashes a secret, keeps sockets, or decides who may ask. The store trusts
//! its caller for authorisation, except for what must be decided in the transaction that writes: membership, epoch, order, quotas.

#![allow(clippy::duplicate_mod, reason = "`statements` is one text, compiled for each database on purpose")]

mod calling;
mod error;
mod memory;
mod metrics;
mod postgres;
mod rules;
mod sql;
mod sqlite;
mod store;
mod transfer;
mod types;

pub use calling::{BatchHeld, BeforeBatch, Called, Callers, HandingOver, callers};
pub use error::{AppendError, Cause, CreateInviteError, CreateRoomError, EnterError, OpenError, StepError, StoreError};
pub use memory::{Gate, LogRead, MemoryCopy, MemoryStore, Passage};
pub use metrics::{StoreFailure, StoreMetrics};
pub use postgres::PostgresOptions;
pub use sqlite::{BackedUp, BackupError, Restored, SqliteOptions, back_up, restore};
pub use store::Store;
pub use transfer::{Progress, Stage, TransferError, TransferOptions, Transferred, transfer};
pub use types::{
    Appended, DeviceKeys, Durability, Entering, EpochBegun, EpochKeys, FollowState, Grant, GrantKind, GrantSecret,
    Lookup, Member, MovePart, NewEpoch, NewInvite, NewRoom, NewStep, OfferOutcome, Page, Quotas, Room, RoomHead,
    RoomSummary, SignIn, Standing, StepEffect, Swept, Token,
};
