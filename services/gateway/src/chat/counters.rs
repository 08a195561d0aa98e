//! What became of entries from clients.

use snug_metrics::{Counters, Histogram};

snug_metrics::label! {
    /// What became of an entry.
    pub enum Outcome("outcome") {
        /// Committed and published.
        Appended = "appended",
        /// It had been committed before.
        Duplicate = "duplicate",
        /// The log would not have it.
        Refused = "refused",
        /// The database failed.
        Failed = "failed",
    }
}

/// What a node has appended, chain entries included.
#[derive(Debug)]
pub struct ChatCounters {
    /// By outcome.
    pub appends: Counters<Outcome>,
    /// From arrival to commit or refusal.
    pub seconds: Histogram,
}

impl Default for ChatCounters {
    fn default() -> Self {
        Self { appends: Counters::default(), seconds: Histogram::of_seconds() }
    }
}
