//! Waits between attempts: doubled up to a most, each drawn at random so that many clients do not come back at once.

use std::time::Duration;

use crate::crypto::random;

/// A random span between half of `span` and all of it.
pub(crate) fn jittered(span: Duration) -> Duration {
    let fraction = f64::from(u32::from_be_bytes(random())) / f64::from(u32::MAX);
    span.mul_f64(0.5 + fraction / 2.0)
}

/// How long to wait next.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0 }
    }

    /// The wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let span = self.first.saturating_mul(1 << self.failures.min(16)).min(self.max);
        self.failures += 1;
        jittered(span)
    }

    /// After a success.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_begin_anew_after_a_success() {
        let (first, max) = (Duration::from_millis(500), Duration::from_secs(30));
        let mut backoff = Backoff::new(first, max);
        for round in 0..40 {
            let span = first.saturating_mul(1 << round.min(16)).min(max);
            let wait = backoff.next();
            assert!(wait >= span / 2 && wait <= span, "round {round}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
