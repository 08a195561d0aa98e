//! Who is here now, on a node that is alone: devices with at least one session in a room.
//!
//! A device that is back within `PRESENCE_GRACE` was never gone. Arrivals and departures are told over the bus and kept nowhere.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use snug_bus::{Bus, BusEvent};
use snug_protocol::frame::{PresenceState, ServerFrame};
use snug_protocol::limits::{HERE_LISTED_MAX, PRESENCE_GRACE};
use snug_protocol::{DeviceId, RoomId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often departures are looked at.
const SWEEP_PERIOD: std::time::Duration = std::time::Duration::from_millis(500);

/// The table itself; pure but for the clock it is handed.
#[derive(Default)]
struct Table {
    rooms: HashMap<RoomId, HashMap<DeviceId, u32>>,
    /// Who has no session left, in the order in which their grace ends.
    leaving: VecDeque<(Instant, RoomId, DeviceId)>,
}

impl Table {
    /// Whether the device was not here before.
    fn enter(&mut self, room: RoomId, device: DeviceId) -> bool {
        let sessions = self.rooms.entry(room).or_default().entry(device);
        let new = matches!(sessions, std::collections::hash_map::Entry::Vacant(_));
        *sessions.or_insert(0) += 1;
        new
    }

    fn leave(&mut self, room: RoomId, device: DeviceId, now: Instant) {
        let Some(sessions) = self.rooms.get_mut(&room).and_then(|here| here.get_mut(&device)) else { return };
        *sessions = sessions.saturating_sub(1);
        if *sessions == 0 {
            self.leaving.push_back((now + PRESENCE_GRACE, room, device));
        }
    }

    /// Who is gone for good by `now`.
    fn depart(&mut self, now: Instant) -> Vec<(RoomId, DeviceId)> {
        let mut gone = Vec::new();
        while let Some((_, room, device)) = self.leaving.pop_front_if(|(due, ..)| *due <= now) {
            let Some(here) = self.rooms.get_mut(&room) else { continue };
            // Back already, or back and gone again with a later grace: another entry of the queue speaks for that.
            let last =
                here.get(&device) == Some(&0) && !self.leaving.iter().any(|(_, r, d)| (*r, *d) == (room, device));
            if last {
                here.remove(&device);
                gone.push((room, device));
                if here.is_empty() {
                    self.rooms.remove(&room);
                }
            }
        }
        gone
    }

    fn forget(&mut self, room: RoomId, device: DeviceId) -> bool {
        self.rooms.get_mut(&room).is_some_and(|here| here.remove(&device).is_some())
    }

    fn count(&self, room: RoomId) -> u32 {
        self.rooms.get(&room).map_or(0, |here| u32::try_from(here.len()).unwrap_or(u32::MAX))
    }
}

struct Shared {
    table: Mutex<Table>,
    bus: Arc<dyn Bus>,
    tasks: TaskTracker,
}

/// Presence on this node. Cheap to clone.
#[derive(Clone)]
pub struct Presence {
    shared: Arc<Shared>,
}

/// A session's presence in a room; leaving is dropping it.
pub struct Present {
    presence: Presence,
    room: RoomId,
    device: DeviceId,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.presence.table().leave(self.room, self.device, Instant::now());
    }
}

impl Presence {
    /// An empty table and the task that announces departures.
    #[must_use]
    pub fn start(bus: Arc<dyn Bus>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let presence = Self { shared: Arc::new(Shared { table: Mutex::default(), bus, tasks }) };
        presence.shared.tasks.spawn(presence.clone().run(stop));
        presence
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device has one more session in the room.
    #[must_use]
    pub fn enter(&self, room: RoomId, device: DeviceId) -> Present {
        let new = self.table().enter(room, device);
        if new {
            self.announce(room, device, PresenceState::Here);
        }
        Present { presence: self.clone(), room, device }
    }

    /// The device is no member any more: gone at once.
    pub fn expel(&self, room: RoomId, device: DeviceId) {
        let was_here = self.table().forget(room, device);
        if was_here {
            self.announce(room, device, PresenceState::Gone);
        }
    }

    /// Devices that are here, at most `HERE_LISTED_MAX`, and how many there are.
    #[must_use]
    pub fn here(&self, room: RoomId) -> (Vec<DeviceId>, u32) {
        let table = self.table();
        let devices =
            table.rooms.get(&room).map(|here| here.keys().copied().take(HERE_LISTED_MAX).collect()).unwrap_or_default();
        (devices, table.count(room))
    }

    fn announce(&self, room: RoomId, device: DeviceId, state: PresenceState) {
        let frame = ServerFrame::Presence { room, device, state, here_count: self.table().count(room) };
        let frame = Bytes::from(serde_json::to_vec(&frame).expect("a frame is plain data"));
        let bus = Arc::clone(&self.shared.bus);
        self.shared.tasks.spawn(async move {
            // Presence may be lost.
            let _ = bus.publish(BusEvent::Ephemeral { room, frame, from: device }).await;
        });
    }

    async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP_PERIOD) => {}
            }
            let gone = self.table().depart(Instant::now());
            for (room, device) in gone {
                self.announce(room, device, PresenceState::Gone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ROOM: RoomId = RoomId([1; 16]);
    const ANA: DeviceId = DeviceId([2; 16]);

    #[test]
    fn a_return_within_the_grace_is_neither_a_departure_nor_an_arrival() {
        let (mut table, start) = (Table::default(), Instant::now());
        assert!(table.enter(ROOM, ANA));
        table.leave(ROOM, ANA, start);
        assert!(!table.enter(ROOM, ANA), "still here");
        assert_eq!(table.depart(start + PRESENCE_GRACE), []);
        table.leave(ROOM, ANA, start + Duration::from_secs(60));
        assert_eq!(table.depart(start + Duration::from_secs(61)), []);
        assert_eq!(table.depart(start + Duration::from_secs(60) + PRESENCE_GRACE), [(ROOM, ANA)]);
        assert!(table.rooms.is_empty() && table.leaving.is_empty());
    }

    #[test]
    fn a_second_tab_keeps_the_device_here() {
        let (mut table, start) = (Table::default(), Instant::now());
        table.enter(ROOM, ANA);
        table.enter(ROOM, ANA);
        table.leave(ROOM, ANA, start);
        assert_eq!(table.depart(start + PRESENCE_GRACE * 2), []);
        assert_eq!(table.count(ROOM), 1);
    }

    #[test]
    fn a_grace_that_began_again_ends_later() {
        let (mut table, start) = (Table::default(), Instant::now());
        table.enter(ROOM, ANA);
        table.leave(ROOM, ANA, start);
        table.enter(ROOM, ANA);
        table.leave(ROOM, ANA, start + Duration::from_secs(5));
        assert_eq!(table.depart(start + PRESENCE_GRACE), []);
        assert_eq!(table.depart(start + Duration::from_secs(5) + PRESENCE_GRACE), [(ROOM, ANA)]);
    }
}
