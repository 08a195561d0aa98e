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

/// A tail, how far sessions have been told of it, and what was encoded since.
///
/// A tail grows all the time; if each session took what there is when its turn comes, no two would be at one place, and each place costs
/// an encoding of its own. So nobody is given more than all are told of: those that are woken together leave together.
#[derive(Default)]
pub(super) struct SharedTail {
    tail: Tail,
    told: Seq,
    encoded: Vec<(Seq, Entries)>,
    /// Of `encoded`: it changes when what was encoded before must not be sent any more.
    version: u64,
}

impl SharedTail {
    pub(super) const fn tail(&self) -> &Tail {
        &self.tail
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut Tail) -> Accepted) -> Accepted {
        let erased_before = self.tail.erased_before();
        let accepted = change(&mut self.tail);
        if self.tail.erased_before() != erased_before {
            self.begin_anew();
        }
        accepted
    }

    fn begin_anew(&mut self) {
        self.encoded.clear();
        self.version += 1;
    }

    /// What [`SharedTail::keep`] is to be given.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Keeps what was read from the store for those who are at the same place, unless something has changed since `version`.
    pub(super) fn keep(&mut self, version: u64, cursor: Seq, entries: &Entries) {
        if version == self.version {
            self.put(cursor, entries);
        }
    }

    fn put(&mut self, cursor: Seq, entries: &Entries) {
        if self.encoded.len() >= PLACES_MAX {
            self.encoded.remove(0);
        }
        self.encoded.push((cursor, entries.clone()));
    }

    /// All that there is may be sent from now on; the newest of it.
    pub(super) fn tell(&mut self) -> Seq {
        let head = self.tail.head();
        if head != self.told {
            self.begin_anew();
            self.told = head;
        }
        head
    }

    /// Drops what was committed before `at_ms`.
    pub(super) fn forget_before(&mut self, at_ms: u64) {
        self.begin_anew();
        self.tail.forget_before(at_ms);
    }

    /// What lies after `cursor` and was told, at most about `bytes_max` of it. All callers name the same `bytes_max`.
    pub(super) fn due(&mut self, cursor: Seq, bytes_max: usize) -> Due {
        if let Some((_, entries)) = self.encoded.iter().find(|(after, _)| *after == cursor) {
            return Due::Entries(entries.clone());
        }
        let frames = match self.tail.between(cursor, self.told, bytes_max) {
            Read::Frames(frames) => frames,
            Read::Behind => return Due::Behind,
        };
        let Some(entries) = Entries::encode(frames.iter()) else { return Due::Nothing };
        self.put(cursor, &entries);
        Due::Entries(entries)
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::frame::EntryFrame;
    use snug_protocol::{DeviceId, EntryKind, Header, InstanceId, RoomId};

    use super::*;

    fn entry(kind: EntryKind, seq: u64) -> EntryFrame {
        let header = Header {
            kind,
            room: RoomId([1; 16]),
            epoch: 0,
            device: DeviceId([2; 16]),
            instance: InstanceId([3; 16]),
            counter: seq,
            target: Seq::ZERO,
        };
        EntryFrame::new(Seq(seq), seq, &header.encode())
    }

    fn message(seq: u64) -> EntryFrame {
        entry(EntryKind::Message, seq)
    }

    fn tail(seqs: std::ops::RangeInclusive<u64>) -> SharedTail {
        let mut tail = SharedTail::default();
        for seq in seqs {
            tail.change(|tail| tail.accept(message(seq)));
        }
        tail.tell();
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
    fn nobody_is_given_what_others_have_not_been_told_of() {
        let mut tail = tail(1..=3);
        assert_eq!(last(&tail.due(Seq(1), 1000)), 3);
        tail.change(|tail| tail.accept(message(4)));
        assert_eq!(last(&tail.due(Seq(1), 1000)), 3);
        assert_eq!(last(&tail.due(Seq(2), 1000)), 3, "at another place neither");
        assert_eq!(tail.due(Seq(3), 1000), Due::Nothing);
        assert_eq!(tail.tell(), Seq(4));
        assert_eq!(last(&tail.due(Seq(1), 1000)), 4);
    }

    #[test]
    fn what_was_encoded_does_not_outlive_what_is_erased() {
        let mut tail = tail(1..=3);
        assert_eq!(last(&tail.due(Seq(1), 1000)), 3);
        tail.change(|tail| tail.accept(entry(EntryKind::Deletion, 4)));
        assert_eq!(tail.due(Seq(1), 1000), Due::Behind);
        assert_eq!(tail.due(Seq(3), 1000), Due::Nothing, "the deletion itself has not been told of");
        tail.tell();
        assert_eq!(last(&tail.due(Seq(3), 1000)), 4);
        tail.forget_before(5);
        assert_eq!(tail.due(Seq(3), 1000), Due::Behind);
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
