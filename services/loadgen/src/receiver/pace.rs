//! How a receiving thread gets on where nodes keep all cores busy.
//!
//! A thread that finds a core when it wants one takes everything as it comes. One that has to wait for it falls behind, sends late, and
//! what it is late would count as the nodes' latency, though people's clients have machines of their own. From then on it goes before
//! others, as far as it may, and rests after it has worked: woken for each delivery it would take the nodes' cores from them. With a core
//! to itself either would harm what it measures, most of all the floor, whose one thread and the receiver have a core each.

use std::time::Duration;

use crate::machine::{go_first, go_with_others, waited};

/// Between two looks at how long the thread waited.
const LOOK: Duration = Duration::from_millis(100);
/// A thread is crowded if of the time between two looks it waited one part of so many for a core.
const CROWDED_PART: u32 = 4;
/// The longest rest.
const REST_MAX: Duration = Duration::from_millis(5);

/// The thread's own.
pub struct Pace {
    is_crowded: bool,
    looked_ns: u64,
    waited: Duration,
}

impl Pace {
    /// Of the calling thread.
    pub fn new(now_ns: u64) -> Self {
        Self { is_crowded: false, looked_ns: now_ns, waited: waited() }
    }

    /// As if new, before something else is measured.
    pub fn begin(&mut self, now_ns: u64) {
        if self.is_crowded {
            go_with_others();
        }
        *self = Self::new(now_ns);
    }

    /// How long to rest after so much work, waits for a core included; not at all with a core to itself.
    pub fn rest_after(&mut self, work: Duration, now_ns: u64) -> Option<Duration> {
        let since = Duration::from_nanos(now_ns.saturating_sub(self.looked_ns));
        if !self.is_crowded && since >= LOOK {
            let waited = waited();
            self.is_crowded = is_crowded(waited.saturating_sub(self.waited), since);
            (self.looked_ns, self.waited) = (now_ns, waited);
            if self.is_crowded {
                // Without the right to, it goes on as it is; the report says which.
                let _ = go_first();
            }
        }
        self.is_crowded.then(|| work.min(REST_MAX))
    }
}

fn is_crowded(waited: Duration, since: Duration) -> bool {
    waited * CROWDED_PART >= since
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_a_quarter_of_the_time_for_a_core_is_crowded() {
        assert!(!is_crowded(Duration::from_millis(24), LOOK));
        assert!(is_crowded(Duration::from_millis(25), LOOK));
        assert!(!is_crowded(Duration::from_millis(25), 2 * LOOK));
    }

    #[test]
    fn who_does_not_wait_for_a_core_never_rests() {
        let mut pace = Pace { is_crowded: false, looked_ns: 0, waited: Duration::MAX };
        for look in 1..10u64 {
            let now_ns = look * u64::try_from(LOOK.as_nanos()).expect("short");
            // However long this thread has waited in its life, it is less than that.
            pace.waited = Duration::MAX;
            assert_eq!(pace.rest_after(Duration::from_millis(3), now_ns), None);
        }
        pace.is_crowded = true;
        assert_eq!(pace.rest_after(Duration::from_millis(3), 0), Some(Duration::from_millis(3)));
        assert_eq!(pace.rest_after(Duration::from_secs(1), 0), Some(REST_MAX));
    }
}
