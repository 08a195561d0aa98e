//! The log in the database's own rows: what no client can tell, since it sees only what a node gives it.

use std::collections::{BTreeSet, HashMap};

use super::{Breach, Stored};

/// The rows' code for a message, as the schema numbers kinds.
pub const MESSAGE: i64 = 3;

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place.
    pub seq: i64,
    /// Its kind.
    pub kind: i64,
    /// By whom.
    pub device: Vec<u8>,
    /// In which life of its author's client.
    pub instance: Vec<u8>,
    /// Its number in that life.
    pub counter: i64,
}

/// Every contradiction among the rows of one room, which are in order of place, its row's `head`, and the messages that a newcomer read.
#[must_use]
pub fn check(rows: &[Row], head: i64, read: &[Stored]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (expected, row) in (1..).zip(rows) {
        if row.seq != expected {
            breaches.push(Breach::Rows(format!("{} stands where {expected} should", row.seq)));
            break;
        }
    }
    let last = rows.last().map_or(0, |row| row.seq);
    if last != head {
        breaches.push(Breach::Rows(format!("the head is said to be {head}, and the log ends at {last}")));
    }
    let mut next: HashMap<(&[u8], &[u8]), i64> = HashMap::new();
    for row in rows {
        let next = next.entry((&row.device, &row.instance)).or_default();
        if row.counter != *next {
            breaches.push(Breach::Rows(format!("at {} counter {} follows where {next} should", row.seq, row.counter)));
        }
        *next = row.counter + 1;
    }
    let messages: BTreeSet<u64> =
        rows.iter().filter(|row| row.kind == MESSAGE).map(|row| row.seq.unsigned_abs()).collect();
    let shown: BTreeSet<u64> = read.iter().map(|(seq, _)| *seq).collect();
    let hidden = messages.iter().filter(|seq| !shown.contains(seq));
    breaches.extend(hidden.map(|seq| Breach::Rows(format!("the message at {seq} is stored and not shown"))));
    let made_up = shown.iter().filter(|seq| !messages.contains(seq));
    breaches.extend(made_up.map(|seq| Breach::Rows(format!("a message at {seq} is shown and not stored"))));
    breaches
}
