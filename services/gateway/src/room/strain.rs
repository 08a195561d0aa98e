//! How long a node's commits and rooms gather for the sake of all that it has to do.
//!
//! It takes two things together. Rounds come late: somebody waits for a core. And the node delivers so much that gathering would help: else
//! it is others who keep the cores busy, such as passwords being hashed, and waiting would make nothing better. What is counted is
//! deliveries, not writes: these grow fewer the more is gathered, and it would seem to be no use any more. Only tokio's clock and counts are
//! asked, so that a simulation goes the same way each time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::lock;

/// The longest.
const LIMIT: Duration = Duration::from_millis(200);
/// How late a round may come on a node at rest: the timer's grain, twice.
const LATE_AT_REST: Duration = Duration::from_millis(2);
/// How many times as long as its rounds come late commits gather.
const FACTOR: u32 = 48;
/// The part of that for which rooms gather.
const ROOMS_SHARE: u32 = 4;
/// Rounds over which their lateness is averaged.
const ROUNDS: u32 = 16;
/// What a delivery takes a core, if it is written by itself (ARCHITECTURE.md, Performance).
const DELIVERY: Duration = Duration::from_micros(10);
/// The share of the cores' time, in thousandths, that a node at rest would spend on deliveries if each were written by itself. For each
/// thousandth more commits may gather for so long.
const SHARE_AT_REST: u32 = 50;
const WORTH: Duration = Duration::from_millis(4);
/// Over which deliveries are counted.
const WINDOW: Duration = Duration::from_millis(50);
/// So many deliveries wake whoever measures: twice those of a message in a room of a thousand, and made within a fifth of a second where two
/// cores have enough to deliver for gathering.
const DELIVERIES_TO_LOOK: usize = 2_000;

#[derive(Default)]
struct Seen {
    /// How late rounds come, smoothed.
    late: Duration,
    /// Since when deliveries are counted.
    since: Option<Instant>,
    /// How long commits may gather for the number of deliveries, smoothed.
    worth: Duration,
}

/// The node's strain.
#[derive(Default)]
pub(super) struct Strain {
    seen: Mutex<Seen>,
    deliveries: AtomicUsize,
    gathers_us: AtomicU64,
}

impl Strain {
    /// So many deliveries more. Whether there are so many now that it is time to look.
    #[must_use]
    pub fn delivered(&self, deliveries: usize) -> bool {
        let before = self.deliveries.fetch_add(deliveries, Ordering::Relaxed);
        before / DELIVERIES_TO_LOOK != (before + deliveries) / DELIVERIES_TO_LOOK
    }

    /// A round that was due then has come now.
    pub fn round(&self, due: Instant, now: Instant) {
        let cores = tokio::runtime::Handle::try_current().map_or(1, |handle| handle.metrics().num_workers());
        self.round_on(cores, due, now);
    }

    fn round_on(&self, cores: usize, due: Instant, now: Instant) {
        let mut seen = lock(&self.seen);
        let late = (now - due).saturating_sub(LATE_AT_REST).min(LIMIT);
        seen.late = (seen.late * (ROUNDS - 1) + late) / ROUNDS;
        let since = *seen.since.get_or_insert(now);
        if now - since >= WINDOW {
            let deliveries = u32::try_from(self.deliveries.swap(0, Ordering::Relaxed)).unwrap_or(u32::MAX);
            let thousandths =
                (DELIVERY * deliveries).as_micros() * 1_000 / ((now - since).as_micros() * cores.max(1) as u128);
            let above = u32::try_from(thousandths).unwrap_or(u32::MAX).saturating_sub(SHARE_AT_REST);
            let worth = WORTH.saturating_mul(above).min(LIMIT);
            // What was long ago says nothing.
            seen.worth = if now - since < WINDOW * 4 { (seen.worth + worth) / 2 } else { worth };
            seen.since = Some(now);
        }
        let gathers = (seen.late * FACTOR).min(seen.worth);
        self.gathers_us.store(u64::try_from(gathers.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether rounds are to go on, though no room may wait for one: only they tell how late they come.
    pub fn is_watched(&self) -> bool {
        lock(&self.seen).worth >= WORTH
    }

    /// There are no rounds for the time being.
    pub fn rest(&self) {
        self.gathers_us.store(0, Ordering::Relaxed);
    }

    /// From one commit to the next; nothing on a node at rest. What messages of a room share that are committed together is more than the
    /// commit: a hint, a wake-up of their sender's session, an acknowledgement, and a write to each of its sockets.
    pub fn commits_gather(&self) -> Duration {
        Duration::from_micros(self.gathers_us.load(Ordering::Relaxed))
    }

    /// How long a room gathers what was committed. A little: what comes to it soon after was committed by other nodes, and what waits for its
    /// commit is not to wait as long again behind it.
    pub fn rooms_gather(&self) -> Duration {
        self.commits_gather() / ROOMS_SHARE
    }
}

#[cfg(test)]
impl Strain {
    /// As if it were so, until the next round.
    pub fn pretend(&self, commits_gather: Duration) {
        self.gathers_us.store(u64::try_from(commits_gather.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_REST: Duration = Duration::ZERO;

    /// Rounds of a second on a node with two cores, so late, with so many deliveries a second.
    fn after(late: Duration, deliveries: usize) -> Strain {
        let (strain, mut now) = (Strain::default(), Instant::now());
        go_on(&strain, &mut now, late, deliveries);
        strain
    }

    fn go_on(strain: &Strain, now: &mut Instant, late: Duration, deliveries: usize) {
        for _ in 0..100 {
            let _ = strain.delivered(deliveries / 100);
            let due = *now + Duration::from_millis(10) - late;
            *now += Duration::from_millis(10);
            strain.round_on(2, due, *now);
        }
    }

    #[test]
    fn commits_and_rooms_gather_where_rounds_are_late_and_there_is_much_to_deliver() {
        let ms = Duration::from_millis;
        assert_eq!(after(LATE_AT_REST, 100_000).commits_gather(), AT_REST, "in time: nobody waits for a core");
        assert_eq!(after(ms(8), 8_000).commits_gather(), AT_REST, "little to deliver: others keep the cores busy");
        let some = after(ms(8), 15_000).commits_gather();
        assert!((ms(80)..=ms(100)).contains(&some), "a fortieth of the time above what is usual: {some:?}");
        let late = after(ms(4), 100_000).commits_gather();
        assert!((ms(90)..=ms(96)).contains(&late), "two milliseconds more than usual: {late:?}");
        let most = after(ms(500), 10_000_000);
        assert!((LIMIT - ms(1)..=LIMIT).contains(&most.commits_gather()), "{:?}", most.commits_gather());
        assert_eq!(most.rooms_gather(), most.commits_gather() / 4, "what other nodes write to a room goes out with it");
    }

    #[test]
    fn it_is_watched_while_there_is_much_to_deliver_also_if_nothing_gathers() {
        let few = after(AT_REST, 8_000);
        assert!(!few.is_watched());
        let (many, mut now) = (Strain::default(), Instant::now());
        go_on(&many, &mut now, AT_REST, 20_000);
        assert!(many.is_watched() && many.commits_gather() == AT_REST, "in time, so far");
        go_on(&many, &mut now, AT_REST, 8_000);
        assert!(!many.is_watched());
        let looks = (0..1_000).filter(|_| few.delivered(5)).count();
        assert_eq!(looks, 1_000 * 5 / DELIVERIES_TO_LOOK, "not for each delivery");
    }

    #[test]
    fn it_is_soon_over() {
        let (strain, mut now) = (Strain::default(), Instant::now());
        go_on(&strain, &mut now, Duration::from_millis(9), 200_000);
        assert!(strain.commits_gather() > Duration::from_millis(50));
        go_on(&strain, &mut now, AT_REST, 200_000);
        assert!(strain.commits_gather() < Duration::from_millis(3), "{:?}", strain.commits_gather());
    }
}
