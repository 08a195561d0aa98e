//! How long a room keeps its messages, over the time that its chain tells of, and which of them that has reached. Pure.

use std::collections::BTreeMap;

use snug_protocol::Seq;

/// The server's clock and this device's may differ by so much before a retention explains nothing.
const CLOCK_TOLERANCE_MS: u64 = 60_000;
/// A retention that has ended since has erased everywhere what it had reached so long before. The server looks once a minute.
const SURELY_ERASED_MS: u64 = 180_000;

/// The retentions of a room, by the link of the chain that began them.
#[derive(Clone, Debug, Default)]
pub(super) struct Retentions(BTreeMap<Seq, Retention>);

#[derive(Clone, Copy, Debug)]
struct Retention {
    /// When it began.
    at_ms: u64,
    /// 0: nothing is erased by age.
    age_ms: u64,
}

impl Retentions {
    /// Messages are erased at this age (0: never) from the link at `seq` on, committed at `at_ms`.
    pub(super) fn note(&mut self, seq: Seq, at_ms: u64, age_ms: u64) {
        self.0.insert(seq, Retention { at_ms, age_ms });
    }

    /// Whether an honest server has erased messages of `at_ms` by `now_ms`, or is about to.
    pub(super) fn have_reached(&self, at_ms: u64, now_ms: u64) -> bool {
        self.reaches(now_ms).any(|(reach_ms, ended)| {
            let margin_ms = if ended { SURELY_ERASED_MS } else { 0 };
            at_ms.saturating_add(margin_ms) <= reach_ms
        })
    }

    /// Whether age explains, as far as clocks agree, that messages of `at_ms` are gone by `now_ms`.
    pub(super) fn may_have_reached(&self, at_ms: u64, now_ms: u64) -> bool {
        self.reaches(now_ms).any(|(reach_ms, _)| at_ms <= reach_ms.saturating_add(CLOCK_TOLERANCE_MS))
    }

    /// Up to which time each has reached by `now_ms`, and whether another one is in force since.
    fn reaches(&self, now_ms: u64) -> impl Iterator<Item = (u64, bool)> {
        let ends = self.0.values().skip(1).map(|next| (next.at_ms, true)).chain([(now_ms, false)]);
        let erasing = self.0.values().zip(ends).filter(|(retention, _)| retention.age_ms > 0);
        erasing.filter_map(|(retention, (until_ms, ended))| Some((until_ms.checked_sub(retention.age_ms)?, ended)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const MINUTE_MS: u64 = 60_000;

    #[test]
    fn one_that_is_in_force_reaches_up_to_its_age() {
        let mut retentions = Retentions::default();
        retentions.note(Seq(2), 10 * HOUR_MS, HOUR_MS);
        let now_ms = 10 * HOUR_MS + 1;
        assert!(retentions.have_reached(now_ms - HOUR_MS, now_ms));
        assert!(!retentions.have_reached(now_ms - HOUR_MS + 1, now_ms));
        assert!(retentions.may_have_reached(now_ms - HOUR_MS + MINUTE_MS, now_ms), "clocks differ");
        assert!(!retentions.may_have_reached(now_ms - HOUR_MS + MINUTE_MS + 1, now_ms));
    }

    #[test]
    fn one_that_has_ended_has_reached_what_the_server_had_time_to_erase() {
        let mut retentions = Retentions::default();
        retentions.note(Seq(2), 10 * HOUR_MS, HOUR_MS);
        retentions.note(Seq(9), 20 * HOUR_MS, 0);
        let now_ms = 90 * HOUR_MS;
        let edge_ms = 19 * HOUR_MS;
        assert!(retentions.have_reached(edge_ms - 3 * MINUTE_MS, now_ms));
        assert!(!retentions.have_reached(edge_ms, now_ms), "it may have been spared");
        assert!(retentions.may_have_reached(edge_ms, now_ms));
        assert!(!retentions.may_have_reached(edge_ms + 2 * MINUTE_MS, now_ms));
    }

    #[test]
    fn none_and_one_for_ever_reach_nothing() {
        let mut retentions = Retentions::default();
        assert!(!retentions.may_have_reached(0, u64::MAX));
        retentions.note(Seq(1), 0, 0);
        assert!(!retentions.may_have_reached(0, u64::MAX));
    }
}
