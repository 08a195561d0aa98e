//! The roster of one process: of a node that is alone, or of several that share the process in a test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use snug_protocol::{DeviceId, RoomId};
use tokio::time::Instant;

use crate::{BusError, Departure, LEASE, NodeId, Roster, Stand};

#[derive(Debug, Default)]
struct State {
    /// By which nodes each device is in a room; none is empty.
    rooms: BTreeMap<RoomId, BTreeMap<DeviceId, BTreeSet<NodeId>>>,
    /// When each node's lease ends.
    leases: BTreeMap<NodeId, Instant>,
}

impl State {
    fn stand(&self, room: RoomId, changed: bool) -> Stand {
        Stand { changed, here_count: self.count(room) }
    }

    fn count(&self, room: RoomId) -> u32 {
        self.rooms.get(&room).map_or(0, |devices| u32::try_from(devices.len()).unwrap_or(u32::MAX))
    }

    fn remove(&mut self, room: RoomId, device: DeviceId, is_of: impl Fn(&NodeId) -> bool) -> Stand {
        let mut changed = false;
        if let Some(devices) = self.rooms.get_mut(&room) {
            if let Some(nodes) = devices.get_mut(&device) {
                nodes.retain(|node| !is_of(node));
                changed = nodes.is_empty();
            }
            if changed {
                devices.remove(&device);
            }
            if devices.is_empty() {
                self.rooms.remove(&room);
            }
        }
        self.stand(room, changed)
    }

    fn remove_node(&mut self, gone: NodeId) -> Vec<Departure> {
        self.leases.remove(&gone);
        let entries = self.rooms.iter().flat_map(|(room, devices)| {
            let of_node = devices.iter().filter(move |(_, nodes)| nodes.contains(&gone));
            of_node.map(move |(device, _)| (*room, *device))
        });
        let entries: Vec<_> = entries.collect();
        let departures = entries.into_iter().filter_map(|(room, device)| {
            let stand = self.remove(room, device, |node| *node == gone);
            stand.changed.then_some(Departure { room, device, here_count: stand.here_count })
        });
        departures.collect()
    }
}

/// Keeps the roster in this process.
#[derive(Debug)]
pub struct LocalRoster {
    state: Mutex<State>,
    lease: Duration,
}

impl Default for LocalRoster {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalRoster {
    /// Nobody is anywhere.
    #[must_use]
    pub fn new() -> Self {
        Self::with_lease(LEASE)
    }

    /// With leases of another length than [`LEASE`]; for tests.
    #[must_use]
    pub fn with_lease(lease: Duration) -> Self {
        Self { state: Mutex::default(), lease }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Roster for LocalRoster {
    async fn enter(&self, node: NodeId, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        let mut state = self.state();
        let nodes = state.rooms.entry(room).or_default().entry(device).or_default();
        let is_new = nodes.is_empty();
        nodes.insert(node);
        Ok(state.stand(room, is_new))
    }

    async fn leave(&self, node: NodeId, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        Ok(self.state().remove(room, device, |of| *of == node))
    }

    async fn expel(&self, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        Ok(self.state().remove(room, device, |_| true))
    }

    async fn here(&self, room: RoomId, listed_max: usize) -> Result<(Vec<DeviceId>, u32), BusError> {
        let state = self.state();
        let devices = state.rooms.get(&room).into_iter().flat_map(BTreeMap::keys).copied();
        Ok((devices.take(listed_max).collect(), state.count(room)))
    }

    async fn renew(&self, node: NodeId) -> Result<bool, BusError> {
        Ok(self.state().leases.insert(node, Instant::now() + self.lease).is_some())
    }

    async fn bury(&self) -> Result<Vec<Departure>, BusError> {
        let (mut state, now) = (self.state(), Instant::now());
        let dead: Vec<_> = state.leases.iter().filter(|(_, end)| **end <= now).map(|(node, _)| *node).collect();
        Ok(dead.into_iter().flat_map(|node| state.remove_node(node)).collect())
    }

    async fn resign(&self, node: NodeId) -> Result<Vec<Departure>, BusError> {
        Ok(self.state().remove_node(node))
    }
}
