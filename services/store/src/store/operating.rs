//! What an operator asks for and does from a process beside the nodes, and chores that one node does for all.

use std::time::Duration;

use snug_protocol::{RoomId, Seq};

use super::{Backend, Store, on, through};
use crate::{RoomSummary, SignIn, StoreError};

/// Rooms or tokens asked for at a time.
const PAGE_ROWS: usize = 200;
/// Entries measured at a time.
const MEASURED_ENTRIES: u64 = 10_000;

impl Store {
    /// At most `limit` rooms after `after`, by id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn room_summaries(&self, after: Option<RoomId>, limit: usize) -> Result<Vec<RoomSummary>, StoreError> {
        on!(self, backend => backend.room_summaries(after, limit))
    }

    /// How many bytes a room's envelopes have up to `head`, headers of erased ones included. Reads on where others write; not one snapshot.
    ///
    /// # Errors
    /// The store failed.
    pub async fn room_bytes(&self, room: RoomId, head: Seq) -> Result<u64, StoreError> {
        let (mut bytes, mut after) = (0, Seq::ZERO);
        while after < head {
            let until = Seq(after.0.saturating_add(MEASURED_ENTRIES)).min(head);
            bytes += on!(self, backend => backend.bytes_between(room, after, until))?;
            after = until;
        }
        Ok(bytes)
    }

    /// At most `limit` access tokens after the one with the hash `after`, by hash; expired ones too, as long as they are kept.
    ///
    /// # Errors
    /// The store failed.
    pub async fn sign_ins(&self, after: Option<[u8; 32]>, limit: usize) -> Result<Vec<SignIn>, StoreError> {
        on!(self, backend => backend.sign_ins(after, limit))
    }

    /// Removes all access tokens, and raises the access version of every room, so that every node looks again. Returns how many.
    ///
    /// # Errors
    /// The store failed; what was removed stays removed, and doing it again does the rest.
    pub async fn revoke_all_tokens(&self) -> Result<u64, StoreError> {
        let revoked = self.remove_all_tokens().await?;
        let mut after = None;
        loop {
            let rooms = on!(self, backend => backend.histories(after, PAGE_ROWS))?;
            let Some((last, _)) = rooms.last() else { return Ok(revoked) };
            after = Some(*last);
            for (room, _) in rooms {
                on!(self, backend => backend.raise_access_version(room))?;
            }
        }
    }

    /// Begins a new life of every room's log and removes all access tokens, after the database was put back from a backup: what clients
    /// have seen since is not in it, and who was signed out since would be signed in again. Returns how many rooms there are.
    ///
    /// # Errors
    /// The store failed; doing it again does it for all.
    pub async fn begin_new_lives(&self) -> Result<u64, StoreError> {
        self.remove_all_tokens().await?;
        let (mut rooms, mut after) = (0, None);
        loop {
            let histories = on!(self, backend => backend.histories(after, PAGE_ROWS))?;
            let Some((last, _)) = histories.last() else { return Ok(rooms) };
            after = Some(*last);
            for (room, history) in histories {
                self.begin_new_life(room, history).await?;
                rooms += 1;
            }
        }
    }

    async fn remove_all_tokens(&self) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let some = on!(self, backend => backend.remove_tokens())?;
            if some == 0 {
                return Ok(removed);
            }
            removed += some;
        }
    }

    /// Whether the caller is to do a chore that one node does for all, for which the next turn begins `span` from now. Always so where
    /// there is only one node. A node that dies, or stands still, in its turn delays the chore until the next.
    ///
    /// # Errors
    /// The store failed.
    pub async fn takes_turn(&self, chore: &'static str, span: Duration) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => crate::sqlite::answered(sqlite.takes_turn(chore, span)).await,
            Backend::Postgres(postgres) => crate::postgres::answered(postgres.takes_turn(chore, span)).await,
            Backend::Memory(memory) => through!(memory, memory.takes_turn()),
        }
    }
}
