//! Texts that more than one statement is made of.

use std::sync::LazyLock;

use super::lists::Lists;
use crate::sql::list::Kind::{self, Bytes, Number};

/// The next counter of a sender's instance, by the newest entry of it: no entry's row is ever deleted while its room is there.
macro_rules! next_counter {
    ($room:literal, $device:literal, $instance:literal) => {
        concat!(
            "coalesce((select counter + 1 from entry",
            indexed_by!("entry_identity"),
            " where entry.room = ",
            $room,
            " and entry.device = ",
            $device,
            " and entry.instance = ",
            $instance,
            " order by entry.counter desc limit 1), 0)"
        )
    };
}
pub(super) use next_counter;

/// Whether the entry at the head is the one that `grown` says, if it says one. Not by `exists`, for which Postgres may read the whole index.
pub(in super::super) const NEWEST_IS_THAT_ONE: &str = "(length(grown.newest) = 0 or grown.newest =
    (select entry.hash from entry where entry.room = grown.room and entry.seq = grown.was_head))";

/// The columns of an entry.
pub(in super::super) const ENTRY: [Kind; 10] =
    [Bytes, Number, Number, Number, Bytes, Bytes, Number, Number, Bytes, Bytes];

pub(in super::super) static ENTRIES: LazyLock<Lists> = LazyLock::new(|| Lists::new(&ENTRY, insert_entries));

pub(in super::super) fn insert_entries(rows: &str) -> String {
    let insert = insert_or_fail!();
    format!(
        "{insert} into entry (room, seq, at_ms, kind, device, instance, counter, target_seq, hash, envelope) {rows}"
    )
}
