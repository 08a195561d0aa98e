//! Texts that more than one statement is made of: inserts around a query of rows.

use std::sync::LazyLock;

use super::lists::Lists;
use crate::sql::list::Kind::{self, Bytes, Number};

/// The columns of an entry, of a sender's next counter.
pub(in super::super) const ENTRY: [Kind; 10] =
    [Bytes, Number, Number, Number, Bytes, Bytes, Number, Number, Bytes, Bytes];
pub(in super::super) const COUNTER: [Kind; 4] = [Bytes, Bytes, Bytes, Number];

pub(in super::super) static ENTRIES: LazyLock<Lists> = LazyLock::new(|| Lists::new(&ENTRY, insert_entries));
pub(in super::super) static COUNTERS: LazyLock<Lists> = LazyLock::new(|| Lists::new(&COUNTER, upsert_counters));

pub(in super::super) fn insert_entries(rows: &str) -> String {
    format!("insert into entry (room, seq, at_ms, kind, device, instance, counter, target_seq, hash, envelope) {rows}")
}

pub(in super::super) fn upsert_counters(rows: &str) -> String {
    format!(
        "insert into sender_instance (room, device, instance, next) {rows}
         on conflict (room, device, instance) do update set next = excluded.next"
    )
}
