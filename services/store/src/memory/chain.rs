//! The room's chain in memory.

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::Role;
use snug_protocol::limits::HISTORY_PAGE_BYTES_MAX;
use snug_protocol::{DeviceId, EntryKind, Envelope, RoomId, Seq};

use super::{Log, Membership, Memory};
use crate::rules::step::{ChainEnd, Subject, admin_role, judge_place};
use crate::rules::{self, fitting};
use crate::{Appended, Page, StepError, StoreError};

/// What becomes of an envelope for the chain.
pub(super) enum Place {
    /// It was appended before.
    Known(Appended),
    /// It comes next; its author has this role.
    Next(Role),
}

impl Memory {
    pub fn chain(&self, room: RoomId, before: Option<Seq>, limit: usize) -> Result<Option<Page>, StoreError> {
        let is_chain = |entry: &EntryFrame| entry.kind().is_some_and(EntryKind::is_chain);
        Ok(self.open()?.log(room).map(|log| log.page_of(is_chain, before, limit)))
    }

    pub fn pins(&self, room: RoomId, limit: usize) -> Result<Option<Page>, StoreError> {
        let is_pin = |entry: &EntryFrame| entry.kind() == Some(EntryKind::Pin) && !entry.is_tombstone();
        Ok(self.open()?.log(room).map(|log| log.page_of(is_pin, None, limit)))
    }
}

impl Membership {
    pub(super) const fn subject(&self) -> Subject {
        Subject { standing: self.standing(), role: self.role, is_muted: self.muted_until_ms > 0 }
    }
}

impl Log {
    /// Decides on an envelope that is to be a chain entry of this kind. Its epoch is to be the room's, or `ahead` more.
    pub(super) fn place(&self, envelope: &Envelope, kind: EntryKind, ahead: u32) -> Result<Place, StepError> {
        let header = envelope.header();
        if header.kind != kind {
            return Err(StepError::EntryNotAccepted);
        }
        let next = self.next(header);
        if header.counter < next {
            return self.known(header).map(Place::Known).ok_or(StepError::Gone);
        }
        let role = admin_role(self.standing(header.device))?;
        let end = ChainEnd { epoch: self.room.epoch, chain: self.room.chain };
        judge_place(header, next, end, end.epoch.saturating_add(ahead))?;
        Ok(Place::Next(role))
    }

    pub(super) fn subject(&self, device: DeviceId) -> Option<Subject> {
        self.members.get(&device).map(Membership::subject)
    }

    /// A page of the newest entries that are `wanted`.
    fn page_of(&self, wanted: impl Fn(&EntryFrame) -> bool, before: Option<Seq>, limit: usize) -> Page {
        let end = rules::page_end(before, self.room.head);
        let found = self.entries.iter().rev().filter(|entry| entry.seq() <= end && wanted(entry));
        let newest_first: Vec<&EntryFrame> = found.take(limit).collect();
        let fit = fitting(newest_first.iter().map(|entry| (entry.bytes().len(), 0)), HISTORY_PAGE_BYTES_MAX);
        let entries = newest_first.into_iter().take(fit).rev().cloned().collect();
        Page::sparse(self.room.history, self.room.head, end, entries)
    }
}
