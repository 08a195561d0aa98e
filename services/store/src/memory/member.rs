//! Members and devices in memory.

use std::ops::Bound;

use snug_protocol::http::{MemberState, Role};
use snug_protocol::{DeviceId, GrantId, RoomId};

use super::{Log, Membership, Memory, State, now_ms};
use crate::rules::opens_locked;
use crate::{DeviceKeys, EnterError, Entering, Member, Quotas, Standing, StoreError};

impl Memory {
    pub fn enter(
        &self,
        room: RoomId,
        grant: GrantId,
        device: DeviceKeys,
        quotas: &Quotas,
    ) -> Result<Entering, EnterError> {
        let mut state = self.open()?;
        let now_ms = now_ms();
        let rooms_of_device = state.rooms_of(device.device).count() as u64;
        let log = state.rooms.get_mut(&room).ok_or(EnterError::Gone)?;
        let grant = log.grants.get(&grant).ok_or(EnterError::Gone)?.read_at(now_ms);
        let standing = log.standing(device.device);
        if matches!(standing, Some(Standing::Banned | Standing::Retired)) {
            return Err(EnterError::Banned);
        }
        if grant.expired {
            return Err(EnterError::Expired);
        }
        let new_member = standing.and_then(Standing::role).is_none();
        if new_member {
            if log.room.locked && !opens_locked(grant.kind, log.standing(grant.made_by)) {
                return Err(EnterError::Locked);
            }
            if grant.uses_max.is_some_and(|max| grant.uses >= max) {
                return Err(EnterError::UsedUp);
            }
            let members = log.members.values().filter(|member| member.is_present()).count() as u64;
            if members >= quotas.members_per_room_max {
                return Err(EnterError::TooManyMembers);
            }
            if rooms_of_device >= quotas.rooms_per_device_max {
                return Err(EnterError::TooManyRooms);
            }
            log.grants.get_mut(&grant.grant).expect("it was found above").uses += 1;
            log.admit(device.device, now_ms);
        }
        let entering = Entering {
            room: log.room.clone(),
            role: log.standing(device.device).and_then(Standing::role).expect("it is a member now"),
            new_member,
            epoch_record: log.entry(log.epoch_seq).cloned().expect("a room has its epoch's record"),
        };
        state.devices.entry(device.device).or_insert(device);
        Ok(entering)
    }

    pub fn standing(&self, room: RoomId, device: DeviceId) -> Result<Option<Standing>, StoreError> {
        Ok(self.open()?.log(room).and_then(|log| log.standing(device)))
    }

    pub fn member(&self, room: RoomId, device: DeviceId) -> Result<Option<Member>, StoreError> {
        let state = self.open()?;
        let Some(log) = state.log(room) else { return Ok(None) };
        Ok(log.members.get(&device).and_then(|membership| state.member(log, device, membership)))
    }

    pub fn members(&self, room: RoomId, after: Option<DeviceId>, limit: usize) -> Result<Vec<Member>, StoreError> {
        let state = self.open()?;
        let Some(log) = state.log(room) else { return Ok(Vec::new()) };
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = log.members.range((after, Bound::Unbounded));
        Ok(found.filter_map(|(device, membership)| state.member(log, *device, membership)).take(limit).collect())
    }

    pub fn device(&self, device: DeviceId) -> Result<Option<DeviceKeys>, StoreError> {
        Ok(self.open()?.devices.get(&device).copied())
    }
}

impl Log {
    /// Makes `device` a member, again if it was one; it is not one now.
    fn admit(&mut self, device: DeviceId, now_ms: u64) {
        let membership =
            self.members.entry(device).or_insert(Membership::new(Role::Member, Some(MemberState::Member), now_ms));
        membership.state = Some(MemberState::Member);
        membership.joined_at_ms = now_ms;
    }
}

impl State {
    /// `None` for the recovery device.
    fn member(&self, log: &Log, device: DeviceId, membership: &Membership) -> Option<Member> {
        Some(Member {
            keys: *self.devices.get(&device).expect("a member's device is known"),
            role: membership.role,
            state: membership.state?,
            joined_at_ms: membership.joined_at_ms,
            profile: membership.profile.and_then(|seq| log.entry(seq)).cloned(),
        })
    }
}
