//! The roster as one node reaches it: away when the bus is, since they are one service, and emptied now and then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use snug_bus::{BusError, Departure, LocalRoster, NodeId, Roster, Stand};
use snug_protocol::{DeviceId, RoomId};

use crate::fabric::{Fabric, Reach};

/// What all nodes share.
#[derive(Default)]
pub struct SharedRoster {
    roster: Mutex<Arc<LocalRoster>>,
    /// Somebody has entered it: presence is the cluster's, and not each node's own.
    pub is_used: AtomicBool,
}

impl SharedRoster {
    /// Everything in it is lost.
    pub fn flush(&self) {
        *self.roster.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }
}

pub struct NodeRoster {
    node: usize,
    shared: Arc<SharedRoster>,
    fabric: Arc<Fabric>,
}

impl NodeRoster {
    pub const fn new(node: usize, shared: Arc<SharedRoster>, fabric: Arc<Fabric>) -> Self {
        Self { node, shared, fabric }
    }

    async fn reach(&self) -> Result<Arc<LocalRoster>, BusError> {
        match self.fabric.reach(self.node) {
            Some(Reach::Connected | Reach::Deaf) => {}
            Some(Reach::Away) => return Err(BusError::Unavailable),
            None => std::future::pending().await,
        }
        Ok(Arc::clone(&self.shared.roster.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[async_trait]
impl Roster for NodeRoster {
    async fn enter(&self, node: NodeId, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        self.shared.is_used.store(true, Ordering::Relaxed);
        self.reach().await?.enter(node, room, device).await
    }

    async fn leave(&self, node: NodeId, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        self.reach().await?.leave(node, room, device).await
    }

    async fn expel(&self, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        self.reach().await?.expel(room, device).await
    }

    async fn here(&self, room: RoomId, listed_max: usize) -> Result<(Vec<DeviceId>, u32), BusError> {
        self.reach().await?.here(room, listed_max).await
    }

    async fn renew(&self, node: NodeId) -> Result<bool, BusError> {
        self.reach().await?.renew(node).await
    }

    async fn bury(&self) -> Result<Vec<Departure>, BusError> {
        self.reach().await?.bury().await
    }

    async fn resign(&self, node: NodeId) -> Result<Vec<Departure>, BusError> {
        self.reach().await?.resign(node).await
    }
}
