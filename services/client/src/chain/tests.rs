//! The rules of the chain, one by one. Random sequences are in `model`.

use std::collections::BTreeSet;

use snug_protocol::{EntryKind, InstanceId, RoomId};

use super::*;
use crate::crypto::{Device, Prev, PublicKeys, RecoveryKey, StepBody};

const ROOM: RoomId = RoomId([1; 16]);
pub(super) const NOW_MS: u64 = 1_790_000_000_000;

/// A room with an owner, a recovery device, and people who may become something.
#[derive(Clone)]
pub(super) struct Play {
    pub(super) chain: Chain,
    pub(super) entries: Vec<ChainEntry>,
}

pub(super) fn person(name: u8) -> PublicKeys {
    PublicKeys { sign_key: [name; 32], agree_key: [name ^ 0x55; 32] }
}

pub(super) fn owner() -> PublicKeys {
    person(1)
}

pub(super) fn recovery() -> PublicKeys {
    person(2)
}

/// An entry as if it had been opened: the chain does not look at signatures.
pub(super) fn entry(seq: u64, signer: DeviceId, epoch: u32, target: Seq, body: Body, sent_at_ms: u64) -> ChainEntry {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&seq.to_be_bytes());
    hash[8..24].copy_from_slice(signer.as_bytes());
    let instance = InstanceId([0; 16]);
    let header = Header { kind: body.kind(), room: ROOM, epoch, device: signer, instance, counter: 0, target };
    // Whoever made it had seen what it follows.
    let prev = if target == Seq::ZERO { Prev::default() } else { Prev { seq: target, hash: EnvelopeHash([7; 32]) } };
    let opened = Opened { header, prev, sent_at_ms, body };
    ChainEntry { seq: Seq(seq), hash: EnvelopeHash(hash), header, opened: Some(opened) }
}

pub(super) fn founding() -> ChainEntry {
    let record = EpochRecord {
        epoch: 0,
        commitment: [0; 32],
        previous: None,
        previous_key: None,
        recipients: None,
        cause: Cause::Created,
        recovery: None,
        state: RoomState::founding(&owner(), &recovery()),
    };
    entry(1, owner().id(), 0, Seq::ZERO, Body::EpochRecord(Box::new(record)), NOW_MS)
}

/// A record upon `after`, with whatever state.
pub(super) fn record_body(after: ChainPlace, epoch: u32, cause: Cause, state: RoomState) -> Body {
    renewing_body(after, epoch, (cause, None), state)
}

/// The same, with another recovery device.
pub(super) fn renewing_body(
    after: ChainPlace,
    epoch: u32,
    (cause, recovery): (Cause, Option<PublicKeys>),
    state: RoomState,
) -> Body {
    let previous_key = cause.keeps_history().then_some([0; 60]);
    let (previous, recipients) = (Some(after.hash), Some([0; 32]));
    let record = EpochRecord { epoch, commitment: [0; 32], previous, previous_key, recipients, cause, recovery, state };
    Body::EpochRecord(Box::new(record))
}

impl Play {
    pub(super) fn new() -> Self {
        Self { chain: Chain::found(founding()).expect("a founding record"), entries: vec![founding()] }
    }

    pub(super) fn give(&mut self, entry: ChainEntry) -> Result<Applied, ChainFault> {
        let taken = self.chain.apply(&entry);
        self.entries.push(entry);
        taken
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.entries.last().expect("the founding record").seq.0 + 3
    }

    pub(super) fn step(&mut self, signer: DeviceId, step: Step) -> Result<Applied, ChainFault> {
        let ChainPlace { seq, hash } = self.chain.newest();
        let body = Body::Step(StepBody { previous: hash, step });
        self.give(entry(self.next_seq(), signer, self.chain.pin().0, seq, body, NOW_MS))
    }

    /// A record with the state that the chain itself proposes, or the present one where it proposes none.
    pub(super) fn begin(&mut self, signer: DeviceId, cause: Cause, sent_at_ms: u64) -> Result<Applied, ChainFault> {
        let epoch = self.chain.next_epoch();
        let mut state =
            self.chain.next_state(signer, &cause, sent_at_ms).unwrap_or_else(|_| self.chain.state().clone());
        if cause == Cause::History {
            state.history_from = epoch;
        }
        let body = record_body(self.chain.newest(), epoch, cause, state);
        self.give(entry(self.next_seq(), signer, epoch, self.chain.newest().seq, body, sent_at_ms))
    }

    pub(super) fn appoint(&mut self, name: u8, role: Role) {
        let keys = person(name);
        self.step(owner().id(), Step::Role { device: keys.id(), keys, role }).expect("an owner may appoint");
    }
}

pub(super) fn remove(names: &[u8], ban: bool) -> Cause {
    let mut devices: Vec<DeviceId> = names.iter().map(|name| person(*name).id()).collect();
    devices.sort_unstable();
    Cause::Remove { devices, ban }
}

#[test]
fn a_moderator_keeps_order_among_members_and_owners_govern() {
    let mut play = Play::new();
    play.appoint(3, Role::Moderator);
    play.appoint(4, Role::Moderator);
    let (boss, moderator, other, member) = (owner().id(), person(3).id(), person(4).id(), person(9).id());
    assert_eq!(play.step(member, Step::Lock { locked: true }), Err(ChainFault::NotAllowed));
    assert_eq!(play.step(moderator, Step::Lock { locked: true }).map(|applied| applied.role), Ok(Role::Moderator));
    assert!(play.step(moderator, Step::Mute { device: member, until_ms: NOW_MS + 5 }).is_ok());
    for protected in [other, boss, recovery().id(), moderator] {
        let mute = Step::Mute { device: protected, until_ms: 5 };
        assert_eq!(play.step(moderator, mute), Err(ChainFault::NotAllowed));
        assert_eq!(play.step(moderator, Step::Erase { device: protected }), Err(ChainFault::NotAllowed));
    }
    assert_eq!(play.step(moderator, Step::Retention { age_ms: 0 }), Err(ChainFault::NotAllowed));
    // The last of them is the recovery device, on which nobody acts.
    for (who, cause) in [(moderator, remove(&[4], false)), (moderator, Cause::History), (boss, remove(&[2], false))] {
        assert_eq!(play.clone().begin(who, cause, NOW_MS), Err(ChainFault::NotAllowed));
    }
    let state = play.chain.state();
    assert!(state.locked && state.muted_until_ms(member) == Some(NOW_MS + 5) && state.admins.len() == 4);
}

#[test]
fn a_room_always_has_an_owner_who_is_no_recovery_device() {
    let mut play = Play::new();
    let (boss, saviour) = (owner(), recovery());
    let demote = |keys: PublicKeys| Step::Role { device: keys.id(), keys, role: Role::Member };
    assert_eq!(play.step(boss.id(), demote(boss)), Err(ChainFault::LastOwner));
    assert_eq!(play.step(saviour.id(), demote(boss)), Err(ChainFault::LastOwner));
    assert_eq!(play.step(boss.id(), demote(saviour)), Err(ChainFault::NotAllowed));
    let transfer = |name| Step::Transfer { device: person(name).id(), keys: person(name) };
    assert_eq!(play.step(boss.id(), transfer(1)), Err(ChainFault::NotAllowed), "to oneself");
    assert!(play.step(boss.id(), transfer(3)).is_ok());
    assert_eq!(play.chain.state().role(boss.id()), Role::Moderator);
    assert!(play.step(saviour.id(), transfer(4)).is_ok());
    let owners = [3, 4].map(|name| play.chain.state().role(person(name).id()));
    assert_eq!(owners, [Role::Owner; 2]);
    assert!(play.chain.state().is_recovery(saviour.id()), "it stays as it is");
}

#[test]
fn removal_takes_every_trace_of_a_device_and_lets_mutes_that_are_over_go() {
    let mut play = Play::new();
    play.appoint(3, Role::Moderator);
    for (name, until_ms) in [(9, NOW_MS + 100), (8, NOW_MS + 10), (7, NOW_MS + 11)] {
        play.step(owner().id(), Step::Mute { device: person(name).id(), until_ms }).expect("an owner may");
    }
    play.begin(owner().id(), remove(&[3, 9], true), NOW_MS + 10).expect("an owner may");
    let state = play.chain.state();
    assert_eq!((state.role(person(3).id()), state.is_banned(person(9).id())), (Role::Member, true));
    assert_eq!(state.muted, [Muted { device: person(7).id(), until_ms: NOW_MS + 11 }]);
    assert_eq!((play.chain.pin().0, play.chain.next_epoch()), (1, 2));
    play.step(owner().id(), Step::Unban { device: person(9).id() }).expect("an owner may");
    assert!(!play.chain.state().is_banned(person(9).id()));
}

#[test]
fn a_record_that_states_more_than_its_cause_changes_nothing() {
    let mut play = Play::new();
    play.appoint(3, Role::Moderator);
    let mut state = play.chain.state().clone();
    state.locked = true;
    let body = record_body(play.chain.newest(), 1, Cause::Rotate, state);
    let forged = entry(50, person(3).id(), 1, play.chain.newest().seq, body, NOW_MS);
    assert_eq!(play.give(forged), Err(ChainFault::State));
    assert!(!play.chain.state().locked);
    assert_eq!((play.chain.pin().0, play.chain.next_epoch()), (0, 2), "the server has gone on to epoch 1");
    assert_eq!(play.begin(owner().id(), Cause::Rotate, NOW_MS), Err(ChainFault::Epoch));
}

#[test]
fn an_owner_repairs_a_room_after_a_bad_record() {
    let mut play = Play::new();
    let body = record_body(play.chain.newest(), 1, Cause::Rotate, RoomState::founding(&person(3), &recovery()));
    let forged = entry(4, person(3).id(), 1, Seq(1), body, NOW_MS);
    assert_eq!(play.give(forged), Err(ChainFault::NotAllowed));
    assert_eq!(play.chain.next_step(owner().id(), &Step::Lock { locked: true }), Err(ChainFault::Epoch));
    play.begin(owner().id(), Cause::History, NOW_MS).expect("a clean cut");
    assert_eq!((play.chain.pin().0, play.chain.state().history_from), (2, 2));
    play.begin(owner().id(), Cause::Rotate, NOW_MS).expect("all is as usual");
}

#[test]
fn of_two_who_act_at_once_the_second_does_not_link_and_the_chain_goes_on() {
    let mut play = Play::new();
    let first = play.chain.newest();
    play.step(owner().id(), Step::Lock { locked: true }).expect("the first");
    let step = Step::Topic { topic: "Second".into() };
    let late = entry(9, owner().id(), 0, first.seq, Body::Step(StepBody { previous: first.hash, step }), NOW_MS);
    assert_eq!(play.give(late.clone()), Err(ChainFault::Unlinked));
    assert_eq!(play.chain.newest().seq, Seq(4));
    // Its target is right and its hash is not: another entry stood where it says.
    let mut header = late.header;
    header.target = Seq(4);
    let opened = late.opened.map(|opened| Opened { header, ..opened });
    assert_eq!(play.give(ChainEntry { seq: Seq(12), header, opened, ..late }), Err(ChainFault::Unlinked));
    assert_eq!(play.chain.newest().seq, Seq(12), "the server has it as the newest");
    let unreadable = entry(15, person(9).id(), 0, Seq(12), Body::Deletion, NOW_MS);
    let header = Header { kind: EntryKind::Step, ..unreadable.header };
    assert_eq!(play.give(ChainEntry { header, opened: None, ..unreadable }), Err(ChainFault::Unreadable));
    play.step(owner().id(), Step::Lock { locked: false }).expect("a bad entry does not end the administration");
}

#[test]
fn a_step_of_an_older_epoch_or_a_second_counter_is_refused() {
    let mut play = Play::new();
    play.begin(owner().id(), Cause::Rotate, NOW_MS).expect("an owner may");
    let newest = play.chain.newest();
    let body = || Body::Step(StepBody { previous: newest.hash, step: Step::Lock { locked: true } });
    let mut chain = play.chain.clone();
    assert_eq!(chain.apply(&entry(9, owner().id(), 0, newest.seq, body(), NOW_MS)), Err(ChainFault::Epoch));
    let mut second = entry(9, owner().id(), 1, newest.seq, body(), NOW_MS);
    second.header.counter = 1;
    second.opened.as_mut().expect("opened").header.counter = 1;
    assert_eq!(play.give(second), Err(ChainFault::OutOfBounds));
}

#[test]
fn a_newcomer_adopts_a_record_and_reads_back_to_the_same_roles() {
    let mut play = Play::new();
    play.appoint(3, Role::Moderator);
    play.begin(person(3).id(), remove(&[9], true), NOW_MS).expect("a moderator may");
    let (at, rest) = (play.entries.len() - 1, play.entries.clone());
    play.appoint(4, Role::Owner);
    let mut late = Chain::adopt(rest[at].clone()).expect("the signer is a moderator in its own state");
    late.apply(play.entries.last().expect("the appointment")).expect("it follows");
    assert_eq!((late.state(), late.newest(), late.pin()), (play.chain.state(), play.chain.newest(), play.chain.pin()));
    assert_eq!(late.role_at(person(3).id(), rest[at].seq), None, "not known yet");
    assert_eq!(late.prepend(&rest[1..at]), Err(ChainFault::Unlinked), "it does not begin with a record");
    assert_eq!(late.prepend(&rest[..at]), Ok(Vec::new()));
    assert_eq!(late.begins_at(), Seq(1));
    for seq in (1..20).map(Seq) {
        for name in [1, 2, 3, 4, 9] {
            let device = person(name).id();
            assert_eq!(late.role_at(device, seq), play.chain.role_at(device, seq), "{name} at {seq}");
        }
    }
    assert_eq!(late.may_delete_at(person(3).id(), person(9).id(), Seq(4)), Some(false), "not appointed yet");
    assert_eq!(late.may_delete_at(person(3).id(), person(9).id(), Seq(5)), Some(true));
    assert_eq!(late.may_delete_at(person(9).id(), person(9).id(), Seq(5)), Some(true), "one's own");
}

#[test]
fn a_record_that_nobody_could_have_made_is_not_adopted() {
    let after = ChainPlace { seq: Seq(4), hash: EnvelopeHash([4; 32]) };
    let state = RoomState::founding(&owner(), &recovery());
    let adopt = |signer: u8, cause: Cause, state: &RoomState| {
        let body = record_body(after, 1, cause, state.clone());
        Chain::adopt(entry(9, person(signer).id(), 1, after.seq, body, NOW_MS)).map(|_| ())
    };
    assert_eq!(adopt(1, Cause::Rotate, &state), Ok(()));
    assert_eq!(adopt(9, Cause::Rotate, &state), Err(ChainFault::NotAllowed));
    assert_eq!(adopt(1, remove(&[9], true), &state), Err(ChainFault::State), "it is not banned");
    assert_eq!(adopt(1, Cause::History, &state), Err(ChainFault::OutOfBounds), "newcomers could read back");
    let muted = vec![Muted { device: person(9).id(), until_ms: NOW_MS }];
    assert_eq!(adopt(1, Cause::Rotate, &RoomState { muted, ..state }), Err(ChainFault::State), "it is over");
    let mut founding = founding();
    if let Some(Body::EpochRecord(record)) = founding.opened.as_mut().map(|opened| &mut opened.body) {
        record.state.topic = "Not empty".into();
    }
    assert_eq!(Chain::found(founding).map(|_| ()), Err(ChainFault::State));
}

#[test]
fn a_room_that_begins_with_a_recovery_key_to_which_nothing_can_be_sealed_is_none() {
    for low in 0..2 {
        let mut founding = founding();
        if let Some(Body::EpochRecord(record)) = founding.opened.as_mut().map(|opened| &mut opened.body) {
            let keys = |keys: PublicKeys, at| if at == low { PublicKeys { agree_key: [0; 32], ..keys } } else { keys };
            let (owner, recovery) = (keys(owner(), 0), keys(recovery(), 1));
            record.state = RoomState::founding(&owner, &recovery);
            founding.header.device = owner.id();
        }
        if let Some(opened) = &mut founding.opened {
            opened.header = founding.header;
        }
        assert_eq!(Chain::found(founding).map(|_| ()), Err(ChainFault::OutOfBounds));
    }
}

#[test]
fn a_full_list_takes_nobody_more() {
    let mut play = Play::new();
    for name in 10..28 {
        play.appoint(name, Role::Moderator);
    }
    let step = Step::Role { device: person(30).id(), keys: person(30), role: Role::Moderator };
    assert_eq!(play.step(owner().id(), step), Err(ChainFault::OutOfBounds));
    assert_eq!(play.chain.state().admins.len(), 20);
}

#[test]
fn a_key_is_sealed_only_to_members_who_proved_that_they_had_the_one_before() {
    let devices: Vec<Device> = (0..7).map(|_| Device::generate()).collect();
    let keys: Vec<PublicKeys> = devices.iter().map(|device| *device.keys()).collect();
    let saviour = *RecoveryKey::generate().device().keys();
    let Some(Body::EpochRecord(mut record)) = founding().opened.map(|opened| opened.body) else { panic!("a record") };
    let mut state = RoomState::founding(&keys[0], &saviour);
    state.banned = vec![keys[3].id()];
    let weak = PublicKeys { agree_key: [0; 32], ..keys[6] };
    let mut listed: Vec<(DeviceId, PublicKeys)> = keys[..6].iter().map(|keys| (keys.id(), *keys)).collect();
    listed[4].1 = keys[0];
    listed.push((weak.id(), weak));
    // 1 is removed, 2 was never seen, 3 is banned, 4 has other keys than its id says, 5 introduced itself, 6 cannot be sealed to.
    let introduced: BTreeSet<DeviceId> =
        [0, 1, 3, 4, 5].map(|at| keys[at].id()).into_iter().chain([weak.id()]).collect();
    let cause = Cause::Remove { devices: vec![keys[1].id()], ban: false };
    let members = Membership { listed: &listed, recipients: &[], introduced: &introduced };
    let owner = keys[0].id();
    let found = eligible(&record, &state, owner, &cause, members);
    let sorted = |mut ids: Vec<DeviceId>| {
        ids.sort_unstable();
        ids
    };
    let sealed_to: Vec<DeviceId> = found.sealed_to.iter().map(|(device, _)| *device).collect();
    assert_eq!(sealed_to, sorted(vec![keys[0].id(), keys[5].id(), saviour.id()]));
    assert_eq!(found.excluded, sorted(vec![keys[2].id(), keys[3].id(), keys[4].id(), weak.id()]));
    // A list that is not the one that the record names counts for nothing.
    record.recipients = Some([1; 32]);
    let wrong = Membership { recipients: &[keys[2].id()], ..members };
    assert_eq!(eligible(&record, &state, owner, &cause, wrong), found);
}

#[test]
fn who_is_not_outranked_is_sealed_to_whatever_the_server_says() {
    let keys: Vec<PublicKeys> = (0..6).map(|_| *Device::generate().keys()).collect();
    let [owner, boss, moderator, other, member, saviour] = keys[..] else { unreachable!("six") };
    let Some(Body::EpochRecord(record)) = founding().opened.map(|opened| opened.body) else { panic!("a record") };
    let mut state = RoomState::founding(&owner, &saviour);
    let admin = |keys, role| Admin { keys, role, recovery: false };
    state.admins.extend([
        admin(boss, Role::Owner),
        admin(moderator, Role::Moderator),
        admin(other, Role::Moderator),
        admin(PublicKeys { agree_key: [0; 32], ..member }, Role::Owner),
    ]);
    state.admins.sort_by_key(Admin::device);
    // The server shows nobody but somebody else's keys in the name of another owner.
    let listed = [(boss.id(), member), (member.id(), member)];
    let members = Membership { listed: &listed, recipients: &[], introduced: &BTreeSet::from([member.id()]) };
    let sealed_to = |signer: PublicKeys| {
        let found = eligible(&record, &state, signer.id(), &Cause::Rotate, members);
        assert_eq!(found.excluded, []);
        assert!(found.sealed_to.iter().all(|(device, keys)| keys.id() == *device));
        found.sealed_to.into_iter().map(|(device, _)| device).collect::<BTreeSet<_>>()
    };
    let ids = |keys: &[PublicKeys]| keys.iter().map(PublicKeys::id).collect::<BTreeSet<_>>();
    assert_eq!(sealed_to(owner), ids(&[owner, boss, saviour, member]), "to nobody whose key agrees on nothing");
    assert_eq!(sealed_to(saviour), ids(&[owner, boss, saviour, member]));
    assert_eq!(sealed_to(moderator), ids(&[owner, boss, saviour, member, moderator, other]));
}
