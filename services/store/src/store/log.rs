//! Appending to logs and reading them.

use snug_protocol::frame::EntryFrame;
use snug_protocol::{Envelope, EnvelopeHash, RoomId, Seq};

use super::{Store, on};
use crate::{AppendError, Appended, Page, RoomHead, StoreError};

impl Store {
    /// Appends `envelope` to its room's log and applies its effect: a profile becomes its member's newest, a leave ends the membership.
    /// Once it returns `Ok` the entry is committed. An envelope with the (device, instance, counter) of one that was appended is
    /// answered with that one's seq and no frame. Envelopes of one instance that are submitted in order are judged in order, and what is
    /// appended to a room is answered in order.
    ///
    /// Cancel-safe: dropping the future at any time leaves the message appended whole or not at all, and sending it again is safe.
    ///
    /// # Errors
    /// Why not; nothing was stored. After `Store(Unavailable)` it may have been, and sending it again tells.
    pub async fn append(&self, envelope: Envelope) -> Result<Appended, AppendError> {
        on!(self, backend => backend.append(envelope))
    }

    /// The entries after `after`, in order and without a gap: at most `limit`, and as many as fit into `bytes_max` bytes of frames, but
    /// at least one if there is one. Empty at the head, and for a room that is not there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn read_after(
        &self,
        room: RoomId,
        after: Seq,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<EntryFrame>, StoreError> {
        on!(self, backend => backend.read_after(room, after, limit, bytes_max))
    }

    /// The page of at most `limit` entries that ends before `before` (default: at the head), with every later entry whose target lies
    /// in it. As many entries as fit into `bytes_max` bytes of frames together with their later ones, but at least one if there is one;
    /// a single entry's later ones are capped at 10,000, the newest. One snapshot. `None`: no such room.
    ///
    /// # Errors
    /// The store failed.
    pub async fn read_page(
        &self,
        room: RoomId,
        before: Option<Seq>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Option<Page>, StoreError> {
        on!(self, backend => backend.read_page(room, before, limit, bytes_max))
    }

    /// The hash of the envelope at `seq`; `None` if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn entry_hash(&self, room: RoomId, seq: Seq) -> Result<Option<EnvelopeHash>, StoreError> {
        on!(self, backend => backend.entry_hash(room, seq))
    }

    /// The heads of `rooms`, in no particular order, in one query. Rooms that are not there are missing.
    ///
    /// # Errors
    /// The store failed.
    pub async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<RoomHead>, StoreError> {
        on!(self, backend => backend.heads(rooms))
    }
}
