//! What an operator asks for, of a store in memory.

use snug_protocol::{HistoryId, RoomId, Seq};

use super::{Membership, Memory};
use crate::{RoomSummary, SignIn, StoreError};

/// The first `limit` after `after`, in order.
fn page<T: Ord + Copy, V>(all: impl Iterator<Item = (T, V)>, after: Option<T>, limit: usize) -> Vec<V> {
    let mut later: Vec<(T, V)> = all.filter(|(key, _)| after.is_none_or(|after| *key > after)).collect();
    later.sort_unstable_by_key(|(key, _)| *key);
    later.into_iter().take(limit).map(|(_, value)| value).collect()
}

impl Memory {
    pub fn room_summaries(&self, after: Option<RoomId>, limit: usize) -> Result<Vec<RoomSummary>, StoreError> {
        let state = self.open()?;
        let summaries = state.rooms.values().map(|log| {
            let summary = RoomSummary {
                room: log.room.room,
                head: log.room.head,
                members: log.members.values().filter(|member| Membership::is_present(member)).count() as u64,
                created_at_ms: log.room.created_at_ms,
                active_at_ms: log.entry(log.room.head).map_or(log.room.created_at_ms, |entry| entry.at_ms()),
            };
            (log.room.room, summary)
        });
        Ok(page(summaries, after, limit))
    }

    pub fn bytes_between(&self, room: RoomId, after: Seq, until: Seq) -> Result<u64, StoreError> {
        let state = self.open()?;
        let entries = state.log(room).map_or(&[][..], |log| &log.entries);
        let counted = entries.iter().filter(|entry| entry.seq() > after && entry.seq() <= until);
        Ok(counted.map(|entry| entry.envelope_bytes().len() as u64).sum())
    }

    pub fn histories(&self, after: Option<RoomId>, limit: usize) -> Result<Vec<(RoomId, HistoryId)>, StoreError> {
        let state = self.open()?;
        Ok(page(state.rooms.values().map(|log| (log.room.room, (log.room.room, log.room.history))), after, limit))
    }

    pub fn sign_ins(&self, after: Option<[u8; 32]>, limit: usize) -> Result<Vec<SignIn>, StoreError> {
        let state = self.open()?;
        let sign_ins = state.tokens.iter().map(|(hash, (device, ends))| {
            let used_at_ms = ends.expires_at_ms.saturating_sub(ends.idle_ms);
            let (expires_at_ms, ends_at_ms) = (ends.expires_at_ms, ends.ends_at_ms);
            (*hash, SignIn { hash: *hash, device: *device, used_at_ms, expires_at_ms, ends_at_ms })
        });
        Ok(page(sign_ins, after, limit))
    }

    /// Removes all tokens; returns how many there were.
    pub fn remove_tokens(&self) -> Result<u64, StoreError> {
        let mut state = self.open()?;
        Ok(std::mem::take(&mut state.tokens).len() as u64)
    }

    pub fn raise_access_version(&self, room: RoomId) -> Result<(), StoreError> {
        if let Some(log) = self.open()?.rooms.get_mut(&room) {
            log.room.access_version += 1;
        }
        Ok(())
    }

    /// There is one process, whose turn it always is.
    pub fn takes_turn(&self) -> Result<bool, StoreError> {
        self.open().map(|_| true)
    }
}
