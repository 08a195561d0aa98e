//! The chain: who governs a room, folded from its epoch records and steps (ENCRYPTION.md section 6).
//!
//! Pure: entries come opened and verified ([`crate::crypto`]), in order of their places. What the server says of roles, bans or locks is
//! display at most; what [`Chain::state`] says holds.

mod action;
mod eligible;
#[cfg(test)]
mod epochs;
mod fault;
mod fold;
#[cfg(test)]
mod model;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use snug_protocol::http::Role;
use snug_protocol::{DeviceId, EnvelopeHash, Header, Seq};

pub use crate::crypto::{Admin, Muted, RoomState};
use crate::crypto::{Body, Cause, ChainPlace, EpochRecord, Opened, Prev, PublicKeys, Step};
pub use action::Action;
pub use eligible::{Eligible, Membership, eligible};
pub use fault::ChainFault;

/// Changes of roles that are remembered; the oldest are forgotten first, and what was deleted before them can no longer be judged.
pub const ROLE_CHANGES_MAX: usize = 1_000;

/// An entry of the chain at its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainEntry {
    /// Its place in the room's log.
    pub seq: Seq,
    /// Its envelope's hash.
    pub hash: EnvelopeHash,
    /// Its header; authenticated only if it opened.
    pub header: Header,
    /// What it says; `None` if it cannot be opened or does not verify, and never will: a record whose key is still being fetched must
    /// wait.
    pub opened: Option<Opened>,
}

/// What an accepted entry did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Who signed it.
    pub signer: DeviceId,
    /// The signer's role before it.
    pub role: Role,
}

/// A room's chain, folded up to its newest entry.
#[derive(Clone, Debug)]
pub struct Chain {
    base: ChainEntry,
    newest: ChainPlace,
    /// The newest accepted record's.
    epoch: u32,
    record: EnvelopeHash,
    /// The epoch of the newest record that took its place, accepted or not.
    claimed: u32,
    state: RoomState,
    /// Who governed after the entry at a place, oldest first; only where it changed.
    admins: VecDeque<(Seq, Vec<Admin>)>,
}

impl Chain {
    /// Begins with a room's first entry.
    ///
    /// # Errors
    /// It is no founding record, or not a well-formed one.
    pub fn found(entry: ChainEntry) -> Result<Self, ChainFault> {
        if entry.seq != Seq(1) || entry.header.epoch != 0 { Err(ChainFault::Unlinked) } else { Self::adopt(entry) }
    }

    /// Begins with a later record that is trusted for another reason: a grant names its hash, or the chain after it does.
    ///
    /// # Errors
    /// It is no record, contradicts itself, or its signer has no role in its own state that could have made it.
    pub fn adopt(entry: ChainEntry) -> Result<Self, ChainFault> {
        let opened = entry.opened.as_ref().ok_or(ChainFault::Unreadable)?;
        let Body::EpochRecord(record) = &opened.body else { return Err(ChainFault::Unlinked) };
        if entry.header.epoch != record.epoch || (record.epoch == 0) != (entry.seq == Seq(1)) {
            return Err(ChainFault::Epoch);
        }
        if !record.is_in_bounds() || entry.header.counter != 0 {
            return Err(ChainFault::OutOfBounds);
        }
        if !has_seen(opened, record.epoch) {
            return Err(ChainFault::Unlinked);
        }
        check_adopted(record, opened)?;
        let (epoch, state) = (record.epoch, record.state.clone());
        Ok(Self {
            newest: ChainPlace { seq: entry.seq, hash: entry.hash },
            epoch,
            record: entry.hash,
            claimed: epoch,
            admins: VecDeque::from([(entry.seq, state.admins.clone())]),
            state,
            base: entry,
        })
    }

    /// Folds the next entry of the chain.
    ///
    /// An entry whose target is the newest chain entry takes its place whatever else is wrong with it: the server, which cannot read
    /// it, asks the next one to name it, and one bad entry must not end a room's administration.
    ///
    /// # Errors
    /// Why it changes nothing: a violation. Known entries, at or before the newest place, are `unlinked`.
    pub fn apply(&mut self, entry: &ChainEntry) -> Result<Applied, ChainFault> {
        let names_newest = entry.header.kind.is_chain() && entry.header.target == self.newest.seq;
        if !names_newest || entry.seq <= self.newest.seq {
            return Err(ChainFault::Unlinked);
        }
        let before = self.newest;
        self.newest = ChainPlace { seq: entry.seq, hash: entry.hash };
        let after = self.judge(before, entry);
        if entry.header.kind == snug_protocol::EntryKind::EpochRecord
            && Some(entry.header.epoch) == self.claimed.checked_add(1)
        {
            self.claimed = entry.header.epoch;
        }
        let after = after?;
        let signer = entry.header.device;
        let applied = Applied { signer, role: self.state.role(signer) };
        if entry.header.kind == snug_protocol::EntryKind::EpochRecord {
            (self.epoch, self.record) = (entry.header.epoch, entry.hash);
        }
        if after.admins != self.state.admins {
            self.admins.push_back((entry.seq, after.admins.clone()));
            if self.admins.len() > ROLE_CHANGES_MAX {
                self.admins.pop_front();
            }
        }
        self.state = after;
        Ok(applied)
    }

    /// The state after the entry, if it may be.
    fn judge(&self, before: ChainPlace, entry: &ChainEntry) -> Result<RoomState, ChainFault> {
        let opened = entry.opened.as_ref().ok_or(ChainFault::Unreadable)?;
        let signer = opened.header.device;
        let previous = match &opened.body {
            Body::EpochRecord(record) => record.previous,
            Body::Step(body) => Some(body.previous),
            _ => None,
        };
        if opened.header != entry.header || previous != Some(before.hash) {
            return Err(ChainFault::Unlinked);
        }
        if entry.header.counter != 0 {
            return Err(ChainFault::OutOfBounds);
        }
        match &opened.body {
            Body::Step(_) if entry.header.epoch != self.epoch || self.claimed != self.epoch => Err(ChainFault::Epoch),
            Body::Step(body) => fold::after_step(&self.state, signer, &body.step),
            Body::EpochRecord(record) => self.judge_record(record, opened),
            _ => Err(ChainFault::Unlinked),
        }
    }

    fn judge_record(&self, record: &EpochRecord, opened: &Opened) -> Result<RoomState, ChainFault> {
        if opened.header.epoch != record.epoch || Some(record.epoch) != self.claimed.checked_add(1) {
            return Err(ChainFault::Epoch);
        }
        if !record.is_in_bounds() {
            return Err(ChainFault::OutOfBounds);
        }
        if !has_seen(opened, record.epoch) {
            return Err(ChainFault::Unlinked);
        }
        let (signer, recovery) = (opened.header.device, record.recovery.as_ref());
        let state = self.next_state_with(signer, &record.cause, recovery, opened.sent_at_ms)?;
        if state == record.state { Ok(state) } else { Err(ChainFault::State) }
    }

    /// Reads back: takes the entries of the chain from an older record up to the first one known here, which must follow from them.
    /// Returns what was wrong with single ones.
    ///
    /// # Errors
    /// They do not begin with a record, or the first entry known here does not follow from them; then nothing has changed. If both
    /// are the server's word, this is a violation.
    pub fn prepend(&mut self, older: &[ChainEntry]) -> Result<Vec<(Seq, ChainFault)>, ChainFault> {
        let (first, rest) = older.split_first().ok_or(ChainFault::Unlinked)?;
        let mut longer = Self::adopt(first.clone())?;
        let faults = rest.iter().filter_map(|entry| Some((entry.seq, longer.apply(entry).err()?))).collect();
        longer.apply(&self.base)?;
        // Where changes have been forgotten, older ones would seem to last until the next one known.
        if self.admins.front().is_some_and(|(seq, _)| *seq == self.base.seq) {
            longer.admins.retain(|(seq, _)| *seq < self.base.seq);
            longer.admins.append(&mut self.admins);
            while longer.admins.len() > ROLE_CHANGES_MAX {
                longer.admins.pop_front();
            }
            self.admins = longer.admins;
        }
        self.base = longer.base;
        Ok(faults)
    }

    /// What holds now.
    #[must_use]
    pub const fn state(&self) -> &RoomState {
        &self.state
    }

    /// The newest chain entry, which the next one names.
    #[must_use]
    pub const fn newest(&self) -> ChainPlace {
        self.newest
    }

    /// Where the chain begins here; more of it can be prepended while this is not 1.
    #[must_use]
    pub const fn begins_at(&self) -> Seq {
        self.base.seq
    }

    /// The room's epoch and its record's hash, as clients pin them.
    #[must_use]
    pub const fn pin(&self) -> (u32, EnvelopeHash) {
        (self.epoch, self.record)
    }

    /// The epoch that the next record begins. It is beyond the one after [`Chain::pin`] where a record was refused.
    #[must_use]
    pub const fn next_epoch(&self) -> u32 {
        self.claimed.saturating_add(1)
    }

    /// Whether the device may do this now.
    #[must_use]
    pub fn may(&self, device: DeviceId, action: Action) -> bool {
        self.state.may(device, action)
    }

    /// The device's role when the entry at `seq` was made: after all chain entries before it. `None` where that is not known here.
    #[must_use]
    pub fn role_at(&self, device: DeviceId, seq: Seq) -> Option<Role> {
        Some(self.governed_at(seq)?.role(device))
    }

    /// Whether a deletion at `seq` by `device` of a message by `author` counts. `None` where that is not known here.
    #[must_use]
    pub fn may_delete_at(&self, device: DeviceId, author: DeviceId, seq: Seq) -> Option<bool> {
        if device == author {
            return Some(true);
        }
        Some(self.governed_at(seq)?.may(device, Action::Delete(author)))
    }

    /// A state with the admins before `seq` and nothing else.
    fn governed_at(&self, seq: Seq) -> Option<RoomState> {
        let at = self.admins.partition_point(|(from, _)| *from < seq).checked_sub(1)?;
        Some(RoomState { admins: self.admins[at].1.clone(), ..RoomState::default() })
    }

    /// Where `signer` may put this step: seal it there ([`crate::crypto::seal_step`]).
    ///
    /// # Errors
    /// Why it may not be.
    pub fn next_step(&self, signer: DeviceId, step: &Step) -> Result<ChainPlace, ChainFault> {
        if self.claimed != self.epoch {
            return Err(ChainFault::Epoch);
        }
        fold::after_step(&self.state, signer, step).map(|_| self.newest)
    }

    /// The state of the record by which `signer` begins the next epoch ([`crate::crypto::next_record`]); `sent_at_ms` is the record's.
    ///
    /// # Errors
    /// Why it may not be. After a refused record only the cause `history` is left, since nobody need know the key between.
    pub fn next_state(&self, signer: DeviceId, cause: &Cause, sent_at_ms: u64) -> Result<RoomState, ChainFault> {
        self.next_state_with(signer, cause, None, sent_at_ms)
    }

    /// As [`Chain::next_state`], with another recovery device in the place of the one there is, if one is given.
    ///
    /// # Errors
    /// Why it may not be.
    pub fn next_state_with(
        &self,
        signer: DeviceId,
        cause: &Cause,
        recovery: Option<&PublicKeys>,
        sent_at_ms: u64,
    ) -> Result<RoomState, ChainFault> {
        if self.claimed != self.epoch && *cause != Cause::History {
            return Err(ChainFault::Epoch);
        }
        fold::after_cause(&self.state, signer, (cause, recovery), self.next_epoch(), sent_at_ms)
    }
}

/// Whether a record's signer had seen the room, which none had who founded it.
fn has_seen(opened: &Opened, epoch: u32) -> bool {
    if epoch == 0 { opened.prev == Prev::default() } else { opened.prev.seq != Seq::ZERO }
}

/// What a record must show of itself where the state before it is not known.
fn check_adopted(record: &EpochRecord, opened: &Opened) -> Result<(), ChainFault> {
    let (state, signer) = (&record.state, opened.header.device);
    let allowed = match &record.cause {
        Cause::Created => state.admin(signer).is_some_and(|admin| !admin.recovery),
        // The devices are gone from the state, so that they count as members there.
        cause => state.may_begin(signer, cause),
    };
    if !allowed || (record.recovery.is_some() && !state.may(signer, Action::ReplaceRecovery)) {
        return Err(ChainFault::NotAllowed);
    }
    let follows = match &record.cause {
        Cause::Created => is_founding(state),
        Cause::Remove { devices, ban } => devices.iter().all(|device| {
            state.admin(*device).is_none()
                && state.muted_until_ms(*device).is_none()
                && (!ban || state.is_banned(*device))
        }),
        Cause::Rotate | Cause::History => true,
    };
    let pruned = state.muted.iter().all(|muted| muted.until_ms > opened.sent_at_ms);
    let renewed = record.recovery.is_none_or(|keys| {
        let mut recovery = state.admins.iter().filter(|admin| admin.recovery);
        let is_nobody = !state.is_banned(keys.id()) && state.muted_until_ms(keys.id()).is_none();
        state.recovery_by == signer
            && recovery.all(|admin| admin.keys == keys)
            && state.is_recovery(keys.id())
            && is_nobody
    });
    if follows && pruned && renewed { Ok(()) } else { Err(ChainFault::State) }
}

/// Whether a state is that of a new room: its creator, its recovery device, and nothing else.
fn is_founding(state: &RoomState) -> bool {
    let keys = |recovery| state.admins.iter().find(|admin| admin.recovery == recovery).map(|admin| admin.keys);
    match (keys(false), keys(true)) {
        (Some(creator), Some(recovery)) => *state == RoomState::founding(&creator, &recovery),
        _ => false,
    }
}
