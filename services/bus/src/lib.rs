//! The bus only hurries news along: "this log has grown", "access to this room has changed", "someone is writing".
//!
//! Nothing durable is on it and everything on it may be lost; the store is the truth, and the gateway finds losses by gaps and by
//! checking heads. Beside it are the two other things that nodes share and may lose: the roster of who is where, and the buckets that
//! limit joins. [`Backplane`] is all three; `local` is that of a process which is alone,
//! `redis` that of a cluster.
//!
//! What is absent: any knowledge of sockets, and anything durable.

mod limits;
mod listening;
mod local;
pub mod redis;
mod roster;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, RoomId, Seq};

pub use limits::{SharedBucket, SharedLimits};
pub use listening::{Listener, Listeners, Listening};
pub use local::{LocalBus, LocalRoster};
pub use redis::{BusCounters, ConnectError, RedisBackplane, RedisOptions};
pub use roster::{Departure, LEASE, LEASE_RENEWED_EVERY, Roster, Stand};

/// A node of a cluster. Random per start: a node that was restarted is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 8]);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// The place of a hint in a trace: a W3C `traceparent`, at most 64 bytes of ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(pub Arc<str>);

/// Bytes of the frames in one hint; a single one may be larger.
pub const HINT_BYTES_MAX: usize = 16 * 1024;

/// What crosses the bus.
#[derive(Clone, Debug)]
pub enum BusEvent {
    /// A room's log has grown to `seq`; with frames where they are small.
    Hint {
        /// Which room.
        room: RoomId,
        /// Its newest seq, as far as the publisher knows.
        seq: Seq,
        /// Entries up to `seq`, in their order, holes between them as may be. Of at most about [`HINT_BYTES_MAX`] together.
        frames: Vec<EntryFrame>,
        /// The span that published it, where it is sampled: of the entry at `seq`.
        trace: Option<TraceParent>,
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
    /// Events of this room, or of any room, may have been lost: compare heads and rights with the store now. Made by the bus itself, on
    /// a reconnect, an overrun or a probe that did not come back; publishing it does nothing.
    Missed {
        /// Which room; `None`: any.
        room: Option<RoomId>,
    },
    /// A look now and then whether subscriptions still stand has ended: compare heads. Nothing says that anything was lost, so nothing that
    /// costs more is worth doing. Made by the bus itself; publishing it does nothing.
    Checked,
}

/// Whether other nodes can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusHealth {
    /// As far as is known.
    Connected,
    /// Not at present: news are found by the head check.
    Away,
}

/// The bus did not take an event. The caller counts it and goes on.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Nobody can be reached at the moment.
    #[error("the bus is not reachable")]
    Unavailable,
}

/// A way to reach the other nodes, and this one: a publisher hears its own events by the same door.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Tells this node's listeners of an event before it returns, and sends it on its way to every other node that follows its room: at
    /// most once, and it may be lost there. Order is kept per publisher and room, no more. Waits for nobody.
    ///
    /// # Errors
    /// `Unavailable`: it is lost to the other nodes.
    fn publish(&self, event: BusEvent) -> Result<(), BusError>;

    /// Begins to receive the room's events. When it returns `Ok`, later events arrive. Following and unfollowing are not counted: the
    /// last of them holds.
    ///
    /// # Errors
    /// `Unavailable`: the following is unconfirmed and the caller checks heads until it is.
    async fn follow(&self, room: RoomId) -> Result<(), BusError>;

    /// Stops receiving the room's events, some time.
    async fn unfollow(&self, room: RoomId);

    /// Tells `listener` of this node's events from now on, until what is returned is dropped.
    fn listen(&self, listener: Arc<dyn Listener>) -> Listening;

    /// `local` or `redis`, as `/readyz`, logs and metrics call it.
    fn name(&self) -> &'static str;

    /// Whether it works at present. Costs nothing: it asks nobody.
    fn health(&self) -> BusHealth;

    /// What it has counted, if it counts.
    fn counters(&self) -> Option<&BusCounters> {
        None
    }
}

/// What the nodes of a cluster share besides the database. Cheap to clone. Nothing in it matters for good: it may be emptied at any time.
#[derive(Clone)]
pub struct Backplane {
    /// News.
    pub bus: Arc<dyn Bus>,
    /// Who is where.
    pub roster: Arc<dyn Roster>,
    /// Buckets that all nodes charge; `None`: this node is alone and its own are enough.
    pub limits: Option<Arc<dyn SharedLimits>>,
}

impl Backplane {
    /// Of a process that is alone.
    #[must_use]
    pub fn local() -> Self {
        Self { bus: Arc::new(LocalBus::new()), roster: Arc::new(LocalRoster::new()), limits: None }
    }
}
