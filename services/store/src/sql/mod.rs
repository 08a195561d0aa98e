//! What the SQL stores share and is no statement: batches, what a batch decides, what the last one left, which rooms are contended, questions put
//! together, values of lists, and what a driver's errors mean.
//!
//! The statements themselves are in `statements/`, one text for both databases.

pub(crate) mod batch;
pub(crate) mod contended;
pub(crate) mod error;
pub(crate) mod growth;
pub(crate) mod list;
pub(crate) mod loader;
pub(crate) mod plan;
pub(crate) mod recent;

use std::collections::BTreeSet;

use snug_protocol::RoomId;

/// What a write is about: this decides which task does it, and what it locks before it looks at anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A room. Whoever writes to it has locked its row, so what was read after that cannot change until the commit.
    Room(RoomId),
    /// The rooms of a batch of messages, as far as they are free: the batch finds that out, and comes again for the others.
    Batch,
    /// No room, or parts of many that no decision depends on: unique keys decide who was first.
    Elsewhere,
}

/// Of the rooms that a batch is for. In neither: those that somebody else is writing to.
#[derive(Debug, Default)]
pub(crate) struct FreeRooms {
    /// Ours until the transaction ends.
    pub locked: BTreeSet<RoomId>,
    /// There is no such room.
    pub missing: BTreeSet<RoomId>,
}
