//! The rooms that someone on this node follows: each a tail of newest frames and the followers to wake.
//!
//! A room is here while at least one session follows it. News come from the bus only, this node's own included; losses are found by gaps in
//! seq (`repair`) and by comparing heads with the store (`head_check`). What is absent: sockets, and anything that writes to the store.

mod backlog;
mod crowd;
mod due;
mod ephemeral;
mod fan_out;
mod follower;
mod followers;
mod following;
mod head_check;
mod pace;
mod repair;
mod strain;
mod tail;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snug_bus::{Bus, BusEvent, Listener};
use snug_metrics::{Counter, Counters as Labelled};
use snug_protocol::limits::RETENTION_MIN;
use snug_protocol::{DeviceId, HistoryId, RoomId, Seq};
use snug_store::Store;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use backlog::Backlogs;
use crowd::Crowd;
use due::SharedTail;
use followers::Followers;
use following::Leaving;
use head_check::Wanted;
use pace::{Pace, Round};

use crate::clock::Clock;
use crate::telemetry::trace::{self, TracedEntries};

pub use due::Due;
pub use fan_out::Delivered;
pub use follower::{Follower, News, Wake};
pub use following::{FLUSH_BYTES_MAX, Following};
pub use repair::FILL_BYTES_MAX;
pub use tail::{Accepted, Read, Tail, may_erase};

/// How old a frame in memory may get; half the age at which the store may erase it, since clocks differ.
const TAIL_AGE_MAX: Duration = RETENTION_MIN.checked_div(2).expect("two is not zero");

/// How long to wait after the database failed to begin a new life of a log.
const LIFE_RETRY: Duration = Duration::from_millis(500);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding one of these locks leaves plain collections behind, which stay usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One followed room.
pub struct Room {
    id: RoomId,
    tail: Mutex<SharedTail>,
    /// How far followers have been told of it: a copy, so that sessions can look without the lock.
    told: AtomicU64,
    followers: Followers,
    begun: OnceCell<HistoryId>,
    repairing: AtomicBool,
    access_version: AtomicU64,
    /// Another log has taken its place, as after a restored backup or a fail-over that lost commits.
    replaced: AtomicBool,
    /// That is being arranged.
    replacing: AtomicBool,
    crowd: Mutex<Crowd>,
    pace: Pace,
    backlogs: Backlogs,
    traced: TracedEntries,
}

impl Room {
    fn new(id: RoomId) -> Self {
        Self {
            id,
            tail: Mutex::default(),
            told: AtomicU64::new(0),
            followers: Followers::default(),
            begun: OnceCell::new(),
            repairing: AtomicBool::new(false),
            access_version: AtomicU64::new(0),
            replaced: AtomicBool::new(false),
            replacing: AtomicBool::new(false),
            crowd: Mutex::default(),
            pace: Pace::default(),
            backlogs: Backlogs::default(),
            traced: TracedEntries::default(),
        }
    }

    /// Entries of it whose writes are to be traced.
    #[must_use]
    pub const fn traced(&self) -> &TracedEntries {
        &self.traced
    }

    /// Which room.
    #[must_use]
    pub const fn id(&self) -> RoomId {
        self.id
    }

    /// The newest seq that can be sent; what has come since is told of with the next fan-out, see [`pace`].
    #[must_use]
    pub fn told(&self) -> Seq {
        Seq(self.told.load(Ordering::Acquire))
    }

    /// The newest seq that has come.
    #[must_use]
    pub fn reached(&self) -> Seq {
        lock(&self.tail).tail().head()
    }

    /// Which life of the log this node follows; the default before [`Rooms::follow`] has returned.
    #[must_use]
    pub fn history(&self) -> HistoryId {
        self.begun.get().copied().unwrap_or_default()
    }

    /// Whether another log has taken the place of this one.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    fn recheck_access(&self, device: Option<DeviceId>) {
        for follower in self.followers.list().iter() {
            if device.is_none_or(|device| device == follower.device()) {
                follower.recheck_access();
            }
        }
    }
}

snug_metrics::label! {
    /// What found that news had not come by themselves.
    pub enum FoundBy("found_by") {
        /// A later entry came.
        Gap = "gap",
        /// The store was asked for heads.
        HeadCheck = "head_check",
        /// A client knew of more than it had been sent.
        Client = "client",
    }
}

/// Why a room's tail is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// News were lost.
    Lost(FoundBy),
    /// The next entry is too large for a hint, or the room is just being entered.
    AsUsual,
}

/// What the store was asked because news were missing.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads that filled a gap, or tried to.
    pub fill_reads: AtomicU64,
    /// Queries for heads.
    pub head_queries: AtomicU64,
    /// Times that news were found to be lost, by what.
    pub losses: Labelled<FoundBy>,
    /// Rooms whose log was another than the one that was followed.
    pub replaced: Counter,
    /// What was written to sockets.
    pub delivered: Delivered,
}

struct Shared {
    rooms: Mutex<HashMap<RoomId, Arc<Room>>>,
    leaving: Leaving,
    round: Round,
    head_checks: Wanted,
    counters: Counters,
    store: Store,
    bus: Arc<dyn Bus>,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
    next_follower: AtomicU64,
}

/// The table of followed rooms. Cheap to clone.
#[derive(Clone)]
pub struct Rooms {
    shared: Arc<Shared>,
}

impl Rooms {
    /// An empty table, and its tasks: one compares heads, one tells of growth that was held back, one counts
    /// crowds. It is to hear the bus's events.
    #[must_use]
    pub fn start(store: Store, bus: Arc<dyn Bus>, clock: Clock, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let shared = Shared {
            rooms: Mutex::default(),
            leaving: Leaving::default(),
            round: Round::default(),
            head_checks: Wanted::default(),
            counters: Counters::default(),
            store,
            bus,
            clock,
            tasks,
            stop,
            next_follower: AtomicU64::new(0),
        };
        let rooms = Self { shared: Arc::new(shared) };
        rooms.shared.tasks.spawn(head_check::run(rooms.clone(), rooms.shared.stop.clone()));
        rooms.shared.tasks.spawn(rooms.clone().run_rounds());
        rooms.shared.tasks.spawn(rooms.clone().run_crowds());
        rooms
    }

    /// What missing news have cost.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// How long messages gather for their commit, for the sake of all that the node has to do; nothing on a node at rest.
    #[must_use]
    pub fn commits_gather(&self) -> Duration {
        self.shared.round.commits_gather()
    }

    /// How many rooms are followed.
    #[must_use]
    pub fn followed_count(&self) -> usize {
        lock(&self.shared.rooms).len()
    }

    /// Forgets what may be erased by age before long. To be called much more often than `RETENTION_MIN`.
    pub fn forget_old(&self, now_ms: u64) {
        let age_ms = u64::try_from(TAIL_AGE_MAX.as_millis()).expect("hours");
        let rooms: Vec<Arc<Room>> = lock(&self.shared.rooms).values().cloned().collect();
        for room in rooms {
            lock(&room.tail).forget_before(now_ms.saturating_sub(age_ms));
        }
    }

    fn change_tail(&self, room: &Arc<Room>, change: impl FnOnce(&mut Tail) -> Accepted) -> Accepted {
        let (accepted, grew) = {
            let mut tail = lock(&room.tail);
            let before = tail.tail().head();
            let accepted = tail.change(change);
            (accepted, tail.tail().head() != before)
        };
        if grew {
            self.tell_growth(room);
        }
        accepted
    }

    fn get(&self, id: RoomId) -> Option<Arc<Room>> {
        lock(&self.shared.rooms).get(&id).cloned()
    }

    /// The store's log is not the one that was followed: whoever follows it must go, and whoever comes begins with the other.
    ///
    /// If the history is the same, entries were lost that some have seen, and others have been seen in their places. Then a new life of
    /// the log begins, so that no cursor passes for one of it that is not.
    fn replace(&self, room: &Arc<Room>) {
        {
            let mut rooms = lock(&self.shared.rooms);
            if rooms.get(&room.id).is_some_and(|known| Arc::ptr_eq(known, room)) {
                rooms.remove(&room.id);
            }
        }
        if room.replacing.swap(true, Ordering::AcqRel) {
            return;
        }
        self.shared.counters.replaced.increment();
        // What it remembers may be of the other one.
        self.shared.store.hear(room.id, Seq(u64::MAX), &[]);
        tracing::warn!(room = %room.id, "the store has another log than the one that was followed; its followers are to come again");
        let (rooms, room) = (self.clone(), Arc::clone(room));
        self.shared.tasks.spawn(async move {
            while let Err(error) = rooms.shared.store.begin_new_life(room.id, room.history()).await {
                tracing::warn!(room = %room.id, %error, "could not begin a new life of a log");
                tokio::select! {
                    () = rooms.shared.stop.cancelled() => return,
                    () = tokio::time::sleep(LIFE_RETRY) => {}
                }
            }
            room.replaced.store(true, Ordering::Release);
            room.recheck_access(None);
        });
    }
}

impl Listener for Rooms {
    fn hear(&self, event: &BusEvent) {
        match event {
            BusEvent::Hint { room, seq, frames, trace } => {
                let (Some(room), seq) = (self.get(*room), *seq) else { return };
                let heard = trace::hear(trace.as_ref(), seq);
                let _entered = heard.as_ref().map(|heard| heard.span().enter());
                if let Some(heard) = &heard {
                    room.traced.note(seq, heard);
                }
                // Before anybody can answer what they say.
                self.shared.store.hear(room.id, seq, frames);
                let comes_by_reading = frames.last().is_none_or(|last| last.seq() < seq);
                let mut is_whole = false;
                let accepted = self.change_tail(&room, |tail| {
                    let accepted = tail.accept_all(frames.iter().cloned());
                    is_whole = tail.head() >= seq || (comes_by_reading && tail.head().next() == seq);
                    match accepted {
                        Accepted::Other => Accepted::Other,
                        Accepted::Grew | Accepted::Known | Accepted::Gap => tail.announce(seq),
                    }
                });
                let behind = if is_whole { Behind::AsUsual } else { Behind::Lost(FoundBy::Gap) };
                match accepted {
                    Accepted::Other => self.replace(&room),
                    Accepted::Grew | Accepted::Known | Accepted::Gap => self.repair_if_behind(&room, behind),
                }
            }
            BusEvent::Access { room, device } => {
                if let Some(room) = self.get(*room) {
                    room.recheck_access(*device);
                }
            }
            BusEvent::Ephemeral { room, frame, from } => {
                if let Some(room) = self.get(*room) {
                    room.ephemeral(frame, *from);
                }
            }
            BusEvent::Missed { room } => {
                tracing::debug!(room = room.map(tracing::field::display), "news may have been lost; checking heads");
                self.shared.head_checks.ask(*room);
            }
            BusEvent::Checked => self.shared.head_checks.ask(None),
            // The session table's business.
            BusEvent::Token { .. } => {}
        }
    }
}
