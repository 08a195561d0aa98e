//! Epochs.
use snug_protocol::limits::EPOCH_KEY_BYTES;
use snug_protocol::{DeviceId, EnvelopeHash, RoomId, Seq};

use super::Sqlite;
use crate::{Appended, EpochKeys, Grant, NewEpoch, OfferOutcome, Page, Standing, StepError, StoreError};

impl Sqlite {
    pub async fn stage_epoch_keys(
        &self,
        _room: RoomId,
        _author: DeviceId,
        _epoch: u32,
        _record: EnvelopeHash,
        _keys: Vec<(DeviceId, [u8; EPOCH_KEY_BYTES])>,
    ) -> Result<(), StepError> {
        Err(StoreError::unavailable("not built").into())
    }
    pub async fn begin_epoch(&self, _new: NewEpoch) -> Result<(Appended, Vec<Grant>), StepError> {
        Err(StoreError::unavailable("not built").into())
    }
    pub async fn epoch_keys(&self, _room: RoomId, _epoch: u32, _device: DeviceId) -> Result<EpochKeys, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub async fn chain(&self, _room: RoomId, _before: Option<Seq>, _limit: usize) -> Result<Option<Page>, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub async fn pins(&self, _room: RoomId, _limit: usize) -> Result<Option<Page>, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub async fn standing(&self, room: RoomId, device: DeviceId) -> Result<Option<Standing>, StoreError> {
        Ok(self.role(room, device).await?.map(Standing::Member))
    }
    pub async fn put_offer(&self, _id: [u8; 16], _offer: &[u8]) -> Result<OfferOutcome, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub async fn offer(&self, _id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub async fn put_answer(&self, _id: [u8; 16], _answer: &[u8]) -> Result<bool, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
    pub async fn answer(&self, _id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::unavailable("not built"))
    }
}
