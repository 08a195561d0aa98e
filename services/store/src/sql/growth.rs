//! What a batch adds to logs.

use std::collections::BTreeSet;

use snug_protocol::{EnvelopeHash, RoomId};
#[cfg(test)]
use snug_protocol::{HistoryId, Seq};

use super::list::{Value, number};
use super::plan::RoomState;
#[cfg(test)]
use crate::rules::append::Terms;

/// Room, seq, time, kind, device, instance, counter, target, hash, envelope.
pub(crate) type EntryRow<'v> = [Value<'v>; 10];

/// A room that grows.
pub(crate) struct Grown<'v> {
    pub room: &'v RoomId,
    /// As the batch was decided upon. Its history, since a room may have been deleted, and another of its id been made.
    pub was: &'v RoomState,
    /// The entry that is to be at that head, if that is not certain.
    pub newest: Option<&'v EnvelopeHash>,
    /// What it becomes.
    pub is: &'v RoomState,
}

/// The rows of it, ordered by room.
pub(crate) struct Growth<'v> {
    pub entries: Vec<EntryRow<'v>>,
    pub rooms: Vec<Grown<'v>>,
    /// By the database's clock, when it was read for.
    pub now_ms: u64,
}

impl<'v> Grown<'v> {
    /// Room, history, head, access version and newest step as they were, head and access version as they become, and the newest entry's
    /// hash or nothing.
    pub fn values(&self) -> [Value<'v>; 8] {
        let Self { room, was, is, newest } = self;
        [
            Value::Bytes(&room.0),
            Value::Bytes(&was.history.0),
            number(was.head.0),
            number(was.access_version),
            number(was.chain.0),
            number(is.head.0),
            number(is.access_version),
            newest.map_or(Value::Bytes(&[]), |newest| Value::Bytes(&newest.0)),
        ]
    }
}

/// What came of it.
pub(crate) struct Written {
    /// The rooms that it was written to.
    pub rooms: BTreeSet<RoomId>,
    /// The time of the new entries.
    pub at_ms: u64,
}

/// A message for each of six rooms, of which only the first is as it was when this was decided upon: at head 100, of this history, with nobody
/// having lost access and without a step since, and with another newest entry than the last is said to have.
#[cfg(test)]
pub(crate) fn for_the_first_of<'v>(rooms: &'v [RoomId; 6], as_it_was: &'v [RoomState; 6]) -> Growth<'v> {
    const NEW: Value<'static> = Value::Bytes(&[9; 16]);
    const HASH: Value<'static> = Value::Bytes(&[9; 32]);
    const IS: RoomState = state(HistoryId([0; 16]), 101, 1, 1);
    let entry = |room: &'v RoomId| {
        [Value::Bytes(&room.0), number(101), number(0), number(3), NEW, NEW, number(0), number(0), HASH, NEW]
    };
    let grown = |(room, was)| Grown { room, was, newest: None, is: &IS };
    let mut growing: Vec<_> = rooms.iter().zip(as_it_was).map(grown).collect();
    growing[5].newest = Some(&EnvelopeHash([7; 32]));
    Growth { entries: rooms.iter().map(entry).collect(), rooms: growing, now_ms: 0 }
}

/// How those rooms were.
#[cfg(test)]
pub(crate) const fn as_they_were(history: HistoryId) -> [RoomState; 6] {
    let (as_it_was, another) = (state(history, 100, 1, 1), state(HistoryId([7; 16]), 100, 1, 1));
    [as_it_was, state(history, 99, 1, 1), state(history, 100, 0, 1), another, state(history, 100, 1, 0), as_it_was]
}

#[cfg(test)]
const fn state(history: HistoryId, head: u64, access_version: u64, chain: u64) -> RoomState {
    RoomState { history, head: Seq(head), terms: Terms { epoch: 0, slow_ms: 0 }, access_version, chain: Seq(chain) }
}
