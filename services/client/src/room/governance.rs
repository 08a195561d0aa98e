//! Who governs a room and which keys open it: the chain, folded as far as this device can read it. Pure.
//!
//! Keys come from the server or from a record, and so prove nothing: one is kept only if the fold accepts its epoch's record.

use std::collections::{BTreeMap, HashMap, HashSet};

use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, EntryKind, Envelope, EnvelopeHash, RoomId, Seq};

use super::RoomSecrets;
use super::keyring::Keyring;
use super::recipients::Statement;
use super::retention::Retentions;
use crate::chain::{Chain, ChainEntry, ChainFault};
use crate::crypto::{Body, Cause, EpochRecord, Opened, PublicKeys, RoomKey, RoomState, Step, decrypt};

/// What an admin did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A step.
    Step(Step),
    /// Another room key, and why.
    Epoch {
        /// Which epoch began.
        epoch: u32,
        /// Why.
        cause: Cause,
        /// Another recovery key took the place of the one there was.
        recovery: bool,
    },
}

/// An accepted entry of the room's chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// Its place.
    pub seq: Seq,
    /// The server's time of commit, Unix milliseconds.
    pub at_ms: u64,
    /// Who did it.
    pub device: DeviceId,
    /// What.
    pub change: Change,
}

/// An entry of the chain that counts for nothing.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) frame: EntryFrame,
    pub(crate) why: ChainFault,
}

/// All that matters of a room's chain.
#[derive(Clone, Debug)]
pub(crate) struct Governance {
    room: RoomId,
    pub(crate) chain: Chain,
    pub(crate) keys: Keyring,
    /// The newest accepted record.
    record: EpochRecord,
    audit: BTreeMap<Seq, AuditEntry>,
    retentions: Retentions,
    /// What the accepted records state of their recipients, by epoch.
    statements: BTreeMap<u32, Statement>,
    /// The epoch of the record that the fold began with.
    base: u32,
    /// Every entry that took a place in the chain, accepted or not.
    links: BTreeMap<Seq, EnvelopeHash>,
    /// Whoever signed, or may sign. Keys hash to their device's id, so that any source will do.
    signers: HashMap<DeviceId, PublicKeys>,
    /// Records whose key this device does not have, if no record after them was accepted.
    closed: Option<Box<Closed>>,
    /// The newest epoch that the server showed or named without what began it.
    withheld: Option<u32>,
}

/// Records that are folded as refused since no key that the server hands out opens them.
///
/// That is the server's word, so it is no more than supposed: if a key comes that opens one, all is folded again from here on. It holds once
/// a later record is accepted, whose signer went on from the state before them.
#[derive(Clone, Debug)]
struct Closed {
    /// The chain before the first of them.
    before: Chain,
    /// The epoch that the first of them claims.
    epoch: u32,
    records: HashSet<EnvelopeHash>,
}

/// A record that is trusted for another reason than the chain before it, and what follows and precedes it.
pub(crate) struct Links {
    /// All entries known, ascending.
    pub(crate) frames: Vec<EntryFrame>,
    /// Keys that open records among them, if they are what they seem.
    pub(crate) keys: Keyring,
}

impl Governance {
    /// Begins with the record that `is_base` names, and reads on and back from there.
    ///
    /// `None` if the record is not there, does not open, or contradicts itself.
    pub(crate) fn begin(links: &Links, is_base: impl Fn(&EntryFrame) -> bool) -> Option<(Self, Vec<Fault>)> {
        let base_at = links.frames.iter().position(is_base)?;
        let base = &links.frames[base_at];
        let mut signers = HashMap::new();
        let mut entries = Vec::new();
        for frame in &links.frames[..=base_at] {
            let Some(entry) = open(frame, &links.keys, &signers) else { continue };
            learn(&mut signers, &entry);
            entries.push((frame, entry));
        }
        let (_, adopted) = entries.pop().filter(|(frame, _)| frame.seq() == base.seq())?;
        let chain = Chain::adopt(adopted.clone()).ok()?;
        let Some(Body::EpochRecord(record)) = adopted.opened.as_ref().map(|opened| &opened.body) else { return None };
        let mut governance = Self {
            room: adopted.header.room,
            chain,
            keys: links.keys.get(adopted.header.epoch).cloned().into_iter().collect(),
            record: (**record).clone(),
            audit: BTreeMap::new(),
            retentions: Retentions::default(),
            statements: BTreeMap::new(),
            base: adopted.header.epoch,
            links: BTreeMap::new(),
            signers,
            closed: None,
            withheld: None,
        };
        governance.accept(base, &adopted);
        let mut faults = governance.read_back(&entries, links);
        faults.extend(governance.extend(&links.frames[base_at + 1..], &links.keys));
        Some((governance, faults))
    }

    /// Puts what lies before the base before it, beginning with the oldest record from which on all records can be read.
    fn read_back(&mut self, older: &[(&EntryFrame, ChainEntry)], links: &Links) -> Vec<Fault> {
        let is_closed = |(_, entry): &(&EntryFrame, ChainEntry)| {
            entry.header.kind == EntryKind::EpochRecord && entry.opened.is_none()
        };
        let readable = &older[older.iter().rposition(is_closed).map_or(0, |at| at + 1)..];
        let is_record = |(_, entry): &(&EntryFrame, ChainEntry)| entry.header.kind == EntryKind::EpochRecord;
        let Some(start) = readable.iter().position(is_record) else { return Vec::new() };
        let readable = &readable[start..];
        let entries: Vec<ChainEntry> = readable.iter().map(|(_, entry)| entry.clone()).collect();
        let wrong = match self.chain.prepend(&entries) {
            Ok(wrong) => wrong,
            Err(why) => {
                return readable.last().map(|(frame, _)| Fault { frame: (*frame).clone(), why }).into_iter().collect();
            }
        };
        let mut faults = Vec::new();
        for (frame, entry) in readable {
            match wrong.iter().find(|(seq, _)| *seq == entry.seq) {
                Some((_, why)) => {
                    self.links.insert(entry.seq, entry.hash);
                    faults.push(Fault { frame: (*frame).clone(), why: *why });
                }
                None => {
                    self.accept(frame, entry);
                    if let Some(key) = links.keys.get(entry.header.epoch) {
                        self.keys.keep(key.clone());
                    }
                }
            }
        }
        faults
    }

    /// Folds what comes after the newest entry, ascending. `keys` may open records among it, or such as were closed so far.
    pub(crate) fn extend(&mut self, frames: &[EntryFrame], keys: &Keyring) -> Vec<Fault> {
        if let Some(closed) = self.closed.as_ref().filter(|closed| frames.iter().any(|frame| closed.opens(frame, keys)))
        {
            let mut again = self.clone();
            again.chain = closed.before.clone();
            again.links.split_off(&again.chain.newest().seq.next());
            again.closed = None;
            let faults = again.fold(frames, keys);
            // A server that shows less than it did before takes nothing back.
            if again.chain.newest().seq >= self.chain.newest().seq {
                *self = again;
                return faults;
            }
        }
        self.fold(frames, keys)
    }

    fn fold(&mut self, frames: &[EntryFrame], keys: &Keyring) -> Vec<Fault> {
        let mut faults = Vec::new();
        for frame in frames {
            if frame.seq() <= self.chain.newest().seq {
                continue;
            }
            let ring = match frame.header() {
                Ok(header) if header.kind == EntryKind::EpochRecord => keys,
                _ => &self.keys,
            };
            let entry = open(frame, ring, &self.signers).filter(|entry| entry.header.room == self.room);
            let Some(entry) = entry else {
                faults.push(Fault { frame: frame.clone(), why: ChainFault::Unreadable });
                continue;
            };
            let begins = entry.header.kind == EntryKind::EpochRecord;
            let follows = entry.header.target == self.chain.newest().seq;
            if begins && follows && !frame.is_tombstone() && !is_unlocked(frame, keys) {
                self.close(&entry);
            }
            match self.chain.apply(&entry) {
                Ok(_) => {
                    learn(&mut self.signers, &entry);
                    if let Some(key) = keys.get(entry.header.epoch).filter(|_| begins) {
                        self.keys.keep(key.clone());
                        self.closed = None;
                    }
                    self.accept(frame, &entry);
                }
                Err(why) => {
                    if follows {
                        self.links.insert(entry.seq, entry.hash);
                    }
                    // What is sealed under a key that this device was never given is nobody's fault.
                    if entry.opened.is_some() || !self.is_closed(&entry) {
                        faults.push(Fault { frame: frame.clone(), why });
                    }
                }
            }
        }
        faults
    }

    /// Notes a record that follows and is to be folded as one that nobody can open.
    fn close(&mut self, entry: &ChainEntry) {
        // One of another epoch is refused whatever it says.
        if entry.header.epoch != self.chain.next_epoch() {
            return;
        }
        let closed = || Closed { before: self.chain.clone(), epoch: entry.header.epoch, records: HashSet::new() };
        self.closed.get_or_insert_with(|| Box::new(closed())).records.insert(entry.hash);
    }

    /// Whether this is one of the records that could not be opened, or says to be sealed under such a one's key.
    fn is_closed(&self, entry: &ChainEntry) -> bool {
        let Some(closed) = &self.closed else { return false };
        match entry.header.kind {
            EntryKind::EpochRecord => closed.records.contains(&entry.hash),
            _ => entry.header.epoch >= closed.epoch && self.keys.get(entry.header.epoch).is_none(),
        }
    }

    /// Notes an accepted entry.
    fn accept(&mut self, frame: &EntryFrame, entry: &ChainEntry) {
        self.links.insert(entry.seq, entry.hash);
        let Some(opened) = &entry.opened else { return };
        let change = match &opened.body {
            Body::Step(body) => {
                if let Step::Retention { age_ms } = body.step {
                    self.retentions.note(entry.seq, frame.at_ms(), age_ms);
                }
                Change::Step(body.step.clone())
            }
            Body::EpochRecord(record) => {
                self.retentions.note(entry.seq, frame.at_ms(), record.state.retention_ms);
                self.statements.insert(record.epoch, Statement::of(frame, opened.header.device, record));
                if record.epoch > self.record.epoch {
                    self.record = (**record).clone();
                }
                Change::Epoch { epoch: record.epoch, cause: record.cause.clone(), recovery: record.recovery.is_some() }
            }
            _ => return,
        };
        let device = opened.header.device;
        self.audit.insert(entry.seq, AuditEntry { seq: entry.seq, at_ms: frame.at_ms(), device, change });
    }

    /// The key to seal under. `None` while a newer epoch has begun, or is known of, and this device has no key of it: never under an older
    /// one.
    pub(crate) fn sealing_key(&self) -> Option<&RoomKey> {
        if self.missing().is_none() && self.is_current() { self.keys.get(self.epoch()) } else { None }
    }

    /// Whether the newest record that took its place was accepted.
    pub(crate) fn is_current(&self) -> bool {
        self.chain.next_epoch() == self.epoch().saturating_add(1)
    }

    /// The newest key that there is to know for who begins another epoch for this cause. After a record that was refused or could not be
    /// opened, an owner goes on from the one before it by closing the history: else one bad record would end the room's administration.
    pub(crate) fn key_before(&self, cause: &Cause) -> Option<&RoomKey> {
        let is_withheld = self.withheld >= Some(self.chain.next_epoch());
        if *cause == Cause::History && !is_withheld { self.keys.get(self.epoch()) } else { self.sealing_key() }
    }

    /// The newest accepted epoch.
    pub(crate) fn epoch(&self) -> u32 {
        self.chain.pin().0
    }

    /// The epoch whose key is missing, or whose record is withheld.
    pub(crate) fn missing(&self) -> Option<u32> {
        let withheld = self.withheld.filter(|epoch| *epoch >= self.chain.next_epoch());
        self.closed.as_ref().map(|closed| closed.epoch).or(withheld)
    }

    /// The newest place of the chain up to which nothing is left open: what comes after it may still be folded otherwise.
    pub(crate) fn settled(&self) -> Seq {
        self.closed.as_ref().map_or(self.chain.newest(), |closed| closed.before.newest()).seq
    }

    /// Whether no known link begins this epoch, though all links known are folded.
    pub(crate) fn is_ahead(&self, epoch: u32) -> bool {
        self.missing().is_none() && epoch >= self.chain.next_epoch()
    }

    /// The server does not show what began this epoch, also when asked. Nothing is sealed under an older key until it does.
    pub(crate) fn withhold(&mut self, epoch: u32) {
        self.withheld = self.withheld.max(Some(epoch));
    }

    /// The keys of a device that signed in the chain, or may.
    pub(crate) fn signer(&self, device: DeviceId) -> Option<PublicKeys> {
        self.signers.get(&device).copied()
    }

    /// The newest accepted record.
    pub(crate) const fn record(&self) -> &EpochRecord {
        &self.record
    }

    /// The envelope hash of the room's first entry, if the chain is known from there on.
    pub(crate) fn founding(&self) -> Option<EnvelopeHash> {
        self.links.get(&Seq(1)).copied()
    }

    /// What holds now.
    pub(crate) const fn state(&self) -> &RoomState {
        self.chain.state()
    }

    /// Until when a device may not write, by what was done. A record leaves out the mutes that are over by its maker's clock; here they
    /// last as they were set, since the server lets nobody write before they are over by its own.
    pub(crate) fn muted_until_ms(&self, device: DeviceId) -> Option<u64> {
        let done = self.audit.values().rev().find_map(|entry| match &entry.change {
            Change::Step(Step::Mute { device: muted, until_ms }) if *muted == device => Some(*until_ms),
            Change::Epoch { cause: Cause::Remove { devices, .. }, .. } if devices.contains(&device) => Some(0),
            _ => None,
        });
        done.or_else(|| self.state().muted_until_ms(device)).filter(|until_ms| *until_ms > 0)
    }

    /// Everything that admins did, oldest first.
    pub(crate) fn audit(&self) -> impl DoubleEndedIterator<Item = &AuditEntry> {
        self.audit.values()
    }

    /// What was done since another state of the same chain, oldest first.
    pub(crate) fn since(&self, before: &Self) -> impl Iterator<Item = &Change> {
        self.audit.range(before.chain.newest().seq.next()..).map(|(_, entry)| &entry.change)
    }

    /// What was done at `seq`.
    pub(crate) fn done_at(&self, seq: Seq) -> Option<&AuditEntry> {
        self.audit.get(&seq)
    }

    /// Whether an entry of the chain that was delivered is the one known at its place, or lies where nothing is known.
    pub(crate) fn is_consistent(&self, seq: Seq, hash: EnvelopeHash) -> bool {
        let known = self.chain.begins_at()..=self.chain.newest().seq;
        !known.contains(&seq) || self.links.get(&seq) == Some(&hash)
    }

    /// What an accepted record states of its recipients.
    pub(super) fn statement(&self, epoch: u32) -> Option<&Statement> {
        self.statements.get(&epoch)
    }

    /// The epoch before it whose record was accepted.
    pub(super) fn epoch_before(&self, epoch: u32) -> Option<u32> {
        self.statements.range(..epoch).next_back().map(|(epoch, _)| *epoch)
    }

    /// The epochs from `after` on whose records are to be checked, oldest first. What came before the record that the fold began with was
    /// so when that was trusted.
    pub(super) fn epochs_to_check(&self, after: Option<u32>) -> Vec<u32> {
        let from = after.map_or(self.base, |after| after.saturating_add(1)).max(self.base);
        self.statements.range(from..).map(|(epoch, _)| *epoch).collect()
    }

    /// Who has had everything erased that `author` wrote by `seq`.
    pub(crate) fn eraser(&self, author: DeviceId, seq: Seq) -> Option<DeviceId> {
        let later = self.audit.range(seq..).map(|(_, entry)| entry);
        let mut erasing =
            later.filter(|entry| matches!(&entry.change, Change::Step(Step::Erase { device }) if *device == author));
        erasing.next().map(|entry| entry.device)
    }

    /// Until when messages are kept, so far.
    pub(super) const fn retentions(&self) -> &Retentions {
        &self.retentions
    }

    /// What to keep to come back.
    pub(crate) fn secrets(&self) -> RoomSecrets {
        let (epoch, record_hash) = self.chain.pin();
        let cuts = self.audit.values().filter_map(|entry| match &entry.change {
            Change::Epoch { epoch, cause, .. } if !cause.keeps_history() => epoch.checked_sub(1),
            _ => None,
        });
        let older = cuts.filter_map(|epoch| self.keys.get(epoch).cloned()).collect();
        let key = self.keys.get(epoch).cloned().expect("a record is accepted only with its key");
        RoomSecrets { key, record_hash, older }
    }
}

impl Closed {
    /// Whether this is one of the records, and a key for it has come.
    fn opens(&self, frame: &EntryFrame, keys: &Keyring) -> bool {
        self.records.contains(&frame.hash()) && is_unlocked(frame, keys)
    }
}

/// Opens an entry of the chain as far as the keys at hand go. `None` if not even its header can be read.
fn open(frame: &EntryFrame, keys: &Keyring, signers: &HashMap<DeviceId, PublicKeys>) -> Option<ChainEntry> {
    let header = frame.header().ok()?;
    let opened = frame.envelope().ok().and_then(|envelope| verify(&envelope, keys, signers));
    Some(ChainEntry { seq: frame.seq(), hash: frame.hash(), header, opened })
}

/// Whether its key is at hand. If it does not verify then, it never will.
fn is_unlocked(frame: &EntryFrame, keys: &Keyring) -> bool {
    frame
        .envelope()
        .is_ok_and(|envelope| keys.get(envelope.header().epoch).is_some_and(|key| decrypt(key, &envelope).is_ok()))
}

fn verify(envelope: &Envelope, keys: &Keyring, signers: &HashMap<DeviceId, PublicKeys>) -> Option<Opened> {
    let header = envelope.header();
    let unverified = decrypt(keys.get(header.epoch)?, envelope).ok()?;
    let signer = unverified.own_keys().or_else(|| signers.get(&header.device).copied())?;
    unverified.verify(&signer).ok()
}

/// Remembers the keys of those who may sign from here on.
fn learn(signers: &mut HashMap<DeviceId, PublicKeys>, entry: &ChainEntry) {
    let Some(opened) = &entry.opened else { return };
    match &opened.body {
        Body::EpochRecord(record) => {
            signers.extend(record.state.admins.iter().map(|admin| (admin.device(), admin.keys)));
        }
        Body::Step(body) => {
            if let Step::Role { keys, .. } | Step::Transfer { keys, .. } = &body.step {
                signers.insert(keys.id(), *keys);
            }
        }
        _ => {}
    }
}
