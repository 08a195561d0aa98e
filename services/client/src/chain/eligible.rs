//! To whom a new epoch's key may be sealed (ENCRYPTION.md section 5): never to whom the server merely lists.

use std::collections::BTreeSet;

use snug_protocol::DeviceId;

use crate::crypto::{Cause, EpochRecord, PublicKeys, RoomState};

/// What is known of a room's members before its key is replaced.
#[derive(Clone, Copy, Debug)]
pub struct Membership<'a> {
    /// The present members by the server's list, with the keys it shows.
    pub listed: &'a [(DeviceId, PublicKeys)],
    /// Whom the present epoch's key was sealed to, by the server's list.
    pub recipients: &'a [DeviceId],
    /// Devices of which a profile, sealed under the present epoch, opened and verified: see [`crate::crypto::profile_of`].
    pub introduced: &'a BTreeSet<DeviceId>,
}

/// Who gets a new epoch's key, and who does not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Eligible {
    /// The key is sealed to these, recovery devices included; in order of device id.
    pub sealed_to: Vec<(DeviceId, PublicKeys)>,
    /// Listed members that do not count and are not being removed: the server ends their membership. In order.
    pub excluded: Vec<DeviceId>,
}

impl Eligible {
    /// The same, with this recovery device in the place of those in `state`, if one is given.
    #[must_use]
    pub fn with_recovery(mut self, state: &RoomState, recovery: Option<PublicKeys>) -> Self {
        if let Some(keys) = recovery {
            self.sealed_to.retain(|(device, _)| !state.is_recovery(*device));
            self.sealed_to.push((keys.id(), keys));
            self.sealed_to.sort_by_key(|(device, _)| *device);
        }
        self
    }
}

/// The server's list of recipients is not the one that the present epoch's record names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the server shows other recipients than the record names")]
pub struct RecipientsRefused;

/// Sorts out whom the next epoch's key is sealed to. `present` is the record of the present epoch, `state` the state now.
///
/// A device whose keys do not hash to its id, or to which nothing can be sealed, is excluded: it must not hold up the others.
///
/// # Errors
/// The server's recipients are not the record's.
pub fn eligible(
    present: &EpochRecord,
    state: &RoomState,
    cause: &Cause,
    members: Membership<'_>,
) -> Result<Eligible, RecipientsRefused> {
    if !present.names_recipients(members.recipients) {
        return Err(RecipientsRefused);
    }
    let removed: &[DeviceId] = match cause {
        Cause::Remove { devices, .. } => devices,
        Cause::Created | Cause::Rotate | Cause::History => &[],
    };
    let counts = |device: &DeviceId, keys: &PublicKeys| {
        (members.recipients.binary_search(device).is_ok() || members.introduced.contains(device))
            && !state.is_banned(*device)
            && keys.id() == *device
            && keys.can_agree()
    };
    let mut eligible = Eligible::default();
    for (device, keys) in members.listed.iter().filter(|(device, _)| !removed.contains(device)) {
        if state.is_recovery(*device) {
            continue;
        }
        if counts(device, keys) {
            eligible.sealed_to.push((*device, *keys));
        } else {
            eligible.excluded.push(*device);
        }
    }
    let recovery = state.admins.iter().filter(|admin| admin.recovery).map(|admin| (admin.device(), admin.keys));
    eligible.sealed_to.extend(recovery);
    eligible.sealed_to.sort_by_key(|(device, _)| *device);
    eligible.sealed_to.dedup_by_key(|(device, _)| *device);
    eligible.excluded.sort_unstable();
    eligible.excluded.dedup();
    Ok(eligible)
}
