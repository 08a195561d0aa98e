//! A room as one client holds it: its cursor, what it has seen, and the rules by which it notices what it misses.

use std::collections::BTreeMap;
use std::time::Duration;

use snug_protocol::frame::{Cursor, EntryFrame, Resync};
use snug_protocol::{Base64Bytes, DeviceId, EntryKind, EnvelopeHash, ErrorCode, HistoryId, RoomId, Seq};
use tokio::time::Instant;

use super::outbox::Outbox;
use crate::journal::Promise;
use crate::ledger::number_of;
use crate::scene::Scene;

/// News of a removal reach a node by its head check, if not before: at most this much later, a second for what is on its way included.
const REMOVAL_LIMIT: Duration = Duration::from_millis(6_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// Not on this socket; from then on it is time to ask.
    No(Instant),
    Asked {
        id: u32,
        at: Instant,
    },
    Yes {
        asked_at: Instant,
    },
    /// Never again.
    Closed(ErrorCode),
}

pub struct Book {
    pub room: RoomId,
    owner: DeviceId,
    name: String,
    history: HistoryId,
    /// What was seen since the last hole or resync that the client was told of.
    pub seen: BTreeMap<Seq, EnvelopeHash>,
    /// What comes next; `None`: nothing is known yet.
    expecting: Option<Seq>,
    pub following: Following,
    pub outbox: Outbox,
    /// The newest that was seen.
    pub epoch: u32,
    /// How often the client was told that it must begin again.
    pub resyncs: u32,
}

/// The frame of this name, as far as it is looked at here.
pub struct Followed {
    pub history: HistoryId,
    pub head: Seq,
    pub from: Seq,
    pub skipped: bool,
    pub resync: Option<Resync>,
}

impl Book {
    pub fn new(room: RoomId, owner: DeviceId, name: String, outbox: Outbox) -> Self {
        Self {
            room,
            owner,
            name,
            history: HistoryId::default(),
            seen: BTreeMap::new(),
            expecting: None,
            following: Following::No(Instant::now()),
            outbox,
            epoch: 0,
            resyncs: 0,
        }
    }

    /// The last entry applied.
    pub fn edge(&self) -> Seq {
        self.expecting.map_or(Seq::ZERO, |next| next.back(1))
    }

    pub fn cursor(&self) -> Option<Cursor> {
        let (seq, hash) = self.seen.last_key_value()?;
        Some(Cursor { history: self.history, seq: *seq, hash: Base64Bytes(hash.short().to_vec()) })
    }

    pub fn begin_session(&mut self) {
        if !matches!(self.following, Following::Closed(_)) {
            self.following = Following::No(Instant::now());
        }
        self.outbox.begin_session();
    }

    pub fn followed(&mut self, scene: &Scene, id: u32, followed: &Followed) {
        let Following::Asked { id: asked, at } = self.following else { return };
        if asked != id {
            return;
        }
        self.following = Following::Yes { asked_at: at };
        let (from, before) = (followed.from, self.expecting);
        let told = followed.resync.is_some() || followed.skipped || self.seen.is_empty();
        scene.journal.note(format_args!(
            "{} follows {} from {from}, head {}",
            self.name,
            scene.room_name(self.room),
            followed.head
        ));
        if !told && (before != Some(from) || followed.history != self.history) {
            self.violation(
                scene,
                Promise::NoSilentHole,
                format_args!("was sent from {from} instead of {before:?}, untold"),
            );
        }
        if let Some(why) = followed.resync {
            scene.journal.count("resync", format_args!("{} in {}: {why:?}", self.name, scene.room_name(self.room)));
            self.resyncs += 1;
        } else if followed.skipped {
            scene.journal.count("skipped", format_args!("{} to {from}", self.name));
        }
        if told {
            self.seen.clear();
        }
        (self.history, self.expecting) = (followed.history, Some(from));
    }

    pub fn entry(&mut self, scene: &Scene, entry: &EntryFrame, is_late: bool) {
        let (seq, hash) = (entry.seq(), entry.hash());
        let Following::Yes { asked_at } = self.following else { return };
        self.check_right(scene, entry, is_late);
        self.check_erased(scene, entry, asked_at);
        let next = self.expecting.unwrap_or(seq);
        if seq < next {
            scene.journal.tally("entry came again");
            if self.seen.get(&seq).is_some_and(|seen| *seen != hash) {
                self.violation(scene, Promise::OneOrder, format_args!("was sent another entry at {seq}"));
            }
            return;
        }
        if seq > next {
            self.violation(scene, Promise::NoSilentHole, format_args!("was sent {seq} where {next} comes next"));
        }
        let room = scene.room_name(self.room);
        match number_of(entry) {
            Some(number) => scene.journal.note(format_args!("{} sees {number} at {room}:{seq}", self.name)),
            None => scene.journal.note(format_args!("{} sees a tombstone at {room}:{seq}", self.name)),
        }
        if entry.kind() == Some(EntryKind::EpochRecord)
            && let Ok(header) = entry.header()
        {
            self.epoch = self.epoch.max(header.epoch);
        }
        self.seen.insert(seq, hash);
        self.expecting = Some(seq.next());
    }

    /// Whether this client may still be sent `entry`.
    fn check_right(&self, scene: &Scene, entry: &EntryFrame, is_late: bool) {
        let Some((last, at)) = scene.ledger().removed.get(&(self.room, self.owner)).copied() else { return };
        let since = scene.calm_since().map(|calm| calm.max(at));
        if entry.seq() > last && !is_late && since.is_some_and(|since| since.elapsed() > REMOVAL_LIMIT) {
            self.violation(scene, Promise::Removed, format_args!("was sent {} long after it was removed", entry.seq()));
        }
    }

    fn check_erased(&self, scene: &Scene, entry: &EntryFrame, asked_at: Instant) {
        let erased = scene.ledger().erased.get(&(self.room, entry.seq())).copied();
        if !entry.is_tombstone() && erased.is_some_and(|erased| erased < asked_at) {
            self.violation(
                scene,
                Promise::Erased,
                format_args!("was sent {} although it was erased before", entry.seq()),
            );
        }
    }

    fn violation(&self, scene: &Scene, promise: Promise, what: std::fmt::Arguments<'_>) {
        scene.journal.violation(promise, format_args!("{} in {} {what}", self.name, scene.room_name(self.room)));
    }
}
