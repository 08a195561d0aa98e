//! Steps: who may take them, and what they do.

use snug_protocol::http::{MemberState, Role};
use snug_protocol::limits::STEPS_PER_EPOCH_MAX;
use snug_protocol::{EntryKind, GrantId, Header, RoomId, Seq};
use snug_store::{
    AppendError, CreateInviteError, DeviceKeys, EnterError, Lookup, NewStep, Standing, StepEffect, StepError, Store,
};

use crate::fixture::{
    Instance, administer, contract, device, envelope, epoch, id, invite, is_duplicate, keyed, new_room, recovery,
    room_of, secret, stage, step, together,
};

contract![
    a_step_is_the_chains_newest_entry,
    a_step_sent_again_is_answered_whatever_has_changed,
    of_two_steps_at_once_one_is_taken,
    a_step_stands_in_its_rooms_epoch_and_first_in_its_instance,
    only_admins_take_steps,
    moderators_keep_order_and_owners_govern,
    roles_are_given_and_taken_and_an_owner_remains,
    an_owner_hands_the_room_over,
    the_recovery_device_counts_as_owner_and_is_no_member,
    a_locked_room_lets_no_newcomer_in,
    a_muted_member_is_refused_until_it_is_lifted,
    slow_mode_is_for_plain_members,
    a_device_is_erased_up_to_the_step,
    a_new_password_replaces_the_old,
    the_last_owner_leaves_last,
    what_is_too_old_is_erased_by_a_sweep,
    the_chain_is_read_in_pages,
    one_admin_cannot_make_the_chain_endless_nor_keep_others_from_acting,
];

const OWNER: u32 = 1;
const MODERATOR: u32 = 2;
const MEMBER: u32 = 3;

/// A room of an owner, a moderator and a member.
async fn room_of_three(store: &Store) -> RoomId {
    let room = room_of(store, 1, &[device(OWNER), device(MODERATOR), device(MEMBER)]).await;
    let role = StepEffect::Role { device: device(MODERATOR).device, role: Role::Moderator };
    administer(store, room, device(OWNER), role).await;
    room
}

async fn refused(store: &Store, room: RoomId, author: DeviceKeys, effect: StepEffect) -> StepError {
    let before = store.room(room).await.unwrap();
    let error = store.administer(step(store, room, author, effect).await).await.expect_err("it is refused");
    assert_eq!(store.room(room).await.unwrap(), before, "nothing was changed");
    error
}

async fn a_step_is_the_chains_newest_entry(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    assert_eq!(store.room(room).await.unwrap().unwrap().chain, Seq(1));
    Instance::new(room, device(1), 1).say(&store).await;
    let new = step(&store, room, device(1), StepEffect::None).await;
    let appended = store.administer(new.clone()).await.unwrap();
    assert_eq!(appended.frame.unwrap().envelope().unwrap(), new.envelope);
    let now = store.room(room).await.unwrap().unwrap();
    assert_eq!((appended.seq, now.chain, now.head), (Seq(3), Seq(3), Seq(3)));
    assert_eq!(store.read_after(room, Seq(2), 9, 9999).await.unwrap()[0].envelope().unwrap(), new.envelope);
}

async fn a_step_sent_again_is_answered_whatever_has_changed(store: Store) {
    let room = room_of_three(&store).await;
    let lock = step(&store, room, device(MODERATOR), StepEffect::Lock { locked: true }).await;
    let first = store.administer(lock.clone()).await.unwrap();
    administer(&store, room, device(OWNER), StepEffect::Lock { locked: false }).await;
    let demote = StepEffect::Role { device: device(MODERATOR).device, role: Role::Member };
    administer(&store, room, device(OWNER), demote).await;
    let again = store.administer(lock).await.unwrap();
    assert_eq!((again.seq, again.at_ms, again.frame), (first.seq, first.at_ms, None));
    assert!(!store.room(room).await.unwrap().unwrap().locked, "its effect is not applied again");
}

async fn of_two_steps_at_once_one_is_taken(store: Store) {
    let room = room_of_three(&store).await;
    let mut steps = Vec::new();
    for number in 0..8 {
        let author = device(if number % 2 == 0 { OWNER } else { MODERATOR });
        steps.push(step(&store, room, author, StepEffect::Slow { interval_ms: number }).await);
    }
    let answers = together(steps.into_iter().map(|step| store.administer(step))).await;
    let taken: Vec<Seq> = answers.iter().filter_map(|answer| answer.as_ref().ok()).map(|it| it.seq).collect();
    assert_eq!(taken.len(), 1);
    for answer in answers.into_iter().filter_map(Result::err) {
        assert!(matches!(answer, StepError::ChainMoved { chain } if chain == taken[0]), "{answer:?}");
    }
}

async fn a_step_stands_in_its_rooms_epoch_and_first_in_its_instance(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let administer = async |header: Header| {
        store.administer(NewStep { envelope: envelope(&header), effect: StepEffect::None }).await
    };
    let header = instance.header(EntryKind::Step, 0, 1);
    let answer = administer(Header { epoch: 1, ..header }).await;
    assert!(matches!(answer, Err(StepError::StaleEpoch { epoch: 0 })), "{answer:?}");
    let answer = administer(Header { kind: EntryKind::EpochRecord, ..header }).await;
    assert!(matches!(answer, Err(StepError::EntryNotAccepted)), "{answer:?}");
    let answer = administer(Header { counter: 4, ..header }).await;
    assert!(matches!(answer, Err(StepError::OutOfOrder { expected: 0 })), "{answer:?}");
    instance.say(&store).await;
    let answer = administer(Header { counter: 1, ..header }).await;
    assert!(matches!(answer, Err(StepError::EntryNotAccepted)), "{answer:?}");
    let answer = store.append(envelope(&Instance::new(room, device(1), 2).header(EntryKind::Step, 0, 1))).await;
    assert!(matches!(answer, Err(AppendError::EntryNotAccepted)), "{answer:?}");
}

async fn only_admins_take_steps(store: Store) {
    let room = room_of_three(&store).await;
    let none = StepEffect::None;
    assert!(matches!(refused(&store, room, device(MEMBER), none.clone()).await, StepError::NotAllowed));
    assert!(matches!(refused(&store, room, device(9), none.clone()).await, StepError::NotAMember));
    let leave = Instance::new(room, device(MODERATOR), 1).next(EntryKind::Leave, 0);
    store.append(leave).await.unwrap();
    assert!(matches!(refused(&store, room, device(MODERATOR), none).await, StepError::NotAMember));
    let absent = NewStep {
        envelope: envelope(&Instance::new(RoomId(id(7)), device(1), 1).header(EntryKind::Step, 0, 1)),
        effect: StepEffect::None,
    };
    assert!(matches!(store.administer(absent).await, Err(StepError::NotAMember)));
}

async fn moderators_keep_order_and_owners_govern(store: Store) {
    let room = room_of_three(&store).await;
    let (owner, member) = (device(OWNER).device, device(MEMBER).device);
    for effect in [
        StepEffect::Retention { age_ms: 3_600_000 },
        StepEffect::Transfer { device: member },
        StepEffect::Role { device: member, role: Role::Moderator },
        StepEffect::Password { grant: GrantId(id(5)), kdf: 1, secret: secret(1) },
        StepEffect::Mute { device: owner, until_ms: 1 },
        StepEffect::Mute { device: device(MODERATOR).device, until_ms: 1 },
        StepEffect::Erase { device: owner },
        StepEffect::Mute { device: recovery(1).device, until_ms: 1 },
        StepEffect::Mute { device: device(9).device, until_ms: 1 },
    ] {
        let error = refused(&store, room, device(MODERATOR), effect).await;
        assert!(matches!(error, StepError::NotAllowed), "{error:?}");
    }
    for effect in [
        StepEffect::None,
        StepEffect::Lock { locked: true },
        StepEffect::Slow { interval_ms: 5 },
        StepEffect::Mute { device: member, until_ms: 1 },
        StepEffect::Erase { device: member },
        StepEffect::Unban { device: member },
    ] {
        administer(&store, room, device(MODERATOR), effect).await;
    }
    assert!(store.room(room).await.unwrap().unwrap().locked);
}

async fn roles_are_given_and_taken_and_an_owner_remains(store: Store) {
    let room = room_of_three(&store).await;
    let give = |number, role| StepEffect::Role { device: device(number).device, role };
    let error = refused(&store, room, device(OWNER), give(OWNER, Role::Member)).await;
    assert!(matches!(error, StepError::LastOwner), "{error:?}");
    administer(&store, room, device(OWNER), give(MEMBER, Role::Owner)).await;
    administer(&store, room, device(MEMBER), give(OWNER, Role::Member)).await;
    assert_eq!(store.standing(room, device(OWNER).device).await.unwrap(), Some(Standing::Member(Role::Member)));
    assert_eq!(store.rooms_of(device(MEMBER).device).await.unwrap()[0].1, Role::Owner);
    let error = refused(&store, room, recovery(1), give(MEMBER, Role::Moderator)).await;
    assert!(matches!(error, StepError::LastOwner), "a recovery device is none: {error:?}");
    let error = refused(&store, room, device(MEMBER), give(9, Role::Moderator)).await;
    assert!(matches!(error, StepError::NotAllowed), "{error:?}");
}

async fn an_owner_hands_the_room_over(store: Store) {
    let room = room_of_three(&store).await;
    let transfer = |number| StepEffect::Transfer { device: device(number).device };
    assert!(matches!(refused(&store, room, device(OWNER), transfer(OWNER)).await, StepError::NotAllowed));
    administer(&store, room, device(OWNER), transfer(MEMBER)).await;
    let standing = async |number| store.standing(room, device(number).device).await.unwrap();
    assert_eq!(standing(OWNER).await, Some(Standing::Member(Role::Moderator)));
    assert_eq!(standing(MEMBER).await, Some(Standing::Member(Role::Owner)));
    administer(&store, room, recovery(1), transfer(OWNER)).await;
    assert_eq!(standing(OWNER).await, Some(Standing::Member(Role::Owner)));
    assert_eq!(store.standing(room, recovery(1).device).await.unwrap(), Some(Standing::Recovery));
}

async fn the_recovery_device_counts_as_owner_and_is_no_member(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    assert_eq!(store.standing(room, recovery(1).device).await.unwrap(), Some(Standing::Recovery));
    assert_eq!(store.device(recovery(1).device).await.unwrap(), Some(recovery(1)));
    assert_eq!(store.member(room, recovery(1).device).await.unwrap(), None);
    assert_eq!(store.members(room, None, 10).await.unwrap().len(), 1);
    assert!(store.rooms_of(recovery(1).device).await.unwrap().is_empty());
    let refused = store.append(Instance::new(room, recovery(1), 1).message()).await;
    assert!(matches!(refused, Err(AppendError::NotAMember)), "{refused:?}");
    let entering = store.enter(room, GrantId(id(1)), recovery(1)).await.unwrap();
    assert_eq!((entering.role, entering.new_member), (Role::Owner, false));
    assert_eq!(store.standing(room, recovery(1).device).await.unwrap(), Some(Standing::Recovery));
    administer(&store, room, recovery(1), StepEffect::Lock { locked: true }).await;
    let same = snug_store::NewRoom { recovery: device(2), ..new_room(2, device(2)) };
    assert!(store.create_room(same).await.is_err(), "it is another device than the owner's");
}

async fn a_locked_room_lets_no_newcomer_in(store: Store) {
    let room = room_of_three(&store).await;
    store.append(Instance::new(room, device(MEMBER), 1).next(EntryKind::Leave, 0)).await.unwrap();
    administer(&store, room, device(MODERATOR), StepEffect::Lock { locked: true }).await;
    for newcomer in [MEMBER, 9] {
        let refused = store.enter(room, GrantId(id(1)), device(newcomer)).await;
        assert!(matches!(refused, Err(EnterError::Locked)), "{refused:?}");
    }
    assert!(!store.enter(room, GrantId(id(1)), device(OWNER)).await.unwrap().new_member);
    let refused = store.create_invite(invite(room, 7, device(OWNER))).await;
    assert!(matches!(refused, Err(CreateInviteError::Locked)), "{refused:?}");
    store.create_invite(invite(room, 8, recovery(1))).await.unwrap();
    administer(&store, room, device(MODERATOR), StepEffect::Lock { locked: false }).await;
    assert!(store.enter(room, GrantId(id(8)), device(9)).await.unwrap().new_member);
}

async fn a_muted_member_is_refused_until_it_is_lifted(store: Store) {
    let room = room_of_three(&store).await;
    let mut instance = Instance::new(room, device(MEMBER), 1);
    let own = instance.say(&store).await.seq.0;
    let mute = |until_ms| StepEffect::Mute { device: device(MEMBER).device, until_ms };
    administer(&store, room, device(MODERATOR), mute(store.now_ms().await.unwrap() + 600_000)).await;
    for (kind, target) in [(EntryKind::Message, 0), (EntryKind::Edit, own), (EntryKind::Reaction, own)] {
        let refused = store.append(envelope(&instance.header(kind, 1, target))).await;
        assert!(matches!(refused, Err(AppendError::Muted)), "{refused:?}");
    }
    store.append(instance.next(EntryKind::Profile, 0)).await.unwrap();
    store.append(instance.next(EntryKind::Deletion, own)).await.unwrap();
    administer(&store, room, device(OWNER), mute(0)).await;
    instance.say(&store).await;
    administer(&store, room, device(OWNER), mute(1)).await;
    instance.say(&store).await;
}

async fn slow_mode_is_for_plain_members(store: Store) {
    let room = room_of_three(&store).await;
    administer(&store, room, device(MODERATOR), StepEffect::Slow { interval_ms: 600_000 }).await;
    let mut instance = Instance::new(room, device(MEMBER), 1);
    let own = instance.say(&store).await.seq.0;
    let early = envelope(&instance.header(EntryKind::Message, 1, 0));
    let refused = store.append(early.clone()).await;
    let Err(AppendError::SlowMode { retry_after }) = refused else { panic!("{refused:?}") };
    assert!(!retry_after.is_zero() && retry_after.as_millis() <= 600_000);
    let mut moderator = Instance::new(room, device(MODERATOR), 1);
    for _ in 0..3 {
        moderator.say(&store).await;
    }
    administer(&store, room, device(MODERATOR), StepEffect::Slow { interval_ms: 0 }).await;
    store.append(early).await.expect("it may come now");
    instance.counter += 1;
    store.append(instance.next(EntryKind::Edit, own)).await.unwrap();
}

async fn a_device_is_erased_up_to_the_step(store: Store) {
    let room = room_of_three(&store).await;
    let (mut noisy, mut other) = (Instance::new(room, device(MEMBER), 1), Instance::new(room, device(OWNER), 1));
    let profile = store.append(noisy.next(EntryKind::Profile, 0)).await.unwrap();
    let kept = other.say(&store).await.seq;
    // More than one batch, over two instances.
    let mut second = Instance::new(room, device(MEMBER), 2);
    let sends: Vec<_> =
        (0..1100).map(|number| if number % 3 == 0 { second.message() } else { noisy.message() }).collect();
    for answer in together(sends.into_iter().map(|message| store.append(message))).await {
        answer.unwrap();
    }
    store.append(noisy.next(EntryKind::Reaction, kept.0)).await.unwrap();
    let pin = store.append(noisy.next(EntryKind::Pin, kept.0)).await.unwrap();
    let erase = step(&store, room, device(MODERATOR), StepEffect::Erase { device: device(MEMBER).device }).await;
    let appended = store.administer(erase.clone()).await.unwrap();
    let later = noisy.say(&store).await;
    assert!(is_duplicate(&store.administer(erase).await.map_err(|error| panic!("{error:?}")), appended.seq));
    let entries = store.read_after(room, Seq::ZERO, 9999, usize::MAX).await.unwrap();
    let left: Vec<Seq> = entries.iter().filter(|entry| !entry.is_tombstone()).map(|entry| entry.seq()).collect();
    assert_eq!(left, [Seq(1), Seq(2), profile.seq, kept, pin.seq, appended.seq, later.seq]);
    assert_eq!(store.member(room, device(MEMBER).device).await.unwrap().unwrap().profile, profile.frame);
}

async fn a_new_password_replaces_the_old(store: Store) {
    let room = room_of_three(&store).await;
    store.create_invite(invite(room, 7, device(OWNER))).await.unwrap();
    let password = |number| StepEffect::Password { grant: GrantId(id(number)), kdf: 1, secret: secret(4) };
    for taken in [1, 7] {
        let error = refused(&store, room, device(OWNER), password(taken)).await;
        assert!(matches!(error, StepError::IdTaken), "{error:?}");
    }
    administer(&store, room, device(OWNER), password(5)).await;
    let found = store.lookup("room 001").await.unwrap();
    assert_eq!(found, Some(Lookup { room, grant: GrantId(id(5)), kdf: 1 }));
    assert!(matches!(store.enter(room, GrantId(id(1)), device(9)).await, Err(EnterError::Gone)));
    store.enter(room, GrantId(id(5)), device(9)).await.unwrap();
    store.enter(room, GrantId(id(7)), device(10)).await.expect("invites stay");
}

async fn the_last_owner_leaves_last(store: Store) {
    let room = room_of_three(&store).await;
    let leave = |number| Instance::new(room, device(number), 9).next(EntryKind::Leave, 0);
    let refused = store.append(leave(OWNER)).await;
    assert!(matches!(refused, Err(AppendError::LastOwner)), "{refused:?}");
    // In one batch: the others first.
    for answer in together([MODERATOR, MEMBER, OWNER].map(|number| store.append(leave(number)))).await {
        answer.unwrap();
    }
    let members = store.members(room, None, 10).await.unwrap();
    assert!(members.iter().all(|member| member.state == MemberState::Left));
}

async fn what_is_too_old_is_erased_by_a_sweep(store: Store) {
    let room = room_of_three(&store).await;
    let mut instance = Instance::new(room, device(MEMBER), 1);
    store.append(instance.next(EntryKind::Profile, 0)).await.unwrap();
    let said = instance.say(&store).await;
    store.append(instance.next(EntryKind::Reaction, said.seq.0)).await.unwrap();
    store.append(instance.next(EntryKind::Pin, said.seq.0)).await.unwrap();
    let tombstones = async || {
        let entries = store.read_after(room, Seq::ZERO, 99, usize::MAX).await.unwrap();
        entries.iter().filter(|entry| entry.is_tombstone()).map(|entry| entry.seq().0).collect::<Vec<_>>()
    };
    assert_eq!(store.sweep().await.unwrap().expired_entries, 0);
    administer(&store, room, device(OWNER), StepEffect::Retention { age_ms: 3_600_000 }).await;
    assert_eq!(store.sweep().await.unwrap().expired_entries, 0, "they are young");
    administer(&store, room, device(OWNER), StepEffect::Retention { age_ms: 1 }).await;
    let end = store.now_ms().await.unwrap() + 2;
    while store.now_ms().await.unwrap() < end {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.sweep().await.unwrap().expired_entries, 3);
    assert_eq!(tombstones().await, [4, 5, 6]);
    assert_eq!(store.sweep().await.unwrap().expired_entries, 0);
    assert!(store.pins(room, 9).await.unwrap().unwrap().entries.is_empty());
}

async fn the_chain_is_read_in_pages(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    for _ in 0..4 {
        instance.say(&store).await;
        administer(&store, room, device(1), StepEffect::None).await;
    }
    let page = async |before, limit| {
        let page = store.chain(room, before, limit).await.unwrap().unwrap();
        assert_eq!((page.head, page.later.len()), (Seq(9), 0));
        let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq().0).collect();
        (page.from.0, page.to.0, seqs)
    };
    assert_eq!(page(None, 10).await, (1, 9, vec![1, 3, 5, 7, 9]));
    assert_eq!(page(None, 2).await, (7, 9, vec![7, 9]));
    assert_eq!(page(Some(Seq(7)), 2).await, (3, 5, vec![3, 5]));
    let (from, to, none) = page(Some(Seq(1)), 2).await;
    assert!(from > to && none.is_empty());
    assert!(store.chain(RoomId(id(9)), None, 10).await.unwrap().is_none());
}

async fn one_admin_cannot_make_the_chain_endless_nor_keep_others_from_acting(store: Store) {
    let room = room_of_three(&store).await;
    for _ in 0..STEPS_PER_EPOCH_MAX {
        administer(&store, room, device(MODERATOR), StepEffect::None).await;
    }
    let error = refused(&store, room, device(MODERATOR), StepEffect::None).await;
    assert!(matches!(error, StepError::TooManySteps), "{error:?}");
    let keys = [device(OWNER), device(MODERATOR), recovery(1)];
    administer(&store, room, device(OWNER), StepEffect::Lock { locked: true }).await;
    let new = keyed(epoch(&store, room, device(OWNER), 5).await, &keys);
    stage(&store, &new, &keys).await.unwrap();
    store.begin_epoch(new).await.unwrap();
    administer(&store, room, device(MODERATOR), StepEffect::None).await;
}
