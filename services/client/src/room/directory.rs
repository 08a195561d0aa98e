//! Who is who in a room: keys checked against device ids, names as profiles gave them, and opening entries with both. Pure.

use std::collections::{HashMap, HashSet};

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{Member, MemberState, Role};
use snug_protocol::limits::MEMBERS_PER_ROOM_MAX;
use snug_protocol::{DeviceId, Envelope, RoomId, Seq};

use super::governance::Governance;
use crate::crypto::{Body, Opened, PublicKeys, decrypt};
use crate::error::ClientError;
use crate::log::LogEntry;

/// A device in a room, now or once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomMember {
    /// Its id.
    pub device: DeviceId,
    /// The name it goes by; `None` if it has not introduced itself, or its profile cannot be read.
    pub name: Option<String>,
    /// What it may do, by the room's chain.
    pub role: Role,
    /// Whether it is a member now, by the server's word. Who is banned by the room's chain is none, whatever that says.
    pub state: MemberState,
    /// Until when it may not write, Unix milliseconds; the time may have passed.
    pub muted_until_ms: Option<u64>,
    /// When it became one, Unix milliseconds.
    pub joined_at_ms: u64,
}

#[derive(Debug)]
struct Known {
    keys: PublicKeys,
    name: Option<String>,
    /// The name before that.
    before: Option<String>,
    /// The place of the profile the name is from.
    named_at: Seq,
}

impl Known {
    const fn of(keys: PublicKeys) -> Self {
        Self { keys, name: None, before: None, named_at: Seq::ZERO }
    }
}

/// Keys and names of a room's devices.
#[derive(Debug)]
pub(super) struct Directory {
    room: RoomId,
    known: HashMap<DeviceId, Known>,
    /// Devices that the server does not know, or whose keys it lied about.
    absent: HashSet<DeviceId>,
}

impl Directory {
    pub(super) fn new(room: RoomId) -> Self {
        Self { room, known: HashMap::new(), absent: HashSet::new() }
    }

    pub(super) fn name(&self, device: DeviceId) -> Option<String> {
        self.known.get(&device)?.name.clone()
    }

    /// The name a device went by before its newest profile.
    pub(super) fn name_before(&self, device: DeviceId) -> Option<String> {
        self.known.get(&device)?.before.clone()
    }

    /// Opens an entry. Learns from profiles and records on the way.
    ///
    /// # Errors
    /// The device whose keys are needed and not known: ask the server for it, then call again.
    pub(super) fn open(&mut self, governance: &Governance, frame: &EntryFrame) -> Result<LogEntry, DeviceId> {
        let opened = self.try_open(governance, frame)?;
        Ok(LogEntry::of(frame, opened))
    }

    fn try_open(&mut self, governance: &Governance, frame: &EntryFrame) -> Result<Option<Opened>, DeviceId> {
        if frame.is_tombstone() {
            return Ok(None);
        }
        let Some(envelope) = frame.envelope().ok().filter(|envelope| envelope.header().room == self.room) else {
            return Ok(None);
        };
        let device = envelope.header().device;
        let Some(key) = governance.keys.get(envelope.header().epoch) else { return Ok(None) };
        let Ok(unverified) = decrypt(key, &envelope) else { return Ok(None) };
        let known = self.known.get(&device).map(|known| known.keys);
        // A recovery device is in no members list, but in the chain.
        let keys = match unverified.own_keys().or(known).or_else(|| governance.signer(device)) {
            Some(keys) => keys,
            None if self.absent.contains(&device) => return Ok(None),
            None => return Err(device),
        };
        let Ok(opened) = unverified.verify(&keys) else { return Ok(None) };
        self.learn(device, keys, &opened, frame.seq());
        Ok(Some(opened))
    }

    /// Remembers verified keys, and the name if it is newer than the one known.
    fn learn(&mut self, device: DeviceId, keys: PublicKeys, opened: &Opened, seq: Seq) {
        if self.known.len() >= 2 * MEMBERS_PER_ROOM_MAX && !self.known.contains_key(&device) {
            return;
        }
        let known = self.known.entry(device).or_insert(Known::of(keys));
        if let Body::Profile(profile) = &opened.body
            && seq > known.named_at
        {
            known.before = known.name.replace(profile.name.clone());
            known.named_at = seq;
        }
    }

    /// The server's list does not have the device, or lies about it: its entries are unreadable.
    pub(super) fn set_absent(&mut self, device: DeviceId) {
        if self.absent.len() < MEMBERS_PER_ROOM_MAX {
            self.absent.insert(device);
        }
    }

    /// Takes a member from the server's list.
    ///
    /// # Errors
    /// `device_keys_refused` if the keys do not hash to the device's id.
    pub(super) fn add(&mut self, governance: &Governance, member: &Member) -> Result<RoomMember, ClientError> {
        let keys = PublicKeys::parse(&member.sign_key, &member.agree_key)?;
        if keys.id() != member.device {
            return Err(ClientError::DeviceKeysRefused);
        }
        self.absent.remove(&member.device);
        if let Some(profile) = &member.profile {
            let opened = Envelope::parse(profile.envelope.0.clone().into())
                .ok()
                .filter(|envelope| envelope.header().room == self.room && envelope.header().device == member.device)
                .and_then(|envelope| {
                    decrypt(governance.keys.get(envelope.header().epoch)?, &envelope).ok()?.verify(&keys).ok()
                });
            if let Some(opened) = opened {
                self.learn(member.device, keys, &opened, profile.seq);
            }
        }
        self.known.entry(member.device).or_insert(Known::of(keys));
        let banned = governance.state().is_banned(member.device);
        Ok(RoomMember {
            device: member.device,
            name: self.name(member.device),
            role: governance.state().role(member.device),
            state: if banned { MemberState::Banned } else { member.state },
            muted_until_ms: governance.muted_until_ms(member.device),
            joined_at_ms: member.joined_at_ms,
        })
    }
}
