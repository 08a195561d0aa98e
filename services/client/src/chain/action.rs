//! Who may do what to whom (ENCRYPTION.md section 6).

use snug_protocol::DeviceId;
use snug_protocol::http::Role;

use crate::crypto::{Admin, Cause, RoomState, Step};

/// Something that not everyone may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Change the topic.
    SetTopic,
    /// Refuse newcomers, or let them in.
    Lock,
    /// Change slow mode.
    Slow,
    /// Mute this device, or lift it.
    Mute(DeviceId),
    /// Erase all that this device wrote.
    Erase(DeviceId),
    /// Let a banned device come back.
    Unban,
    /// Erase messages by age.
    SetRetention,
    /// Replace the password.
    ChangePassword,
    /// Change this device's role.
    ChangeRole(DeviceId),
    /// Make this device owner and step down.
    Transfer(DeviceId),
    /// Remove this device, or ban it.
    Remove(DeviceId),
    /// Replace the room's key.
    Rotate,
    /// Replace the room's key so that newcomers cannot read back.
    CutHistory,
    /// Put another recovery device in the place of the one there is.
    ReplaceRecovery,
    /// Delete a message of this author.
    Delete(DeviceId),
}

impl Action {
    /// What a step does.
    #[must_use]
    pub const fn of_step(step: &Step) -> Self {
        match step {
            Step::Topic { .. } => Self::SetTopic,
            Step::Lock { .. } => Self::Lock,
            Step::Slow { .. } => Self::Slow,
            Step::Mute { device, .. } => Self::Mute(*device),
            Step::Erase { device } => Self::Erase(*device),
            Step::Unban { .. } => Self::Unban,
            Step::Retention { .. } => Self::SetRetention,
            Step::Password { .. } => Self::ChangePassword,
            Step::Role { device, .. } => Self::ChangeRole(*device),
            Step::Transfer { device, .. } => Self::Transfer(*device),
        }
    }
}

impl RoomState {
    /// Whether the device may do this.
    #[must_use]
    pub fn may(&self, device: DeviceId, action: Action) -> bool {
        let role = self.role(device);
        let owner = role == Role::Owner;
        match action {
            Action::SetTopic | Action::Lock | Action::Slow | Action::Unban | Action::Rotate => role != Role::Member,
            Action::SetRetention | Action::ChangePassword | Action::CutHistory => owner,
            // It would be no admin in its own record, and nobody could enter by that.
            Action::ReplaceRecovery => owner && !self.is_recovery(device),
            Action::ChangeRole(other) => owner && !self.is_recovery(other),
            Action::Transfer(other) => owner && !self.is_recovery(other) && other != device,
            Action::Mute(other) | Action::Erase(other) | Action::Remove(other) => self.outranks(device, other),
            Action::Delete(author) => author == device || self.outranks(device, author),
        }
    }

    /// Whether the device may begin an epoch for this cause, as far as this state tells.
    #[must_use]
    pub fn may_begin(&self, device: DeviceId, cause: &Cause) -> bool {
        match cause {
            Cause::Created => false,
            Cause::Remove { devices, .. } => devices.iter().all(|other| self.may(device, Action::Remove(*other))),
            Cause::Rotate => self.may(device, Action::Rotate),
            Cause::History => self.may(device, Action::CutHistory),
        }
    }

    /// The admins who must get the key of an epoch that begins with this state by `signer`: recovery devices, and those that `signer` does
    /// not outrank. Nobody can be sealed to whose `agree_key` is of low order.
    pub fn governing(&self, signer: DeviceId) -> impl Iterator<Item = &Admin> {
        let rank = self.role(signer).rank();
        self.admins.iter().filter(move |admin| {
            let governs = admin.recovery || (admin.role.rank() >= rank && !self.is_banned(admin.device()));
            governs && admin.keys.can_agree()
        })
    }

    fn outranks(&self, device: DeviceId, other: DeviceId) -> bool {
        !self.is_recovery(other) && self.role(device).rank() > self.role(other).rank()
    }
}
