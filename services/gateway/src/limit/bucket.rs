//! Token buckets by key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use snug_metrics::Decisions;

/// How many keys are remembered before full buckets are dropped.
const KEYS_MAX: usize = 100_000;

/// So many at once, then so many in a span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many at once.
    pub burst: f64,
    /// How many a second after that.
    pub per_second: f64,
}

impl Rate {
    /// `count` a second.
    #[must_use]
    pub fn per_second(count: u32, burst: u32) -> Self {
        Self { burst: f64::from(burst.max(1)), per_second: f64::from(count.max(1)) }
    }

    /// `count` a minute.
    #[must_use]
    pub fn per_minute(count: u32, burst: u32) -> Self {
        Self { burst: f64::from(burst.max(1)), per_second: f64::from(count.max(1)) / 60.0 }
    }

    /// One part in `parts` of it, though at least one at once.
    #[must_use]
    pub fn share(self, parts: f64) -> Self {
        Self { burst: (self.burst / parts).max(1.0), per_second: self.per_second / parts }
    }
}

/// One bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    /// With all that `rate` allows at once.
    #[must_use]
    pub fn full(rate: Rate) -> Self {
        Self { left: rate.burst, at: Instant::now() }
    }

    fn filled(&self, rate: Rate, now: Instant) -> f64 {
        (self.left + now.saturating_duration_since(self.at).as_secs_f64() * rate.per_second).min(rate.burst)
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn charge(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        *self = Self { left: self.filled(rate, now), at: now };
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / rate.per_second));
        }
        self.left -= 1.0;
        Ok(())
    }
}

/// A bucket for each key, filled at one rate. Bounded: when there are too many keys, those with full buckets are forgotten, and if none is full the call is refused.
pub struct Buckets<K> {
    rate: Rate,
    buckets: Mutex<HashMap<K, Bucket>>,
    decisions: Decisions,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Empty; every key starts with a full bucket.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::new(HashMap::new()), decisions: Decisions::default() }
    }

    /// How many charges were let through and how many were not.
    #[must_use]
    pub const fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// Takes one from the bucket of `key`.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn charge(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.decisions.count(self.take(key, now))
    }

    fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(key) && buckets.len() >= KEYS_MAX {
            buckets.retain(|_, bucket| bucket.filled(self.rate, now) < self.rate.burst);
            if buckets.len() >= KEYS_MAX {
                return Err(Duration::from_secs_f64(1.0 / self.rate.per_second));
            }
        }
        let full = Bucket { left: self.rate.burst, at: now };
        buckets.entry(key.clone()).or_insert(full).charge(self.rate, now)
    }

    /// Puts one back, for a charge that turned out to be due to nobody.
    pub fn refund(&self, key: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(key) {
            bucket.left = (bucket.left + 1.0).min(self.rate.burst);
        }
    }

    /// Forgets keys whose buckets are full again.
    pub fn sweep(&self, now: Instant) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.retain(|_, bucket| bucket.filled(self.rate, now) < self.rate.burst);
        buckets.shrink_to(1024);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate_and_says_how_long_to_wait() {
        let buckets = Buckets::new(Rate::per_minute(6, 3));
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(buckets.charge(&"a", start), Ok(()));
        }
        let wait = buckets.charge(&"a", start).expect_err("the burst is spent");
        assert!((wait.as_secs_f64() - 10.0).abs() < 0.01, "{wait:?}");
        assert_eq!(buckets.charge(&"b", start), Ok(()), "another key has its own bucket");
        assert_eq!(buckets.charge(&"a", start + Duration::from_secs(11)), Ok(()));
    }

    #[test]
    fn a_refund_makes_a_charge_undone_and_never_more_than_the_burst() {
        let buckets = Buckets::new(Rate::per_minute(1, 1));
        let now = Instant::now();
        for _ in 0..5 {
            assert_eq!(buckets.charge(&(), now), Ok(()));
            buckets.refund(&());
            buckets.refund(&());
        }
        assert_eq!(buckets.charge(&(), now), Ok(()));
        assert!(buckets.charge(&(), now).is_err());
    }

    #[test]
    fn sweeping_forgets_only_who_owes_nothing() {
        let buckets = Buckets::new(Rate::per_minute(60, 2));
        let now = Instant::now();
        for key in 0..10 {
            assert_eq!(buckets.charge(&key, now), Ok(()));
        }
        buckets.sweep(now);
        assert_eq!(buckets.buckets.lock().expect("no panic").len(), 10);
        buckets.sweep(now + Duration::from_secs(3));
        assert_eq!(buckets.buckets.lock().expect("no panic").len(), 0);
    }
}
