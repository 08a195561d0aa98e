//! Who has a session on this node, and who had one a moment ago. Pure but for the clock it is handed.

use std::collections::{HashMap, VecDeque};

use snug_protocol::limits::PRESENCE_GRACE;
use snug_protocol::{DeviceId, RoomId};
use tokio::time::Instant;

/// A device in a room.
pub type Key = (RoomId, DeviceId);

struct Here {
    sessions: u32,
    /// Tells this stay from an earlier one of the same device, whose guards may still be dropped.
    stay: u64,
    /// When its grace ends, if it has no session left.
    gone_at: Option<Instant>,
}

/// The table. A device stays in it for `PRESENCE_GRACE` after its last session.
#[derive(Default)]
pub struct Table {
    rooms: HashMap<RoomId, HashMap<DeviceId, Here>>,
    /// Who had no session left, in the order in which their graces end; a grace that was cut short or began again is passed over.
    leaving: VecDeque<(Instant, RoomId, DeviceId)>,
    stays: u64,
}

impl Table {
    /// Which stay it is, and whether it has just begun.
    pub fn enter(&mut self, room: RoomId, device: DeviceId) -> (u64, bool) {
        let stay = self.stays;
        let here =
            self.rooms.entry(room).or_default().entry(device).or_insert(Here { sessions: 0, stay, gone_at: None });
        here.sessions += 1;
        here.gone_at = None;
        let (stay, new) = (here.stay, here.stay == stay);
        self.stays += u64::from(new);
        (stay, new)
    }

    /// One session of a stay has ended.
    pub fn leave(&mut self, room: RoomId, device: DeviceId, stay: u64, now: Instant) {
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

    /// Whether somebody may be gone for good some time.
    pub fn anyone_leaves(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Who is gone for good by `now`.
    pub fn depart(&mut self, now: Instant) -> Vec<Key> {
        let mut gone = Vec::new();
        while let Some((due, room, device)) = self.leaving.pop_front_if(|(due, ..)| *due <= now) {
            let here = self.rooms.get(&room).and_then(|devices| devices.get(&device));
            if here.is_some_and(|here| here.gone_at == Some(due)) && self.forget(room, device) {
                gone.push((room, device));
            }
        }
        gone
    }

    /// Ends a stay at once; whether there was one.
    pub fn forget(&mut self, room: RoomId, device: DeviceId) -> bool {
        let Some(devices) = self.rooms.get_mut(&room) else { return false };
        let was_here = devices.remove(&device).is_some();
        if devices.is_empty() {
            self.rooms.remove(&room);
        }
        was_here
    }

    /// Whether the device is here by this node.
    pub fn contains(&self, (room, device): Key) -> bool {
        self.rooms.get(&room).is_some_and(|devices| devices.contains_key(&device))
    }

    /// Up to `listed_max` devices that are in the room by this node, and how many there are.
    pub fn here(&self, room: RoomId, listed_max: usize) -> (Vec<DeviceId>, u32) {
        let devices = self.rooms.get(&room).into_iter().flat_map(HashMap::keys).copied();
        (devices.take(listed_max).collect(), self.count(room))
    }

    fn count(&self, room: RoomId) -> u32 {
        self.rooms.get(&room).map_or(0, |devices| u32::try_from(devices.len()).unwrap_or(u32::MAX))
    }

    /// Everybody.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.rooms.iter().flat_map(|(room, devices)| devices.keys().map(|device| (*room, *device)))
    }

    /// Rooms with somebody in them.
    pub fn rooms(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.keys().copied()
    }

    /// Whether somebody is in the room.
    pub fn has(&self, room: RoomId) -> bool {
        self.rooms.contains_key(&room)
    }

    /// Whether nobody is anywhere.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
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
        assert!(table.is_empty() && table.leaving.is_empty());
    }

    #[test]
    fn a_second_tab_keeps_the_device_here() {
        let (mut table, start) = (Table::default(), Instant::now());
        let (stay, _) = table.enter(ROOM, ANA);
        table.enter(ROOM, ANA);
        table.leave(ROOM, ANA, stay, start);
        assert_eq!(table.depart(start + PRESENCE_GRACE * 2), []);
        assert_eq!(table.here(ROOM, 10), (vec![ANA], 1));
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
        assert!(table.is_empty());
    }
}
