//! What the bus counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// How many since the node started.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why events may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissedCause {
    /// A connection was lost and is back.
    Reconnected,
    /// A cluster says that its slots have moved, or its nodes changed.
    SlotsMoved,
    /// All was subscribed again in case slots have moved without a word.
    Timer,
    /// A probe did not come back for a while.
    Deaf,
    /// More arrived than was taken in.
    Overrun,
    /// A room was followed without a confirmation, which has come now.
    Unconfirmed,
}

/// How many `Missed` were told, by cause.
#[derive(Debug, Default)]
pub struct MissedCounters {
    reconnected: Counter,
    slots_moved: Counter,
    timer: Counter,
    deaf: Counter,
    overrun: Counter,
    unconfirmed: Counter,
}

impl MissedCounters {
    /// Every cause.
    pub const CAUSES: [MissedCause; 6] = [
        MissedCause::Reconnected,
        MissedCause::SlotsMoved,
        MissedCause::Timer,
        MissedCause::Deaf,
        MissedCause::Overrun,
        MissedCause::Unconfirmed,
    ];

    /// The number for `cause`.
    #[must_use]
    pub const fn of(&self, cause: MissedCause) -> &Counter {
        match cause {
            MissedCause::Reconnected => &self.reconnected,
            MissedCause::SlotsMoved => &self.slots_moved,
            MissedCause::Timer => &self.timer,
            MissedCause::Deaf => &self.deaf,
            MissedCause::Overrun => &self.overrun,
            MissedCause::Unconfirmed => &self.unconfirmed,
        }
    }
}

/// What the bus has done since the node started.
#[derive(Debug, Default)]
pub struct BusCounters {
    /// Events that Redis took.
    pub published: Counter,
    /// Events that other nodes did not get: Redis away, not answering, or the queue full.
    pub publish_failed: Counter,
    /// Messages that arrived, this node's own included.
    pub received: Counter,
    /// Ephemeral events that were dropped because more important ones waited.
    pub shed: Counter,
    /// Messages that are none of ours, or of a version that this node does not know.
    pub undecodable: Counter,
    /// Subscriptions that were made again.
    pub resubscribed: Counter,
    /// Probes to ourselves.
    pub probes_sent: Counter,
    /// Those that did not come back in time.
    pub probes_lost: Counter,
    /// `Missed` events, by cause.
    pub missed: MissedCounters,
}
