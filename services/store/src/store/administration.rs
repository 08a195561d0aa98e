//! Steps and epochs: the room's chain.

use snug_protocol::limits::EPOCH_KEY_BYTES;
use snug_protocol::{DeviceId, EnvelopeHash, RoomId, Seq};

use super::{Backend, Store, on, through};
use crate::{Appended, EpochBegun, EpochKeys, NewEpoch, NewStep, Page, StepError, StoreError};

impl Store {
    /// Appends a step and applies its effect, in one transaction. The author is the envelope's device; the rights are those of
    /// ENCRYPTION.md section 6. The same envelope again is answered with its seq and no frame, whatever has changed since.
    ///
    /// A step that erases what a device wrote is committed first; then the entries become tombstones in batches between which others
    /// may write, and it returns when all are. An erasure that is cut short is ended by [`Store::sweep`].
    ///
    /// Cancel-safe as [`Store::append`] is.
    ///
    /// # Errors
    /// Why not; nothing was changed. After `Store(Unavailable)` it may have been, and sending it again tells.
    pub async fn administer(&self, step: NewStep) -> Result<Appended, StepError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.administer(step).await,
            Backend::Postgres(postgres) => postgres.administer(step).await,
            Backend::Memory(memory) => through!(memory, memory.administer(step)),
        }
    }

    /// Notes keys of the epoch after the present one, sealed to devices that are or were of the room, for the record with the hash `record`.
    /// A key for the same device again replaces the first. They are of no effect until that record begins the epoch, and are forgotten
    /// after a day, or when the author stages for another record.
    ///
    /// # Errors
    /// Why not; nothing was stored. `MembersChanged`: one of them never was of the room. `TooManyEntries`: more
    /// than `EPOCH_KEYS_PAGE_MAX` at one time.
    pub async fn stage_epoch_keys(
        &self,
        room: RoomId,
        author: DeviceId,
        epoch: u32,
        record: EnvelopeHash,
        keys: Vec<(DeviceId, [u8; EPOCH_KEY_BYTES])>,
    ) -> Result<(), StepError> {
        on!(self, backend => backend.stage_epoch_keys(room, author, epoch, record, keys))
    }

    /// Begins an epoch in one transaction: appends its record, makes the keys staged for it valid, ends the membership of those who are
    /// removed and of all others who get no key, replaces the password grant, and revokes all invites. The keys must be those that
    /// `recipients` names, with one for each recovery device and for each member that the author does not outrank. Who comes or goes
    /// meanwhile does not hinder it: who has come gets no key, and a key of one who has left is of no use until it comes back.
    ///
    /// Cancel-safe as [`Store::append`] is.
    ///
    /// # Errors
    /// Why not; nothing was changed. After `Store(Unavailable)` it may have been, and sending it again tells.
    pub async fn begin_epoch(&self, new: NewEpoch) -> Result<EpochBegun, StepError> {
        on!(self, backend => backend.begin_epoch(new))
    }

    /// Whom the key of `epoch` was sealed to, and what was sealed to `device`. Nobody for epoch 0, whose record names
    /// nobody, and for an epoch that has not begun.
    ///
    /// # Errors
    /// The store failed.
    pub async fn epoch_keys(&self, room: RoomId, epoch: u32, device: DeviceId) -> Result<EpochKeys, StoreError> {
        let mut keys = on!(self, backend => backend.epoch_keys(room, epoch, device))?;
        if epoch == 0 {
            // Its record names nobody: who counts has introduced itself. The recovery device gets its key all the same.
            keys.recipients.clear();
        }
        Ok(keys)
    }

    /// What of the key of `epoch` was sealed to these devices, in their order, without those that nothing was sealed to.
    ///
    /// # Errors
    /// The store failed.
    pub async fn epoch_seals(
        &self,
        room: RoomId,
        epoch: u32,
        of: &[DeviceId],
    ) -> Result<Vec<(DeviceId, [u8; EPOCH_KEY_BYTES])>, StoreError> {
        on!(self, backend => backend.epoch_seals(room, epoch, of))
    }

    /// The newest chain entries before `before` (default: all), at most `limit`, and as many as fit into `HISTORY_PAGE_BYTES_MAX` bytes
    /// of frames, but at least one if there is one. `from` and `to` are the first one's seq and the last one's. `None`: no such room.
    ///
    /// # Errors
    /// The store failed.
    pub async fn chain(&self, room: RoomId, before: Option<Seq>, limit: usize) -> Result<Option<Page>, StoreError> {
        on!(self, backend => backend.chain(room, before, limit))
    }

    /// The newest `limit` pins that have not been erased, as a page like [`Store::chain`]'s. `None`: no such room.
    ///
    /// # Errors
    /// The store failed.
    pub async fn pins(&self, room: RoomId, limit: usize) -> Result<Option<Page>, StoreError> {
        on!(self, backend => backend.pins(room, limit))
    }
}
