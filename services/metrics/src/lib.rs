//! What a node counts while it works: numbers that cost a relaxed atomic or two to change and are read when somebody asks.
//!
//! Store, bus and gateway each own their numbers; the gateway's `telemetry` reads them all. What is absent: names, registries, locks,
//! clocks and I/O. The histograms of the usual libraries take a lock or find their series by attributes on every observation, which a
//! delivery to a socket, at a few microseconds, would feel.

mod histogram;
mod labels;

use std::sync::atomic::{AtomicU64, Ordering};

pub use histogram::{Histogram, Reading, Scale};
pub use labels::{Counters, Label};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// At zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// How many since the node started.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was asked for and decided: let through, or not.
#[derive(Debug, Default)]
pub struct Decisions {
    /// Let through.
    pub allowed: Counter,
    /// Not.
    pub refused: Counter,
}

impl Decisions {
    /// Counts an outcome and hands it on.
    ///
    /// # Errors
    /// The outcome's own.
    pub fn count<T, E>(&self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_ok() {
            self.allowed.increment();
        } else {
            self.refused.increment();
        }
        outcome
    }
}
