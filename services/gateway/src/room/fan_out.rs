//! From a room that has grown to the sockets of those who follow it.
//!
//! The room writes to them itself, one after the other, with the bytes that were encoded once for all. A follower that is not where the
//! others are, or whose socket is not ready, is left to its session, which is told.

use std::sync::Arc;
use std::time::Duration;

use snug_metrics::{Counter, Histogram};
use snug_protocol::Seq;
use tokio::time::Instant;

use super::{Due, FLUSH_BYTES_MAX, Follower, Room, Rooms, lock};
use crate::wire::Entries;

/// Followers that are written to between two looks at the clock: about half a millisecond's work, at light load.
const WRITES_AT_ONCE: usize = 64;
/// A fan-out that has gone on for so long lets others have their turn, when it looks. Each time costs more than the look: an idle worker is
/// woken for what is left.
const TURN: Duration = Duration::from_millis(2);

/// What was written to sockets.
#[derive(Debug)]
pub struct Delivered {
    /// Entries.
    pub entries: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// From the commit of the first entry of a write to its being written to somebody who was up to date.
    pub seconds: Histogram,
}

impl Default for Delivered {
    fn default() -> Self {
        Self { entries: Counter::new(), bytes: Counter::new(), seconds: Histogram::of_seconds() }
    }
}

impl Room {
    /// Lets everyone have what has come; what that is, and where it begins.
    fn tell(&self) -> (Seq, Due) {
        let mut tail = lock(&self.tail);
        let from = self.told();
        self.told.store(tail.tell().0, std::sync::atomic::Ordering::Release);
        (from, tail.due(from, FLUSH_BYTES_MAX))
    }
}

impl Rooms {
    /// Brings what has come to all followers. One at a time a room. Not within tokio's limit on what a task does with sockets at one time,
    /// beyond which each would seem to take nothing: it looks at the clock instead.
    pub(super) async fn fan_out(&self, room: &Arc<Room>) {
        let (from, due) = room.tell();
        let followers = room.followers.list();
        let Due::Entries(entries) = due else {
            return followers.iter().for_each(|follower| follower.wake());
        };
        let is_all = entries.last >= room.told();
        let mut began = Instant::now();
        for followers in followers.chunks(WRITES_AT_ONCE) {
            if began.elapsed() >= TURN {
                tokio::task::yield_now().await;
                began = Instant::now();
            }
            let written = self.write_to(room, followers, from, &entries);
            if !is_all {
                followers.iter().for_each(|follower| follower.wake());
            }
            let deliveries = written * entries.count as usize;
            self.shared.round.delivered(deliveries);
            self.shared.counters.delivered.entries.add(deliveries as u64);
            self.shared.counters.delivered.bytes.add((written * entries.bytes.len()) as u64);
            let age_ms = self.shared.clock.now_ms().saturating_sub(entries.oldest_ms);
            self.shared.counters.delivered.seconds.observe_ms(age_ms, written as u64);
        }
    }

    /// To how many.
    fn write_to(&self, room: &Room, followers: &[Arc<Follower>], from: Seq, entries: &Entries) -> usize {
        // What each has to say about itself lies somewhere in memory, cold since the last message. If all are asked at first, the processor
        // fetches it for many at a time; between the system's calls it would wait for each.
        let (ready, others): (Vec<_>, Vec<_>) = followers.iter().partition(|follower| follower.is_ready(from));
        others.into_iter().for_each(|follower| follower.wake());
        let mut spans = Vec::new();
        let written = ready.into_iter().filter(|follower| {
            let is_written = follower.write(from, entries);
            if is_written {
                room.traced().deliveries(from, entries.last, &mut spans);
                spans.clear();
            }
            is_written
        });
        written.count()
    }
}
