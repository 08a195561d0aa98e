//! How rooms stand as the last batches left them, and what other nodes have told of since, so that a message that follows others need not be
//! read for.
//!
//! It is a guess: another node may have written to a room without our having heard of it, and what was heard may be of a log that the database
//! has lost. What is decided by it holds where the database finds the room's history, head, newest step and `access_version` to be those that
//! are remembered, and the entry at a head that was only heard of to be that one, and finds that in the statement that writes; for what would be
//! refused by it, or seems to have been written before, it is read. So nothing is remembered of whom the time decides about: who is muted, or
//! writes where slow mode is on. What is not compared are the messages before the newest one: were those others than was heard, with the same
//! one behind them, a sender's counter might be passed over, and no more.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snug_protocol::frame::EntryFrame;
use snug_protocol::{EnvelopeHash, Header, RoomId, Seq};
use tokio::time::Instant;

use super::plan::{Plan, RoomState, Sender, moves_only_the_head};
use crate::Standing;
use crate::rules::append::Author;

/// How long a room is remembered after it was written to. Short, so that a database that was put back to an earlier time behind a connection
/// that stayed open has hardly come to the same head by another way.
const MEMORY_LIMIT: Duration = Duration::from_secs(10);
/// Rooms and senders remembered, some 100 bytes each; then all are forgotten.
const ROOMS_MAX: usize = 4_096;
const SENDERS_MAX: usize = 16_384;
/// A room that was not as remembered, as where nodes take turns, is read for so many times before it is believed again: once, and twice as
/// often each time, up to this.
const DOUBTS_MAX: u32 = 16;

struct Remembered {
    state: RoomState,
    /// The entry at the head, where that was only heard of.
    newest: Option<EnvelopeHash>,
    /// The newest entry that was heard of, and when. If it is beyond the head, it would be in vain to write by what is remembered.
    heard: (Seq, Instant),
    /// Senders of other generations were remembered in another state.
    generation: u64,
    written_at: Instant,
    /// How often it is to be read for before it is believed, and how often the next time.
    doubts: u32,
    next_doubts: u32,
}

impl Remembered {
    fn is_good(&self, now: Instant) -> bool {
        let is_behind = self.heard.0 > self.state.head && now - self.heard.1 < MEMORY_LIMIT;
        self.doubts == 0 && !is_behind && now - self.written_at < MEMORY_LIMIT
    }

    /// The header of an entry that may be the next one, and changes nothing but the head and its sender's counter.
    fn next_header(&self, room: RoomId, entry: &EntryFrame) -> Option<Header> {
        let header = entry.header().ok().filter(|_| !entry.is_tombstone() && entry.seq() == self.state.head.next())?;
        let fits = header.room == room && header.epoch == self.state.terms.epoch && moves_only_the_head(header.kind);
        fits.then_some(header)
    }
}

struct RememberedSender {
    generation: u64,
    author: Author,
    next: u64,
}

/// What is remembered. Emptied with its connection: who comes back to a database may come to another one.
#[derive(Default)]
pub(crate) struct Recent {
    rooms: HashMap<RoomId, Remembered>,
    senders: HashMap<Sender, RememberedSender>,
    generations: u64,
}

/// [`Recent`], for the task that writes and for those who hear what others have written.
#[derive(Clone, Default)]
pub(crate) struct SharedRecent(Arc<Mutex<Recent>>);

impl SharedRecent {
    pub fn lock(&self) -> MutexGuard<'_, Recent> {
        // A panic while it is held leaves plain collections behind, and what they say is looked at again where it matters.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn forget_all(&self) {
        *self.lock() = Recent::default();
    }
}

impl Recent {
    /// Puts into `plan` what decides on messages of `senders`, in order of their rooms; of a room either all of it or nothing. The rooms that
    /// it is there for.
    pub fn recall(&self, senders: &[Sender], now: Instant, plan: &mut Plan) -> BTreeSet<RoomId> {
        let mut recalled = BTreeSet::new();
        for senders in senders.chunk_by(|one, other| one.0 == other.0) {
            let room = senders[0].0;
            let Some(known) = self.rooms.get(&room).filter(|it| it.is_good(now)) else { continue };
            let sender = |sender| self.senders.get(sender).filter(|it| it.generation == known.generation);
            if !senders.iter().all(|it| sender(it).is_some()) {
                continue;
            }
            plan.rooms.insert(room, known.state);
            plan.newest.extend(known.newest.map(|newest| (room, newest)));
            for (it, known) in senders.iter().filter_map(|it| Some((it, sender(it)?))) {
                plan.authors.insert((room, it.1), known.author);
                plan.next.insert(*it, known.next);
            }
            recalled.insert(room);
        }
        recalled
    }

    /// Remembers what `plan` has written to a room that was in the state `was` before: the room, and `senders` of it.
    pub fn keep(&mut self, room: RoomId, was: &RoomState, senders: &[Sender], plan: &Plan, now: Instant) {
        let Some(state) = plan.rooms.get(&room).copied() else { return };
        if state.terms.slow_ms > 0 {
            self.rooms.remove(&room);
            return;
        }
        let is_full = self.rooms.len() >= ROOMS_MAX && !self.rooms.contains_key(&room);
        if is_full || self.senders.len() + senders.len() > SENDERS_MAX {
            (self.rooms, self.senders) = (HashMap::new(), HashMap::new());
        }
        self.generations += 1;
        let known = self.rooms.entry(room).or_insert_with(|| Remembered {
            state: *was,
            newest: None,
            heard: (Seq::ZERO, now),
            generation: self.generations,
            written_at: now,
            doubts: 0,
            next_doubts: 1,
        });
        let somebody_lost_access = state.access_version != was.access_version;
        let is_as_remembered = known.state == *was && known.newest.as_ref() == plan.newest.get(&room);
        if !is_as_remembered || somebody_lost_access || now - known.written_at >= MEMORY_LIMIT {
            known.generation = self.generations;
        }
        known.newest = None;
        if known.doubts == 0 {
            known.next_doubts = 1;
        }
        (known.state, known.written_at, known.doubts) = (state, now, known.doubts.saturating_sub(1));
        for sender in senders {
            let author = plan.authors.get(&(room, sender.1)).copied().unwrap_or_default();
            let is_plain = matches!(author.standing, Some(Standing::Member(_))) && author.muted_until_ms == 0;
            if let Some(next) = plan.next.get(sender).copied().filter(|_| is_plain) {
                self.senders.insert(*sender, RememberedSender { generation: known.generation, author, next });
            } else {
                self.senders.remove(sender);
            }
        }
    }

    /// A room's log is said to reach `newest`, and to have these entries, in their order, whoever has written them.
    pub fn hear(&mut self, room: RoomId, newest: Seq, entries: &[EntryFrame], now: Instant) {
        let Some(known) = self.rooms.get_mut(&room) else { return };
        if newest > known.heard.0 || now - known.heard.1 >= MEMORY_LIMIT {
            known.heard = (newest, now);
        }
        let (head, mut last) = (known.state.head, None);
        for entry in entries.iter().skip_while(|entry| entry.seq() <= head) {
            let Some(header) = known.next_header(room, entry) else { break };
            let sender = self.senders.get_mut(&(room, header.device, header.instance));
            if let Some(sender) = sender.filter(|it| it.generation == known.generation) {
                if sender.next != header.counter {
                    break;
                }
                sender.next += 1;
            }
            known.state.head = entry.seq();
            last = Some(entry);
        }
        if let Some(last) = last {
            known.newest = Some(last.hash());
        }
    }

    /// What a batch is to prove that has read `state` of a room: what was remembered may be of another log.
    pub fn newest(&self, room: RoomId, state: &RoomState) -> Option<EnvelopeHash> {
        self.rooms.get(&room).filter(|known| known.state == *state)?.newest
    }

    /// A room was not as it was thought to be: others write to it.
    pub fn doubt(&mut self, room: RoomId) {
        self.forget(room);
        if let Some(known) = self.rooms.get_mut(&room) {
            (known.doubts, known.next_doubts) = (known.next_doubts, (known.next_doubts * 2).min(DOUBTS_MAX));
        }
    }

    /// A room was written to in another way, or nothing by what is remembered of it would show whether that is right.
    pub fn forget(&mut self, room: RoomId) {
        if let Some(known) = self.rooms.get_mut(&room) {
            self.generations += 1;
            (known.generation, known.newest) = (self.generations, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::http::Role;
    use snug_protocol::{DeviceId, EntryKind, Header, HistoryId, InstanceId};

    use super::*;
    use crate::rules::append::Terms;

    fn sender(room: u8, device: u8) -> Sender {
        (RoomId([room; 16]), DeviceId([device; 16]), InstanceId([device; 16]))
    }

    fn state(head: u64) -> RoomState {
        let terms = Terms { epoch: 0, slow_ms: 0 };
        RoomState { history: HistoryId([1; 16]), head: Seq(head), terms, access_version: 0, chain: Seq(1) }
    }

    /// A plan by which these senders, members all, are at counter 5, and their room at `head`.
    fn plan(head: u64, senders: &[Sender]) -> Plan {
        let member = Author { standing: Some(Standing::Member(Role::Member)), ..Author::default() };
        Plan {
            rooms: senders.iter().map(|sender| (sender.0, state(head))).collect(),
            authors: senders.iter().map(|sender| ((sender.0, sender.1), member)).collect(),
            next: senders.iter().map(|sender| (*sender, 5)).collect(),
            ..Plan::default()
        }
    }

    fn keep(recent: &mut Recent, was: u64, is: u64, senders: &[Sender], now: Instant) {
        recent.keep(senders[0].0, &state(was), senders, &plan(is, senders), now);
    }

    fn knows(recent: &Recent, senders: &[Sender], now: Instant) -> bool {
        let mut plan = Plan::default();
        let rooms = recent.recall(senders, now, &mut plan);
        assert!(rooms.is_empty() || senders.iter().all(|sender| plan.next[sender] == 5));
        !rooms.is_empty()
    }

    #[test]
    fn what_was_written_is_known_for_a_while_and_all_of_a_room_or_nothing() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        let [ana, ben, other] = [sender(1, 1), sender(1, 2), sender(2, 3)];
        keep(&mut recent, 1, 2, &[ana], now);
        assert!(knows(&recent, &[ana], now));
        assert!(!knows(&recent, &[ana, ben], now), "nobody has heard of one of them");
        keep(&mut recent, 2, 3, &[ben], now);
        assert!(knows(&recent, &[ana, ben], now), "both write to the same log");
        let mut plan = Plan::default();
        assert_eq!(recent.recall(&[ana, other], now, &mut plan), [ana.0].into());
        assert_eq!(plan.rooms[&ana.0], state(3));
        assert!(!knows(&recent, &[ana], now + MEMORY_LIMIT));
    }

    #[test]
    fn whoever_wrote_before_others_did_elsewhere_is_known_no_more() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        let [ana, ben] = [sender(1, 1), sender(1, 2)];
        keep(&mut recent, 1, 2, &[ana], now);
        keep(&mut recent, 7, 8, &[ben], now);
        assert!(knows(&recent, &[ben], now) && !knows(&recent, &[ana], now));
        let later = now + MEMORY_LIMIT;
        keep(&mut recent, 8, 9, &[ana], later);
        assert!(knows(&recent, &[ana], later) && !knows(&recent, &[ben], later), "nor who wrote long ago");
    }

    #[test]
    fn a_room_that_is_often_otherwise_is_believed_ever_less_often() {
        let (mut recent, now, ana) = (Recent::default(), Instant::now(), sender(1, 1));
        keep(&mut recent, 1, 2, &[ana], now);
        for reads in [1, 2, 4, 8, 16, 16] {
            recent.doubt(ana.0);
            for _ in 0..reads {
                assert!(!knows(&recent, &[ana], now));
                keep(&mut recent, 2, 2, &[ana], now);
            }
            assert!(knows(&recent, &[ana], now), "after {reads}");
        }
        keep(&mut recent, 2, 3, &[ana], now);
        recent.doubt(ana.0);
        keep(&mut recent, 3, 4, &[ana], now);
        assert!(knows(&recent, &[ana], now), "it was right once, and so it is as at first");
    }

    #[test]
    fn nobody_is_known_about_whom_the_time_decides() {
        let (mut recent, now, ana) = (Recent::default(), Instant::now(), sender(1, 1));
        let mut muted = plan(2, &[ana]);
        muted.authors.get_mut(&(ana.0, ana.1)).expect("the author").muted_until_ms = 1;
        recent.keep(ana.0, &state(1), &[ana], &muted, now);
        assert!(!knows(&recent, &[ana], now));
        let mut slowed = plan(2, &[ana]);
        slowed.rooms.get_mut(&ana.0).expect("the room").terms.slow_ms = 1;
        recent.keep(ana.0, &state(1), &[ana], &slowed, now);
        assert!(!knows(&recent, &[ana], now));
        keep(&mut recent, 1, 2, &[ana], now);
        let mut muted = plan(3, &[ana]);
        muted.authors.get_mut(&(ana.0, ana.1)).expect("the author").muted_until_ms = 1;
        recent.keep(ana.0, &state(2), &[ana], &muted, now);
        assert!(!knows(&recent, &[ana], now), "nor as it was before");
        keep(&mut recent, 3, 4, &[ana], now);
        recent.forget(ana.0);
        assert!(!knows(&recent, &[ana], now));
    }

    #[test]
    fn who_leaves_is_forgotten_and_so_is_everybody_who_might_have_left_with_them() {
        let (mut recent, now, [ana, ben]) = (Recent::default(), Instant::now(), [sender(1, 1), sender(1, 2)]);
        let ana_elsewhere = (ana.0, ana.1, InstanceId([7; 16]));
        keep(&mut recent, 1, 2, &[ana, ana_elsewhere, ben], now);
        let mut after = plan(3, &[ana, ben]);
        after.rooms.get_mut(&ana.0).expect("the room").access_version += 1;
        after.authors.get_mut(&(ana.0, ana.1)).expect("the author").standing = Some(Standing::Left);
        recent.keep(ana.0, &state(2), &[ana, ben], &after, now);
        assert!(knows(&recent, &[ben], now), "wrote with them");
        assert!(!knows(&recent, &[ana], now) && !knows(&recent, &[ana_elsewhere], now));
    }

    /// An entry of this sender as it is heard of.
    fn entry(seq: u64, kind: EntryKind, sender: Sender, counter: u64) -> EntryFrame {
        let (room, device, instance) = sender;
        let header = Header { kind, room, epoch: 0, device, instance, counter, target: Seq::ZERO };
        EntryFrame::new(Seq(seq), 1, &header.encode())
    }

    /// The room is heard to reach these.
    fn hear(recent: &mut Recent, room: RoomId, entries: &[EntryFrame], now: Instant) {
        let newest = entries.last().map_or(Seq::ZERO, EntryFrame::seq);
        recent.hear(room, newest, entries, now);
    }

    /// Head, next counter, and the entry that is to be at the head.
    fn recalled(recent: &Recent, sender: Sender, now: Instant) -> Option<(u64, u64, Option<EnvelopeHash>)> {
        let mut plan = Plan::default();
        recent.recall(&[sender], now, &mut plan);
        Some((plan.rooms.get(&sender.0)?.head.0, plan.next[&sender], plan.newest.get(&sender.0).copied()))
    }

    #[test]
    fn what_others_are_heard_to_have_written_is_known_too_and_is_to_be_proved() {
        let (mut recent, now, [ana, ben]) = (Recent::default(), Instant::now(), [sender(1, 1), sender(1, 2)]);
        keep(&mut recent, 1, 2, &[ana], now);
        let entries = [entry(2, EntryKind::Message, ana, 4), entry(3, EntryKind::Message, ben, 8)];
        hear(&mut recent, ana.0, &entries, now);
        assert_eq!(recalled(&recent, ana, now), Some((3, 5, Some(entries[1].hash()))));
        assert_eq!(recalled(&recent, ben, now), None, "whether they are a member was not said");
        let mine = entry(4, EntryKind::Reaction, ana, 5);
        hear(&mut recent, ana.0, std::slice::from_ref(&mine), now);
        let as_now = Some((4, 6, Some(mine.hash())));
        assert_eq!(recalled(&recent, ana, now), as_now, "who writes elsewhere goes on here");
        hear(&mut recent, ana.0, &entries, now);
        hear(&mut recent, RoomId([9; 16]), &[entry(5, EntryKind::Message, ana, 6)], now);
        hear(&mut recent, ana.0, &[], now);
        assert_eq!(recalled(&recent, ana, now), as_now);
        assert_eq!(recalled(&recent, ana, now + MEMORY_LIMIT), None, "hearing of a room does not keep it for longer");

        assert_eq!(recent.newest(ana.0, &state(4)), Some(mine.hash()), "who reads it is to prove it too");
        assert_eq!(recent.newest(ana.0, &state(5)), None);
        let mut proved = plan(5, &[ana]);
        proved.newest.insert(ana.0, mine.hash());
        recent.keep(ana.0, &state(4), &[ana], &proved, now);
        assert_eq!(recalled(&recent, ana, now), Some((5, 5, None)), "it was written to, so that was it");
    }

    #[test]
    fn a_room_that_more_was_heard_of_than_is_known_is_read_for() {
        let ana = sender(1, 1);
        let message = |seq| entry(seq, EntryKind::Message, sender(1, 2), seq);
        let header = Header { epoch: 1, ..message(3).header().expect("a header") };
        for entries in [
            vec![message(4)],
            vec![message(3), message(5)],
            vec![entry(3, EntryKind::Step, sender(1, 2), 0), message(4)],
            vec![entry(3, EntryKind::EpochRecord, sender(1, 2), 0)],
            vec![entry(3, EntryKind::Leave, sender(1, 2), 0)],
            vec![entry(3, EntryKind::Message, sender(2, 2), 0)],
            vec![entry(3, EntryKind::Message, ana, 4)],
            vec![EntryFrame::tombstone(Seq(3), 1, &header.encode(), &EnvelopeHash([0; 32]))],
            vec![EntryFrame::new(Seq(3), 1, &header.encode())],
            vec![EntryFrame::new(Seq(3), 1, b"nothing")],
        ] {
            let (mut recent, now) = (Recent::default(), Instant::now());
            keep(&mut recent, 1, 2, &[ana], now);
            hear(&mut recent, ana.0, &entries, now);
            assert_eq!(recalled(&recent, ana, now), None, "{entries:?}");
            keep(&mut recent, 5, 6, &[ana], now);
            assert_eq!(recalled(&recent, ana, now), Some((6, 5, None)), "it was read for, and written to");
        }
        let (mut recent, now) = (Recent::default(), Instant::now());
        keep(&mut recent, 1, 2, &[ana], now);
        recent.hear(ana.0, Seq(1_000_000), &[], now);
        assert_eq!(recalled(&recent, ana, now), None);
        let later = now + MEMORY_LIMIT;
        keep(&mut recent, 2, 3, &[ana], later);
        assert_eq!(recalled(&recent, ana, later), Some((3, 5, None)), "it was said long ago, and is not so");
    }

    #[test]
    fn nobody_is_known_by_what_was_heard_and_not_proved() {
        let (mut recent, now, [ana, ben]) = (Recent::default(), Instant::now(), [sender(1, 1), sender(1, 2)]);
        keep(&mut recent, 1, 2, &[ana], now);
        hear(&mut recent, ana.0, &[entry(3, EntryKind::Message, ana, 5)], now);
        // Read at the same head before that was heard, and so without the proof.
        keep(&mut recent, 3, 4, &[ben], now);
        assert!(knows(&recent, &[ben], now) && recalled(&recent, ana, now).is_none());
    }

    #[test]
    fn what_is_heard_while_a_batch_is_written_is_not_forgotten_with_its_end() {
        let (mut recent, now, ana) = (Recent::default(), Instant::now(), sender(1, 1));
        keep(&mut recent, 1, 2, &[ana], now);
        hear(&mut recent, ana.0, &[entry(4, EntryKind::Message, sender(1, 2), 0)], now);
        keep(&mut recent, 2, 3, &[ana], now);
        assert_eq!(recalled(&recent, ana, now), None, "somebody else has written after it");
    }

    #[test]
    fn it_has_a_size() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        for number in 0..20_000u32 {
            let mut sender = sender(1, 1);
            sender.0.0[..4].copy_from_slice(&number.to_be_bytes());
            keep(&mut recent, 1, 2, &[sender], now);
            assert!(knows(&recent, &[sender], now));
            assert!(recent.rooms.len() <= ROOMS_MAX && recent.senders.len() <= SENDERS_MAX);
        }
        for number in 0..40_000u32 {
            let mut sender = sender(1, 1);
            sender.1.0[..4].copy_from_slice(&number.to_be_bytes());
            keep(&mut recent, 2, 2, &[sender], now);
            assert!(recent.senders.len() <= SENDERS_MAX);
        }
    }
}
