//! What a simulation does to the store in memory: callers that come through a gate of their own, and copies that are put back.
//!
//! The gate is where a database is slow, silent or away, for one caller and not for another. What it cannot do is change an answer.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use snug_protocol::frame::EntryFrame;
use snug_protocol::{RoomId, Seq};

use super::room::new_history;
use super::{Memory, State};
use crate::{BeforeBatch, Store, StoreError};

/// Whether a call gets through, when the gate has decided.
pub type Passage = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Stands between one caller and the store in memory.
pub trait Gate: Send + Sync + 'static {
    /// A call of this name has come and has done nothing yet. `false`: it fails without having done anything. Appends must be let
    /// through in the order in which they came.
    fn arrive(&self, call: &'static str) -> Passage;

    /// The call has done its work. `false`: its answer is lost. If nothing else is said none is.
    fn leave(&self, _call: &'static str) -> Passage {
        Box::pin(std::future::ready(true))
    }

    /// Entries are read.
    fn reads(&self, _read: LogRead) {}

    /// Who is about to leave messages to `room` where they are asks for the next batch. The store in memory has none of its own.
    fn before_batch(&self, _room: RoomId) -> Option<BeforeBatch> {
        None
    }
}

/// A reading of the entries after one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogRead {
    /// Of which room.
    pub room: RoomId,
    /// After which.
    pub after: Seq,
    /// At most how many.
    pub limit: usize,
    /// At most about how many bytes of them.
    pub bytes_max: usize,
    /// How many there were.
    pub found: usize,
}

/// The store in memory as the owner of a simulation holds it.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Memory>);

/// Everything that was in a store in memory at one moment.
pub struct MemoryCopy(State);

impl MemoryStore {
    /// The store.
    #[must_use]
    pub fn store(&self) -> Store {
        Store::over_memory(Gated { memory: Arc::clone(&self.0), before: None })
    }

    /// The store as one caller reaches it. Closing this one closes no other.
    #[must_use]
    pub fn behind(&self, gate: Arc<dyn Gate>) -> Store {
        let before = Some((gate, Arc::new(AtomicBool::new(false))));
        Store::over_memory(Gated { memory: Arc::clone(&self.0), before })
    }

    /// A copy of all there is.
    #[must_use]
    pub fn copy(&self) -> MemoryCopy {
        MemoryCopy(self.0.state.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Puts a copy in place of all there is, under the callers' feet; `new_life`: each room's log begins a new life with it, as after
    /// a restored backup, and not as after a fail-over that lost commits.
    pub fn restore(&self, copy: &MemoryCopy, new_life: bool) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = copy.0.clone();
        if new_life {
            for log in state.rooms.values_mut() {
                log.room.history = new_history();
            }
        }
    }
}

/// The store in memory behind a caller's gate, if it has one.
#[derive(Clone)]
pub(crate) struct Gated {
    memory: Arc<Memory>,
    before: Option<(Arc<dyn Gate>, Arc<AtomicBool>)>,
}

impl Deref for Gated {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}

/// The function's name in `backend.function(arguments)`.
fn name(call: &'static str) -> &'static str {
    let call = call.split('(').next().unwrap_or(call);
    call.rsplit('.').next().unwrap_or(call).trim()
}

impl Gated {
    /// Waits until `call` may do its work.
    pub async fn arrive(&self, call: &'static str) -> Result<(), StoreError> {
        let Some((gate, closed)) = &self.before else { return Ok(()) };
        if closed.load(Ordering::Acquire) {
            return Err(StoreError::closed());
        }
        if gate.arrive(name(call)).await { Ok(()) } else { Err(StoreError::unavailable("the gate is shut")) }
    }

    /// Waits until the answer of `call` may be given.
    pub async fn leave(&self, call: &'static str) -> Result<(), StoreError> {
        let Some((gate, _)) = &self.before else { return Ok(()) };
        if gate.leave(name(call)).await { Ok(()) } else { Err(StoreError::unavailable("the gate has lost the answer")) }
    }

    pub fn read_after(
        &self,
        room: RoomId,
        after: Seq,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<EntryFrame>, StoreError> {
        let found = self.memory.read_after(room, after, limit, bytes_max)?;
        if let Some((gate, _)) = &self.before {
            gate.reads(LogRead { room, after, limit, bytes_max, found: found.len() });
        }
        Ok(found)
    }

    pub fn before_batch(&self, room: RoomId) -> Option<BeforeBatch> {
        self.before.as_ref().and_then(|(gate, _)| gate.before_batch(room))
    }

    pub fn close(&self) {
        match &self.before {
            Some((_, closed)) => closed.store(true, Ordering::Release),
            None => self.memory.close(),
        }
    }
}
