//! The rooms that someone on this node follows: each a tail of newest frames and the followers to wake.
//!
//! A room is here while at least one session follows it. News come from the bus only, this node's own included; losses are found by gaps in
//! seq (`repair`) and by comparing heads with the store (`head_check`). What is absent: sockets, and anything that writes to the store.

mod follower;
mod head_check;
mod repair;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use snug_bus::{Bus, BusEvent};
use snug_protocol::frame::EntryFrame;
use snug_protocol::limits::{HISTORY_PAGE_BYTES_MAX, LATEST_PAGE, RETENTION_MIN};
use snug_protocol::{DeviceId, HistoryId, RoomId, Seq};
use snug_store::{Store, StoreError};
use tokio::sync::OnceCell;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use follower::{Follower, Wake};
pub use tail::{Accepted, Read, Tail, may_erase};

/// How old a frame in memory may get; half the age at which the store may erase it, since clocks differ.
const TAIL_AGE_MAX: Duration = RETENTION_MIN.checked_div(2).expect("two is not zero");

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding one of these locks leaves plain collections behind, which stay usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One followed room.
pub struct Room {
    id: RoomId,
    tail: Mutex<Tail>,
    /// Copy of the tail's head, so that sessions can look without the lock.
    head: AtomicU64,
    followers: Mutex<HashMap<u64, Arc<Follower>>>,
    begun: OnceCell<HistoryId>,
    repairing: AtomicBool,
    access_version: AtomicU64,
    /// Another log has taken its place: whoever follows this one must go.
    replaced: AtomicBool,
}

impl Room {
    fn new(id: RoomId) -> Self {
        Self {
            id,
            tail: Mutex::default(),
            head: AtomicU64::new(0),
            followers: Mutex::default(),
            begun: OnceCell::new(),
            repairing: AtomicBool::new(false),
            access_version: AtomicU64::new(0),
            replaced: AtomicBool::new(false),
        }
    }

    /// Which room.
    #[must_use]
    pub const fn id(&self) -> RoomId {
        self.id
    }

    /// The newest seq that can be sent.
    #[must_use]
    pub fn head(&self) -> Seq {
        Seq(self.head.load(Ordering::Acquire))
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

    fn change_tail(&self, change: impl FnOnce(&mut Tail) -> Accepted) -> Accepted {
        let (accepted, grew) = {
            let mut tail = lock(&self.tail);
            let accepted = change(&mut tail);
            let head = tail.head().0;
            (accepted, self.head.swap(head, Ordering::AcqRel) != head)
        };
        if grew {
            for follower in lock(&self.followers).values() {
                follower.wake();
            }
        }
        accepted
    }

    fn recheck_access(&self, device: Option<DeviceId>) {
        for follower in lock(&self.followers).values() {
            if device.is_none_or(|device| device == follower.device()) {
                follower.recheck_access();
            }
        }
    }

    fn ephemeral(&self, frame: &Bytes, from: DeviceId) {
        for follower in lock(&self.followers).values() {
            if follower.device() != from {
                follower.ephemeral(self.id, frame);
            }
        }
    }
}

struct Shared {
    rooms: Mutex<HashMap<RoomId, Arc<Room>>>,
    store: Store,
    bus: Arc<dyn Bus>,
    tasks: TaskTracker,
    stop: CancellationToken,
    next_follower: AtomicU64,
}

/// The table of followed rooms. Cheap to clone.
#[derive(Clone)]
pub struct Rooms {
    shared: Arc<Shared>,
}

/// A session's place in a room; leaving is dropping it.
pub struct Following {
    rooms: Rooms,
    room: Arc<Room>,
    id: u64,
    follower: Arc<Follower>,
    /// Up to here this session reads from the store.
    store_until: Seq,
}

impl Following {
    /// The room.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Frames after `cursor` from memory, unless the store must be read.
    #[must_use]
    pub fn after(&self, cursor: Seq, bytes_max: usize) -> Read {
        if cursor < self.store_until { Read::Behind } else { lock(&self.room.tail).after(cursor, bytes_max) }
    }

    /// This session's place in it.
    #[must_use]
    pub fn follower(&self) -> &Follower {
        &self.follower
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.rooms.leave(&self.room, self.id);
    }
}

impl Rooms {
    /// An empty table, and its tasks: one takes events from the bus, one compares heads.
    #[must_use]
    pub fn start(store: Store, bus: Arc<dyn Bus>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let shared = Shared { rooms: Mutex::default(), store, bus, tasks, stop, next_follower: AtomicU64::new(0) };
        let rooms = Self { shared: Arc::new(shared) };
        let events = rooms.shared.bus.events();
        rooms.shared.tasks.spawn(rooms.clone().run_events(events));
        rooms.shared.tasks.spawn(head_check::run(rooms.clone(), rooms.shared.stop.clone()));
        rooms
    }

    /// Makes the session a follower of the room, and says how the room stands. When it returns, everything committed from now on wakes
    /// the session; the head is the store's, so that it covers whatever was acknowledged before the call, though the tail may get
    /// there a moment later. Until it does, the session reads from the store: the tail may not have heard of a deletion yet.
    ///
    /// # Errors
    /// The database's. `Ok(None)`: there is no such room.
    pub async fn follow(
        &self,
        id: RoomId,
        device: DeviceId,
        wake: Arc<Wake>,
    ) -> Result<Option<(Following, snug_store::Room)>, StoreError> {
        let follower = Arc::new(Follower::new(device, wake));
        let number = self.shared.next_follower.fetch_add(1, Ordering::Relaxed);
        let room = {
            // The follower is in before the lock is given back, so that the room cannot be dropped in between.
            let mut rooms = lock(&self.shared.rooms);
            let room = Arc::clone(rooms.entry(id).or_insert_with(|| Arc::new(Room::new(id))));
            lock(&room.followers).insert(number, Arc::clone(&follower));
            room
        };
        let mut following = Following { rooms: self.clone(), room, id: number, follower, store_until: Seq::ZERO };
        let room = &following.room;
        match room.begun.get_or_try_init(|| self.begin(room)).await {
            Ok(_) => {}
            Err(BeginError::NoSuchRoom) => return Ok(None),
            Err(BeginError::Store(error)) => return Err(error),
        }
        let Some(row) = self.shared.store.room(id).await? else { return Ok(None) };
        let announced = room.change_tail(|tail| tail.announce(row.head));
        self.repair_if_behind(room);
        if announced == Accepted::Gap {
            following.store_until = row.head;
        }
        Ok(Some((following, row)))
    }

    /// Follows on the bus first and reads the head after, so that nothing falls between the two.
    async fn begin(&self, room: &Room) -> Result<HistoryId, BeginError> {
        if let Err(error) = self.shared.bus.follow(room.id).await {
            tracing::warn!(room = %room.id, %error, "following a room without the bus; the head check finds its news");
        }
        let row = self.shared.store.room(room.id).await?.ok_or(BeginError::NoSuchRoom)?;
        let count = usize::try_from(LATEST_PAGE).expect("a page");
        let frames =
            self.shared.store.read_after(room.id, row.head.back(LATEST_PAGE), count, HISTORY_PAGE_BYTES_MAX).await?;
        room.access_version.store(row.access_version, Ordering::Release);
        room.change_tail(|tail| {
            // The page may end short of the head (its size is bounded), and the head may have moved since it was read.
            let reached = frames.last().map_or(row.head, EntryFrame::seq);
            tail.begin(reached, frames);
            tail.announce(row.head)
        });
        self.repair_if_behind(room);
        Ok(row.history)
    }

    fn leave(&self, room: &Arc<Room>, follower: u64) {
        let emptied = {
            let mut rooms = lock(&self.shared.rooms);
            let mut followers = lock(&room.followers);
            followers.remove(&follower);
            match rooms.entry(room.id) {
                Entry::Occupied(entry) if followers.is_empty() && Arc::ptr_eq(entry.get(), room) => {
                    entry.remove();
                    true
                }
                _ => false,
            }
        };
        if emptied && !self.shared.stop.is_cancelled() {
            let (rooms, id) = (self.clone(), room.id);
            self.shared.tasks.spawn(async move {
                // Someone may have followed again meanwhile.
                if rooms.get(id).is_none() {
                    rooms.shared.bus.unfollow(id).await;
                }
            });
        }
    }

    /// Forgets what may be erased by age before long. To be called much more often than `RETENTION_MIN`.
    pub fn forget_old(&self, now_ms: u64) {
        let age_ms = u64::try_from(TAIL_AGE_MAX.as_millis()).expect("hours");
        let rooms: Vec<Arc<Room>> = lock(&self.shared.rooms).values().cloned().collect();
        for room in rooms {
            lock(&room.tail).forget_before(now_ms.saturating_sub(age_ms));
        }
    }

    fn get(&self, id: RoomId) -> Option<Arc<Room>> {
        lock(&self.shared.rooms).get(&id).cloned()
    }

    async fn run_events(self, mut events: tokio::sync::broadcast::Receiver<BusEvent>) {
        loop {
            let event = tokio::select! {
                () = self.shared.stop.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                Ok(BusEvent::Missed { room }) => {
                    tracing::info!(room = room.map(tracing::field::display), "news may have been lost; checking heads");
                    self.check_heads().await;
                }
                Ok(event) => self.apply(event),
                Err(RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "fell behind the bus; checking all heads");
                    self.check_heads().await;
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn apply(&self, event: BusEvent) {
        match event {
            BusEvent::Hint { room, seq, frame, trace: _ } => {
                let Some(room) = self.get(room) else { return };
                room.change_tail(|tail| match frame {
                    Some(frame) => tail.accept(frame),
                    None => tail.announce(seq),
                });
                self.repair_if_behind(&room);
            }
            BusEvent::Access { room, device } => {
                if let Some(room) = self.get(room) {
                    room.recheck_access(device);
                }
            }
            BusEvent::Ephemeral { room, frame, from } => {
                if let Some(room) = self.get(room) {
                    room.ephemeral(&frame, from);
                }
            }
            // The session table's business, and what `run_events` has done.
            BusEvent::Token { .. } | BusEvent::Missed { .. } => {}
        }
    }
}

enum BeginError {
    NoSuchRoom,
    Store(StoreError),
}

impl From<StoreError> for BeginError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
