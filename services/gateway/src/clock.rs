//! The time that all nodes share: the database's, kept by its distance from this node's clock.
//!
//! Only for what may be a little wrong: what is stored is dated by the database itself. But a nonce that one node issued is looked at by
//! another, whose clock may be minutes off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use snug_store::{Store, StoreError};

/// A distance that is worth a warning.
const SKEW_WARNED_MS: i64 = 5_000;

/// The shared time. Cheap to clone.
#[derive(Clone, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicI64>,
}

fn own_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

impl Clock {
    /// Set by the database.
    ///
    /// # Errors
    /// The database did not say.
    pub async fn set_by(store: &Store) -> Result<Self, StoreError> {
        let clock = Self::default();
        clock.adjust(store).await?;
        Ok(clock)
    }

    /// Asks the database again.
    ///
    /// # Errors
    /// The database did not say; the distance stays as it was.
    pub async fn adjust(&self, store: &Store) -> Result<(), StoreError> {
        let asked = Instant::now();
        let database_ms = i64::try_from(store.now_ms().await?).unwrap_or(i64::MAX);
        let back_ms = i64::try_from(asked.elapsed().as_millis() / 2).unwrap_or(0);
        self.set_ahead(database_ms.saturating_add(back_ms).saturating_sub(own_ms()));
        Ok(())
    }

    fn set_ahead(&self, ahead_ms: i64) {
        let before_ms = self.ahead_ms.swap(ahead_ms, Ordering::Relaxed);
        if ahead_ms.abs() > SKEW_WARNED_MS && before_ms.abs() <= SKEW_WARNED_MS {
            tracing::warn!(skew_ms = -ahead_ms, "this node's clock differs from the database's, which is used instead");
        }
    }

    /// How far this node's clock is behind the database's, in milliseconds; less than 0: before it.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(own_ms().saturating_add(self.ahead_ms())).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_whose_clock_is_off_goes_by_the_databases() {
        let store = Store::memory();
        let clock = Clock::default();
        clock.set_ahead(-600_000);
        let wrong_ms = clock.now_ms();
        clock.adjust(&store).await.expect("memory");
        assert!(clock.ahead_ms().abs() < 1_000, "the memory store's clock is this machine's");
        assert!(clock.now_ms() - wrong_ms > 590_000);
    }
}
