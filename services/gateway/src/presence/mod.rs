//! Who is here now: devices with at least one session in a room, on any node.
//!
//! Each node has a [`table`](self) of its own sessions, in which a device that is back within `PRESENCE_GRACE` was never gone, and keeps
//! the roster that all nodes share in step with it (`registrar`), under a lease (`lease`). Arrivals and departures are told over the bus
//! only when the roster says that no other node had the device; how things stand as a whole is told where news may have been lost.
//! Nothing here is durable, and no session waits for the roster longer than `HERE_LIMIT`.

mod lease;
mod pending;
mod registrar;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use snug_bus::{Backplane, Bus, BusEvent, Departure, NodeId, Roster};
use snug_protocol::frame::{PresenceState, ServerFrame};
use snug_protocol::limits::HERE_LISTED_MAX;
use snug_protocol::{DeviceId, RoomId};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use pending::Pending;
use table::Table;

/// How long a session waits for the roster's answer before it makes do with what its own node knows.
const HERE_LIMIT: Duration = Duration::from_millis(250);
/// How long any other call to the roster may take.
const CALL_LIMIT: Duration = Duration::from_secs(2);
/// When so few are left of a crowd, everyone is listed again. A little below where a crowd begins, so that a room on the edge does not
/// change with every arrival.
pub const CROWD_ENDS: u32 = 90;
const CROWD_BEGINS: u32 = 101;
const _: () = assert!(CROWD_BEGINS as usize == HERE_LISTED_MAX + 1);
/// More departures of one room at a time than this are told as how things stand.
const DEPARTURES_ONE_BY_ONE_MAX: usize = 8;

/// Whether a room with so many devices is told of in numbers, when it was before.
#[must_use]
pub const fn is_crowd(here_count: u32, was: bool) -> bool {
    here_count >= CROWD_BEGINS || (was && here_count > CROWD_ENDS)
}

struct Shared {
    node: NodeId,
    table: Mutex<Table>,
    pending: Mutex<Pending>,
    /// Something is pending.
    bell: Notify,
    /// Somebody leaves.
    leaves: Notify,
    /// The roster has been asked for a lease: cancelled when it has answered, or has not in time.
    begun: CancellationToken,
    /// The roster does not answer; found out again when the lease is renewed.
    away: AtomicBool,
    /// Rooms whose followers are to be told how things stand.
    unsure: Mutex<HashSet<RoomId>>,
    /// There are such rooms.
    doubted: Notify,
    roster: Arc<dyn Roster>,
    bus: Arc<dyn Bus>,
}

/// Who is in a room.
#[derive(Debug, PartialEq, Eq)]
pub struct Attendance {
    /// Devices, at most `HERE_LISTED_MAX`.
    pub here: Vec<DeviceId>,
    /// How many there are.
    pub here_count: u32,
    /// Not only of this node, for want of an answer from the roster.
    pub of_all_nodes: bool,
}

/// Presence as this node knows it. Cheap to clone.
#[derive(Clone)]
pub struct Presence {
    shared: Arc<Shared>,
}

/// A session's presence in a room; leaving is dropping it.
pub struct Present {
    presence: Presence,
    room: RoomId,
    device: DeviceId,
    stay: u64,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.presence.table().leave(self.room, self.device, self.stay, Instant::now());
        self.presence.shared.leaves.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding one of these locks leaves plain collections behind, which stay usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Presence {
    /// An empty table and its tasks: one keeps the roster in step, one the lease. It is to hear the bus's events.
    #[must_use]
    pub fn start(node: NodeId, backplane: &Backplane, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let shared = Shared {
            node,
            table: Mutex::default(),
            pending: Mutex::default(),
            bell: Notify::new(),
            leaves: Notify::new(),
            begun: CancellationToken::new(),
            away: AtomicBool::new(false),
            unsure: Mutex::default(),
            doubted: Notify::new(),
            roster: Arc::clone(&backplane.roster),
            bus: Arc::clone(&backplane.bus),
        };
        let presence = Self { shared: Arc::new(shared) };
        tasks.spawn(registrar::run(presence.clone(), stop.clone()));
        tasks.spawn(lease::run(presence.clone(), stop.clone()));
        tasks.spawn(presence.clone().run_departures(stop.clone()));
        presence
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.shared.table)
    }

    /// The device has one more session in the room.
    #[must_use]
    pub fn enter(&self, room: RoomId, device: DeviceId) -> Present {
        let (stay, new) = self.table().enter(room, device);
        if new {
            lock(&self.shared.pending).note((room, device));
            self.shared.bell.notify_one();
        }
        Present { presence: self.clone(), room, device, stay }
    }

    /// The device is no member any more: gone at once, from every node.
    pub fn expel(&self, room: RoomId, device: DeviceId) {
        self.table().forget(room, device);
        lock(&self.shared.pending).note_expelled((room, device));
        self.shared.bell.notify_one();
    }

    /// Devices that are here, at most `HERE_LISTED_MAX`, and how many there are; those of this node only, while the roster is away.
    pub async fn here(&self, room: RoomId) -> Attendance {
        let (own, own_count) = self.table().here(room, HERE_LISTED_MAX);
        let own_only = |own| Attendance { here: own, here_count: own_count, of_all_nodes: false };
        if self.is_away() {
            return own_only(own);
        }
        let Ok(Ok((mut here, count))) = timeout(HERE_LIMIT, self.shared.roster.here(room, HERE_LISTED_MAX)).await
        else {
            self.went_away();
            return own_only(own);
        };
        // The roster may not know yet of who has just come.
        let known: HashSet<DeviceId> = here.iter().copied().collect();
        here.extend(own.into_iter().filter(|device| !known.contains(device)));
        here.truncate(HERE_LISTED_MAX);
        let listed = u32::try_from(here.len()).expect("a short list");
        Attendance { here, here_count: count.max(listed).max(own_count), of_all_nodes: true }
    }

    /// Gives the lease back, unless somebody may still return to another node within the grace: then it ends by itself, and a node that
    /// buries this one tells of those who have not.
    pub async fn resign(&self) {
        if !self.table().is_empty() || self.is_away() {
            return;
        }
        if let Ok(Ok(departures)) = timeout(CALL_LIMIT, self.shared.roster.resign(self.shared.node)).await {
            self.tell_departures(departures).await;
        }
    }

    /// Followers of these rooms may have missed who came and went.
    fn doubt(&self, rooms: impl IntoIterator<Item = RoomId>) {
        lock(&self.shared.unsure).extend(rooms);
        self.shared.doubted.notify_one();
    }

    /// Whether the roster does not answer, so that this node goes by what it knows itself.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.shared.away.load(Ordering::Acquire)
    }

    fn went_away(&self) {
        if !self.shared.away.swap(true, Ordering::AcqRel) {
            tracing::warn!("the roster of who is where does not answer; presence is this node's own until it does");
        }
    }

    fn publish(&self, room: RoomId, frame: &ServerFrame, from: DeviceId) {
        let frame = Bytes::from(serde_json::to_vec(frame).expect("a frame is plain data"));
        // Presence may be lost.
        let _ = self.shared.bus.publish(BusEvent::Ephemeral { room, frame, from });
    }

    fn tell(&self, room: RoomId, device: DeviceId, state: PresenceState, here_count: u32) {
        self.publish(room, &ServerFrame::Presence { room, device, state, here_count }, device);
    }

    /// Tells those in the room how things stand; later, if the roster cannot say.
    async fn tell_stand(&self, room: RoomId) {
        let here = timeout(CALL_LIMIT, self.shared.roster.here(room, HERE_LISTED_MAX)).await;
        let Ok(Ok((here, here_count))) = here else {
            self.went_away();
            return self.doubt([room]);
        };
        let frame = ServerFrame::Here { room, here: (here_count < CROWD_BEGINS).then_some(here), here_count };
        self.publish(room, &frame, DeviceId::default());
    }

    async fn tell_departures(&self, departures: Vec<Departure>) {
        let mut by_room: HashMap<RoomId, Vec<Departure>> = HashMap::new();
        for departure in departures {
            by_room.entry(departure.room).or_default().push(departure);
        }
        for (room, departures) in by_room {
            if departures.len() > DEPARTURES_ONE_BY_ONE_MAX {
                self.tell_stand(room).await;
                continue;
            }
            for Departure { device, here_count, .. } in departures {
                self.tell(room, device, PresenceState::Gone, here_count);
            }
        }
    }

    /// How often departures are looked at.
    const SWEEP_PERIOD: Duration = Duration::from_millis(500);

    async fn run_departures(self, stop: CancellationToken) {
        loop {
            let anyone_leaves = self.table().anyone_leaves();
            tokio::select! {
                () = stop.cancelled() => return,
                // A node at rest is not woken.
                () = self.shared.leaves.notified(), if !anyone_leaves => continue,
                () = tokio::time::sleep(Self::SWEEP_PERIOD), if anyone_leaves => {}
            }
            let gone = self.table().depart(Instant::now());
            if !gone.is_empty() {
                let mut pending = lock(&self.shared.pending);
                gone.into_iter().for_each(|key| pending.note(key));
                drop(pending);
                self.shared.bell.notify_one();
            }
        }
    }
}
