//! One device with what a client keeps: keys by epoch, the folded chain, the log it has read, and what it wants to say.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use snug_client::chain::{Chain, ChainEntry};
use snug_client::crypto::{
    Body, Content, Device, EpochRecord, GrantKeys, Message, Opened, Prev, Profile, PublicKeys, RoomKey, Secret,
    decrypt, open_record, open_room_key, seal, verify_record,
};
use snug_client::protocol::frame::EntryFrame;
use snug_client::protocol::{DeviceId, EntryKind, Envelope, EnvelopeHash, GrantId, Header, InstanceId, RoomId, Seq};
use snug_store::{AppendError, DeviceKeys, EnterError, Standing, Store};

/// A way into the room that somebody was told.
#[derive(Clone)]
pub struct Told {
    pub grant: GrantId,
    pub secret: Secret,
}

/// What an attempt to send came to.
#[derive(PartialEq, Eq, Debug)]
pub enum Outcome {
    Nothing,
    Sent(String),
    /// The answer got lost; the same envelope is sent again.
    Unanswered,
    /// Sealed under an epoch that has ended meanwhile.
    Overtaken,
    Refused,
}

pub struct Person {
    pub device: Device,
    pub keys: BTreeMap<u32, RoomKey>,
    pub chain: Option<Chain>,
    pub record: Option<EpochRecord>,
    /// Every way in it was ever told, the newest last.
    pub told: Vec<Told>,
    pub wants: VecDeque<String>,
    /// What it has read: place, hash, and the text if it is a message that opened.
    pub read: BTreeMap<Seq, (EnvelopeHash, Option<Opened>, u32)>,
    /// The oldest epoch it may read.
    pub floor: u32,
    /// It believes itself in.
    pub is_in: bool,
    introduced: Option<u32>,
    instance: InstanceId,
    counter: u64,
    unanswered: Option<(Envelope, Option<String>)>,
    directory: HashMap<DeviceId, PublicKeys>,
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

pub fn device_keys(keys: &PublicKeys) -> DeviceKeys {
    DeviceKeys { device: keys.id(), sign_key: keys.sign_key, agree_key: keys.agree_key }
}

impl Person {
    pub fn new() -> Self {
        Self {
            device: Device::generate(),
            keys: BTreeMap::new(),
            chain: None,
            record: None,
            told: Vec::new(),
            wants: VecDeque::new(),
            read: BTreeMap::new(),
            floor: 0,
            is_in: false,
            introduced: None,
            instance: InstanceId(random()),
            counter: 0,
            unanswered: None,
            directory: HashMap::new(),
        }
    }

    pub fn epoch(&self) -> Option<u32> {
        self.keys.last_key_value().map(|(epoch, _)| *epoch)
    }

    pub fn newest(&self) -> Prev {
        self.read.last_key_value().map_or(Prev::default(), |(seq, (hash, ..))| Prev { seq: *seq, hash: *hash })
    }

    /// A page load: what is in memory only is gone, the outbox with its sealed bytes is not.
    pub fn restart(&mut self) {
        if self.unanswered.is_none() {
            (self.instance, self.counter) = (InstanceId(random()), 0);
        }
    }

    /// Enters by the newest way in it knows, and reads the room from as far back as it may. False if it is refused.
    pub async fn enter(&mut self, store: &Store, room: RoomId) -> bool {
        let Some(told) = self.told.last().cloned() else { return false };
        let Ok(Some(grant)) = store.grant(room, told.grant).await else { return false };
        let keys = GrantKeys::derive(&told.secret, room, told.grant);
        let entering = match store.enter(room, told.grant, device_keys(self.device.keys())).await {
            Ok(entering) => entering,
            Err(EnterError::Store(error)) => panic!("the Memory store failed: {error}"),
            Err(_) => return false,
        };
        let content = keys.open(&grant.secret.sealed_blob).expect("the password opens its own grant");
        let verified =
            verify_record(&content, entering.epoch_record.envelope_bytes()).expect("the record is the grant's");
        self.keys.insert(content.room_key.epoch(), content.room_key.clone());
        self.record = Some(verified.record.clone());
        self.walk_back(store, room, content.room_key.epoch()).await;
        let held = self.chain.as_ref().expect("it was just folded").pin();
        assert_eq!(held, (content.room_key.epoch(), content.record_hash), "the fold ends at the grant's record");
        self.is_in = true;
        true
    }

    /// Reads the chain and the keys of older epochs as far back as the records allow, then folds forward.
    async fn walk_back(&mut self, store: &Store, room: RoomId, epoch: u32) {
        let page =
            store.chain(room, None, usize::MAX >> 1).await.expect("the store answers").expect("the room is there");
        let mut oldest = epoch;
        for frame in page.entries.iter().rev() {
            let header = frame.header().expect("the store keeps envelopes");
            if header.kind != EntryKind::EpochRecord || header.epoch != oldest {
                continue;
            }
            let key = self.keys[&oldest].clone();
            let record = open_record(&key, frame.envelope_bytes()).expect("the record of a key that was good");
            match record.previous_key(&key) {
                Some(previous) => {
                    oldest -= 1;
                    self.keys.entry(oldest).or_insert(previous);
                }
                None => break,
            }
        }
        // One who was in before keeps what it has.
        let oldest = self.keys.first_key_value().map_or(oldest, |(epoch, _)| *epoch).max(if self.read.is_empty() {
            oldest
        } else {
            0
        });
        self.floor = self.contiguous_floor(epoch).max(oldest);
        let mut chain: Option<Chain> = None;
        for frame in &page.entries {
            let entry = self.chain_entry(store, frame).await;
            if entry.header.epoch < self.floor {
                continue;
            }
            chain = Some(match chain {
                None if entry.seq == Seq(1) => Chain::found(entry).expect("the founding record is good"),
                None => Chain::adopt(entry).expect("a record is where an epoch begins"),
                Some(mut chain) => {
                    chain.apply(&entry).expect("honest admins write a good chain");
                    chain
                }
            });
        }
        self.chain = chain;
        // Everything is read anew with the keys that are there now.
        self.read.clear();
    }

    /// The oldest epoch from which on no key is missing.
    fn contiguous_floor(&self, newest: u32) -> u32 {
        let mut floor = newest;
        while floor > 0 && self.keys.contains_key(&(floor - 1)) {
            floor -= 1;
        }
        floor
    }

    async fn chain_entry(&mut self, store: &Store, frame: &EntryFrame) -> ChainEntry {
        let header = frame.header().expect("the store keeps envelopes");
        let opened = self.open(store, &header, frame.envelope_bytes()).await;
        ChainEntry { seq: frame.seq(), hash: frame.hash(), header, opened }
    }

    async fn open(&mut self, store: &Store, header: &Header, envelope: Bytes) -> Option<Opened> {
        let key = self.keys.get(&header.epoch)?;
        let unverified = decrypt(key, &Envelope::parse(envelope).ok()?).ok()?;
        let keys = match unverified.own_keys().or_else(|| self.directory.get(&header.device).copied()) {
            Some(keys) => keys,
            None => {
                let keys = store.device(header.device).await.ok()??;
                PublicKeys { sign_key: keys.sign_key, agree_key: keys.agree_key }
            }
        };
        self.directory.insert(header.device, keys);
        unverified.verify(&keys).ok()
    }

    /// Reads on to the head. False if the server lets it in no more, or it has not been given the newest key.
    pub async fn catch_up(&mut self, store: &Store, room: RoomId) -> bool {
        if !self.is_in {
            return false;
        }
        if !matches!(store.standing(room, self.device.id()).await, Ok(Some(Standing::Member(_)))) {
            self.is_in = false;
            return false;
        }
        loop {
            let after = self.read.last_key_value().map_or(Seq::ZERO, |(seq, _)| *seq);
            let frames = store.read_after(room, after, 50, 1 << 20).await.expect("the store answers");
            if frames.is_empty() {
                return true;
            }
            for frame in frames {
                if !self.apply(store, room, &frame).await {
                    self.is_in = false;
                    return false;
                }
            }
        }
    }

    /// Applies the next entry; false if it begins an epoch whose key this device was not given.
    async fn apply(&mut self, store: &Store, room: RoomId, frame: &EntryFrame) -> bool {
        let header = frame.header().expect("the store keeps envelopes");
        let is_news = self.chain.as_ref().is_none_or(|chain| chain.newest().seq < frame.seq());
        if header.kind == EntryKind::EpochRecord && is_news && !self.receive_key(store, room, header.epoch, frame).await
        {
            return false;
        }
        let entry = self.chain_entry(store, frame).await;
        if header.kind.is_chain() && is_news {
            let chain = self.chain.as_mut().expect("whoever is in has a chain");
            chain.apply(&entry).expect("honest admins write a good chain");
        }
        self.read.insert(frame.seq(), (frame.hash(), entry.opened, header.epoch));
        true
    }

    async fn receive_key(&mut self, store: &Store, room: RoomId, epoch: u32, frame: &EntryFrame) -> bool {
        if !self.keys.contains_key(&epoch) {
            let sealed = store.epoch_keys(room, epoch, self.device.id()).await.expect("the store answers").key;
            let Some(sealed) = sealed else { return false };
            let key = open_room_key(&self.device, room, epoch, &sealed).expect("it was sealed to this device");
            self.keys.insert(epoch, key);
        }
        let record = open_record(&self.keys[&epoch], frame.envelope_bytes()).expect("the key is the record's");
        self.record = Some(record.record);
        true
    }

    /// Sends the next thing: a profile first in each epoch, then what it wants to say. `loses_answer`: the commit takes place and
    /// nobody hears of it.
    pub async fn send(&mut self, store: &Store, room: RoomId, loses_answer: bool) -> Outcome {
        if !self.is_in {
            return Outcome::Nothing;
        }
        let (envelope, text) = match self.unanswered.take() {
            Some(unanswered) => unanswered,
            None => match self.next_envelope(room) {
                Some(next) => next,
                None => return Outcome::Nothing,
            },
        };
        let epoch = envelope.header().epoch;
        let answer = store.append(envelope.clone()).await;
        if loses_answer {
            self.unanswered = Some((envelope, text));
            return Outcome::Unanswered;
        }
        match answer {
            Ok(_) => match text {
                Some(text) => Outcome::Sent(text),
                None => {
                    self.introduced = Some(epoch);
                    Outcome::Nothing
                }
            },
            Err(
                why @ (AppendError::StaleEpoch { .. }
                | AppendError::NotAMember
                | AppendError::Removed
                | AppendError::Banned),
            ) => {
                // The instance ends; the text is sealed anew once this device has caught up, or is in again.
                (self.instance, self.counter) = (InstanceId(random()), 0);
                if let Some(text) = text {
                    self.wants.push_front(text);
                }
                if matches!(why, AppendError::StaleEpoch { .. }) {
                    return Outcome::Overtaken;
                }
                self.is_in = false;
                Outcome::Refused
            }
            Err(other) => panic!("an honest client was refused: {other}"),
        }
    }

    fn next_envelope(&mut self, room: RoomId) -> Option<(Envelope, Option<String>)> {
        let epoch = self.epoch()?;
        let (body, text) = if self.introduced == Some(epoch) {
            let text = self.wants.pop_front()?;
            (Body::Message(Message::of(text.clone())), Some(text))
        } else {
            let keys = self.device.keys();
            let profile = Profile {
                name: "Ana".into(),
                joined: self.introduced.is_none(),
                sign_key: keys.sign_key.into(),
                agree_key: keys.agree_key.into(),
            };
            (Body::Profile(profile), None)
        };
        let header = Header {
            kind: body.kind(),
            room,
            epoch,
            device: self.device.id(),
            instance: self.instance,
            counter: self.counter,
            target: Seq::ZERO,
        };
        self.counter += 1;
        let content = Content { prev: self.newest(), sent_at_ms: 1, body: &body.to_json() };
        Some((seal(&self.device, &self.keys[&epoch], &header, &content).expect("in bounds"), text))
    }

    /// The texts it can read, in order.
    pub fn texts(&self) -> Vec<String> {
        let opened = self.read.values().filter_map(|(_, opened, _)| opened.as_ref());
        opened
            .filter_map(|opened| match &opened.body {
                Body::Message(message) => Some(message.text.clone()),
                _ => None,
            })
            .collect()
    }
}
