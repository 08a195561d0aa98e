//! Epochs.
use snug_protocol::limits::EPOCH_KEY_BYTES;
use snug_protocol::{DeviceId, EnvelopeHash, RoomId, Seq};

use super::Memory;
use crate::{Appended, EpochKeys, Grant, NewEpoch, OfferOutcome, Page, Standing, StepError, StoreError};

impl Memory {
    pub fn stage_epoch_keys(
        &self,
        _room: RoomId,
        _author: DeviceId,
        _epoch: u32,
        _record: EnvelopeHash,
        _keys: Vec<(DeviceId, [u8; EPOCH_KEY_BYTES])>,
    ) -> Result<(), StepError> {
        Err(StoreError::unavailable("not built").into())
    }
    pub fn begin_epoch(&self, _new: NewEpoch) -> Result<(Appended, Vec<Grant>), StepError> {
        Err(StoreError::unavailable("not built").into())
    }
    pub fn epoch_keys(&self, _room: RoomId, _epoch: u32, _device: DeviceId) -> Result<EpochKeys, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub fn chain(&self, _room: RoomId, _before: Option<Seq>, _limit: usize) -> Result<Option<Page>, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub fn pins(&self, _room: RoomId, _limit: usize) -> Result<Option<Page>, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub fn standing(&self, room: RoomId, device: DeviceId) -> Result<Option<Standing>, StoreError> {
        Ok(self.role(room, device)?.map(Standing::Member))
    }
    pub fn put_offer(&self, _id: [u8; 16], _offer: &[u8]) -> Result<OfferOutcome, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub fn offer(&self, _id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub fn put_answer(&self, _id: [u8; 16], _answer: &[u8]) -> Result<bool, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub fn answer(&self, _id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
}
