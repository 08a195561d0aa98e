//! The state after an entry, from the state before: nothing but the table of ENCRYPTION.md section 6.

use snug_protocol::DeviceId;
use snug_protocol::http::Role;
use snug_protocol::limits::{ADMINS_MAX, BANNED_MAX, MUTED_MAX};

use super::ChainFault;
use super::action::Action;
use crate::crypto::{Admin, Cause, Muted, PublicKeys, RoomState, Step};

/// The state after `signer`'s step.
pub(super) fn after_step(before: &RoomState, signer: DeviceId, step: &Step) -> Result<RoomState, ChainFault> {
    if !step.is_in_bounds() {
        return Err(ChainFault::OutOfBounds);
    }
    if !before.may(signer, Action::of_step(step)) {
        return Err(ChainFault::NotAllowed);
    }
    let mut state = before.clone();
    match step {
        Step::Topic { topic } => state.topic.clone_from(topic),
        Step::Lock { locked } => state.locked = *locked,
        Step::Slow { interval_ms } => state.slow_ms = *interval_ms,
        Step::Mute { device, until_ms } => mute(&mut state, *device, *until_ms),
        Step::Unban { device } => state.banned.retain(|banned| banned != device),
        Step::Retention { age_ms } => state.retention_ms = *age_ms,
        Step::Role { keys, role, .. } => set_role(&mut state, *keys, *role),
        Step::Transfer { keys, .. } => {
            set_role(&mut state, *keys, Role::Owner);
            if let Some(admin) = before.admin(signer).filter(|admin| !admin.recovery) {
                set_role(&mut state, admin.keys, Role::Moderator);
            }
        }
        // What they do is done by the server and shown where it was; nothing of it holds on.
        Step::Erase { .. } | Step::Password { .. } => {}
    }
    checked(state)
}

/// The state that the record of `epoch` must have, if `signer` begins it for this cause at this time, with this recovery device in the
/// place of the one before, if any.
pub(super) fn after_cause(
    before: &RoomState,
    signer: DeviceId,
    (cause, recovery): (&Cause, Option<&PublicKeys>),
    epoch: u32,
    sent_at_ms: u64,
) -> Result<RoomState, ChainFault> {
    if !before.may_begin(signer, cause) {
        return Err(ChainFault::NotAllowed);
    }
    let mut state = before.clone();
    match cause {
        Cause::Remove { devices, ban } => {
            state.admins.retain(|admin| !devices.contains(&admin.device()));
            state.muted.retain(|muted| !devices.contains(&muted.device));
            if *ban {
                state.banned.extend(devices);
                state.banned.sort_unstable();
                state.banned.dedup();
            }
        }
        Cause::History => state.history_from = epoch,
        Cause::Rotate | Cause::Created => {}
    }
    state.muted.retain(|muted| muted.until_ms > sent_at_ms);
    if let Some(keys) = recovery {
        if !before.may(signer, Action::ReplaceRecovery) {
            return Err(ChainFault::NotAllowed);
        }
        // Who is removed was somebody, too, and who comes by the record finds nobody of those that it names.
        if matches!(cause, Cause::Remove { devices, .. } if devices.contains(&keys.id())) {
            return Err(ChainFault::OutOfBounds);
        }
        replace_recovery(&mut state, before, signer, *keys)?;
    }
    checked(state)
}

/// A recovery device is nobody who was anything in the room: not even the one that it replaces.
fn replace_recovery(
    state: &mut RoomState,
    before: &RoomState,
    signer: DeviceId,
    keys: PublicKeys,
) -> Result<(), ChainFault> {
    let device = keys.id();
    if before.admin(device).is_some() || state.is_banned(device) || state.muted_until_ms(device).is_some() {
        return Err(ChainFault::OutOfBounds);
    }
    state.admins.retain(|admin| !admin.recovery);
    state.admins.push(Admin { keys, role: Role::Owner, recovery: true });
    state.admins.sort_by_key(Admin::device);
    state.recovery_by = signer;
    Ok(())
}

fn mute(state: &mut RoomState, device: DeviceId, until_ms: u64) {
    state.muted.retain(|muted| muted.device != device);
    if until_ms > 0 {
        state.muted.push(Muted { device, until_ms });
        state.muted.sort_by_key(|muted| muted.device);
    }
}

fn set_role(state: &mut RoomState, keys: PublicKeys, role: Role) {
    let device = keys.id();
    state.admins.retain(|admin| admin.device() != device);
    if role != Role::Member {
        state.admins.push(Admin { keys, role, recovery: false });
        state.admins.sort_by_key(Admin::device);
    }
}

fn checked(state: RoomState) -> Result<RoomState, ChainFault> {
    if !state.has_an_owner() {
        return Err(ChainFault::LastOwner);
    }
    let short = state.admins.len() <= ADMINS_MAX && state.banned.len() <= BANNED_MAX && state.muted.len() <= MUTED_MAX;
    if short { Ok(state) } else { Err(ChainFault::OutOfBounds) }
}
