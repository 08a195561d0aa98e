//! A room, the people around it, and what may happen next.

use std::collections::{BTreeMap, BTreeSet};

use snug_client::chain::Action;
use snug_client::crypto::{
    Cause, Device, GrantContent, GrantKeys, RecoveryKey, RoomKey, Secret, Step, decrypt, founding_record,
    open_room_key, seal_room_key, seal_step,
};
use snug_client::protocol::frame::EntryFrame;
use snug_client::protocol::http::Role;
use snug_client::protocol::{Envelope, GrantId, RoomId, Seq};
use snug_store::{GrantSecret, NewRoom, NewStep, Standing, StepEffect, StepError, Store};
use snug_tests::rng::Rng;

use super::person::{Outcome, Person, Told, device_keys, random};
use super::rekey::Prepared;

const PEOPLE: usize = 6;

/// What happened, over all seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub sent: u64,
    pub epochs: u64,
    pub removed: u64,
    pub late_joins: u64,
    pub lost_races: u64,
    pub overtaken: u64,
    pub excluded: u64,
    pub cut: u64,
    pub renewed: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.epochs += other.epochs;
        self.removed += other.removed;
        self.late_joins += other.late_joins;
        self.lost_races += other.lost_races;
        self.overtaken += other.overtaken;
        self.excluded += other.excluded;
        self.cut += other.cut;
        self.renewed += other.renewed;
    }
}

pub struct World {
    store: Store,
    room: RoomId,
    people: Vec<Person>,
    /// The newest way in, told to whoever is not kept out.
    told: Told,
    /// Epochs that are prepared and have not begun: an admin thinks, crashes, or is overtaken.
    prepared: Vec<Prepared>,
    /// Who was put out, and the newest epoch whose key they rightly had.
    gone: BTreeMap<usize, u32>,
    /// The recovery device.
    saviour: Device,
    /// Those in whose place another came, and the newest epoch whose key each rightly had.
    retired: Vec<(Device, u32)>,
    acknowledged: BTreeSet<String>,
    texts: u64,
    pub tally: Tally,
}

impl World {
    /// A room with its owner and two members.
    pub async fn found(rng: &mut Rng) -> Self {
        let (store, room) = (Store::memory(), RoomId(random()));
        let mut people: Vec<Person> = (0..PEOPLE).map(|_| Person::new()).collect();
        let (owner, recovery) = (&people[0].device, RecoveryKey::generate().device());
        let key = RoomKey::generate(room, 0);
        let record = founding_record(owner, &key, recovery.keys(), 1).expect("in bounds");
        let told = Told { grant: GrantId(random()), secret: Secret::generate() };
        let keys = GrantKeys::derive(&told.secret, room, told.grant);
        let content = GrantContent { room_key: key.clone(), record_hash: record.hash() };
        let new = NewRoom {
            room,
            name: "room".into(),
            likeness: "room".into(),
            owner: device_keys(owner.keys()),
            grant: told.grant,
            kdf: 1,
            secret: GrantSecret { verifier: keys.auth().to_vec(), sealed_blob: keys.seal(&content), pepper: 0 },
            epoch_record: record,
            recovery: device_keys(recovery.keys()),
            recovery_key: seal_room_key(&key, recovery.keys()).expect("usual keys"),
        };
        store.create_room(new).await.expect("a free name");
        let mut world = Self {
            store,
            room,
            told: told.clone(),
            prepared: Vec::new(),
            gone: BTreeMap::new(),
            saviour: recovery,
            retired: Vec::new(),
            acknowledged: BTreeSet::new(),
            texts: 0,
            tally: Tally::default(),
            people: Vec::new(),
        };
        for person in &mut people[..3] {
            person.told.push(told.clone());
            assert!(person.enter(&world.store, room).await, "everyone enters a new room");
            person.catch_up(&world.store, room).await;
            if rng.one_in(2) {
                person.send(&world.store, room, false).await;
            }
        }
        world.people = people;
        world
    }

    /// Does one thing at random.
    pub async fn act(&mut self, rng: &mut Rng) {
        let who = rng.below(PEOPLE);
        match rng.below(16) {
            0..=3 => self.speak(who, rng.one_in(4)).await,
            4..=6 => {
                self.people[who].catch_up(&self.store, self.room).await;
            }
            7 | 8 => self.come_in(who, rng.one_in(4)).await,
            9 => self.people[who].restart(),
            10 | 11 => {
                let who = self.someone_who_governs(rng).unwrap_or(who);
                self.prepare(who, rng).await;
                if rng.one_in(2) {
                    self.commit(rng).await;
                }
            }
            12 | 13 => self.commit(rng).await,
            14 => self.change_role(rng).await,
            _ => self.leave_unsent(who),
        }
    }

    fn leave_unsent(&mut self, who: usize) {
        self.texts += 1;
        let text = format!("{who} says {}", self.texts);
        self.people[who].wants.push_back(text);
    }

    async fn speak(&mut self, who: usize, loses_answer: bool) {
        if self.people[who].wants.is_empty() {
            self.leave_unsent(who);
        }
        match self.people[who].send(&self.store, self.room, loses_answer).await {
            Outcome::Sent(text) => {
                assert!(self.acknowledged.insert(text), "acknowledged once");
                self.tally.sent += 1;
            }
            Outcome::Overtaken => {
                self.tally.overtaken += 1;
                self.people[who].catch_up(&self.store, self.room).await;
            }
            Outcome::Nothing | Outcome::Unanswered | Outcome::Refused => {}
        }
    }

    /// Enters by the newest way in, unless put out. `crashes`: before it could introduce itself.
    async fn come_in(&mut self, who: usize, crashes: bool) {
        if self.gone.contains_key(&who) || self.people[who].is_in {
            return;
        }
        let person = &mut self.people[who];
        person.told.push(self.told.clone());
        if !person.enter(&self.store, self.room).await {
            return;
        }
        self.tally.late_joins += u64::from(person.epoch() > Some(0));
        person.catch_up(&self.store, self.room).await;
        if !crashes {
            person.send(&self.store, self.room, false).await;
        }
    }

    fn someone_who_governs(&self, rng: &mut Rng) -> Option<usize> {
        let may = |person: &Person| {
            let chain = person.chain.as_ref().filter(|_| person.is_in);
            chain.is_some_and(|chain| chain.state().role(person.device.id()) != Role::Member)
        };
        let admins: Vec<usize> = (0..PEOPLE).filter(|who| may(&self.people[*who])).collect();
        (!admins.is_empty()).then(|| admins[rng.below(admins.len())])
    }

    async fn prepare(&mut self, who: usize, rng: &mut Rng) {
        if !self.people[who].catch_up(&self.store, self.room).await {
            return;
        }
        let admin = &self.people[who];
        let cause = match rng.below(4) {
            0 => Cause::Rotate,
            1 if rng.one_in(2) => Cause::History,
            _ => {
                let target = self.people[rng.below(PEOPLE)].device.id();
                let is_a_member = self.store.standing(self.room, target).await.expect("it answers").is_some();
                if target == admin.device.id() || !is_a_member {
                    return;
                }
                Cause::Remove { devices: vec![target], ban: rng.one_in(2) }
            }
        };
        let owns = admin.chain.as_ref().is_some_and(|chain| chain.may(admin.device.id(), Action::ReplaceRecovery));
        let recovery = (owns && rng.one_in(3)).then(|| RecoveryKey::generate().device());
        let Some(prepared) = Prepared::new(admin, &self.store, self.room, cause, recovery).await else { return };
        // Crashed before, between, or after the requests that stage keys: then nothing has happened.
        let crashes_after = rng.one_in(4).then(|| rng.below(4));
        let staged = prepared.stage(&self.store, self.room, crashes_after.unwrap_or(usize::MAX)).await;
        if staged.is_ok() && crashes_after.is_none() {
            self.prepared.push(prepared);
        }
    }

    /// Something that was prepared is committed at last, or tried to.
    async fn commit(&mut self, rng: &mut Rng) {
        if self.prepared.is_empty() {
            return;
        }
        let at = rng.below(self.prepared.len());
        let prepared = self.prepared.swap_remove(at);
        match prepared.begin(&self.store).await {
            Ok(()) => self.begun(prepared),
            Err(StepError::ChainMoved { .. } | StepError::StaleEpoch { .. }) => self.tally.lost_races += 1,
            Err(StepError::Store(error)) => panic!("the Memory store failed: {error}"),
            Err(_) => {}
        }
    }

    fn begun(&mut self, prepared: Prepared) {
        self.told = prepared.told.clone();
        self.tally.epochs += 1;
        self.tally.excluded += u64::try_from(prepared.excluded).expect("few");
        self.tally.cut += u64::from(prepared.cause == Cause::History);
        let before = prepared.new.record.header().epoch - 1;
        if let Some(fresh) = prepared.recovery {
            self.retired.push((std::mem::replace(&mut self.saviour, fresh), before));
            self.tally.renewed += 1;
        }
        for (who, person) in self.people.iter().enumerate() {
            if prepared.new.remove.contains(&person.device.id()) {
                self.gone.entry(who).or_insert(before);
                self.tally.removed += 1;
            }
        }
    }

    /// The owner makes somebody a moderator, or a member again.
    async fn change_role(&mut self, rng: &mut Rng) {
        let (owner, target) = (0, 1 + rng.below(PEOPLE - 1));
        if !self.people[owner].catch_up(&self.store, self.room).await || !self.people[target].is_in {
            return;
        }
        let keys = *self.people[target].device.keys();
        let (device, owner) = (keys.id(), &self.people[owner]);
        let chain = owner.chain.as_ref().expect("whoever is in has a chain");
        let role = if chain.state().role(device) == Role::Member { Role::Moderator } else { Role::Member };
        let step = Step::Role { device, keys, role };
        if !chain.may(owner.device.id(), Action::of_step(&step)) {
            return;
        }
        let Ok(after) = chain.next_step(owner.device.id(), &step) else { return };
        let key = &owner.keys[&chain.pin().0];
        let envelope = seal_step(&owner.device, key, after, step, owner.newest(), 1).expect("in bounds");
        match self.store.administer(NewStep { envelope, effect: StepEffect::Role { device, role } }).await {
            Ok(_) | Err(StepError::NotAMember | StepError::NotAllowed | StepError::LastOwner) => {}
            Err(other) => panic!("an honest owner was refused: {other}"),
        }
    }

    /// Everyone comes back, says what they had to say, and reads to the end.
    pub async fn settle(&mut self) {
        for round in 0..50 {
            let mut busy = false;
            for who in 0..PEOPLE {
                if !self.people[who].is_in && !self.gone.contains_key(&who) {
                    self.come_in(who, false).await;
                }
                if self.people[who].catch_up(&self.store, self.room).await {
                    match self.people[who].send(&self.store, self.room, false).await {
                        Outcome::Sent(text) => {
                            assert!(self.acknowledged.insert(text), "acknowledged once");
                            busy = true;
                        }
                        Outcome::Overtaken => busy = true,
                        Outcome::Nothing | Outcome::Unanswered | Outcome::Refused => {}
                    }
                    busy |= !self.people[who].wants.is_empty();
                }
            }
            if !busy && round > 0 {
                break;
            }
        }
        for person in &mut self.people {
            person.catch_up(&self.store, self.room).await;
        }
    }

    async fn log(&self) -> Vec<EntryFrame> {
        let mut log: Vec<EntryFrame> = Vec::new();
        loop {
            let after = log.last().map_or(Seq::ZERO, EntryFrame::seq);
            let more = self.store.read_after(self.room, after, 1_000, 1 << 24).await.expect("the store answers");
            if more.is_empty() {
                return log;
            }
            log.extend(more);
        }
    }

    pub async fn check_those_who_remain(&self) {
        let log = self.log().await;
        assert!(log.iter().zip(1..).all(|(frame, seq)| frame.seq() == Seq(seq)), "the log has no gap");
        for (who, person) in self.people.iter().enumerate().filter(|(who, _)| !self.gone.contains_key(who)) {
            assert!(person.is_in, "person {who} was not put out and is in");
            assert!(person.wants.is_empty(), "person {who} could say everything");
            assert_eq!(person.read.len(), log.len(), "person {who} has read the whole log");
            for frame in &log {
                let (hash, opened, epoch) = &person.read[&frame.seq()];
                assert_eq!(*hash, frame.hash(), "person {who} has the same entry at {}", frame.seq().0);
                assert!(opened.is_some() || *epoch < person.floor, "person {who} can read {}", frame.seq().0);
            }
            let texts = person.texts();
            let distinct: BTreeSet<&String> = texts.iter().collect();
            assert_eq!(distinct.len(), texts.len(), "person {who} reads nothing twice");
            if person.floor == 0 {
                let missing = self.acknowledged.iter().find(|text| !distinct.contains(text));
                assert_eq!(missing, None, "person {who} misses what was acknowledged");
            }
        }
        let states: Vec<_> = self.people.iter().filter(|person| person.is_in).map(|it| it.chain.as_ref()).collect();
        for pair in states.windows(2) {
            let [Some(one), Some(other)] = pair else { panic!("whoever is in has a chain") };
            assert_eq!((one.state(), one.newest()), (other.state(), other.newest()), "all fold to one state");
        }
    }

    /// The recovery device can open every epoch since it became that, and one in whose place another came none since then.
    pub async fn check_recovery_devices(&self) {
        let log = self.log().await;
        let epochs = log.iter().filter_map(|frame| frame.header().ok()).map(|header| header.epoch).max().unwrap_or(0);
        let key_of = async |device: &Device, epoch| {
            self.store.epoch_keys(self.room, epoch, device.id()).await.expect("it answers").key
        };
        let since = self.retired.last().map_or(0, |(_, had)| had + 1);
        for epoch in since..=epochs {
            let sealed = key_of(&self.saviour, epoch).await.expect("its key is there");
            assert!(open_room_key(&self.saviour, self.room, epoch, &sealed).is_ok(), "the key of epoch {epoch}");
        }
        for (device, had) in &self.retired {
            assert_eq!(self.store.standing(self.room, device.id()).await.expect("it answers"), Some(Standing::Retired));
            for epoch in had + 1..=epochs {
                assert_eq!(key_of(device, epoch).await, None, "an old recovery device got the key of epoch {epoch}");
            }
        }
        for person in self.people.iter().filter(|person| person.is_in) {
            let state = person.chain.as_ref().expect("whoever is in has a chain").state();
            assert!(state.is_recovery(self.saviour.id()), "everyone knows which it is");
            assert!(self.retired.iter().all(|(device, _)| state.role(device.id()) == Role::Member));
        }
    }

    /// Those who were put out try everything they have on everything the database holds.
    pub async fn check_those_who_are_gone(&self) {
        let log = self.log().await;
        let epochs = log.iter().filter_map(|frame| frame.header().ok()).map(|header| header.epoch).max().unwrap_or(0);
        for (who, had) in &self.gone {
            let person = &self.people[*who];
            let mut keys: Vec<RoomKey> = person.keys.values().cloned().collect();
            for epoch in had + 1..=epochs {
                let sealed = self.store.epoch_keys(self.room, epoch, person.device.id()).await.expect("it answers").key;
                assert_eq!(sealed, None, "person {who} was put out and got the key of epoch {epoch}");
            }
            let present =
                self.store.grant(self.room, self.told.grant).await.expect("it answers").expect("the password");
            for told in &person.told {
                let opened =
                    GrantKeys::derive(&told.secret, self.room, present.grant).open(&present.secret.sealed_blob);
                keys.extend(opened.ok().map(|content| content.room_key));
            }
            for frame in log.iter().filter(|frame| frame.header().is_ok_and(|header| header.epoch > *had)) {
                let envelope = Envelope::parse(frame.envelope_bytes()).expect("nothing was erased");
                for key in &keys {
                    // The header is not secret: whoever has a key may try it as that of any epoch.
                    let as_that_epoch = RoomKey::import(self.room, envelope.header().epoch, key.export());
                    assert!(decrypt(&as_that_epoch, &envelope).is_err(), "person {who} was put out and opened it");
                }
            }
        }
    }
}
