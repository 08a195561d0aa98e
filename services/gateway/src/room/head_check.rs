//! The head check: compares followed rooms with the store, since a gap cannot reveal the loss of the *last* hint.
//!
//! All rooms now and then, and at once when the bus says that anything may have been missed; one room when it says so of one. There is
//! one task, so that two checks are never made at one time; what is asked for during one is checked once more after it.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use snug_protocol::{RoomId, Seq};
use snug_store::RoomHead;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Behind, FoundBy, Room, Rooms, lock};

/// The shortest time between two checks of all rooms; the longest is two and a half times that.
const PERIOD_MIN: Duration = Duration::from_secs(2);
const PERIOD_JITTER_MS: u64 = 3_000;
/// Followers of a room that are asked to look whether they still may, at one time.
const RECHECKS_AT_ONCE: usize = 100;
/// From those to the next: 4,000 a second.
const RECHECKS_EVERY: Duration = Duration::from_millis(25);
/// Rooms asked about in one query.
const ROOMS_PER_QUERY: usize = 500;

/// Which rooms are to be checked without waiting for the next time.
#[derive(Default)]
pub(super) struct Wanted {
    rooms: Mutex<Asked>,
    bell: Notify,
}

#[derive(Default)]
struct Asked {
    all: bool,
    one_by_one: HashSet<RoomId>,
}

impl Wanted {
    /// One room, or all.
    pub(super) fn ask(&self, room: Option<RoomId>) {
        {
            let mut asked = lock(&self.rooms);
            match room {
                Some(room) => drop(asked.one_by_one.insert(room)),
                None => asked.all = true,
            }
        }
        self.bell.notify_one();
    }
}

fn next_time() -> Instant {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the system gives random bytes");
    Instant::now() + PERIOD_MIN + Duration::from_millis(u64::from_ne_bytes(random) % PERIOD_JITTER_MS)
}

pub(super) async fn run(rooms: Rooms, stop: CancellationToken) {
    let wanted = &rooms.shared.head_checks;
    let mut next = next_time();
    loop {
        let due = tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(next) => true,
            () = wanted.bell.notified() => false,
        };
        let asked = std::mem::take(&mut *lock(&wanted.rooms));
        if due || asked.all {
            rooms.check_heads(rooms.followed()).await;
            next = next_time();
        } else {
            let followed = asked.one_by_one.into_iter().filter(|room| rooms.get(*room).is_some());
            rooms.check_heads(followed.collect()).await;
        }
    }
}

impl Rooms {
    fn followed(&self) -> Vec<RoomId> {
        lock(&self.shared.rooms).keys().copied().collect()
    }

    /// Compares heads, histories and access versions of these rooms with the store's. Asks nothing of the store when there are none.
    async fn check_heads(&self, ids: Vec<RoomId>) {
        if crate::sabotage::head_check_is_off() {
            return;
        }
        for ids in ids.chunks(ROOMS_PER_QUERY) {
            self.shared.counters.head_queries.fetch_add(1, Ordering::Relaxed);
            // Looked at before the store is asked: a log's head does not go back.
            let asked = ids.iter().map(|id| (*id, self.get(*id).map_or(Seq::ZERO, |room| room.reached()))).collect();
            match self.shared.store.heads(ids).await {
                Ok(heads) => self.compare(asked, heads),
                Err(error) => {
                    tracing::warn!(%error, "the head check could not ask the store");
                    return;
                }
            }
        }
    }

    /// Somebody's access has changed, and nobody knows whose: all followers ask the database, but not at one moment.
    fn recheck_bit_by_bit(&self, room: &Room) {
        let followers = room.followers.list();
        let stop = self.shared.stop.clone();
        self.shared.tasks.spawn(async move {
            for followers in followers.chunks(RECHECKS_AT_ONCE) {
                followers.iter().for_each(|follower| follower.recheck_access());
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(RECHECKS_EVERY) => {}
                }
            }
        });
    }

    fn compare(&self, asked: Vec<(RoomId, Seq)>, heads: Vec<RoomHead>) {
        let heads: HashMap<RoomId, RoomHead> = heads.into_iter().map(|head| (head.room, head)).collect();
        for (id, reached) in asked {
            let Some(room) = self.get(id).filter(|room| room.begun.initialized()) else { continue };
            match heads.get(&id) {
                Some(head) if head.history == room.history() && head.head >= reached => {
                    self.change_tail(&room, |tail| tail.announce(head.head));
                    self.repair_if_behind(&room, Behind::Lost(FoundBy::HeadCheck));
                    if room.access_version.swap(head.access_version, Ordering::AcqRel) != head.access_version {
                        self.recheck_bit_by_bit(&room);
                    }
                }
                Some(_) => self.replace(&room),
                // Deleted: everyone who follows it is to look.
                None => room.recheck_access(None),
            }
        }
    }
}
