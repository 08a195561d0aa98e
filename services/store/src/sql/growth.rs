//! What a batch adds to logs.

use std::collections::BTreeSet;

use snug_protocol::{EnvelopeHash, HistoryId, RoomId, Seq};

use super::list::{Value, number};

/// Room, seq, time, kind, device, instance, counter, target, hash, envelope.
pub(crate) type EntryRow<'v> = [Value<'v>; 10];

/// A room that grows.
pub(crate) struct Grown<'v> {
    pub room: &'v RoomId,
    /// Which room of this id it is: one may have been deleted, and another made.
    pub history: &'v HistoryId,
    /// Its head and its `access_version`, as the batch was decided upon them.
    pub was: (Seq, u64),
    /// The entry that is to be at that head, if that is not certain.
    pub newest: Option<&'v EnvelopeHash>,
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

impl<'v> Grown<'v> {
    /// Room, history, head and access version as they were, and as they become, and the newest entry's hash or nothing.
    pub fn values(&self) -> [Value<'v>; 7] {
        let [was, is] = [self.was, self.is].map(|(head, access_version)| (number(head.0), number(access_version)));
        let newest = self.newest.map_or(&[][..], |newest| &newest.0);
        [Value::Bytes(&self.room.0), Value::Bytes(&self.history.0), was.0, was.1, is.0, is.1, Value::Bytes(newest)]
    }
}

/// What came of it.
pub(crate) struct Written {
    /// The rooms that it was written to.
    pub rooms: BTreeSet<RoomId>,
    /// The time of the new entries.
    pub at_ms: u64,
}

/// A message for each of four rooms that are at head 100 and `access_version` 1, of which only the first was so when this was decided upon.
#[cfg(test)]
pub(crate) fn for_the_first_of<'v>(rooms: &'v [RoomId; 4], history: &'v HistoryId) -> Growth<'v> {
    const NEW: Value<'static> = Value::Bytes(&[9; 16]);
    const HASH: Value<'static> = Value::Bytes(&[9; 32]);
    let entry = |room: &'v RoomId| {
        [Value::Bytes(&room.0), number(101), number(0), number(3), NEW, NEW, number(0), number(0), HASH, NEW]
    };
    let [as_it_was, has_grown, somebody_lost_access, another] = rooms;
    let is = (Seq(101), 1);
    Growth {
        entries: rooms.iter().map(entry).collect(),
        rooms: vec![
            Grown { room: as_it_was, history, was: (Seq(100), 1), newest: None, is },
            Grown { room: has_grown, history, was: (Seq(99), 1), newest: None, is },
            Grown { room: somebody_lost_access, history, was: (Seq(100), 0), newest: None, is },
            Grown { room: another, history: &HistoryId([7; 16]), was: (Seq(100), 1), newest: None, is },
        ],
        now_ms: 0,
    }
}
