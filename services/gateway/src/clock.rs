//! The time that all nodes share: the database's, carried on by a clock that nobody sets.
//!
//! Only for what may be a little wrong: what is stored is dated by the database itself. But a nonce that one node issued is looked at by
//! another, whose clock may be minutes off, or be set in the middle of it all.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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

/// The shared time. Cheap to clone.
#[derive(Clone)]
pub struct Clock {
    reading: Arc<Mutex<Reading>>,
}

impl Reading {
    async fn take(store: &Store, own_ms: impl Fn() -> u64) -> Result<Self, StoreError> {
        let asked = Instant::now();
        let back_ms = store.now_ms().await?;
        let at = Instant::now();
        let database_ms = back_ms + u64::try_from((at - asked).as_millis() / 2).unwrap_or(0);
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        Ok(Self { database_ms, at, ahead_ms: signed(database_ms).saturating_sub(signed(own_ms())) })
    }

    const fn is_skewed(&self) -> bool {
        self.ahead_ms.unsigned_abs() > SKEW_WARNED_MS
    }

    fn warn(&self) {
        if self.is_skewed() {
            let skew_ms = -self.ahead_ms;
            tracing::warn!(skew_ms, "this node's clock differs from the database's, which is used instead");
        }
    }
}

fn own_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

impl Clock {
    /// Set by the database.
    ///
    /// # Errors
    /// The database did not say.
    pub async fn set_by(store: &Store) -> Result<Self, StoreError> {
        let reading = Reading::take(store, own_ms).await?;
        reading.warn();
        Ok(Self { reading: Arc::new(Mutex::new(reading)) })
    }

    /// Asks the database again.
    ///
    /// # Errors
    /// The database did not say; the clock goes on.
    pub async fn adjust(&self, store: &Store) -> Result<(), StoreError> {
        let reading = Reading::take(store, own_ms).await?;
        let before = std::mem::replace(&mut *self.reading.lock().unwrap_or_else(PoisonError::into_inner), reading);
        if !before.is_skewed() {
            reading.warn();
        }
        Ok(())
    }

    fn reading(&self) -> Reading {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far this machine's clock was behind the database's when that was last asked, in milliseconds; less than 0: before it.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.reading().ahead_ms
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let Reading { database_ms, at, .. } = self.reading();
        database_ms.saturating_add(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
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
