//! When a room tells its followers that it has grown.
//!
//! A write to a socket costs the same for one message as for twenty. So the first message after a pause goes out at once, and what comes
//! within `GATHER_LIMIT` after that goes out together: a room that gets fewer messages than that never waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::{Room, Rooms, lock};

/// How long news may be held back to go out with others.
pub const GATHER_LIMIT: Duration = Duration::from_millis(3);

/// One room's pace.
#[derive(Default)]
pub(super) struct Pace {
    told_at: Mutex<Option<Instant>>,
    /// It is to be told with the next round.
    waits: AtomicBool,
}

/// Rooms that are to be told with the next round.
#[derive(Default)]
pub(super) struct Round {
    rooms: Mutex<Vec<Arc<Room>>>,
    begins: Notify,
}

impl Rooms {
    /// The room has grown: its followers hear of it now, or with what comes in the next moment.
    pub(super) fn tell_growth(&self, room: &Arc<Room>) {
        let now = Instant::now();
        let is_first = {
            let mut told_at = lock(&room.pace.told_at);
            let is_first = told_at.is_none_or(|told_at| now - told_at >= GATHER_LIMIT);
            if is_first {
                *told_at = Some(now);
            }
            is_first
        };
        if is_first {
            room.tell_followers();
        } else if !room.pace.waits.swap(true, Ordering::AcqRel) {
            lock(&self.shared.round.rooms).push(Arc::clone(room));
            self.shared.round.begins.notify_one();
        }
    }

    pub(super) async fn run_rounds(self) {
        let round = &self.shared.round;
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => return,
                () = round.begins.notified() => {}
            }
            sleep(GATHER_LIMIT).await;
            let rooms = std::mem::take(&mut *lock(&round.rooms));
            for room in rooms {
                room.pace.waits.store(false, Ordering::Release);
                *lock(&room.pace.told_at) = Some(Instant::now());
                room.tell_followers();
            }
        }
    }
}
