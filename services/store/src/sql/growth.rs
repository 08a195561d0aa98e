//! What a batch adds to logs.

use std::collections::BTreeSet;

use snug_protocol::{HistoryId, RoomId, Seq};

use super::list::Value;

/// Room, seq, time, kind, device, instance, counter, target, hash, envelope.
pub(crate) type EntryRow<'v> = [Value<'v>; 10];

/// A room that grows.
pub(crate) struct Grown<'v> {
    pub room: &'v RoomId,
    /// Which room of this id it is: one may have been deleted, and another made.
    pub history: &'v HistoryId,
    /// Its head and its `access_version`, as the batch was decided upon them.
    pub was: (Seq, u64),
    /// What they become.
    pub is: (Seq, u64),
}

/// The rows of it, ordered by room.
pub(crate) struct Growth<'v> {
    pub entries: Vec<EntryRow<'v>>,
    pub rooms: Vec<Grown<'v>>,
    /// By the database's clock, when it was read for.
    pub now_ms: u64,
}

/// What came of it.
pub(crate) struct Written {
    /// The rooms that it was written to.
    pub rooms: BTreeSet<RoomId>,
    /// The time of the new entries.
    pub at_ms: u64,
}
