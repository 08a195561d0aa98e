//! Who is in which room, by any node: entries under each node's lease, so that the entries of a node that died go with it.

use async_trait::async_trait;
use snug_protocol::{DeviceId, RoomId};

use crate::{BusError, NodeId};

/// How long a node's entries stay without a renewal. With [`LEASE_RENEWED_EVERY`] and a node that looks as often for the dead, a killed
/// node's devices are gone within 25 s.
pub const LEASE: std::time::Duration = std::time::Duration::from_secs(15);
/// How often a node renews its lease, and looks for nodes whose lease has ended.
pub const LEASE_RENEWED_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

/// How a room stands after a change of its roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Whether the device came, or went, as far as others are concerned: no other node had it, or has it still.
    pub changed: bool,
    /// How many devices are in the room now.
    pub here_count: u32,
}

/// A device that is gone because its node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// From which room.
    pub room: RoomId,
    /// Who.
    pub device: DeviceId,
    /// How many devices are in the room now.
    pub here_count: u32,
}

/// The roster that all nodes of a cluster share. It may lose everything at any time; its nodes then write their entries again.
#[async_trait]
pub trait Roster: Send + Sync + 'static {
    /// `device` is in `room` by `node`. Repeating it changes nothing.
    ///
    /// # Errors
    /// `Unavailable`: it is not noted.
    async fn enter(&self, node: NodeId, room: RoomId, device: DeviceId) -> Result<Stand, BusError>;

    /// `device` is in `room` by `node` no longer; it may still be by another.
    ///
    /// # Errors
    /// `Unavailable`: it is still noted.
    async fn leave(&self, node: NodeId, room: RoomId, device: DeviceId) -> Result<Stand, BusError>;

    /// `device` is in `room` by no node.
    ///
    /// # Errors
    /// `Unavailable`: it is still noted.
    async fn expel(&self, room: RoomId, device: DeviceId) -> Result<Stand, BusError>;

    /// Up to `listed_max` devices that are in `room`, and how many there are.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn here(&self, room: RoomId, listed_max: usize) -> Result<(Vec<DeviceId>, u32), BusError>;

    /// Renews the lease of `node`, or begins one. `false`: there was none, and its entries may be gone, so all are to be written again.
    ///
    /// # Errors
    /// `Unavailable`: the lease runs on.
    async fn renew(&self, node: NodeId) -> Result<bool, BusError>;

    /// Removes the entries of nodes whose lease has ended, or some of them. Each departure is told to one caller; one that dies in the
    /// middle of this is made up for by a later call of another node.
    ///
    /// # Errors
    /// `Unavailable`; a later call goes on.
    async fn bury(&self) -> Result<Vec<Departure>, BusError>;

    /// Rooms of which a burial has lost who went, since this was asked last: the call failed, or was dropped, between the removal and the
    /// answer. Those in them are to be told how they stand.
    fn take_unsure(&self) -> Vec<RoomId> {
        Vec::new()
    }

    /// Removes all entries of `node` and its lease: it stops in order.
    ///
    /// # Errors
    /// `Unavailable`: they go when the lease ends.
    async fn resign(&self, node: NodeId) -> Result<Vec<Departure>, BusError>;
}
