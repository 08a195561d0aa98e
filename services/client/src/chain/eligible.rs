//! To whom a new epoch's key may be sealed (ENCRYPTION.md section 5): never to whom the server merely lists.

use std::collections::{BTreeMap, BTreeSet};

use snug_protocol::DeviceId;

use crate::crypto::{Cause, EpochRecord, PublicKeys, RoomState};

/// What is known of a room's members before its key is replaced.
#[derive(Clone, Copy, Debug)]
pub struct Membership<'a> {
    /// The present members by the server's list, with the keys it shows.
    pub listed: &'a [(DeviceId, PublicKeys)],
    /// Whom the present epoch's key was sealed to, by the server's list. It counts only if it is the one that the record names.
    pub recipients: &'a [DeviceId],
    /// Devices of which a profile, sealed under the present epoch, opened and verified: see [`crate::crypto::profile_of`].
    pub introduced: &'a BTreeSet<DeviceId>,
}

/// Who gets a new epoch's key, and who does not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Eligible {
    /// The key is sealed to these, recovery devices included; in order of device id.
    pub sealed_to: Vec<(DeviceId, PublicKeys)>,
    /// Listed members that do not count and are not being removed: the server ends their membership, as it does with all others who get
    /// no key. In order.
    pub excluded: Vec<DeviceId>,
}

/// Sorts out whom the next epoch's key is sealed to. `present` is the record of the present epoch, `next` the state that the record of
/// the next one will have, which `signer` begins for this cause: with another recovery device, if one takes the place of the one there is.
///
/// Recovery devices and admins that the signer does not outrank are sealed to whatever the server says of them, by the keys that the chain has: so neither it
/// nor the signer can put them out. A device whose keys do not hash to its id, or to which nothing can be sealed, is excluded: it must not
/// hold up the others.
#[must_use]
pub fn eligible(
    present: &EpochRecord,
    next: &RoomState,
    signer: DeviceId,
    cause: &Cause,
    members: Membership<'_>,
) -> Eligible {
    let recipients = if present.names_recipients(members.recipients) { members.recipients } else { &[] };
    let removed: &[DeviceId] = match cause {
        Cause::Remove { devices, .. } => devices,
        Cause::Created | Cause::Rotate | Cause::History => &[],
    };
    let counts = |device: &DeviceId, keys: &PublicKeys| {
        (recipients.binary_search(device).is_ok() || members.introduced.contains(device))
            && !next.is_banned(*device)
            && keys.id() == *device
            && keys.can_agree()
    };
    let mut sealed_to: BTreeMap<DeviceId, PublicKeys> =
        next.governing(signer).map(|admin| (admin.device(), admin.keys)).collect();
    let mut excluded = BTreeSet::new();
    for (device, keys) in members.listed.iter().filter(|(device, _)| !removed.contains(device)) {
        if sealed_to.contains_key(device) {
            continue;
        }
        if counts(device, keys) {
            sealed_to.insert(*device, *keys);
        } else {
            excluded.insert(*device);
        }
    }
    Eligible { sealed_to: sealed_to.into_iter().collect(), excluded: excluded.into_iter().collect() }
}
