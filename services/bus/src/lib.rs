//! The bus only hurries news along: "this log has grown", "access to this room has changed", "someone is writing".
//!
//! Nothing durable is on it and everything on it may be lost; the store is the truth, and the gateway finds losses by gaps and by
//! checking heads. `local.rs` is the bus of a single node. What is absent: any knowledge of sockets, and any retry.

mod local;

use async_trait::async_trait;
use bytes::Bytes;
use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, RoomId, Seq};
use tokio::sync::broadcast;

pub use local::LocalBus;

/// How many undelivered events a receiver may fall behind before it is told to recheck everything.
pub const EVENTS_QUEUED_MAX: usize = 8_192;

/// What crosses the bus.
#[derive(Clone, Debug)]
pub enum BusEvent {
    /// A room's log has grown to `seq`; with the frame when it is small.
    Hint {
        /// Which room.
        room: RoomId,
        /// Its newest seq, as far as the publisher knows.
        seq: Seq,
        /// The entry at `seq`.
        frame: Option<EntryFrame>,
    },
    /// Somebody's right to be in a room has changed: those concerned ask the store again.
    Access {
        /// Which room.
        room: RoomId,
        /// Whose right; `None`: anybody's.
        device: Option<DeviceId>,
    },
    /// A device's token was revoked: its sessions check theirs.
    Token {
        /// Whose.
        device: DeviceId,
    },
    /// A frame for everyone who follows the room now, not kept anywhere.
    Ephemeral {
        /// Which room.
        room: RoomId,
        /// A `ServerFrame` as JSON.
        frame: Bytes,
        /// The device it is about, which need not hear of it.
        from: DeviceId,
    },
}

/// The bus did not take an event. The caller counts it and goes on.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Nobody can be reached at the moment.
    #[error("the bus is not reachable")]
    Unavailable,
}

/// A way to reach the other nodes, and this one: a publisher gets its own events by the same door.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Hands an event to every node that follows its room. At most once; order is kept per publisher and room, no more.
    ///
    /// # Errors
    /// `Unavailable`: the event is lost.
    async fn publish(&self, event: BusEvent) -> Result<(), BusError>;

    /// Begins to receive the room's events. When it returns `Ok`, later events arrive.
    ///
    /// # Errors
    /// `Unavailable`: the following is unconfirmed and the caller checks heads until it is.
    async fn follow(&self, room: RoomId) -> Result<(), BusError>;

    /// Stops receiving the room's events, some time.
    async fn unfollow(&self, room: RoomId);

    /// This node's events. `Lagged` from it means: anything may have been missed, recheck everything.
    fn events(&self) -> broadcast::Receiver<BusEvent>;

    /// What `/readyz` says of it.
    fn name(&self) -> &'static str;
}
