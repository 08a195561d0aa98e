//! What the store counts.

use std::time::Instant;

use snug_metrics::{Counter, Counters, Histogram};

use crate::StoreError;
use crate::error::Failure;

snug_metrics::label! {
    /// How the database failed a caller.
    pub enum StoreFailure("failure") {
        /// It did not answer, or let nobody in.
        Unavailable = "unavailable",
        /// No space left.
        Full = "full",
        /// What it said makes no sense.
        Corrupt = "corrupt",
    }
}

/// What the store has done since the node started.
#[derive(Debug)]
pub struct StoreMetrics {
    /// How long calls took, from being made to being answered.
    pub calls: Histogram,
    /// Calls that the database failed.
    pub failures: Counters<StoreFailure>,
    /// How many messages were committed together.
    pub batches: Histogram,
    /// How long such a transaction took, whatever became of it.
    pub commits: Histogram,
    /// Messages that were committed by what was remembered of their rooms, without a look at the database before.
    pub remembered: Counter,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            calls: Histogram::of_seconds(),
            failures: Counters::default(),
            batches: Histogram::of_things(),
            commits: Histogram::of_seconds(),
            remembered: Counter::new(),
        }
    }
}

impl StoreMetrics {
    /// Counts a call that has been answered. A refusal is an answer.
    pub(crate) fn answered<T, E: Failure>(&self, began: Instant, answer: &Result<T, E>) {
        self.calls.observe(began.elapsed());
        if let Some(error) = answer.as_ref().err().and_then(Failure::store_error) {
            self.failed(error);
        }
    }

    fn failed(&self, error: &StoreError) {
        let failure = match error {
            StoreError::Unavailable(_) => StoreFailure::Unavailable,
            StoreError::Full => StoreFailure::Full,
            StoreError::Corrupt(_) => StoreFailure::Corrupt,
        };
        self.failures.of(failure).increment();
    }
}
