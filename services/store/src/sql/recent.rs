//! How rooms stand as the last batches left them, so that a message that follows others need not be read for.
//!
//! It is a guess: another node may have written to a room since. What is decided by it holds where the database finds the room's history,
//! head and `access_version` to be those that are remembered, and finds that in the statement that writes; for what would be refused by it,
//! or seems to have been written before, it is read. So nothing is remembered of whom the time decides about: who is muted, or writes where
//! slow mode is on.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use snug_protocol::RoomId;
use tokio::time::Instant;

use super::plan::{Plan, RoomState, Sender};
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
    /// Senders of other generations were remembered in another state.
    generation: u64,
    written_at: Instant,
    /// How often it is to be read for before it is believed, and how often the next time.
    doubts: u32,
    next_doubts: u32,
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

impl Recent {
    /// Puts into `plan` what decides on messages of `senders`, in order of their rooms; of a room either all of it or nothing. The rooms that
    /// it is there for.
    pub fn recall(&self, senders: &[Sender], now: Instant, plan: &mut Plan) -> BTreeSet<RoomId> {
        let mut recalled = BTreeSet::new();
        for senders in senders.chunk_by(|one, other| one.0 == other.0) {
            let room = senders[0].0;
            let known = self.rooms.get(&room).filter(|it| it.doubts == 0 && now - it.written_at < MEMORY_LIMIT);
            let Some(known) = known else { continue };
            let sender = |sender| self.senders.get(sender).filter(|it| it.generation == known.generation);
            if !senders.iter().all(|it| sender(it).is_some()) {
                continue;
            }
            plan.rooms.insert(room, known.state);
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
        let anew = Remembered { state: *was, generation: self.generations, written_at: now, doubts: 0, next_doubts: 1 };
        let known = self.rooms.entry(room).or_insert(anew);
        let somebody_lost_access = state.access_version != was.access_version;
        if known.state != *was || somebody_lost_access || now - known.written_at >= MEMORY_LIMIT {
            known.generation = self.generations;
        }
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
            known.generation = self.generations;
        }
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::http::Role;
    use snug_protocol::{DeviceId, HistoryId, InstanceId, Seq};

    use super::*;
    use crate::rules::append::Terms;

    fn sender(room: u8, device: u8) -> Sender {
        (RoomId([room; 16]), DeviceId([device; 16]), InstanceId([device; 16]))
    }

    fn state(head: u64) -> RoomState {
        let terms = Terms { epoch: 0, slow_ms: 0 };
        RoomState { history: HistoryId([1; 16]), head: Seq(head), terms, access_version: 0 }
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
