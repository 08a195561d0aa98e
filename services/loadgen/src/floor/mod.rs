//! The floor: a process that writes frames to sockets and does nothing else, so that nothing can deliver them for less.
//!
//! One thread, non-blocking writes, no HTTP, no rooms to look up, nothing stored, nothing read. Frames have the form and size of a node's,
//! so that the same receivers check them; their envelopes are filled with zeros instead of ciphertext, which costs a kernel the same.
//! The child is this program again ([`child`]); [`parent`] starts it and gives it orders as lines of JSON.

pub mod child;
pub mod parent;

use serde::{Deserialize, Serialize};
use snug_protocol::envelope::HEADER_BYTES;
use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, EntryKind, Header, InstanceId, RoomId, Seq};

use crate::frame;

/// How messages are put into writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gathering {
    /// So many messages of a socket in one write, when so many are due.
    Each(usize),
    /// All that are due.
    Due,
}

/// Rooms with as many sockets each, accepted in this order.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Shape {
    /// How many rooms.
    pub rooms: usize,
    /// Sockets of each.
    pub members: usize,
    /// Bytes of an envelope.
    pub envelope_bytes: usize,
}

/// What the child is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// When it begins, by the common clock.
    pub start_ns: u64,
    /// Messages a second, over all rooms, evenly.
    pub rate: f64,
    /// How many messages.
    pub messages: u64,
    /// How they are put together.
    pub gathering: Gathering,
    /// Each room's instance of this step.
    pub instances: Vec<InstanceId>,
}

/// What the child says after a step.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Done {
    /// Calls of `write`.
    pub writes: u64,
    /// Times a socket did not take all.
    pub full: u64,
    /// A socket could not be written, or was too far behind.
    pub failed: bool,
}

/// When a message is due, from the step's start.
#[must_use]
pub fn due_ns(message: u64, rate: f64) -> u64 {
    (message as f64 * 1e9 / rate) as u64
}

/// The id of the floor's rooms, which are told apart by their sockets.
pub const ROOM: RoomId = RoomId([0x5e; 16]);

/// The end of a message's envelope.
#[must_use]
pub const fn tag(room: usize, counter: u64) -> u64 {
    ((room as u64) << 40) ^ counter ^ 0x5eed_0000_0000_0000
}

/// The server's frame with one message.
#[must_use]
pub fn entry(shape: Shape, (room, instance): (usize, InstanceId), seq: u64, counter: u64) -> Vec<u8> {
    let header = Header {
        kind: EntryKind::Message,
        room: ROOM,
        epoch: 0,
        device: DeviceId::default(),
        instance,
        counter,
        target: Seq::ZERO,
    };
    let mut envelope = header.encode().to_vec();
    envelope.resize(shape.envelope_bytes.max(HEADER_BYTES + 8) - 8, 0);
    envelope.extend_from_slice(&tag(room, counter).to_be_bytes());
    let mut bytes = Vec::with_capacity(envelope.len() + 32);
    frame::push_plain(frame::BINARY, EntryFrame::new(Seq(seq), 0, &envelope).bytes(), &mut bytes);
    bytes
}
