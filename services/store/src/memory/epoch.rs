//! Epochs in memory.

use std::collections::{BTreeMap, BTreeSet};

use snug_protocol::http::{MemberState, Role};
use snug_protocol::limits::{EPOCH_KEY_BYTES, EPOCH_KEYS_PAGE_MAX};
use snug_protocol::{DeviceId, EntryKind, EnvelopeHash, RoomId};

use super::chain::Place;
use super::{Log, Membership, Memory, now_ms};
use crate::rules::epoch::{judge_epoch, may_receive, retired};
use crate::rules::step::{Subject, admin_role};
use crate::{EpochBegun, EpochKeys, Grant, GrantKind, NewEpoch, StepError, StoreError};

impl Memory {
    pub fn stage_epoch_keys(
        &self,
        room: RoomId,
        author: DeviceId,
        epoch: u32,
        record: EnvelopeHash,
        keys: Vec<(DeviceId, [u8; EPOCH_KEY_BYTES])>,
    ) -> Result<(), StepError> {
        let mut state = self.open()?;
        if keys.len() > EPOCH_KEYS_PAGE_MAX {
            return Err(StepError::TooManyEntries);
        }
        let log = state.rooms.get_mut(&room).ok_or(StepError::NotAMember)?;
        admin_role(log.standing(author))?;
        if epoch != log.room.epoch.saturating_add(1) || log.is_in_force(record) {
            return Err(StepError::StaleEpoch { epoch: log.room.epoch });
        }
        keys.iter().try_for_each(|(device, _)| may_receive(log.subject(*device)))?;
        if let Some((before, _)) = log.stagings.insert(author, (record, now_ms()))
            && before != record
            && !log.is_in_force(before)
        {
            log.keys.remove(&before);
        }
        log.keys.entry(record).or_default().extend(keys);
        Ok(())
    }

    #[expect(clippy::needless_pass_by_value, reason = "the signature of every backend")]
    pub fn begin_epoch(&self, new: NewEpoch) -> Result<EpochBegun, StepError> {
        let mut state = self.open()?;
        let log = state.rooms.get_mut(&new.record.header().room).ok_or(StepError::NotAMember)?;
        let begun = match log.place(&new.record, EntryKind::EpochRecord, 1)? {
            Place::Known(appended) => return Ok(EpochBegun::before(appended)),
            Place::Next(role) => log.begin_epoch(&new, role)?,
        };
        if let Some((recovery, _)) = new.recovery {
            state.devices.entry(recovery.device).or_insert(recovery);
        }
        Ok(begun)
    }

    pub fn epoch_seals(
        &self,
        room: RoomId,
        epoch: u32,
        of: &[DeviceId],
    ) -> Result<Vec<(DeviceId, [u8; EPOCH_KEY_BYTES])>, StoreError> {
        let state = self.open()?;
        let keys = state.log(room).and_then(|log| log.keys.get(log.epochs.get(&epoch)?));
        Ok(of.iter().filter_map(|device| Some((*device, *keys?.get(device)?))).collect())
    }

    pub fn epoch_keys(&self, room: RoomId, epoch: u32, device: DeviceId) -> Result<EpochKeys, StoreError> {
        let state = self.open()?;
        let keys = state.log(room).and_then(|log| log.keys.get(log.epochs.get(&epoch)?));
        Ok(keys.map_or_else(EpochKeys::default, |keys| EpochKeys {
            recipients: keys.keys().copied().collect(),
            key: keys.get(&device).copied(),
        }))
    }
}

impl Log {
    fn is_in_force(&self, record: EnvelopeHash) -> bool {
        self.epochs.values().any(|begun| *begun == record)
    }

    fn begin_epoch(&mut self, new: &NewEpoch, role: Role) -> Result<EpochBegun, StepError> {
        let (header, record, now_ms) = (new.record.header(), new.record.hash(), now_ms());
        let subjects: BTreeMap<DeviceId, Subject> =
            self.members.iter().map(|(device, member)| (*device, Membership::subject(member))).collect();
        let keys: BTreeSet<DeviceId> = self.keys.get(&record).into_iter().flat_map(BTreeMap::keys).copied().collect();
        let excluded = judge_epoch(new, role, &subjects, &keys, now_ms)?;
        if self.grants.get(&new.grant).is_some_and(|grant| grant.kind == GrantKind::Password) {
            return Err(StepError::IdTaken);
        }
        let mut revoked: Vec<Grant> = self.invites(now_ms).collect();
        revoked.sort_by_key(|grant| std::cmp::Reverse((grant.created_at_ms, grant.grant)));
        self.grants.retain(|_, grant| grant.kind != GrantKind::Invite);
        self.replace_password(Grant {
            room: header.room,
            grant: new.grant,
            kind: GrantKind::Password,
            kdf: new.kdf,
            secret: new.secret.clone(),
            made_by: header.device,
            created_at_ms: now_ms,
            expires_at_ms: None,
            expired: false,
            uses: 0,
            uses_max: None,
        })?;
        for device in &new.remove {
            self.change(*device, |member| {
                let is_banned = new.ban || member.state == Some(MemberState::Banned);
                member.state = Some(if is_banned { MemberState::Banned } else { MemberState::Removed });
                member.role = Role::Member;
                member.muted_until_ms = 0;
            });
        }
        for device in &excluded {
            self.change(*device, |member| member.state = Some(MemberState::Left));
        }
        self.forget_silent();
        if let Some((recovery, key)) = new.recovery {
            for device in retired(&subjects) {
                self.change(device, |member| (member.retired, member.role) = (true, Role::Member));
            }
            self.members.insert(recovery.device, Membership::new(Role::Owner, None, now_ms));
            self.keys.entry(record).or_default().insert(recovery.device, key);
        }
        for member in self.members.values_mut() {
            member.steps = 0;
            if member.muted_until_ms <= new.sent_at_ms {
                member.muted_until_ms = 0;
            }
        }
        self.epochs.insert(header.epoch, record);
        self.room.epoch = header.epoch;
        self.room.access_version += 1;
        let appended = self.push(&new.record, now_ms);
        self.epoch_seq = appended.seq;
        Ok(EpochBegun { appended, revoked, excluded })
    }

    /// Of who was put out and never heard nothing is kept.
    fn forget_silent(&mut self) {
        let heard: BTreeSet<DeviceId> = self.senders.keys().map(|(device, _)| *device).collect();
        self.members.retain(|device, member| {
            let is_plain = member.role == Role::Member && member.muted_until_ms == 0;
            !is_plain || member.state != Some(MemberState::Left) || heard.contains(device)
        });
    }

    /// Forgets the keys staged up to `end_ms` for records that never came. Returns how many.
    pub(super) fn forget_stagings(&mut self, end_ms: u64) -> u64 {
        let old: Vec<EnvelopeHash> =
            self.stagings.extract_if(|_, (_, at_ms)| *at_ms <= end_ms).map(|(_, (record, _))| record).collect();
        let old = old.into_iter().filter(|record| !self.epochs.values().any(|begun| begun == record));
        old.filter_map(|record| self.keys.remove(&record)).map(|keys| keys.len() as u64).sum()
    }
}
