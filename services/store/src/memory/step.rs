//! Steps in memory.

use snug_protocol::http::{MemberState, Role};
use snug_protocol::{DeviceId, EntryKind, Header, Seq};

use super::chain::Place;
use super::{Log, Membership, Memory, now_ms};
use crate::rules::step::{Counts, judge_effect, judge_steps, subject_of};
use crate::{Appended, Grant, GrantKind, NewStep, StepEffect, StepError};

impl Memory {
    pub fn administer(&self, step: NewStep) -> Result<Appended, StepError> {
        let mut state = self.open()?;
        let header = *step.envelope.header();
        let log = state.rooms.get_mut(&header.room).ok_or(StepError::NotAMember)?;
        let role = match log.place(&step.envelope, EntryKind::Step, 0)? {
            Place::Known(appended) => return Ok(appended),
            Place::Next(role) => role,
        };
        let subject = subject_of(&step.effect).and_then(|device| log.subject(device));
        judge_effect(header.device, role, &step.effect, subject, log.counts())?;
        judge_steps(log.members.get(&header.device).map_or(0, |author| author.steps))?;
        let now_ms = now_ms();
        log.apply(&header, step.effect, now_ms)?;
        log.change(header.device, |author| author.steps += 1);
        Ok(log.push(&step.envelope, now_ms))
    }
}

impl Log {
    fn counts(&self) -> Counts {
        let count = |is: fn(&Membership) -> bool| self.members.values().filter(|member| is(member)).count() as u64;
        Counts {
            owners: count(|member| member.is_present() && member.role == Role::Owner),
            admins: count(|member| member.role != Role::Member),
            muted: count(|member| member.muted_until_ms > 0),
        }
    }

    fn apply(&mut self, header: &Header, effect: StepEffect, now_ms: u64) -> Result<(), StepError> {
        match effect {
            StepEffect::None => {}
            StepEffect::Role { device, role } => self.change(device, |member| member.role = role),
            StepEffect::Transfer { device } => {
                self.change(device, |member| member.role = Role::Owner);
                self.change(header.device, |member| {
                    if member.is_present() {
                        member.role = Role::Moderator;
                    }
                });
            }
            StepEffect::Lock { locked } => self.room.locked = locked,
            StepEffect::Slow { interval_ms } => self.slow_ms = interval_ms,
            StepEffect::Retention { age_ms } => self.retention_ms = age_ms,
            StepEffect::Mute { device, until_ms } => self.change(device, |member| member.muted_until_ms = until_ms),
            StepEffect::Erase { device } => {
                let kinds = [EntryKind::Message, EntryKind::Edit, EntryKind::Reaction];
                self.erase_where(&kinds, |_, header| header.device == device);
            }
            StepEffect::Unban { device } => self.change(device, |member| {
                if member.state == Some(MemberState::Banned) {
                    member.state = Some(MemberState::Removed);
                }
            }),
            StepEffect::Password { grant, kdf, secret } => {
                let grant = Grant {
                    room: header.room,
                    grant,
                    kind: GrantKind::Password,
                    kdf,
                    secret,
                    made_by: header.device,
                    created_at_ms: now_ms,
                    expires_at_ms: None,
                    expired: false,
                    uses: 0,
                    uses_max: None,
                };
                self.replace_password(grant)?;
            }
        }
        Ok(())
    }

    pub(super) fn change(&mut self, device: DeviceId, change: impl FnOnce(&mut Membership)) {
        if let Some(member) = self.members.get_mut(&device) {
            change(member);
        }
    }

    /// Puts a password in place of the room's.
    pub(super) fn replace_password(&mut self, new: Grant) -> Result<(), StepError> {
        if self.grants.contains_key(&new.grant) {
            return Err(StepError::IdTaken);
        }
        self.grants.retain(|_, grant| grant.kind != GrantKind::Password);
        self.grants.insert(new.grant, new);
        Ok(())
    }

    /// Erases what is older than the room keeps it. An entry is as old as any after it. Returns how many entries.
    pub(super) fn erase_by_age(&mut self, now_ms: u64) -> u64 {
        let oldest_ms = now_ms.saturating_sub(self.retention_ms);
        if self.retention_ms == 0 {
            return 0;
        }
        let newest_old = self.entries.iter().rev().find(|entry| entry.at_ms() < oldest_ms);
        let end = newest_old.map_or(Seq::ZERO, |entry| entry.seq());
        let kinds = [EntryKind::Message, EntryKind::Edit, EntryKind::Reaction, EntryKind::Pin];
        self.erase_where(&kinds, |entry, _| entry.seq() <= end)
    }
}
