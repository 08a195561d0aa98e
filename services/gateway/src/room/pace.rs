//! When a room brings its followers what has come.
//!
//! A write to a socket costs the same for one message as for twenty. So the first message after a pause goes out at once, and what comes
//! within `GATHER_LIMIT` after that goes out together: a room that gets fewer messages than that never waits. While a room is still
//! writing, what comes waits for the end of that, and then as long again; so the more there is to do, the more is done in one write.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::{Room, Rooms, lock};

/// How long news may be held back to go out with others, if nothing is being written.
pub const GATHER_LIMIT: Duration = Duration::from_millis(3);

#[derive(Default)]
struct State {
    /// When the last fan-out began, or ended.
    last: Option<Instant>,
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
    WithRound,
    /// Somebody sees to them already.
    Nothing,
}

impl Pace {
    /// The room has grown.
    fn grown(&self, now: Instant) -> Next {
        let mut state = lock(&self.0);
        if state.waits {
            return Next::Nothing;
        }
        if state.runs {
            state.waits = true;
            return Next::Nothing;
        }
        if state.last.is_none_or(|last| now - last >= GATHER_LIMIT) {
            (state.runs, state.last) = (true, Some(now));
            return Next::Now;
        }
        state.waits = true;
        Next::WithRound
    }

    /// A round has come.
    fn begin(&self) {
        let mut state = lock(&self.0);
        (state.waits, state.runs) = (false, true);
    }

    /// A fan-out has ended; whether there is to be one more.
    fn end(&self, now: Instant) -> bool {
        let mut state = lock(&self.0);
        (state.runs, state.last) = (false, Some(now));
        state.waits
    }
}

/// Rooms that bring what has come with the next round.
#[derive(Default)]
pub(super) struct Round {
    rooms: Mutex<Vec<Arc<Room>>>,
    begins: Notify,
}

impl Round {
    fn join(&self, room: Arc<Room>) {
        lock(&self.rooms).push(room);
        self.begins.notify_one();
    }
}

impl Rooms {
    /// The room has grown: its followers hear of it now, or with what comes in the next moment.
    pub(super) fn tell_growth(&self, room: &Arc<Room>) {
        match room.pace.grown(Instant::now()) {
            Next::Now => self.spawn_fan_out(Arc::clone(room)),
            Next::WithRound => self.shared.round.join(Arc::clone(room)),
            Next::Nothing => {}
        }
    }

    fn spawn_fan_out(&self, room: Arc<Room>) {
        let rooms = self.clone();
        self.shared.tasks.spawn(async move {
            rooms.fan_out(&room).await;
            if room.pace.end(Instant::now()) {
                rooms.shared.round.join(room);
            }
        });
    }

    pub(super) async fn run_rounds(self) {
        let round = &self.shared.round;
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => return,
                () = round.begins.notified() => {}
            }
            sleep(GATHER_LIMIT).await;
            for room in std::mem::take(&mut *lock(&round.rooms)) {
                room.pace.begin();
                self.spawn_fan_out(room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_news_go_at_once_and_what_follows_goes_together() {
        let (pace, began) = (Pace::default(), Instant::now());
        assert!(matches!(pace.grown(began), Next::Now));
        assert!(matches!(pace.grown(began), Next::Nothing), "it is being written");
        assert!(pace.end(began), "and what came meanwhile comes next");
        assert!(matches!(pace.grown(began + GATHER_LIMIT), Next::Nothing), "it waits already");
        pace.begin();
        assert!(!pace.end(began + GATHER_LIMIT));
        assert!(matches!(pace.grown(began + GATHER_LIMIT), Next::WithRound));
        pace.begin();
        assert!(!pace.end(began + GATHER_LIMIT));
        assert!(matches!(pace.grown(began + GATHER_LIMIT * 2), Next::Now));
    }
}
