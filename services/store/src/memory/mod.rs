//! The store in memory: plain collections behind one lock that is never held over an await, so every call is one transaction.
//!
//! For tests and simulation. It keeps every promise of the store but durability, and has no quota of bytes.

mod chain;
mod epoch;
mod gate;
mod log;
mod member;
mod moving;
mod operating;
mod room;
mod step;
mod token;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{MemberState, Role};
use snug_protocol::limits::EPOCH_KEY_BYTES;
use snug_protocol::{DeviceId, EnvelopeHash, GrantId, InstanceId, RoomId, Seq};

use crate::rules::TokenEnds;
use crate::{DeviceKeys, Grant, Room, Standing, StoreError};

pub(crate) use gate::Gated;
pub use gate::{Gate, LogRead, MemoryCopy, MemoryStore, Passage};

#[derive(Default)]
pub(crate) struct Memory {
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    closed: bool,
    rooms: HashMap<RoomId, Log>,
    likenesses: HashMap<String, RoomId>,
    devices: HashMap<DeviceId, DeviceKeys>,
    tokens: HashMap<[u8; 32], (DeviceId, TokenEnds)>,
    peppers: BTreeMap<u32, [u8; 32]>,
    moves: HashMap<[u8; 16], Mailbox>,
}

/// A move to another device.
#[derive(Clone)]
struct Mailbox {
    offer: Vec<u8>,
    /// What came after it, in its order.
    parts: Vec<Vec<u8>>,
    offered_at_ms: u64,
}

/// A room and everything in it.
#[derive(Clone)]
struct Log {
    room: Room,
    likeness: String,
    epoch_seq: Seq,
    slow_ms: u64,
    retention_ms: u64,
    /// The record that began each epoch.
    epochs: BTreeMap<u32, EnvelopeHash>,
    /// Sealed keys by their epoch's record, those that are staged included.
    keys: HashMap<EnvelopeHash, BTreeMap<DeviceId, [u8; EPOCH_KEY_BYTES]>>,
    /// For which record each author stages, and since when.
    stagings: HashMap<DeviceId, (EnvelopeHash, u64)>,
    /// The entry of seq n stands at n - 1.
    entries: Vec<EntryFrame>,
    /// Target and seq of the edits, deletions, reactions and pins.
    targets: BTreeSet<(Seq, Seq)>,
    /// Where each counter of an instance was appended: the next counter is the length.
    senders: HashMap<(DeviceId, InstanceId), Vec<Seq>>,
    grants: HashMap<GrantId, Grant>,
    members: BTreeMap<DeviceId, Membership>,
}

#[derive(Clone)]
struct Membership {
    role: Role,
    /// `None`: the recovery device, or an old one.
    state: Option<MemberState>,
    /// Another recovery device has taken its place.
    retired: bool,
    joined_at_ms: u64,
    muted_until_ms: u64,
    wrote_at_ms: u64,
    /// Steps that it took in this epoch.
    steps: u64,
    profile: Option<Seq>,
}

impl Membership {
    const fn new(role: Role, state: Option<MemberState>, joined_at_ms: u64) -> Self {
        Self { role, state, retired: false, joined_at_ms, muted_until_ms: 0, wrote_at_ms: 0, steps: 0, profile: None }
    }

    const fn standing(&self) -> Standing {
        match self.state {
            Some(MemberState::Member) => Standing::Member(self.role),
            Some(MemberState::Left) => Standing::Left,
            Some(MemberState::Removed) => Standing::Removed,
            Some(MemberState::Banned) => Standing::Banned,
            None if self.retired => Standing::Retired,
            None => Standing::Recovery,
        }
    }

    const fn is_present(&self) -> bool {
        matches!(self.state, Some(MemberState::Member))
    }
}

impl State {
    fn log(&self, room: RoomId) -> Option<&Log> {
        self.rooms.get(&room)
    }

    fn rooms_of(&self, device: DeviceId) -> impl Iterator<Item = (&Log, Role)> {
        self.rooms.values().filter_map(move |log| log.role(device).map(|role| (log, role)))
    }
}

impl Log {
    fn entry(&self, seq: Seq) -> Option<&EntryFrame> {
        let at = usize::try_from(seq.0.checked_sub(1)?).ok()?;
        self.entries.get(at)
    }

    /// The role of a present member.
    fn role(&self, device: DeviceId) -> Option<Role> {
        self.members.get(&device).filter(|member| member.is_present()).map(|member| member.role)
    }

    fn standing(&self, device: DeviceId) -> Option<Standing> {
        self.members.get(&device).map(Membership::standing)
    }
}

/// This machine's time, Unix milliseconds.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Memory {
    /// The state, for one transaction.
    fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock().map_err(|_| StoreError::corrupt("a panic interrupted a change"))?;
        if state.closed { Err(StoreError::closed()) } else { Ok(state) }
    }

    pub fn close(&self) {
        if let Ok(mut state) = self.state.lock() {
            state.closed = true;
        }
    }

    pub fn check(&self) -> Result<(), StoreError> {
        self.open().map(drop)
    }

    pub fn now_ms(&self) -> Result<u64, StoreError> {
        self.open().map(|_| now_ms())
    }

    pub fn pepper_checks(&self) -> Result<Vec<(u32, [u8; 32])>, StoreError> {
        Ok(self.open()?.peppers.iter().map(|(number, check)| (*number, *check)).collect())
    }

    pub fn add_pepper_check(&self, number: u32, check: [u8; 32]) -> Result<(), StoreError> {
        self.open()?.peppers.entry(number).or_insert(check);
        Ok(())
    }
}
