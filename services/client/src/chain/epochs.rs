//! A room's key is replaced, with real keys from end to end: who stays, who is removed, who comes later.

use std::collections::BTreeSet;

use bytes::Bytes;
use snug_protocol::{Envelope, GrantId, RoomId};

use super::*;
use crate::crypto::{
    Device, GrantContent, GrantKeys, NextEpoch, Prev, RecoveryKey, RoomKey, Secret, founding_record, next_record, open,
    open_record, open_room_key, seal_room_key, seal_step, verify_record,
};

const ROOM: RoomId = RoomId([1; 16]);
const NOW_MS: u64 = 1_790_000_000_000;

fn link(seq: u64, envelope: &Envelope, key: &RoomKey, signer: &Device) -> ChainEntry {
    let opened = open(ROOM, key, signer.keys(), envelope.bytes().clone()).ok();
    ChainEntry { seq: Seq(seq), hash: envelope.hash(), header: *envelope.header(), opened }
}

#[test]
fn after_a_removal_those_who_stay_and_newcomers_have_the_key_and_the_removed_device_has_not() {
    let (owner, member, removed) = (Device::generate(), Device::generate(), Device::generate());
    let recovery = RecoveryKey::generate().device();
    let (old, new) = (RoomKey::generate(ROOM, 0), RoomKey::generate(ROOM, 1));
    let first = founding_record(&owner, &old, recovery.keys(), NOW_MS).expect("epoch 0");
    let mut chain = Chain::found(link(1, &first, &old, &owner)).expect("a founding record");
    let (now, topic) = (Prev { seq: Seq(1), hash: first.hash() }, Step::Topic { topic: "Gardens".into() });
    let place = chain.next_step(owner.id(), &topic).expect("an owner may");
    let step = seal_step(&owner, &old, place, topic, now, NOW_MS).expect("in bounds");
    chain.apply(&link(2, &step, &old, &owner)).expect("it follows");

    let cause = Cause::Remove { devices: vec![removed.id()], ban: true };
    let listed = [&owner, &member, &removed].map(|device| (device.id(), *device.keys()));
    let introduced: BTreeSet<DeviceId> = listed.iter().map(|(device, _)| *device).collect();
    let present = open_record(&old, first.bytes().clone()).expect("the founding record").record;
    let members = Membership { listed: &listed, recipients: &[], introduced: &introduced };
    let state = chain.next_state(owner.id(), &cause, NOW_MS).expect("an owner may");
    let eligible = eligible(&present, &state, owner.id(), &cause, members);
    assert_eq!((eligible.sealed_to.len(), eligible.excluded.len()), (3, 0));
    let recipients: Vec<DeviceId> = eligible.sealed_to.iter().map(|(device, _)| *device).collect();
    let next =
        NextEpoch { after: chain.newest(), previous_key: &old, recipients: &recipients, cause, recovery: None, state };
    let record = next_record(&owner, &new, next, now, NOW_MS).expect("in bounds");

    // A member that stays: its sealed key counts since the record opens with it and follows from the chain.
    for device in [&member, &recovery] {
        let keys = eligible.sealed_to.iter().find(|(id, _)| *id == device.id()).expect("it stays").1;
        let sealed = seal_room_key(&new, &keys).expect("usual keys");
        let key = open_room_key(device, ROOM, 1, &sealed).expect("sealed to it");
        let verified = open_record(&key, record.bytes().clone()).expect("it commits to the key");
        assert!(verified.record.names_recipients(&recipients));
        assert!(open_room_key(&removed, ROOM, 1, &sealed).is_err());
        let header = *record.header();
        let entry = ChainEntry { seq: Seq(3), hash: verified.hash, header, opened: Some(verified.opened) };
        assert!(chain.clone().apply(&entry).is_ok());
    }
    assert!(open_record(&old, record.bytes().clone()).is_err(), "the old key opens nothing of the new epoch");

    // A newcomer: by a grant, and back from there.
    let keys = GrantKeys::derive(&Secret::generate(), ROOM, GrantId([3; 16]));
    let blob = keys.seal(&GrantContent { room_key: new.clone(), record_hash: record.hash() });
    let grant = keys.open(&blob).expect("its own");
    let verified = verify_record(&grant, record.bytes().clone()).expect("the record of the grant");
    let back = verified.previous_key(&grant.room_key).expect("newcomers may read back");
    assert!(open_record(&back, first.bytes().clone()).is_ok());
    assert!(verify_record(&grant, first.bytes().clone()).is_err(), "an older record is not the grant's");
    assert!(verify_record(&grant, Bytes::new()).is_err());
    let mut late = Chain::adopt(link(3, &record, &new, &owner)).expect("its signer is an owner");
    assert_eq!(late.prepend(&[link(1, &first, &back, &owner), link(2, &step, &back, &owner)]), Ok(Vec::new()));
    chain.apply(&link(3, &record, &new, &owner)).expect("it follows");
    assert_eq!((late.state(), late.pin()), (chain.state(), chain.pin()));
    assert_eq!(late.state().topic, "Gardens");
    assert!(late.state().is_banned(removed.id()));
}

#[test]
fn a_record_after_which_nobody_shall_read_back_does_not_carry_the_key_before() {
    let (owner, recovery) = (Device::generate(), RecoveryKey::generate().device());
    let (old, new) = (RoomKey::generate(ROOM, 0), RoomKey::generate(ROOM, 1));
    let first = founding_record(&owner, &old, recovery.keys(), NOW_MS).expect("epoch 0");
    let chain = Chain::found(link(1, &first, &old, &owner)).expect("a founding record");
    let next = |cause: Cause| NextEpoch {
        after: chain.newest(),
        previous_key: &old,
        recipients: &[],
        state: chain.next_state(owner.id(), &cause, NOW_MS).expect("an owner may"),
        cause,
        recovery: None,
    };
    let prev = Prev { seq: Seq(1), hash: first.hash() };
    let record = next_record(&owner, &new, next(Cause::History), prev, NOW_MS).expect("in bounds");
    let verified = open_record(&new, record.bytes().clone()).expect("its own key");
    assert!(verified.previous_key(&new).is_none());
    let skipped = RoomKey::generate(ROOM, 2);
    assert!(next_record(&owner, &skipped, next(Cause::Rotate), prev, NOW_MS).is_err(), "not the epoch that follows");
}
