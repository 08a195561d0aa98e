//! How observations are spread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The most upper bounds of a scale; one more bucket takes what is above them.
const BOUNDS_MAX: usize = 19;

/// The upper bounds of a histogram's buckets, and what they count.
#[derive(Debug)]
pub struct Scale {
    /// Ascending, in small whole units: microseconds, or things.
    bounds: &'static [u64],
    /// How many small units make the unit that is told.
    per_unit: f64,
}

/// From a tenth of a millisecond to a minute, told in seconds.
static SECONDS: Scale = Scale {
    bounds: &[
        100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
        5_000_000, 10_000_000, 30_000_000, 60_000_000,
    ],
    per_unit: 1e6,
};
/// From one to many.
static THINGS: Scale = Scale { bounds: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048], per_unit: 1.0 };
const _: () = assert!(SECONDS.bounds.len() <= BOUNDS_MAX && THINGS.bounds.len() <= BOUNDS_MAX);

/// Observations in buckets. An observation is two relaxed additions and takes no lock.
#[derive(Debug)]
pub struct Histogram {
    scale: &'static Scale,
    buckets: [AtomicU64; BOUNDS_MAX + 1],
    sum: AtomicU64,
}

/// What a histogram holds at one moment, give or take what is observed meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Each bucket's upper bound in the unit that is told, and how many fell into it alone. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all observations, in the unit that is told.
    pub sum: f64,
}

impl Reading {
    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Histogram {
    /// Of spans of time, told in seconds.
    #[must_use]
    pub fn of_seconds() -> Self {
        Self::new(&SECONDS)
    }

    /// Of numbers of things.
    #[must_use]
    pub fn of_things() -> Self {
        Self::new(&THINGS)
    }

    fn new(scale: &'static Scale) -> Self {
        Self { scale, buckets: [const { AtomicU64::new(0) }; BOUNDS_MAX + 1], sum: AtomicU64::new(0) }
    }

    /// Notes a span of time.
    pub fn observe(&self, span: Duration) {
        self.note(u64::try_from(span.as_micros()).unwrap_or(u64::MAX), 1);
    }

    /// Notes a span of so many milliseconds so many times.
    pub fn observe_ms(&self, span_ms: u64, times: u64) {
        self.note(span_ms.saturating_mul(1_000), times);
    }

    /// Notes so many things.
    pub fn observe_things(&self, count: usize) {
        self.note(u64::try_from(count).unwrap_or(u64::MAX), 1);
    }

    fn note(&self, value: u64, times: u64) {
        let bucket = self.scale.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
    }

    /// What it holds now.
    #[must_use]
    pub fn read(&self) -> Reading {
        let scaled = |value: u64| value as f64 / self.scale.per_unit;
        let bounds = self.scale.bounds.iter().map(|bound| scaled(*bound)).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        Reading { buckets: bounds.zip(counts).collect(), sum: scaled(self.sum.load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_falls_into_the_first_bucket_that_is_large_enough() {
        let histogram = Histogram::of_things();
        for count in [0, 1, 2, 3, 4, 5, 2_048, 2_049, usize::MAX] {
            histogram.observe_things(count);
        }
        let counts: Vec<(f64, u64)> = histogram.read().buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(1.0, 2), (2.0, 1), (4.0, 2), (8.0, 1), (2_048.0, 1), (f64::INFINITY, 2)]);
        assert_eq!(histogram.read().count(), 9);
    }

    #[test]
    fn spans_of_time_are_told_in_seconds() {
        let histogram = Histogram::of_seconds();
        histogram.observe(Duration::from_micros(90));
        histogram.observe_ms(3_000, 1);
        let reading = histogram.read();
        assert!((reading.sum - 3.000_09).abs() < 1e-9, "{reading:?}");
        assert_eq!(reading.buckets[0], (0.000_1, 1));
        assert!(reading.buckets.contains(&(5.0, 1)));
    }

    #[test]
    fn nothing_is_lost_when_many_threads_observe() {
        let histogram = Histogram::of_things();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|count| histogram.observe_things(count % 7)));
            }
        });
        assert_eq!(histogram.read().count(), 40_000);
    }
}
