//! The time that all nodes share: the database's, carried on by a clock that nobody sets.
//!
//! Only for what may be a little wrong: what is stored is dated by the database itself. But a nonce that one node issued is looked at by
//! another, whose clock may be minutes off, or be set in the middle of it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use snug_store::{Store, StoreError};

/// A distance of this machine's clock from the database's that is worth a warning.
const SKEW_WARNED_MS: u64 = 5_000;

#[derive(Clone, Copy)]
struct Reading {
    database_ms: u64,
    at: Instant,
    /// How far the machine's clock was behind the database's; less than 0: before it.
    ahead_ms: i64,
}

/// The shared time. Cheap to clone, and to ask: every write to a socket does.
#[derive(Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

struct Shared {
    began: Instant,
    /// The database's time when `began` was now.
    database_ms: AtomicU64,
    ahead_ms: AtomicI64,
}

impl Reading {
    async fn take(store: &Store, own_ms: impl Fn() -> u64) -> Result<Self, StoreError> {
        let asked = Instant::now();
        let back_ms = store.now_ms().await?;
        let at = Instant::now();
        let database_ms = back_ms + millis(at - asked) / 2;
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        Ok(Self { database_ms, at, ahead_ms: signed(database_ms).saturating_sub(signed(own_ms())) })
    }

    const fn is_skewed(&self) -> bool {
        is_skewed(self.ahead_ms)
    }

    fn warn(&self) {
        if self.is_skewed() {
            let skew_ms = -self.ahead_ms;
            tracing::warn!(skew_ms, "this node's clock differs from the database's, which is used instead");
        }
    }
}

const fn is_skewed(ahead_ms: i64) -> bool {
    ahead_ms.unsigned_abs() > SKEW_WARNED_MS
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn own_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

impl Clock {
    /// Set by the database.
    ///
    /// # Errors
    /// The database did not say.
    pub async fn set_by(store: &Store) -> Result<Self, StoreError> {
        let reading = Reading::take(store, own_ms).await?;
        reading.warn();
        let (database_ms, ahead_ms) = (AtomicU64::new(reading.database_ms), AtomicI64::new(reading.ahead_ms));
        Ok(Self { shared: Arc::new(Shared { began: reading.at, database_ms, ahead_ms }) })
    }

    /// Asks the database again.
    ///
    /// # Errors
    /// The database did not say; the clock goes on.
    pub async fn adjust(&self, store: &Store) -> Result<(), StoreError> {
        let reading = Reading::take(store, own_ms).await?;
        let at_begin_ms = reading.database_ms.saturating_sub(millis(reading.at - self.shared.began));
        self.shared.database_ms.store(at_begin_ms, Ordering::Relaxed);
        if !is_skewed(self.shared.ahead_ms.swap(reading.ahead_ms, Ordering::Relaxed)) {
            reading.warn();
        }
        Ok(())
    }

    /// How far this machine's clock was behind the database's when that was last asked, in milliseconds; less than 0: before it.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.shared.ahead_ms.load(Ordering::Relaxed)
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.shared.database_ms.load(Ordering::Relaxed).saturating_add(millis(self.shared.began.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_databases_time_counts_and_a_clock_far_from_it_is_noticed() {
        let store = Store::memory();
        let clock = Clock::set_by(&store).await.expect("memory");
        assert!(clock.now_ms().abs_diff(own_ms()) < 1_000, "the memory store's clock is this machine's");
        let fast = Reading::take(&store, || own_ms() + 600_000).await.expect("memory");
        assert!(fast.is_skewed() && fast.database_ms.abs_diff(own_ms()) < 1_000);
        assert!((-601_000..-599_000).contains(&fast.ahead_ms), "{}", fast.ahead_ms);
        assert!(!Reading::take(&store, || own_ms() - 1_000).await.expect("memory").is_skewed());
    }
}
