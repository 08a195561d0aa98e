//! Holds what people have seen, and what the store has, against what was said: while things settle, and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, EnvelopeHash, RoomId, Seq};
use tokio::time::{Instant, sleep};

use crate::journal::Promise;
use crate::ledger::{Ledger, Said, identity, number_of};
use crate::person::{Book, Following, Person, who_is_here};
use crate::scene::Scene;

/// Everyone is at the head so long after all is well: the longest pause between two head checks.
pub const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// What the check, the answer and the way to the client take here.
const WAY: Duration = Duration::from_millis(250);
/// How long an acknowledgement of what a restored store has lost may have been on its way.
const ACK_WAY: Duration = Duration::from_secs(5);

pub struct Checker {
    pub scene: Arc<Scene>,
    pub people: Vec<Arc<Person>>,
}

type Logs = BTreeMap<RoomId, Vec<EntryFrame>>;

impl Checker {
    async fn logs(&self) -> Logs {
        let mut logs = Logs::new();
        for room in &self.scene.rooms {
            let log = self.scene.store.read_after(*room, Seq::ZERO, usize::MAX, usize::MAX).await.expect("memory");
            logs.insert(*room, log);
        }
        logs
    }

    /// Waits until everybody is at the head and has every answer, as long as they may take after `healed`.
    pub async fn settle(&self, healed: Instant) {
        loop {
            let late = self.late().await;
            if late.is_empty() {
                let took = healed.elapsed();
                return self.scene.journal.note(format_args!("everybody is at the head after {took:?}"));
            }
            if healed.elapsed() > HEAD_LIMIT + WAY {
                for (promise, what) in late {
                    self.scene.journal.violation(promise, format_args!("{what}"));
                }
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Who is not where all should be.
    async fn late(&self) -> Vec<(Promise, String)> {
        let heads = self.scene.store.heads(&self.scene.rooms).await.expect("memory");
        let heads: BTreeMap<RoomId, Seq> = heads.into_iter().map(|head| (head.room, head.head)).collect();
        let mut late = Vec::new();
        for person in &self.people {
            for (room, book) in &*person.books() {
                if matches!(book.following, Following::Closed(_)) {
                    continue;
                }
                let (name, at, head) = (&person.name, self.scene.room_name(*room), heads[room]);
                if !matches!(book.following, Following::Yes { .. }) {
                    late.push((Promise::AtTheHead, format!("{name} does not follow {at}")));
                } else if book.edge() != head {
                    late.push((Promise::AtTheHead, format!("{name} is at {} of {head} in {at}", book.edge())));
                } else if book.outbox.len() > 0 {
                    late.push((Promise::Answered, format!("{name} waits for {} answers in {at}", book.outbox.len())));
                }
            }
        }
        late
    }

    /// Whether every node says of every room who is there.
    pub async fn check_presence(&self) {
        let shared = self.scene.roster.is_used.load(Ordering::Relaxed);
        for node in self.scene.nodes_up() {
            for room in &self.scene.rooms {
                let is_here = |person: &&Arc<Person>| {
                    let follows = |book: &Book| matches!(book.following, Following::Yes { .. });
                    let by_this = person.line().is_some_and(|line| shared || line.node.no == node.no);
                    by_this && person.books().get(room).is_some_and(follows)
                };
                let here: BTreeSet<DeviceId> = self.people.iter().filter(is_here).map(|person| person.device).collect();
                self.scene.journal.tally("presence checked");
                let told = who_is_here(&self.scene, &node, *room).await;
                if told != Some((here.clone(), u32::try_from(here.len()).expect("few"))) {
                    let (name, room) = (&node.name, self.scene.room_name(*room));
                    let what = format_args!("{name} says that {told:?} are in {room}, and {here:?} are");
                    self.scene.journal.violation(Promise::Presence, what);
                }
            }
        }
    }

    /// Everything that is to be true at the end.
    pub async fn check_all(&self) {
        let logs = self.logs().await;
        for (room, log) in &logs {
            self.check_log(*room, log);
        }
        let ledger = self.scene.ledger();
        for (number, said) in &ledger.said {
            self.check_kept(&ledger, &logs[&said.room], *number, said);
        }
        drop(ledger);
        let hashes: BTreeMap<RoomId, Vec<EnvelopeHash>> =
            logs.iter().map(|(room, log)| (*room, log.iter().map(EntryFrame::hash).collect())).collect();
        for person in &self.people {
            for (room, book) in &*person.books() {
                if !matches!(book.following, Following::Closed(_)) {
                    self.check_seen(person, book, &hashes[room]);
                }
            }
        }
    }

    /// Each entry was sealed by somebody and is there once; each device's stand in the order in which they were said.
    fn check_log(&self, room: RoomId, log: &[EntryFrame]) {
        let (ledger, name) = (self.scene.ledger(), self.scene.room_name(room));
        let (mut identities, mut numbers) = (BTreeSet::new(), BTreeSet::new());
        let mut last: BTreeMap<DeviceId, u64> = BTreeMap::new();
        for entry in log {
            let (header, seq) = (entry.header().expect("the store checks headers"), entry.seq());
            let number = ledger.sealed.get(&identity(&header)).copied();
            let (Some(number), true) = (number, identities.insert(identity(&header))) else {
                self.scene
                    .journal
                    .violation(Promise::NoPhantom, format_args!("nobody said what is at {seq} of {name}"));
                continue;
            };
            if number_of(entry).is_some_and(|inside| inside != number) {
                self.scene.journal.violation(Promise::NoPhantom, format_args!("another text is at {seq} of {name}"));
            }
            // After a restored copy its sender may not know that it is there, and says it again.
            if !numbers.insert(number) && ledger.rewind.is_none() {
                self.scene.journal.violation(Promise::NoPhantom, format_args!("{number} is twice in {name}"));
            }
            let before = last.insert(header.device, number);
            if before.is_some_and(|before| before > number)
                && header.device != self.scene.admin
                && ledger.rewind.is_none()
            {
                self.scene
                    .journal
                    .violation(Promise::SenderOrder, format_args!("{number} is after {before:?} in {name}"));
            }
        }
    }

    fn check_kept(&self, ledger: &Ledger, log: &[EntryFrame], number: u64, said: &Said) {
        let Some(acked) = said.acked else { return };
        let at = usize::try_from(acked.seq.0 - 1).expect("small");
        if log.get(at).is_some_and(|entry| entry.hash() == acked.hash) {
            return;
        }
        let was_lost = ledger.rewind.as_ref().is_some_and(|rewind| {
            let beyond = rewind.heads.get(&said.room).is_some_and(|head| acked.seq > *head);
            beyond && acked.at <= rewind.at + ACK_WAY
        });
        if !was_lost {
            let what = format_args!("{number} was acknowledged at {}, where it is not", acked.seq);
            self.scene.journal.violation(Promise::Kept, what);
        }
    }

    /// What was seen is what is there, up to the head, without a hole.
    fn check_seen(&self, person: &Person, book: &Book, log: &[EnvelopeHash]) {
        let (name, room) = (&person.name, self.scene.room_name(book.room));
        let mut next = book.seen.first_key_value().map(|(first, _)| *first);
        for (seq, hash) in &book.seen {
            if usize::try_from(seq.0 - 1).ok().and_then(|at| log.get(at)) != Some(hash) {
                let what = format_args!("{name} has seen at {seq} of {room} what is not there");
                return self.scene.journal.violation(Promise::OneOrder, what);
            }
            if next.is_some_and(|next| next != *seq) {
                let what = format_args!("{name} has not seen what is before {seq} of {room}");
                return self.scene.journal.violation(Promise::NoSilentHole, what);
            }
            next = Some(seq.next());
        }
        let missed = log.len().saturating_sub(next.map_or(0, |next| usize::try_from(next.0 - 1).expect("small")));
        if missed > 0 {
            let what = format_args!("{name} has not seen the last {missed} of {room}");
            self.scene.journal.violation(Promise::AtTheHead, what);
        }
        self.scene.journal.note(format_args!("{name} has seen {} of {} in {room}", book.seen.len(), log.len()));
    }
}
