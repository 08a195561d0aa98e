//! Another recovery device in the place of the one there is.

use super::tests::{NOW_MS, Play, entry, owner, person, recovery, remove, renewing_body};
use super::*;
use crate::crypto::PublicKeys;

/// A record that names another recovery device, with the state that the chain proposes, or with the present one and that device in it.
fn renew(play: &mut Play, signer: DeviceId, cause: Cause, keys: PublicKeys) -> Result<Applied, ChainFault> {
    let (after, epoch) = (play.chain.newest(), play.chain.next_epoch());
    let state = play.chain.next_state_with(signer, &cause, Some(&keys), NOW_MS).unwrap_or_else(|_| {
        let mut state = play.chain.state().clone();
        state.admins.retain(|admin| !admin.recovery);
        state.admins.push(Admin { keys, role: Role::Owner, recovery: true });
        state.admins.sort_by_key(Admin::device);
        state
    });
    let body = renewing_body(after, epoch, (cause, Some(keys)), state);
    play.give(entry(play.next_seq(), signer, epoch, after.seq, body, NOW_MS))
}

#[test]
fn an_owner_puts_another_recovery_device_in_the_place_of_the_old() {
    let mut play = Play::new();
    play.appoint(3, Role::Owner);
    play.step(owner().id(), Step::Transfer { device: person(3).id(), keys: person(3) }).expect("an owner may");
    assert!(play.chain.state().recovery_is_astray(), "who made the key is an owner no more");
    renew(&mut play, person(3).id(), remove(&[1], true), person(9)).expect("an owner may");
    let state = play.chain.state();
    assert!(state.is_recovery(person(9).id()) && !state.is_recovery(recovery().id()));
    assert_eq!((state.role(recovery().id()), state.recovery_by), (Role::Member, person(3).id()));
    assert!(state.is_banned(owner().id()) && !state.recovery_is_astray());
    let keys = person(1);
    let promotion = Step::Role { device: keys.id(), keys, role: Role::Owner };
    let forged = play.step(recovery().id(), promotion.clone());
    assert_eq!(forged, Err(ChainFault::NotAllowed), "the old one may nothing");
    play.step(person(9).id(), promotion).expect("the new one may");
    // Who comes by the record finds the same.
    let at = play.entries.iter().position(|entry| entry.header.epoch == 1).expect("it began");
    let mut late = Chain::adopt(play.entries[at].clone()).expect("it was accepted");
    late.apply(&play.entries[at + 1]).expect_err("it was forged");
    late.apply(&play.entries[at + 2]).expect("it may");
    assert_eq!(late.state(), play.chain.state());
    late.prepend(&play.entries[..at]).expect("it follows");
}

#[test]
fn nobody_else_replaces_the_recovery_device_and_not_by_anybody_who_is_there() {
    let mut play = Play::new();
    play.appoint(3, Role::Moderator);
    play.begin(owner().id(), remove(&[7], true), NOW_MS).expect("an owner may");
    for (signer, keys, why) in [
        (person(3), person(9), ChainFault::NotAllowed),
        (person(4), person(9), ChainFault::NotAllowed),
        (recovery(), person(9), ChainFault::NotAllowed),
        (owner(), owner(), ChainFault::OutOfBounds),
        (owner(), person(3), ChainFault::OutOfBounds),
        (owner(), recovery(), ChainFault::OutOfBounds),
        (owner(), person(7), ChainFault::OutOfBounds),
        (owner(), PublicKeys { sign_key: [9; 32], agree_key: [0; 32] }, ChainFault::OutOfBounds),
    ] {
        let mut play = Play { chain: play.chain.clone(), entries: play.entries.clone() };
        let before = play.chain.state().clone();
        let answer = renew(&mut play, signer.id(), Cause::Rotate, keys);
        assert_eq!(answer, Err(why), "{signer:?} names {keys:?}");
        assert_eq!(play.chain.state(), &before);
        let refused = play.entries.last().expect("it was given").clone();
        // That it was the recovery device before is not seen without what was before, and does no harm.
        let is_as_before = keys == recovery();
        assert_eq!(Chain::adopt(refused).is_ok(), is_as_before, "nor does anyone enter by it: {keys:?}");
    }
}

#[test]
fn another_recovery_device_is_named_by_the_record_and_its_maker_too() {
    let play = Play::new();
    let (after, cause) = (play.chain.newest(), Cause::Rotate);
    let good = play.chain.next_state_with(owner().id(), &cause, Some(&person(9)), NOW_MS).expect("an owner may");
    let unmade = RoomState { recovery_by: person(4).id(), ..good.clone() };
    let mut both = good.clone();
    both.admins.push(Admin { keys: recovery(), role: Role::Owner, recovery: true });
    both.admins.sort_by_key(Admin::device);
    for (recovery, state) in [(None, good), (Some(person(9)), unmade), (Some(person(9)), both)] {
        let body = renewing_body(after, 1, (cause.clone(), recovery), state);
        let entry = entry(4, owner().id(), 1, after.seq, body, NOW_MS);
        assert_eq!(play.chain.clone().apply(&entry), Err(ChainFault::State));
        if recovery.is_some() {
            assert!(Chain::adopt(entry).is_err());
        }
    }
}

#[test]
fn who_is_removed_by_a_record_is_not_made_the_recovery_device_by_it_or_no_newcomer_could_enter() {
    for ban in [false, true] {
        let mut play = Play::new();
        let record = renew(&mut play, owner().id(), remove(&[7], ban), person(7));
        assert_eq!(record, Err(ChainFault::OutOfBounds));
        // What a newcomer would find refuses it as well.
        Chain::adopt(play.entries.pop().expect("the record")).expect_err("it names one device twice");
        renew(&mut Play::new(), owner().id(), remove(&[7], ban), person(8)).expect("an owner may");
    }
}

#[test]
fn a_record_whose_signer_had_seen_nothing_of_the_room_counts_for_nobody() {
    let mut play = Play::new();
    let state = play.chain.next_state(owner().id(), &Cause::Rotate, NOW_MS).expect("an owner may");
    let body = super::tests::record_body(play.chain.newest(), 1, Cause::Rotate, state);
    let mut record = entry(play.next_seq(), owner().id(), 1, play.chain.newest().seq, body, NOW_MS);
    record.opened.as_mut().expect("it opened").prev = crate::crypto::Prev::default();
    assert_eq!(play.give(record.clone()), Err(ChainFault::Unlinked));
    assert_eq!(Chain::adopt(record).err(), Some(ChainFault::Unlinked));
    let mut founding = super::tests::founding();
    founding.opened.as_mut().expect("it opened").prev.seq = Seq(1);
    assert_eq!(Chain::found(founding).err(), Some(ChainFault::Unlinked));
}
