//! The truth: logs, rooms, grants, members and access tokens, in a database.
//!
//! [`Store`] is the only way in, one concrete cloneable handle over its backends: SQLite, and `Memory` for tests and simulation. One
//! contract suite (`tests/contract`) holds them to the same promises. `rules.rs` has what is decided the same way by each of them.
//! All of the project's SQL is in `sqlite/`; the schema is in `migrations/` at the repository's root.
//!
//! Deliberately not here: anything that reads a sealed text, hashes a secret, keeps sockets, or decides who may ask. The store trusts
//! its caller for authorisation, except for what must be decided in the transaction that writes: membership, epoch, order, quotas.

mod error;
mod memory;
mod rules;
mod sqlite;
mod store;
mod types;

pub use error::{AppendError, Cause, CreateInviteError, CreateRoomError, EnterError, OpenError, StepError, StoreError};
pub use memory::{Gate, LogRead, MemoryCopy, MemoryStore, Passage};
pub use sqlite::SqliteOptions;
pub use store::Store;
pub use types::{
    Appended, DeviceKeys, Durability, Entering, EpochKeys, Grant, GrantKind, GrantSecret, Lookup, Member, NewEpoch,
    NewInvite, NewRoom, NewStep, OfferOutcome, Page, Quotas, Room, RoomHead, Standing, StepEffect, Swept, Token,
};
