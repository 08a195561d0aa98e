//! When a room brings its followers what has come.
//!
//! A write to a socket costs the same for one message as for twenty. So the first message after a pause goes out at once, and what comes
//! within `GATHER_LIMIT` after that goes out together: a room that is quick to write to and gets fewer messages than that never waits.
//! While a room is still writing, what comes waits for the end of that, and then as long again. And where the node is strained, which is to
//! say that its rounds come late while it delivers much, all its rooms gather for longer, and so do commits (`strain`). All up to a limit:
//! so the more there is to do, in this room or in others, the more is done in one write, and the less there is to do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::strain::Strain;
use super::{Room, Rooms, lock};

/// How long news may be held back to go out with others, if nothing is being written.
pub const GATHER_LIMIT: Duration = Duration::from_millis(3);

/// The same, where to bring the last ones took longer than that.
const BUSY_GATHER_LIMIT: Duration = Duration::from_millis(100);

#[derive(Default)]
struct State {
    /// When the last fan-out was due, or ended; and how long news wait from then on.
    last: Option<Instant>,
    gathers: Duration,
    /// One is under way.
    runs: bool,
    /// One more is to be, with the next round.
    waits: bool,
}

/// One room's pace.
#[derive(Default)]
pub(super) struct Pace(Mutex<State>);

/// What is to be done about news.
enum Next {
    Now,
    /// With the first round from then on.
    WithRound(Instant),
    /// Somebody sees to them already.
    Nothing,
}

impl Pace {
    /// The room has grown, on a node whose rooms gather for so long.
    fn grown(&self, now: Instant, strain: Duration) -> Next {
        let mut state = lock(&self.0);
        if state.waits {
            return Next::Nothing;
        }
        if state.runs {
            state.waits = true;
            return Next::Nothing;
        }
        let gathers = state.gathers.max(strain).max(GATHER_LIMIT);
        match state.last {
            Some(last) if now < last + gathers => {
                state.waits = true;
                Next::WithRound(round_after(last, gathers))
            }
            _ => {
                (state.runs, state.last) = (true, Some(now));
                Next::Now
            }
        }
    }

    /// A round has come.
    fn begin(&self, now: Instant) {
        let mut state = lock(&self.0);
        (state.waits, state.runs, state.last) = (false, true, Some(now));
    }

    /// A fan-out has ended, on a node whose rooms gather for so long; when there is to be one more.
    fn end(&self, now: Instant, strain: Duration) -> Option<Instant> {
        let mut state = lock(&self.0);
        let took = state.last.map_or(Duration::ZERO, |due| now - due);
        let gathers = took.clamp(GATHER_LIMIT, BUSY_GATHER_LIMIT).max(strain);
        (state.runs, state.last, state.gathers) = (false, Some(now), gathers);
        state.waits.then(|| round_after(now, gathers))
    }
}

/// The first moment of a round that ends a wait from `last` on: a round takes its rooms a `GATHER_LIMIT` after it began.
fn round_after(last: Instant, gathers: Duration) -> Instant {
    last + gathers.saturating_sub(GATHER_LIMIT)
}

/// Rooms that bring what has come with a round, each from its moment on.
#[derive(Default)]
pub(super) struct Round {
    rooms: Mutex<Vec<(Instant, Arc<Room>)>>,
    begins: Notify,
    strain: Strain,
}

impl Round {
    fn join(&self, from: Instant, room: Arc<Room>) {
        lock(&self.rooms).push((from, room));
        self.begins.notify_one();
    }

    pub(super) fn commits_gather(&self) -> Duration {
        self.strain.commits_gather()
    }

    pub(super) fn rooms_gather(&self) -> Duration {
        self.strain.rooms_gather()
    }

    /// So many deliveries were made. Where that is much, rounds begin, to see whether they come late.
    pub(super) fn delivered(&self, deliveries: usize) {
        if self.strain.delivered(deliveries) {
            self.begins.notify_one();
        }
    }

    /// Those whose moment has come, and whether others wait for theirs.
    fn take(&self, now: Instant) -> (Vec<Arc<Room>>, bool) {
        let mut rooms = lock(&self.rooms);
        let due = rooms.extract_if(.., |(from, _)| *from <= now).map(|(_, room)| room).collect();
        (due, !rooms.is_empty())
    }
}

/// A fan-out; over when dropped, though it may have panicked, or the room's would never again begin.
struct Running {
    rooms: Rooms,
    room: Arc<Room>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Who was to be written to after that has not even been told.
            self.room.followers.list().iter().for_each(|follower| follower.wake());
        }
        let round = &self.rooms.shared.round;
        if let Some(from) = self.room.pace.end(Instant::now(), round.rooms_gather()) {
            round.join(from, Arc::clone(&self.room));
        }
    }
}

impl Rooms {
    /// The room has grown: its followers hear of it now, or with what comes in the next moment.
    pub(super) fn tell_growth(&self, room: &Arc<Room>) {
        match room.pace.grown(Instant::now(), self.shared.round.rooms_gather()) {
            Next::Now => self.spawn_fan_out(Arc::clone(room)),
            Next::WithRound(from) => self.shared.round.join(from, Arc::clone(room)),
            Next::Nothing => {}
        }
    }

    fn spawn_fan_out(&self, room: Arc<Room>) {
        let rooms = self.clone();
        self.shared.tasks.spawn(async move {
            let runs = Running { rooms, room };
            unconstrained(runs.rooms.fan_out(&runs.room)).await;
        });
    }

    pub(super) async fn run_rounds(self) {
        let round = &self.shared.round;
        let mut goes_on = false;
        loop {
            if !goes_on {
                round.strain.rest();
                self.shared.store.gather(Duration::ZERO);
                tokio::select! {
                    () = self.shared.stop.cancelled() => return,
                    () = round.begins.notified() => {}
                }
            }
            let due = Instant::now() + GATHER_LIMIT;
            sleep_until(due).await;
            let now = Instant::now();
            round.strain.round(due, now);
            self.shared.store.gather(round.strain.commits_gather());
            let (due, rest) = round.take(now);
            goes_on = (rest || round.strain.is_watched()) && !self.shared.stop.is_cancelled();
            for room in due {
                room.pace.begin(now);
                self.spawn_fan_out(room);
            }
        }
    }
}

#[cfg(test)]
impl Rooms {
    /// As if commits had to gather for so long, until the next round.
    pub(crate) fn pretend_strain(&self, commits_gather: Duration) {
        self.shared.round.strain.pretend(commits_gather);
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::RoomId;

    use super::*;

    const AT_REST: Duration = Duration::ZERO;

    #[test]
    fn the_first_news_go_at_once_and_what_follows_goes_together() {
        let (pace, began) = (Pace::default(), Instant::now());
        assert!(matches!(pace.grown(began, AT_REST), Next::Now));
        assert!(matches!(pace.grown(began, AT_REST), Next::Nothing), "it is being written");
        assert_eq!(pace.end(began, AT_REST), Some(began), "and what came meanwhile comes with the next round");
        assert!(matches!(pace.grown(began + GATHER_LIMIT, AT_REST), Next::Nothing), "it waits already");
        pace.begin(began + GATHER_LIMIT);
        assert_eq!(pace.end(began + GATHER_LIMIT, AT_REST), None);
        assert!(
            matches!(pace.grown(began + GATHER_LIMIT, AT_REST), Next::WithRound(from) if from == began + GATHER_LIMIT)
        );
        pace.begin(began + GATHER_LIMIT);
        assert_eq!(pace.end(began + GATHER_LIMIT, AT_REST), None);
        assert!(matches!(pace.grown(began + GATHER_LIMIT * 2, AT_REST), Next::Now));
    }

    #[test]
    fn a_room_that_takes_long_to_write_to_or_to_get_its_turn_gathers_as_long_and_no_longer_than_a_limit() {
        let (pace, began) = (Pace::default(), Instant::now());
        let took = Duration::from_millis(40);
        assert!(matches!(pace.grown(began, AT_REST), Next::Now));
        assert_eq!(pace.end(began + took, AT_REST), None);
        let from = began + took * 2 - GATHER_LIMIT;
        assert!(matches!(pace.grown(began + took, AT_REST), Next::WithRound(moment) if moment == from));
        pace.begin(from);
        let ended = from + Duration::from_secs(9);
        assert_eq!(pace.end(ended, AT_REST), None);
        assert!(matches!(pace.grown(ended + BUSY_GATHER_LIMIT, AT_REST), Next::Now), "not nine seconds");
        assert_eq!(pace.end(ended + BUSY_GATHER_LIMIT, AT_REST), None);
        assert!(
            matches!(pace.grown(ended + BUSY_GATHER_LIMIT + GATHER_LIMIT, AT_REST), Next::Now),
            "quick again, at once again"
        );
    }

    #[test]
    fn on_a_strained_node_news_that_follow_others_wait_and_news_after_a_pause_never_do() {
        let (pace, began, ms) = (Pace::default(), Instant::now(), Duration::from_millis);
        let strain = BUSY_GATHER_LIMIT * 2;
        assert!(matches!(pace.grown(began, strain), Next::Now));
        assert_eq!(pace.end(began, strain), None);
        let from = began + strain - GATHER_LIMIT;
        assert!(matches!(pace.grown(began + ms(50), strain), Next::WithRound(moment) if moment == from));
        pace.begin(from);
        assert_eq!(pace.end(from, AT_REST), None);
        assert!(matches!(pace.grown(from + GATHER_LIMIT, AT_REST), Next::Now), "and then it is over");
    }

    #[test]
    fn a_round_takes_the_rooms_whose_moment_has_come_and_keeps_the_others() {
        let (round, now) = (Round::default(), Instant::now());
        let [soon, later] = [1, 2].map(|number| Arc::new(Room::new(RoomId([number; 16]))));
        round.join(now + GATHER_LIMIT, Arc::clone(&later));
        round.join(now, Arc::clone(&soon));
        let (due, others_wait) = round.take(now);
        assert!(due.len() == 1 && Arc::ptr_eq(&due[0], &soon) && others_wait);
        let (due, others_wait) = round.take(now + GATHER_LIMIT);
        assert!(due.len() == 1 && Arc::ptr_eq(&due[0], &later) && !others_wait);
    }
}
