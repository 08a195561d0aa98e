//! Members of rooms, and devices.

use snug_protocol::{DeviceId, GrantId, RoomId};

use super::{Store, on};
use crate::{DeviceKeys, EnterError, Entering, Member, Standing, StoreError};

impl Store {
    /// Makes `device` a member of `room` by `grant`, whose secret the caller has checked, in one transaction. For a device that is a
    /// member now it changes nothing, and a used-up invite still lets it in; nor for the recovery device, which is told the owner's role. One who
    /// left and returns keeps its role; one who was removed returns as a plain member.
    ///
    /// # Errors
    /// Why not; nothing was changed.
    pub async fn enter(&self, room: RoomId, grant: GrantId, device: DeviceKeys) -> Result<Entering, EnterError> {
        on!(self, backend => backend.enter(room, grant, device, &self.quotas))
    }

    /// What `device` is in `room`; `None` if it was never seen there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn standing(&self, room: RoomId, device: DeviceId) -> Result<Option<Standing>, StoreError> {
        on!(self, backend => backend.standing(room, device))
    }

    /// A member of a room, now or once; a recovery device is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn member(&self, room: RoomId, device: DeviceId) -> Result<Option<Member>, StoreError> {
        on!(self, backend => backend.member(room, device))
    }

    /// At most `limit` members of a room after `after`, those who were members once included, by device id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn members(
        &self,
        room: RoomId,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        on!(self, backend => backend.members(room, after, limit))
    }

    /// The keys of a device that has entered some room once.
    ///
    /// # Errors
    /// The store failed.
    pub async fn device(&self, device: DeviceId) -> Result<Option<DeviceKeys>, StoreError> {
        on!(self, backend => backend.device(device))
    }
}
