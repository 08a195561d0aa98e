//! Who is here now, on a node that is alone: devices with at least one session in a room.
//!
//! A device that is back within `PRESENCE_GRACE` was never gone. Arrivals and departures are told over the bus and kept nowhere.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use snug_bus::{Bus, BusEvent};
use snug_protocol::frame::{PresenceState, ServerFrame};
use snug_protocol::limits::{HERE_LISTED_MAX, PRESENCE_GRACE};
use snug_protocol::{DeviceId, RoomId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often departures are looked at.
const SWEEP_PERIOD: std::time::Duration = std::time::Duration::from_millis(500);

/// One device in one room.
struct Here {
    sessions: u32,
    /// Tells this stay from an earlier one of the same device, whose guards may still be dropped.
    stay: u64,
    /// When its grace ends, if it has no session left.
    gone_at: Option<Instant>,
}

/// The table itself; pure but for the clock it is handed.
#[derive(Default)]
struct Table {
    rooms: HashMap<RoomId, HashMap<DeviceId, Here>>,
    /// Who had no session left, in the order in which their graces end; a grace that was cut short or began again is passed over.
    leaving: VecDeque<(Instant, RoomId, DeviceId)>,
    stays: u64,
}

impl Table {
    /// Which stay it is, and whether it has just begun.
    fn enter(&mut self, room: RoomId, device: DeviceId) -> (u64, bool) {
        let stay = self.stays;
        let here =
            self.rooms.entry(room).or_default().entry(device).or_insert(Here { sessions: 0, stay, gone_at: None });
        here.sessions += 1;
        here.gone_at = None;
        let (stay, new) = (here.stay, here.stay == stay);
        self.stays += u64::from(new);
        (stay, new)
    }

    fn leave(&mut self, room: RoomId, device: DeviceId, stay: u64, now: Instant) {
        let Some(here) = self.rooms.get_mut(&room).and_then(|devices| devices.get_mut(&device)) else { return };
        if here.stay != stay {
            return;
        }
        here.sessions = here.sessions.saturating_sub(1);
        if here.sessions == 0 {
            let gone_at = now + PRESENCE_GRACE;
            here.gone_at = Some(gone_at);
            self.leaving.push_back((gone_at, room, device));
        }
    }

    /// Who is gone for good by `now`.
    fn depart(&mut self, now: Instant) -> Vec<(RoomId, DeviceId)> {
        let mut gone = Vec::new();
        while let Some((due, room, device)) = self.leaving.pop_front_if(|(due, ..)| *due <= now) {
            let here = self.rooms.get(&room).and_then(|devices| devices.get(&device));
            if here.is_some_and(|here| here.gone_at == Some(due)) && self.forget(room, device) {
                gone.push((room, device));
            }
        }
        gone
    }

    fn forget(&mut self, room: RoomId, device: DeviceId) -> bool {
        let Some(devices) = self.rooms.get_mut(&room) else { return false };
        let was_here = devices.remove(&device).is_some();
        if devices.is_empty() {
            self.rooms.remove(&room);
        }
        was_here
    }

    fn count(&self, room: RoomId) -> u32 {
        self.rooms.get(&room).map_or(0, |devices| u32::try_from(devices.len()).unwrap_or(u32::MAX))
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
    stay: u64,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.presence.table().leave(self.room, self.device, self.stay, Instant::now());
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
        let (stay, new) = self.table().enter(room, device);
        if new {
            self.announce(room, device, PresenceState::Here);
        }
        Present { presence: self.clone(), room, device, stay }
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
        let (stay, new) = table.enter(ROOM, ANA);
        assert!(new);
        table.leave(ROOM, ANA, stay, start);
        assert_eq!(table.enter(ROOM, ANA), (stay, false), "still here");
        assert_eq!(table.depart(start + PRESENCE_GRACE), []);
        table.leave(ROOM, ANA, stay, start + Duration::from_secs(60));
        assert_eq!(table.depart(start + Duration::from_secs(61)), []);
        assert_eq!(table.depart(start + Duration::from_secs(60) + PRESENCE_GRACE), [(ROOM, ANA)]);
        assert!(table.rooms.is_empty() && table.leaving.is_empty());
    }

    #[test]
    fn a_second_tab_keeps_the_device_here() {
        let (mut table, start) = (Table::default(), Instant::now());
        let (stay, _) = table.enter(ROOM, ANA);
        table.enter(ROOM, ANA);
        table.leave(ROOM, ANA, stay, start);
        assert_eq!(table.depart(start + PRESENCE_GRACE * 2), []);
        assert_eq!(table.count(ROOM), 1);
    }

    #[test]
    fn a_grace_that_began_again_ends_later() {
        let (mut table, start) = (Table::default(), Instant::now());
        let (stay, _) = table.enter(ROOM, ANA);
        table.leave(ROOM, ANA, stay, start);
        table.enter(ROOM, ANA);
        table.leave(ROOM, ANA, stay, start + Duration::from_secs(5));
        assert_eq!(table.depart(start + PRESENCE_GRACE), []);
        assert_eq!(table.depart(start + Duration::from_secs(5) + PRESENCE_GRACE), [(ROOM, ANA)]);
    }

    #[test]
    fn a_socket_of_before_the_removal_does_not_end_the_stay_after_it() {
        let (mut table, start) = (Table::default(), Instant::now());
        let (before, _) = table.enter(ROOM, ANA);
        assert!(table.forget(ROOM, ANA));
        let (after, new) = table.enter(ROOM, ANA);
        assert!(new);
        table.leave(ROOM, ANA, before, start);
        assert_eq!(table.depart(start + PRESENCE_GRACE), []);
        table.leave(ROOM, ANA, after, start);
        assert_eq!(table.depart(start + PRESENCE_GRACE), [(ROOM, ANA)]);
        assert!(table.rooms.is_empty());
    }
}
