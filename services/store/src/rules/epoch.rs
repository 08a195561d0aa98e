//! Whether an epoch begins, and for whom.

use std::collections::{BTreeMap, BTreeSet};

use snug_protocol::http::Role;
use snug_protocol::limits::{BANNED_MAX, CLOCK_AHEAD_MAX, REMOVALS_MAX};
use snug_protocol::{DeviceId, recipients_hash};

use super::ms;
use super::step::{Subject, outranks};
use crate::{NewEpoch, Standing, StepError};

/// How long staged keys are kept.
pub(crate) const STAGED_KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Decides on an epoch's effects. `role` is its author's, `subjects` are all who are or were in the room, `keys` those that were staged
/// for its record; a new recovery device's comes with it. Returns the members that are put out since they get no key and are not removed.
///
/// # Errors
/// Why it does not begin.
pub(crate) fn judge_epoch(
    new: &NewEpoch,
    role: Role,
    subjects: &BTreeMap<DeviceId, Subject>,
    keys: &BTreeSet<DeviceId>,
    now_ms: u64,
) -> Result<Vec<DeviceId>, StepError> {
    if new.remove.len() > REMOVALS_MAX {
        return Err(StepError::TooManyEntries);
    }
    if new.sent_at_ms > now_ms.saturating_add(ms(CLOCK_AHEAD_MAX)) {
        return Err(StepError::ClockAhead { now_ms });
    }
    judge_removals(new, role, subjects)?;
    let retired = judge_recovery(new, role, subjects)?;
    // It could not enter by its own record.
    if retired.contains(&new.record.header().device) {
        return Err(StepError::NotAllowed);
    }
    let sealed_to = keys.iter().copied().chain(new.recovery.as_ref().map(|(recovery, _)| recovery.device));
    let is_removed = |device: &DeviceId| new.remove.contains(device);
    let is_to_get_none = |device: &DeviceId| is_removed(device) || retired.contains(device);
    if recipients_hash(sealed_to) != new.recipients || keys.iter().any(is_to_get_none) {
        return Err(StepError::MembersChanged);
    }
    let mut excluded = Vec::new();
    for (device, subject) in subjects {
        if keys.contains(device) || is_to_get_none(device) {
            continue;
        }
        match subject.standing {
            // Who governs cannot be put out by who governs no more than they do. The author is its own equal.
            Standing::Recovery => return Err(StepError::NotAllowed),
            Standing::Member(_) => {
                outranks(role, *subject)?;
                excluded.push(*device);
            }
            Standing::Left | Standing::Removed | Standing::Banned | Standing::Retired => {}
        }
    }
    Ok(excluded)
}

/// The recovery devices that the epoch puts another in the place of, and which get no key; none if it does not.
fn judge_recovery(
    new: &NewEpoch,
    role: Role,
    subjects: &BTreeMap<DeviceId, Subject>,
) -> Result<Vec<DeviceId>, StepError> {
    let Some((recovery, _)) = &new.recovery else { return Ok(Vec::new()) };
    if role != Role::Owner || subjects.contains_key(&recovery.device) {
        return Err(StepError::NotAllowed);
    }
    Ok(retired(subjects))
}

/// Those in the place of which an epoch puts another recovery device.
pub(crate) fn retired(subjects: &BTreeMap<DeviceId, Subject>) -> Vec<DeviceId> {
    let recovery = subjects.iter().filter(|(_, subject)| subject.standing == Standing::Recovery);
    recovery.map(|(device, _)| *device).collect()
}

fn judge_removals(new: &NewEpoch, role: Role, subjects: &BTreeMap<DeviceId, Subject>) -> Result<(), StepError> {
    for device in &new.remove {
        let is_somebody = |subject: &&Subject| !matches!(subject.standing, Standing::Recovery | Standing::Retired);
        outranks(role, *subjects.get(device).filter(is_somebody).ok_or(StepError::NotAllowed)?)?;
    }
    if new.ban {
        let before = subjects.iter().filter(|(_, subject)| subject.standing == Standing::Banned);
        let banned: BTreeSet<DeviceId> = before.map(|(device, _)| *device).chain(new.remove.iter().copied()).collect();
        if banned.len() > BANNED_MAX {
            return Err(StepError::TooManyEntries);
        }
    }
    Ok(())
}

/// Whether a device may be sealed to: it is or was of the room, and is no old recovery device, which never comes back. What else it is at
/// the time decides nothing, or who comes and goes could keep an epoch from beginning.
///
/// # Errors
/// It may not.
pub(crate) fn may_receive(subject: Option<Subject>) -> Result<(), StepError> {
    let may = subject.is_some_and(|subject| subject.standing != Standing::Retired);
    if may { Ok(()) } else { Err(StepError::MembersChanged) }
}
