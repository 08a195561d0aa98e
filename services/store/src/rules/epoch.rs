//! Whether an epoch begins, and for whom.

use std::collections::{BTreeMap, BTreeSet};

use snug_protocol::DeviceId;
use snug_protocol::http::Role;
use snug_protocol::limits::{BANNED_MAX, REMOVALS_MAX};

use super::step::{Subject, outranks};
use crate::{NewEpoch, Standing, StepError};

/// How long staged keys are kept.
pub(crate) const STAGED_KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Decides on an epoch's effects. `role` is its author's, `subjects` are all who are or were in the room, `keys` those that were staged
/// for its record.
///
/// # Errors
/// Why it does not begin.
pub(crate) fn judge_epoch(
    new: &NewEpoch,
    role: Role,
    subjects: &BTreeMap<DeviceId, Subject>,
    keys: &BTreeSet<DeviceId>,
) -> Result<(), StepError> {
    if new.remove.len() > REMOVALS_MAX {
        return Err(StepError::TooManyEntries);
    }
    judge_removals(new, role, subjects)?;
    let author = new.record.header().device;
    let mut gone: BTreeSet<DeviceId> = new.remove.iter().chain(&new.excluded).copied().collect();
    gone.extend(judge_recovery(new, role, subjects)?);
    if gone.contains(&author) {
        return Err(StepError::NotAllowed);
    }
    if !keys.is_disjoint(&gone) {
        return Err(StepError::MembersChanged);
    }
    let is_covered = subjects
        .iter()
        .filter(|(_, subject)| matches!(subject.standing, Standing::Member(_)))
        .all(|(device, _)| keys.contains(device) || gone.contains(device));
    let is_ours = |device: &DeviceId| {
        let standing = subjects.get(device).map(|subject| subject.standing);
        matches!(standing, Some(Standing::Member(_) | Standing::Recovery))
    };
    if !is_covered || !keys.iter().all(is_ours) || !new.excluded.iter().all(is_ours) {
        return Err(StepError::MembersChanged);
    }
    Ok(())
}

/// The recovery devices that the epoch puts another in the place of; none if it does not.
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
        let subject = *subjects.get(device).filter(is_somebody).ok_or(StepError::NotAllowed)?;
        outranks(role, subject)?;
        if !new.ban && !matches!(subject.standing, Standing::Member(_)) {
            return Err(StepError::MembersChanged);
        }
    }
    if new.excluded.iter().any(|device| subjects.get(device).is_some_and(|one| one.standing == Standing::Recovery)) {
        return Err(StepError::NotAllowed);
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
