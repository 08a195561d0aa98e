//! The newest frames of one room, in order and without holes. Pure: no clock, no I/O.
//!
//! What has been erased must not live on here. A deletion or a step (which may be an `erase`; the server cannot tell) drops every frame
//! before it, so that readers go to the store and get tombstones; since this hangs on the entries themselves, it holds on every node and
//! however news were lost. What may be erased by age is dropped before it comes to that age.

use std::collections::{BTreeMap, VecDeque};

use snug_protocol::frame::EntryFrame;
use snug_protocol::{EntryKind, Seq};

/// Frames kept for readers that are almost up to date.
pub const TAIL_FRAMES_MAX: usize = 256;
/// Frames of this age and less are kept even if they are more than that: a reader that is a moment behind in a busy room is not to ask the
/// store, least of all when all are a moment behind.
pub const TAIL_FRESH_MS: u64 = 2_000;
/// Bytes kept in all.
pub const TAIL_BYTES_MAX: usize = 512 * 1024;
/// Frames kept that came before their predecessors.
const EARLY_FRAMES_MAX: usize = 64;

/// Whether an entry of this kind may have erased entries before it.
#[must_use]
pub const fn may_erase(kind: EntryKind) -> bool {
    matches!(kind, EntryKind::Deletion | EntryKind::Step)
}

/// What became of a frame or of news of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The head moved.
    Grew,
    /// Known already.
    Known,
    /// Something before it is missing: the store must be read.
    Gap,
    /// Another entry is at its place here: this is not the log that the store has.
    Other,
}

/// What lies after a cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// These frames, from the one after the cursor; empty when there is nothing.
    Frames(Vec<EntryFrame>),
    /// The tail begins later: read the store.
    Behind,
}

/// A window of frames that ends at `head`.
#[derive(Debug, Default)]
pub struct Tail {
    head: Seq,
    /// The largest seq that anyone has spoken of.
    announced: Seq,
    frames: VecDeque<EntryFrame>,
    bytes: usize,
    /// What lies before may have been erased, as far as was ever known here.
    erased_before: Seq,
    /// Arrived out of order; each is beyond `head + 1`.
    early: BTreeMap<Seq, EntryFrame>,
}

impl Tail {
    /// The largest seq without a hole before it, as far as this node knows.
    #[must_use]
    pub const fn head(&self) -> Seq {
        self.head
    }

    /// Where the newest entry stands that may have erased others before it; what lies before was dropped.
    #[must_use]
    pub const fn erased_before(&self) -> Seq {
        self.erased_before
    }

    /// Whether entries after the head are known to exist.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.announced > self.head
    }

    /// Starts at `head`, with the frames that lead up to it, read from the store at one time; news that came before are kept.
    pub fn begin(&mut self, head: Seq, frames: impl IntoIterator<Item = EntryFrame>) {
        self.frames.clear();
        self.bytes = 0;
        self.head = head;
        for frame in frames {
            self.push(frame);
        }
        self.take_early();
    }

    /// The log is known to reach `seq`.
    pub fn announce(&mut self, seq: Seq) -> Accepted {
        self.announced = self.announced.max(seq);
        if self.is_behind() { Accepted::Gap } else { Accepted::Known }
    }

    /// Takes one frame.
    pub fn accept(&mut self, frame: EntryFrame) -> Accepted {
        let seq = frame.seq();
        self.announced = self.announced.max(seq);
        if seq <= self.head {
            if self.at(seq).is_some_and(|kept| kept.hash() != frame.hash()) {
                return Accepted::Other;
            }
            // Found by a repair before; what was read from the store since may be from before the erasure was complete.
            self.forget_erased(&frame);
            return Accepted::Known;
        }
        if seq > self.head.next() {
            if self.early.len() < EARLY_FRAMES_MAX {
                self.early.insert(seq, frame);
            }
            return Accepted::Gap;
        }
        self.grow(frame);
        self.take_early();
        Accepted::Grew
    }

    /// Takes frames in their order, until one is of another log.
    pub fn accept_all(&mut self, frames: impl IntoIterator<Item = EntryFrame>) -> Accepted {
        let mut accepted = Accepted::Known;
        for frame in frames {
            accepted = self.accept(frame);
            if accepted == Accepted::Other {
                break;
            }
        }
        accepted
    }

    fn at(&self, seq: Seq) -> Option<&EntryFrame> {
        let first = self.frames.front()?.seq();
        self.frames.get(usize::try_from(seq.0.checked_sub(first.0)?).ok()?)
    }

    fn take_early(&mut self) {
        self.early = self.early.split_off(&self.head.next());
        while let Some(frame) = self.early.remove(&self.head.next()) {
            self.grow(frame);
        }
    }

    fn grow(&mut self, frame: EntryFrame) {
        self.head = frame.seq();
        self.forget_erased(&frame);
        self.push(frame);
    }

    fn forget_erased(&mut self, by: &EntryFrame) {
        if by.kind().is_some_and(may_erase) {
            self.erased_before = self.erased_before.max(by.seq());
            self.forget(|old| old.seq() < by.seq());
        }
    }

    /// Drops the frames of entries committed before `at_ms`.
    pub fn forget_before(&mut self, at_ms: u64) {
        self.forget(|old| old.at_ms() < at_ms);
    }

    fn forget(&mut self, is_old: impl Fn(&EntryFrame) -> bool) {
        while let Some(old) = self.frames.pop_front_if(|frame| is_old(frame)) {
            self.bytes -= old.bytes().len();
        }
    }

    fn push(&mut self, frame: EntryFrame) {
        let stale_ms = frame.at_ms().saturating_sub(TAIL_FRESH_MS);
        self.bytes += frame.bytes().len();
        self.frames.push_back(frame);
        while let Some(oldest) = self.frames.front() {
            let too_many = self.frames.len() > TAIL_FRAMES_MAX && oldest.at_ms() <= stale_ms;
            let too_large = self.bytes > TAIL_BYTES_MAX && self.frames.len() > 1;
            if !too_many && !too_large {
                break;
            }
            self.bytes -= oldest.bytes().len();
            self.frames.pop_front();
        }
    }

    /// Frames after `cursor`, at most about `bytes_max` bytes of them (one at least).
    #[must_use]
    pub fn after(&self, cursor: Seq, bytes_max: usize) -> Read {
        self.between(cursor, self.head, bytes_max)
    }

    /// Frames after `cursor` and up to `until`, likewise.
    #[must_use]
    pub fn between(&self, cursor: Seq, until: Seq, bytes_max: usize) -> Read {
        if cursor >= until {
            return Read::Frames(Vec::new());
        }
        let Some(first) = self.frames.front().map(EntryFrame::seq) else { return Read::Behind };
        if cursor.next() < first {
            return Read::Behind;
        }
        let skip = usize::try_from(cursor.next().0 - first.0).expect("within the window");
        let mut bytes = 0;
        let frames = self.frames.iter().skip(skip).take_while(|frame| {
            let fits = frame.seq() <= until && (bytes == 0 || bytes + frame.bytes().len() <= bytes_max);
            bytes += frame.bytes().len();
            fits
        });
        Read::Frames(frames.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(seq: u64) -> EntryFrame {
        EntryFrame::new(Seq(seq), seq, &[0; 76])
    }

    fn seqs(read: Read) -> Vec<u64> {
        match read {
            Read::Frames(frames) => frames.iter().map(|frame| frame.seq().0).collect(),
            Read::Behind => panic!("the tail should reach back to there"),
        }
    }

    #[test]
    fn a_missing_frame_is_noticed_and_what_came_early_is_kept() {
        let mut tail = Tail::default();
        tail.begin(Seq(3), []);
        assert_eq!(tail.accept(frame(4)), Accepted::Grew);
        assert_eq!(tail.accept(frame(6)), Accepted::Gap);
        assert_eq!(tail.head(), Seq(4));
        assert!(tail.is_behind());
        assert_eq!(tail.accept(frame(5)), Accepted::Grew);
        assert_eq!(tail.head(), Seq(6));
        assert!(!tail.is_behind());
        assert_eq!(tail.accept(frame(5)), Accepted::Known);
        assert_eq!(seqs(tail.after(Seq(3), 1 << 20)), [4, 5, 6]);
        assert_eq!(tail.after(Seq(2), 1 << 20), Read::Behind);
    }

    #[test]
    fn news_that_come_before_the_start_are_not_forgotten() {
        let mut tail = Tail::default();
        tail.accept(frame(9));
        tail.begin(Seq(7), [frame(7)]);
        assert!(tail.is_behind());
        tail.accept(frame(8));
        assert_eq!(tail.head(), Seq(9));
    }

    #[test]
    fn another_entry_at_a_known_place_is_of_another_log() {
        let other = |seq| EntryFrame::new(Seq(seq), seq, &[1; 76]);
        let mut tail = Tail::default();
        tail.begin(Seq(3), [frame(2), frame(3)]);
        assert_eq!(tail.accept(frame(3)), Accepted::Known);
        assert_eq!(tail.accept(other(1)), Accepted::Known, "what is not kept cannot be compared");
        assert_eq!(tail.accept_all([other(3), other(4)]), Accepted::Other);
        assert_eq!(tail.head(), Seq(3), "and nothing is put after it");
    }

    fn entry(seq: u64, kind: EntryKind) -> EntryFrame {
        let mut envelope = [0; 76];
        envelope[5] = kind as u8;
        EntryFrame::new(Seq(seq), seq, &envelope)
    }

    #[test]
    fn what_may_have_been_erased_is_read_from_the_store() {
        for kind in [EntryKind::Deletion, EntryKind::Step] {
            let mut tail = Tail::default();
            tail.begin(Seq(0), []);
            for frame in [frame(1), frame(2), entry(4, kind), frame(5)] {
                tail.accept(frame);
            }
            assert_eq!(seqs(tail.after(Seq(0), 1 << 20)), [1, 2], "the deletion waits for what comes before it");
            tail.accept(frame(3));
            assert_eq!(tail.head(), Seq(5));
            assert_eq!(tail.after(Seq(2), 1 << 20), Read::Behind, "{kind:?}");
            assert_eq!(seqs(tail.after(Seq(3), 1 << 20)), [4, 5]);
            assert_eq!(tail.bytes, tail.frames.iter().map(|frame| frame.bytes().len()).sum::<usize>());
        }
        let mut tail = Tail::default();
        tail.begin(Seq(3), [frame(1), frame(2), entry(3, EntryKind::Step)]);
        assert_eq!(tail.accept(entry(3, EntryKind::Step)), Accepted::Known);
        assert_eq!(tail.after(Seq(1), 1 << 20), Read::Behind, "news of what was found before count as well");
        assert_eq!(seqs(tail.after(Seq(2), 1 << 20)), [3]);
        let mut tail = Tail::default();
        tail.begin(Seq(2), [frame(1), entry(2, EntryKind::Deletion)]);
        assert_eq!(seqs(tail.after(Seq(0), 1 << 20)), [1, 2], "what one read of the store gave goes together");
        tail.accept(entry(3, EntryKind::Message));
        assert_eq!(seqs(tail.after(Seq(0), 1 << 20)), [1, 2, 3], "a message erases nothing");
    }

    #[test]
    fn what_is_old_enough_to_be_erased_by_age_is_forgotten_in_time() {
        let mut tail = Tail::default();
        tail.begin(Seq(0), []);
        for seq in 1..=4 {
            tail.accept(frame(seq));
        }
        tail.forget_before(3);
        assert_eq!(tail.after(Seq(1), 1 << 20), Read::Behind);
        assert_eq!(seqs(tail.after(Seq(2), 1 << 20)), [3, 4]);
        tail.forget_before(u64::MAX);
        assert_eq!(tail.after(Seq(3), 1 << 20), Read::Behind);
        assert_eq!((tail.head(), tail.bytes), (Seq(4), 0));
        tail.accept(frame(5));
        assert_eq!(seqs(tail.after(Seq(4), 1 << 20)), [5], "and it goes on from there");
    }

    #[test]
    fn a_reader_that_is_a_moment_behind_in_a_busy_room_finds_its_place() {
        let at = |seq, at_ms| EntryFrame::new(Seq(seq), at_ms, &[0; 76]);
        let mut tail = Tail::default();
        let count = 2 * TAIL_FRAMES_MAX as u64;
        for seq in 1..=count {
            tail.accept(at(seq, 10_000));
        }
        assert_eq!(seqs(tail.after(Seq(0), 1 << 20)).len() as u64, count);
        tail.accept(at(count + 1, 10_000 + TAIL_FRESH_MS));
        assert_eq!(tail.frames.len(), TAIL_FRAMES_MAX, "and later they go");
    }

    proptest! {
        /// Whatever order frames come in and whichever are lost, readers get a run without holes, and a loss is known.
        #[test]
        fn readers_get_every_frame_once_in_order(order in proptest::collection::vec(1u64..60, 0..300), start in 0u64..5) {
            let mut tail = Tail::default();
            tail.begin(Seq(start), []);
            let mut cursor = Seq(start);
            let mut announced = start;
            for seq in order {
                let before = tail.head();
                let accepted = tail.accept(frame(seq));
                announced = announced.max(seq);
                prop_assert_eq!(accepted == Accepted::Grew, tail.head() > before);
                prop_assert_eq!(tail.is_behind(), announced > tail.head().0);
                for seq in seqs(tail.after(cursor, 200)) {
                    prop_assert_eq!(seq, cursor.0 + 1);
                    cursor = Seq(seq);
                }
            }
        }

        #[test]
        fn the_window_is_bounded(sizes in proptest::collection::vec(76usize..24_000, 1..400), apart_ms in 0u64..50) {
            let mut tail = Tail::default();
            for (index, size) in sizes.iter().enumerate() {
                let now_ms = index as u64 * apart_ms;
                tail.accept(EntryFrame::new(Seq(index as u64 + 1), now_ms, &vec![0; *size]));
                let is_fresh = tail.frames[0].at_ms() + TAIL_FRESH_MS > now_ms;
                prop_assert!(tail.frames.len() <= TAIL_FRAMES_MAX || is_fresh);
                prop_assert!(tail.bytes <= TAIL_BYTES_MAX || tail.frames.len() == 1);
            }
            prop_assert_eq!(tail.bytes, tail.frames.iter().map(|frame| frame.bytes().len()).sum::<usize>());
        }
    }
}
