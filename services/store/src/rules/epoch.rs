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
/// for its record. Returns the members that are put out since they get no key and are not removed.
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
    let is_removed = |device: &DeviceId| new.remove.contains(device);
    if recipients_hash(keys.iter().copied()) != new.recipients || keys.iter().any(is_removed) {
        return Err(StepError::MembersChanged);
    }
    let mut excluded = Vec::new();
    for (device, subject) in subjects {
        if keys.contains(device) || is_removed(device) {
            continue;
        }
        match subject.standing {
            // Who governs cannot be put out by who governs no more than they do. The author is its own equal.
            Standing::Recovery => return Err(StepError::NotAllowed),
            Standing::Member(_) => {
                outranks(role, *subject)?;
                excluded.push(*device);
            }
            Standing::Left | Standing::Removed | Standing::Banned => {}
        }
    }
    Ok(excluded)
}

fn judge_removals(new: &NewEpoch, role: Role, subjects: &BTreeMap<DeviceId, Subject>) -> Result<(), StepError> {
    for device in &new.remove {
        let subject = subjects.get(device).filter(|subject| subject.standing != Standing::Recovery);
        outranks(role, *subject.ok_or(StepError::NotAllowed)?)?;
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

/// Whether a device may be sealed to: it is or was of the room. What it is at the time decides nothing, or who comes and goes could keep
/// an epoch from beginning.
///
/// # Errors
/// It never was.
pub(crate) fn may_receive(subject: Option<Subject>) -> Result<(), StepError> {
    if subject.is_some() { Ok(()) } else { Err(StepError::MembersChanged) }
}
