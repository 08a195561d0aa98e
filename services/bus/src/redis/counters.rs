//! What the bus counts.

use snug_metrics::{Counter, Counters};

snug_metrics::label! {
    /// Why events may have been missed.
    pub enum MissedCause("cause") {
        /// A connection was lost and is back.
        Reconnected = "reconnected",
        /// A cluster says that its slots have moved, or its nodes changed.
        SlotsMoved = "slots_moved",
        /// All was subscribed again in case slots have moved without a word.
        Timer = "timer",
        /// A probe did not come back for a while.
        Deaf = "deaf",
        /// More arrived than was taken in.
        Overrun = "overrun",
        /// A room was followed without a confirmation, which has come now.
        Unconfirmed = "unconfirmed",
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
    pub missed: Counters<MissedCause>,
}
