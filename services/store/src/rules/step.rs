//! Who may do what to whom by a step (ENCRYPTION.md section 6).

use snug_protocol::http::Role;
use snug_protocol::limits::{ADMINS_MAX, MUTED_MAX, STEPS_PER_EPOCH_MAX};
use snug_protocol::{DeviceId, Header, Seq};

use crate::{Standing, StepEffect, StepError};

/// A device in a room, as far as steps and epochs look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub standing: Standing,
    /// The present one, or the one it left with.
    pub role: Role,
    pub is_muted: bool,
}

/// What of a room decides on its next chain entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainEnd {
    pub epoch: u32,
    pub chain: Seq,
}

/// What is counted in a room before a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Owners that are members now.
    pub owners: u64,
    /// Devices with a higher role than member, the recovery device and those who left included.
    pub admins: u64,
    pub muted: u64,
}

/// The role that the author of a chain entry may use.
///
/// # Errors
/// It is no admin now.
pub(crate) fn admin_role(standing: Option<Standing>) -> Result<Role, StepError> {
    match standing {
        Some(Standing::Removed) => Err(StepError::Removed),
        Some(Standing::Banned) => Err(StepError::Banned),
        Some(Standing::Left | Standing::Retired) | None => Err(StepError::NotAMember),
        Some(Standing::Recovery) => Ok(Role::Owner),
        Some(Standing::Member(Role::Member)) => Err(StepError::NotAllowed),
        Some(Standing::Member(role)) => Ok(role),
    }
}

/// Decides whether an envelope comes next in the chain, `next` being its instance's next counter; its epoch must be `epoch`. Duplicates
/// and the author have been looked at.
///
/// # Errors
/// Why it does not.
pub(crate) fn judge_place(header: &Header, next: u64, end: ChainEnd, epoch: u32) -> Result<(), StepError> {
    if header.counter > next {
        return Err(StepError::OutOfOrder { expected: next });
    }
    if header.counter > 0 {
        return Err(StepError::EntryNotAccepted);
    }
    // The chain first: who was overtaken by an epoch is told to look again, and not to seal the same under another key.
    if header.target != end.chain {
        return Err(StepError::ChainMoved { chain: end.chain });
    }
    if header.epoch != epoch {
        return Err(StepError::StaleEpoch { epoch: end.epoch });
    }
    Ok(())
}

/// The least role whose holder may take a step of this effect.
const fn least_role(effect: &StepEffect) -> Role {
    match effect {
        StepEffect::None
        | StepEffect::Lock { .. }
        | StepEffect::Slow { .. }
        | StepEffect::Mute { .. }
        | StepEffect::Erase { .. }
        | StepEffect::Unban { .. } => Role::Moderator,
        StepEffect::Role { .. }
        | StepEffect::Transfer { .. }
        | StepEffect::Retention { .. }
        | StepEffect::Password { .. } => Role::Owner,
    }
}

/// The device that an effect is about.
pub(crate) const fn subject_of(effect: &StepEffect) -> Option<DeviceId> {
    match effect {
        StepEffect::Role { device, .. }
        | StepEffect::Transfer { device }
        | StepEffect::Mute { device, .. }
        | StepEffect::Erase { device }
        | StepEffect::Unban { device } => Some(*device),
        StepEffect::None
        | StepEffect::Lock { .. }
        | StepEffect::Slow { .. }
        | StepEffect::Retention { .. }
        | StepEffect::Password { .. } => None,
    }
}

/// Decides on a step by its effect. `author` has the role `role`; `subject` is what is known of [`subject_of`] the effect.
///
/// # Errors
/// Why it is not taken.
pub(crate) fn judge_effect(
    author: DeviceId,
    role: Role,
    effect: &StepEffect,
    subject: Option<Subject>,
    counts: Counts,
) -> Result<(), StepError> {
    if least_role(effect).outranks(role) {
        return Err(StepError::NotAllowed);
    }
    if subject_of(effect).is_none() {
        return Ok(());
    }
    // Nobody acts on a recovery device, the present one or an old one, nor on one that was never here.
    let is_somebody = |subject: &Subject| !matches!(subject.standing, Standing::Recovery | Standing::Retired);
    let subject = subject.filter(is_somebody).ok_or(StepError::NotAllowed)?;
    let is_present = matches!(subject.standing, Standing::Member(_));
    match effect {
        StepEffect::Role { role: new, .. } => {
            if *new != Role::Member && matches!(subject.standing, Standing::Removed | Standing::Banned) {
                return Err(StepError::NotAllowed);
            }
            if is_present && subject.role == Role::Owner && *new != Role::Owner && counts.owners <= 1 {
                return Err(StepError::LastOwner);
            }
            more(counts.admins, subject.role == Role::Member && *new != Role::Member, ADMINS_MAX)
        }
        StepEffect::Transfer { device } => {
            if !is_present || *device == author {
                return Err(StepError::NotAllowed);
            }
            more(counts.admins, subject.role == Role::Member, ADMINS_MAX)
        }
        StepEffect::Mute { until_ms, .. } => {
            outranks(role, subject)?;
            more(counts.muted, *until_ms > 0 && !subject.is_muted, MUTED_MAX)
        }
        StepEffect::Erase { .. } => outranks(role, subject),
        _ => Ok(()),
    }
}

/// Decides by how many steps their author took in this epoch whether it may take one more. Each has a number of its own, or one admin could
/// keep all others from acting.
///
/// # Errors
/// It may not.
pub(crate) const fn judge_steps(steps: u64) -> Result<(), StepError> {
    if steps < STEPS_PER_EPOCH_MAX { Ok(()) } else { Err(StepError::TooManySteps) }
}

/// # Errors
/// One more would be too many.
fn more(count: u64, is_one_more: bool, max: usize) -> Result<(), StepError> {
    if is_one_more && count >= max as u64 { Err(StepError::TooManyEntries) } else { Ok(()) }
}

/// # Errors
/// `role` is not above the subject's.
pub(crate) fn outranks(role: Role, subject: Subject) -> Result<(), StepError> {
    if role.outranks(subject.role) { Ok(()) } else { Err(StepError::NotAllowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHOR: DeviceId = DeviceId([1; 16]);
    const OTHER: DeviceId = DeviceId([2; 16]);
    const ROLES: [Role; 3] = [Role::Owner, Role::Moderator, Role::Member];

    fn subject(role: Role) -> Subject {
        Subject { standing: Standing::Member(role), role, is_muted: false }
    }

    fn ok(role: Role, effect: &StepEffect, subject: Option<Subject>, counts: Counts) -> bool {
        judge_effect(AUTHOR, role, effect, subject, counts).is_ok()
    }

    #[test]
    fn who_mutes_or_erases_has_the_higher_role() {
        for (role, other) in ROLES.into_iter().flat_map(|role| ROLES.map(|other| (role, other))) {
            for effect in [StepEffect::Mute { device: OTHER, until_ms: 1 }, StepEffect::Erase { device: OTHER }] {
                let may = role != Role::Member && role.rank() > other.rank();
                assert_eq!(ok(role, &effect, Some(subject(other)), Counts::default()), may, "{role:?} {other:?}");
            }
        }
    }

    #[test]
    fn nobody_acts_on_a_recovery_device_or_a_stranger() {
        let recovery = Subject { standing: Standing::Recovery, role: Role::Owner, is_muted: false };
        let retired = Subject { standing: Standing::Retired, ..recovery };
        for subject in [Some(recovery), Some(retired), None] {
            for effect in [
                StepEffect::Role { device: OTHER, role: Role::Member },
                StepEffect::Transfer { device: OTHER },
                StepEffect::Mute { device: OTHER, until_ms: 1 },
                StepEffect::Erase { device: OTHER },
                StepEffect::Unban { device: OTHER },
            ] {
                assert!(!ok(Role::Owner, &effect, subject, Counts { owners: 9, ..Counts::default() }), "{effect:?}");
            }
        }
    }

    #[test]
    fn only_owners_give_roles_and_never_demote_the_last_one() {
        let one = Counts { owners: 1, admins: 2, muted: 0 };
        let demote = StepEffect::Role { device: OTHER, role: Role::Moderator };
        let error = judge_effect(AUTHOR, Role::Owner, &demote, Some(subject(Role::Owner)), one);
        assert!(matches!(error, Err(StepError::LastOwner)), "{error:?}");
        assert!(ok(Role::Owner, &demote, Some(subject(Role::Owner)), Counts { owners: 2, ..one }));
        assert!(!ok(Role::Moderator, &demote, Some(subject(Role::Member)), one));
        let full = Counts { admins: ADMINS_MAX as u64, ..one };
        let error = judge_effect(AUTHOR, Role::Owner, &demote, Some(subject(Role::Member)), full);
        assert!(matches!(error, Err(StepError::TooManyEntries)), "{error:?}");
        assert!(ok(Role::Owner, &demote, Some(subject(Role::Moderator)), full), "an admin more it is not");
    }

    #[test]
    fn lifting_a_mute_is_never_one_too_many() {
        let full = Counts { muted: MUTED_MAX as u64, ..Counts::default() };
        let mute = |until_ms| StepEffect::Mute { device: OTHER, until_ms };
        assert!(!ok(Role::Owner, &mute(5), Some(subject(Role::Member)), full));
        assert!(ok(Role::Owner, &mute(0), Some(subject(Role::Member)), full));
        let muted = Subject { is_muted: true, ..subject(Role::Member) };
        assert!(ok(Role::Owner, &mute(9), Some(muted), full));
    }
}
