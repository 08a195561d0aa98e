//! How a receiving thread gets on where nodes keep all cores busy.
//!
//! A thread that finds a core when it wants one takes everything as it comes. One that has to wait for it falls behind, sends late, and
//! what it is late would count as the nodes' latency, though people's clients have machines of their own. From then on it goes before
//! others, as far as it may, and rests after it has worked: woken for each delivery it would take the nodes' cores from them. With a core
//! to itself either would harm what it measures, most of all the floor, whose one thread and the receiver have a core each. How often a
//! thread rested stands in the report.

use std::time::Duration;

use crate::machine::{go_first, niceness, set_niceness};

/// Between two looks at how long the thread waited.
const LOOK: Duration = Duration::from_millis(100);
/// A thread is crowded if of the time between two looks it waited one part of so many for a core.
const CROWDED_PART: u32 = 4;
/// The longest rest; a message that becomes due meanwhile is late by at most that if the thread sends all that is due between two of them,
/// and how late it is counts as latency.
const REST_MAX: Duration = Duration::from_millis(5);

/// The thread's own.
pub struct Pace {
    niceness: Option<i32>,
    is_crowded: bool,
    looked_ns: u64,
    waited: Duration,
}

impl Pace {
    /// Of the calling thread, which has waited so long for a core in its life.
    pub fn new(now_ns: u64, waited: Duration) -> Self {
        Self { niceness: niceness(), is_crowded: false, looked_ns: now_ns, waited }
    }

    /// As if new, before something else is measured.
    pub fn begin(&mut self, now_ns: u64, waited: Duration) {
        if self.is_crowded
            && let Some(niceness) = self.niceness
        {
            // Who was not let before others has nothing to take back.
            let _ = set_niceness(niceness);
        }
        *self = Self { niceness: self.niceness, is_crowded: false, looked_ns: now_ns, waited };
    }

    /// How long to rest after so much work, waits for a core included; not at all with a core to itself. `waited` is asked now and then.
    pub fn rest_after(&mut self, work: Duration, now_ns: u64, waited: impl FnOnce() -> Duration) -> Option<Duration> {
        let since = Duration::from_nanos(now_ns.saturating_sub(self.looked_ns));
        if !self.is_crowded && since >= LOOK {
            let waited = waited();
            self.is_crowded = waited.saturating_sub(self.waited) * CROWDED_PART >= since;
            (self.looked_ns, self.waited) = (now_ns, waited);
            if self.is_crowded {
                // Without the right to, it goes on as it is.
                let _ = go_first();
            }
        }
        self.is_crowded.then(|| work.min(REST_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const WORK: Duration = Duration::from_millis(3);

    #[test]
    fn who_waits_a_quarter_of_the_time_for_a_core_rests_until_something_else_is_measured() {
        let waited = |ms| move || Duration::from_millis(ms);
        let mut pace = Pace::new(0, Duration::ZERO);
        assert_eq!(pace.rest_after(WORK, 50 * MS, waited(50)), None, "not looked yet");
        assert_eq!(pace.rest_after(WORK, 100 * MS, waited(24)), None);
        assert_eq!(pace.rest_after(WORK, 200 * MS, waited(48)), None);
        assert_eq!(pace.rest_after(WORK, 300 * MS, waited(73)), Some(WORK));
        assert_eq!(pace.rest_after(Duration::from_secs(1), 500 * MS, waited(73)), Some(REST_MAX), "and goes on");
        pace.begin(500 * MS, waited(73)());
        assert_eq!(niceness(), pace.niceness);
        assert_eq!(pace.rest_after(WORK, 600 * MS, waited(97)), None);
    }
}
