//! Rooms and the ways into them.

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::Role;
use snug_protocol::{DeviceId, GrantId, HistoryId, RoomId, Seq};

use super::{Backend, Store, on, through};
use crate::{
    CreateInviteError, CreateRoomError, FollowState, Grant, GrantSecret, Lookup, NewInvite, NewRoom, Room, StoreError,
};

impl Store {
    /// Creates a room with its password grant, its owner as first member, and its epoch record as seq 1, all in one transaction. The
    /// history id is drawn here.
    ///
    /// # Errors
    /// Why not; nothing was stored.
    pub async fn create_room(&self, new: NewRoom) -> Result<(Room, EntryFrame), CreateRoomError> {
        on!(self, backend => backend.create_room(new, &self.quotas))
    }

    /// Whether a room has a name of this likeness. Advice only: `create_room` decides.
    ///
    /// # Errors
    /// The store failed.
    pub async fn name_taken(&self, likeness: &str) -> Result<bool, StoreError> {
        on!(self, backend => backend.name_taken(likeness))
    }

    /// The room with a name of this likeness, and its password grant.
    ///
    /// # Errors
    /// The store failed.
    pub async fn lookup(&self, likeness: &str) -> Result<Option<Lookup>, StoreError> {
        on!(self, backend => backend.lookup(likeness))
    }

    /// The room with this id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn room(&self, room: RoomId) -> Result<Option<Room>, StoreError> {
        on!(self, backend => backend.room(room))
    }

    /// The room, what `device` is in it, and the entry at `cursor`, as they are at one moment.
    ///
    /// # Errors
    /// The store failed.
    pub async fn follow_state(
        &self,
        room: RoomId,
        device: DeviceId,
        cursor: Seq,
    ) -> Result<Option<FollowState>, StoreError> {
        on!(self, backend => backend.follow_state(room, device, cursor))
    }

    /// The rooms `device` is a member of now, by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn rooms_of(&self, device: DeviceId) -> Result<Vec<(Room, Role)>, StoreError> {
        on!(self, backend => backend.rooms_of(device))
    }

    /// Begins a new life of the room's log, unless it has begun one since `history`: the log has lost entries that somebody has seen, so
    /// none of that history's cursors is to be trusted. Returns whether it did.
    ///
    /// # Errors
    /// The store failed; it may have been done.
    pub async fn begin_new_life(&self, room: RoomId, history: HistoryId) -> Result<bool, StoreError> {
        on!(self, backend => backend.begin_new_life(room, history))
    }

    /// Erases a room: it is gone for everyone in one commit, then its entries are erased in batches between which others may write;
    /// it returns when all are. Whether there was one. An erasure that is cut short is ended by [`Store::sweep`].
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete_room(&self, room: RoomId) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.delete_room(room).await,
            Backend::Postgres(postgres) => postgres.delete_room(room).await,
            Backend::Memory(memory) => through!(memory, memory.delete_room(room)),
        }
    }

    /// A way into a room; expired ones too, as long as they are kept.
    ///
    /// # Errors
    /// The store failed.
    pub async fn grant(&self, room: RoomId, grant: GrantId) -> Result<Option<Grant>, StoreError> {
        on!(self, backend => backend.grant(room, grant))
    }

    /// Replaces a grant's secret by the same one under a newer pepper, if it is still under `old_pepper`. Whether it was.
    ///
    /// # Errors
    /// The store failed.
    pub async fn replace_grant_secret(
        &self,
        room: RoomId,
        grant: GrantId,
        old_pepper: u32,
        secret: &GrantSecret,
    ) -> Result<bool, StoreError> {
        on!(self, backend => backend.replace_grant_secret(room, grant, old_pepper, secret))
    }

    /// Makes an invite.
    ///
    /// # Errors
    /// Why not; nothing was stored.
    pub async fn create_invite(&self, new: NewInvite) -> Result<Grant, CreateInviteError> {
        on!(self, backend => backend.create_invite(new, &self.quotas))
    }

    /// A room's invites, newest first. Expired ones are not listed, used-up ones are.
    ///
    /// # Errors
    /// The store failed.
    pub async fn invites(&self, room: RoomId) -> Result<Vec<Grant>, StoreError> {
        on!(self, backend => backend.invites(room))
    }

    /// Revokes an invite. Whether there was one; a password grant is not an invite.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete_invite(&self, room: RoomId, grant: GrantId) -> Result<bool, StoreError> {
        on!(self, backend => backend.delete_invite(room, grant))
    }
}
