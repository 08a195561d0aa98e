//! The head check: compares every followed room with the store, since a gap cannot reveal the loss of the *last* hint.

use std::sync::atomic::Ordering;
use std::time::Duration;

use snug_protocol::RoomId;
use tokio_util::sync::CancellationToken;

use super::{Rooms, lock};

/// The shortest time between two checks; the longest is two and a half times that.
const PERIOD_MIN: Duration = Duration::from_secs(2);
const PERIOD_JITTER_MS: u64 = 3_000;
/// Rooms asked about in one query.
const ROOMS_PER_QUERY: usize = 500;

pub(super) async fn run(rooms: Rooms, stop: CancellationToken) {
    loop {
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the system gives random bytes");
        let jitter = Duration::from_millis(u64::from_ne_bytes(random) % PERIOD_JITTER_MS);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD_MIN + jitter) => rooms.check_heads().await,
        }
    }
}

impl Rooms {
    /// Compares heads, histories and access versions of all followed rooms with the store's.
    pub(super) async fn check_heads(&self) {
        if crate::sabotage::head_check_is_off() {
            return;
        }
        let ids: Vec<RoomId> = lock(&self.shared.rooms).keys().copied().collect();
        for ids in ids.chunks(ROOMS_PER_QUERY) {
            match self.shared.store.heads(ids).await {
                Ok(heads) => self.compare(ids, &heads),
                Err(error) => {
                    tracing::warn!(%error, "the head check could not ask the store");
                    return;
                }
            }
        }
    }

    fn compare(&self, ids: &[RoomId], heads: &[snug_store::RoomHead]) {
        for id in ids {
            let Some(room) = self.get(*id).filter(|room| room.begun.initialized()) else { continue };
            match heads.iter().find(|head| head.room == *id) {
                Some(head) if head.history == room.history() => {
                    room.change_tail(|tail| tail.announce(head.head));
                    self.repair_if_behind(&room);
                    if room.access_version.swap(head.access_version, Ordering::AcqRel) != head.access_version {
                        room.recheck_access(None);
                    }
                }
                // Deleted, or another life: everyone who follows it is to look.
                other => {
                    room.replaced.store(other.is_some(), Ordering::Release);
                    room.recheck_access(None);
                }
            }
        }
    }
}
