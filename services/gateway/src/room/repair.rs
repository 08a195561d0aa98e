//! Filling a hole in a room's tail from the store, once per room and node at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use snug_protocol::limits::HISTORY_PAGE_MAX;

use super::tail::TAIL_BYTES_MAX;
use super::{Accepted, Behind, FoundBy, Room, Rooms, lock};

/// News of two commits may cross on their way; the store is asked only when the missing one has not come by then.
const GAP_PATIENCE: Duration = Duration::from_millis(5);
/// The same, where it is the store that knows of more: a commit is seen there before its news have been sent, and on a node that has much
/// to do these take their time.
const HEAD_PATIENCE: Duration = Duration::from_millis(250);
/// Read at one time: no more than the tail can take without losing what followers are still to read.
pub const FILL_BYTES_MAX: usize = TAIL_BYTES_MAX / 2;
/// Between two reads, for followers to take what the first has brought.
const NEXT_FILL: Duration = Duration::from_millis(10);
/// How long to wait after the database failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

impl Rooms {
    pub(super) fn repair_if_behind(&self, room: &Room, behind: Behind) {
        // Before it has begun, it is behind by all that there is; whoever begins it looks afterwards.
        if !room.begun.initialized()
            || !lock(&room.tail).tail().is_behind()
            || room.repairing.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let Some(room) = self.get(room.id) else { return };
        self.shared.tasks.spawn(run(self.clone(), room, behind));
    }
}

async fn run(rooms: Rooms, room: Arc<Room>, mut behind_by: Behind) {
    let mut wait = if behind_by == Behind::Lost(FoundBy::HeadCheck) { HEAD_PATIENCE } else { GAP_PATIENCE };
    loop {
        tokio::select! {
            () = rooms.shared.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = Duration::ZERO;
        let (head, behind) = {
            let shared = lock(&room.tail);
            (shared.tail().head(), shared.tail().is_behind())
        };
        if !behind {
            room.repairing.store(false, Ordering::Release);
            // Something may have been announced between the look and the flag.
            if !lock(&room.tail).tail().is_behind() || room.repairing.swap(true, Ordering::AcqRel) {
                return;
            }
            continue;
        }
        rooms.shared.counters.fill_reads.fetch_add(1, Ordering::Relaxed);
        // The last one that is known comes with what follows it: they must be of one log.
        match rooms.shared.store.read_after(room.id, head.back(1), HISTORY_PAGE_MAX, FILL_BYTES_MAX).await {
            Ok(frames) if frames.last().is_none_or(|last| last.seq() <= head) => wait = RETRY_AFTER,
            Ok(frames) => {
                if let Behind::Lost(found_by) = std::mem::replace(&mut behind_by, Behind::AsUsual) {
                    // Once a repair: how many hints were lost, nobody can tell.
                    rooms.shared.counters.losses.of(found_by).increment();
                }
                tracing::debug!(room = %room.id, from = head.0 + 1, count = frames.len(), "filled a gap from the store");
                if rooms.change_tail(&room, |tail| tail.accept_all(frames)) == Accepted::Other {
                    return rooms.replace(&room);
                }
                if lock(&room.tail).tail().is_behind() {
                    wait = NEXT_FILL;
                }
            }
            Err(error) => {
                tracing::warn!(room = %room.id, %error, "could not fill a gap");
                wait = RETRY_AFTER;
            }
        }
        if room.followers.is_empty() {
            room.repairing.store(false, Ordering::Release);
            return;
        }
    }
}
