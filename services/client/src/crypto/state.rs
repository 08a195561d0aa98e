//! What an epoch record states of its room: who governs and what holds (ENCRYPTION.md section 5).

use serde::{Deserialize, Serialize};
use snug_protocol::DeviceId;
use snug_protocol::http::Role;
use snug_protocol::limits::{ADMINS_MAX, BANNED_MAX, MUTED_MAX, RETENTION_MAX, RETENTION_MIN, SLOW_INTERVAL_MAX};

use super::PublicKeys;
use super::emoji::is_topic;
use super::json::NUMBER_MAX;

/// A device that governs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Admin {
    /// Its public keys.
    #[serde(flatten)]
    pub keys: PublicKeys,
    /// Owner or moderator.
    pub role: Role,
    /// It is a recovery device: an owner whom nobody acts on.
    pub recovery: bool,
}

impl Admin {
    /// The device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.keys.id()
    }
}

/// A device that may not write at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Muted {
    /// The device.
    pub device: DeviceId,
    /// Until when, Unix milliseconds.
    pub until_ms: u64,
}

/// Who governs a room and what holds in it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RoomState {
    /// Owners and moderators in order of device id, at most 20.
    pub admins: Vec<Admin>,
    /// What the room is about; may be empty.
    pub topic: String,
    /// Newcomers are refused.
    pub locked: bool,
    /// Between two messages of a member, milliseconds; 0: no limit.
    pub slow_ms: u64,
    /// The age at which messages are erased, milliseconds; 0: never.
    pub retention_ms: u64,
    /// The first epoch that newcomers can read.
    pub history_from: u32,
    /// In order, at most 200.
    pub banned: Vec<DeviceId>,
    /// In order of device id, at most 80.
    pub muted: Vec<Muted>,
    /// Who made the recovery key: whoever it is has seen it.
    pub recovery_by: DeviceId,
}

impl RoomState {
    /// The state of a new room.
    #[must_use]
    pub fn founding(creator: &PublicKeys, recovery: &PublicKeys) -> Self {
        let admin = |keys: &PublicKeys, recovery| Admin { keys: *keys, role: Role::Owner, recovery };
        let admins = vec![admin(creator, false), admin(recovery, true)];
        let mut state = Self { admins, recovery_by: creator.id(), ..Self::default() };
        state.admins.sort_by_key(Admin::device);
        state
    }

    /// The admin that is this device.
    #[must_use]
    pub fn admin(&self, device: DeviceId) -> Option<&Admin> {
        self.admins.iter().find(|admin| admin.device() == device)
    }

    /// What the device may do. Everyone who is no admin is a member here; whether it is in the room is another question.
    #[must_use]
    pub fn role(&self, device: DeviceId) -> Role {
        self.admin(device).map_or(Role::Member, |admin| admin.role)
    }

    /// Whether it is a recovery device.
    #[must_use]
    pub fn is_recovery(&self, device: DeviceId) -> bool {
        self.admin(device).is_some_and(|admin| admin.recovery)
    }

    /// Whether an owner made the recovery key who is an owner no more, and so may still have it.
    #[must_use]
    pub fn recovery_is_astray(&self) -> bool {
        self.role(self.recovery_by) != Role::Owner
    }

    /// Whether the device is banned.
    #[must_use]
    pub fn is_banned(&self, device: DeviceId) -> bool {
        self.banned.binary_search(&device).is_ok()
    }

    /// Until when the device may not write, Unix milliseconds; the time may have passed.
    #[must_use]
    pub fn muted_until_ms(&self, device: DeviceId) -> Option<u64> {
        self.muted.iter().find(|muted| muted.device == device).map(|muted| muted.until_ms)
    }

    /// Whether every list is in order and within its bounds, every number and the topic too, and an owner is there who is not a
    /// recovery device.
    #[must_use]
    pub fn is_in_bounds(&self) -> bool {
        let admins: Vec<DeviceId> = self.admins.iter().map(Admin::device).collect();
        let muted: Vec<DeviceId> = self.muted.iter().map(|muted| muted.device).collect();
        is_sorted_set(&admins)
            && admins.len() <= ADMINS_MAX
            && self
                .admins
                .iter()
                .all(|admin| admin.role == Role::Owner || (admin.role == Role::Moderator && !admin.recovery))
            && self.has_an_owner()
            && is_topic(&self.topic)
            && is_slow_interval(self.slow_ms)
            && is_retention(self.retention_ms)
            && is_sorted_set(&self.banned)
            && self.banned.len() <= BANNED_MAX
            && is_sorted_set(&muted)
            && muted.len() <= MUTED_MAX
            && self.muted.iter().all(|muted| (1..=NUMBER_MAX).contains(&muted.until_ms))
    }

    /// Whether somebody owns the room with a device in use, rather than with the recovery key alone.
    #[must_use]
    pub fn has_an_owner(&self) -> bool {
        self.admins.iter().any(|admin| admin.role == Role::Owner && !admin.recovery)
    }
}

/// In order, and nobody twice.
pub(super) fn is_sorted_set(devices: &[DeviceId]) -> bool {
    devices.windows(2).all(|pair| pair[0] < pair[1])
}

/// Whether slow mode may ask for this pause.
pub(super) fn is_slow_interval(ms: u64) -> bool {
    u128::from(ms) <= SLOW_INTERVAL_MAX.as_millis()
}

/// Whether messages may be erased at this age; 0 stands for never.
pub(super) fn is_retention(ms: u64) -> bool {
    ms == 0 || (RETENTION_MIN.as_millis()..=RETENTION_MAX.as_millis()).contains(&u128::from(ms))
}
