//! What every backend decides in the same way. No I/O and no state here.

pub(crate) mod append;
pub(crate) mod epoch;
pub(crate) mod step;

use std::time::Duration;

use snug_protocol::Seq;

use crate::{GrantKind, Quotas, Standing, Token};

/// A token's expiry is moved at most this often.
pub(crate) const SLIDE_PERIOD: Duration = Duration::from_secs(3600);
/// Mailboxes of moves at one time; an offer needs no token.
pub(crate) const MOVES_MAX: usize = 10_000;
/// The most entries of [`crate::Page::later`], newest kept. Only reached by a page of one entry that has been answered this often.
pub(crate) const LATER_ENTRIES_MAX: usize = 10_000;
/// The most bytes of [`crate::Page::later`], newest kept; likewise only reached by a page of one entry.
pub(crate) const LATER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A token's ends, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenEnds {
    /// When it ends if it is not used again.
    pub expires_at_ms: u64,
    /// When it ends in any case.
    pub ends_at_ms: u64,
    /// How long it lasts from one use to the next.
    pub idle_ms: u64,
}

impl TokenEnds {
    /// Those of a token issued at `now_ms`.
    pub fn issued(now_ms: u64, idle: Duration, absolute: Duration) -> Self {
        let (idle_ms, ends_at_ms) = (ms(idle), now_ms.saturating_add(ms(absolute)));
        Self { expires_at_ms: now_ms.saturating_add(idle_ms).min(ends_at_ms), ends_at_ms, idle_ms }
    }

    /// The later expiry to be written when the token is used at `now_ms`, if that is due. At most one write an hour, and for
    /// short-lived tokens one per half of their idle time.
    pub fn slide(&self, now_ms: u64) -> Option<u64> {
        let expires_at_ms = now_ms.saturating_add(self.idle_ms).min(self.ends_at_ms);
        let period_ms = ms(SLIDE_PERIOD).min(self.idle_ms / 2).max(1);
        (expires_at_ms >= self.expires_at_ms.saturating_add(period_ms)).then_some(expires_at_ms)
    }

    /// The token of `device` as its holder sees it.
    pub fn token(&self, device: snug_protocol::DeviceId) -> Token {
        Token { device, expires_at_ms: self.expires_at_ms }
    }
}

/// How many of the newest entries of a page fit into `bytes_max` together with what was said about them later; at least one.
/// `sizes` are, newest first, an entry's bytes and the bytes of its later entries.
pub(crate) fn fitting(sizes: impl Iterator<Item = (usize, usize)>, bytes_max: usize) -> usize {
    let mut bytes = 0usize;
    let fit = sizes
        .take_while(|(entry, later)| {
            bytes = bytes.saturating_add(*entry).saturating_add(*later);
            bytes <= bytes_max
        })
        .count();
    fit.max(1)
}

/// The last seq of the page that ends before `before`.
pub(crate) fn page_end(before: Option<Seq>, head: Seq) -> Seq {
    before.map_or(head, |before| before.back(1).min(head))
}

/// A room with more grants than this forgets its expired invites at once: they are kept for courtesy, and cost nobody anything to make.
pub(crate) const fn expired_invites_max(quotas: &Quotas) -> u64 {
    quotas.invites_per_room_max.saturating_mul(2)
}

/// Whether a grant of this kind, made by a device of this standing, leads into a locked room: an invite of its recovery device does, or
/// coming back by the recovery key would have to open the room for everyone first.
pub(crate) fn opens_locked(kind: GrantKind, made_by: Option<Standing>) -> bool {
    kind == GrantKind::Invite && made_by == Some(Standing::Recovery)
}

/// Milliseconds, at most what a database's integer and a client's number can hold.
pub(crate) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).min((1 << 52) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn a_token_slides_at_most_once_an_hour_and_never_beyond_its_end() {
        let ends = TokenEnds::issued(0, Duration::from_secs(24 * 3600), Duration::from_secs(48 * 3600));
        assert_eq!(ends.slide(HOUR_MS - 1), None);
        assert_eq!(ends.slide(HOUR_MS), Some(25 * HOUR_MS));
        let late = TokenEnds { expires_at_ms: 47 * HOUR_MS, ..ends };
        assert_eq!(late.slide(40 * HOUR_MS), Some(48 * HOUR_MS));
        assert_eq!(TokenEnds { expires_at_ms: 48 * HOUR_MS, ..ends }.slide(47 * HOUR_MS), None);
    }

    #[test]
    fn a_short_lived_token_slides_too() {
        let ends = TokenEnds::issued(0, Duration::from_secs(60), Duration::from_secs(3600));
        assert_eq!(ends.slide(29_999), None);
        assert_eq!(ends.slide(30_000), Some(90_000));
    }

    #[test]
    fn a_token_never_outlives_its_absolute_end() {
        assert_eq!(TokenEnds::issued(5, Duration::from_secs(60), Duration::from_secs(1)).expires_at_ms, 1005);
        assert!(TokenEnds::issued(u64::MAX / 4, Duration::MAX, Duration::MAX).expires_at_ms < u64::MAX);
    }

    #[test]
    fn a_page_keeps_at_least_one_entry_and_otherwise_what_fits() {
        assert_eq!(fitting([(10, 0), (10, 0), (10, 0)].into_iter(), 25), 2);
        assert_eq!(fitting([(10, 0), (10, 6), (10, 0)].into_iter(), 25), 1);
        assert_eq!(fitting([(100, 1000)].into_iter(), 25), 1);
        assert_eq!(fitting([(10, 0), (10, 0)].into_iter(), 25), 2);
    }

    #[test]
    fn a_page_ends_before_its_bound_and_at_the_head() {
        assert_eq!(page_end(None, Seq(7)), Seq(7));
        assert_eq!(page_end(Some(Seq(3)), Seq(7)), Seq(2));
        assert_eq!(page_end(Some(Seq(99)), Seq(7)), Seq(7));
        assert_eq!(page_end(Some(Seq(1)), Seq(7)), Seq(0));
        assert_eq!(page_end(Some(Seq(0)), Seq(7)), Seq(0));
    }
}
