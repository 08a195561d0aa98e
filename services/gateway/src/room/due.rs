//! What a session at a cursor is to be sent, encoded once for all sessions at the same place.

use snug_protocol::Seq;

use super::{Accepted, Read, Tail};
use crate::wire::Entries;

/// Places remembered. In a room that is well, all sessions are at one place or two.
const PLACES_MAX: usize = 4;

/// What lies after a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// These.
    Entries(Entries),
    /// The tail begins later: read the store.
    Behind,
}

/// A tail, and what was encoded of it since it last changed.
#[derive(Default)]
pub(super) struct SharedTail {
    tail: Tail,
    encoded: Vec<(Seq, Entries)>,
}

impl SharedTail {
    pub(super) const fn tail(&self) -> &Tail {
        &self.tail
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut Tail) -> Accepted) -> Accepted {
        self.encoded.clear();
        change(&mut self.tail)
    }

    /// Drops what was committed before `at_ms`.
    pub(super) fn forget_before(&mut self, at_ms: u64) {
        self.encoded.clear();
        self.tail.forget_before(at_ms);
    }

    /// What lies after `cursor`, at most about `bytes_max` of it. All callers name the same `bytes_max`.
    pub(super) fn due(&mut self, cursor: Seq, bytes_max: usize) -> Due {
        if let Some((_, entries)) = self.encoded.iter().find(|(after, _)| *after == cursor) {
            return Due::Entries(entries.clone());
        }
        let frames = match self.tail.after(cursor, bytes_max) {
            Read::Frames(frames) => frames,
            Read::Behind => return Due::Behind,
        };
        let Some(entries) = Entries::encode(frames.iter()) else { return Due::Nothing };
        if self.encoded.len() >= PLACES_MAX {
            self.encoded.remove(0);
        }
        self.encoded.push((cursor, entries.clone()));
        Due::Entries(entries)
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::frame::EntryFrame;

    use super::*;

    fn tail(seqs: std::ops::RangeInclusive<u64>) -> SharedTail {
        let mut tail = SharedTail::default();
        for seq in seqs {
            tail.change(|tail| tail.accept(EntryFrame::new(Seq(seq), seq, &[0; 76])));
        }
        tail
    }

    fn last(due: &Due) -> u64 {
        let Due::Entries(entries) = due else { panic!("{due:?}") };
        entries.last.0
    }

    #[test]
    fn sessions_at_one_place_share_one_piece_of_memory() {
        let mut tail = tail(1..=3);
        let (first, second) = (tail.due(Seq(1), 1000), tail.due(Seq(1), 1000));
        let (Due::Entries(first), Due::Entries(second)) = (first, second) else { panic!("there is something") };
        assert_eq!(first.bytes.as_ptr(), second.bytes.as_ptr());
        assert_eq!(tail.due(Seq(3), 1000), Due::Nothing);
    }

    #[test]
    fn what_was_encoded_before_a_change_is_not_sent_after_it() {
        let mut tail = tail(1..=3);
        assert_eq!(last(&tail.due(Seq(1), 1000)), 3);
        tail.change(|tail| tail.accept(EntryFrame::new(Seq(4), 4, &[0; 76])));
        assert_eq!(last(&tail.due(Seq(1), 1000)), 4);
        tail.forget_before(3);
        assert_eq!(tail.due(Seq(1), 1000), Due::Behind);
    }

    #[test]
    fn few_places_are_remembered() {
        let mut tail = tail(1..=50);
        for cursor in (0..50).rev() {
            assert_eq!(last(&tail.due(Seq(cursor), 1 << 20)), 50);
            assert!(tail.encoded.len() <= PLACES_MAX);
        }
    }
}
