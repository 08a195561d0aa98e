//! Epochs: staging keys, beginning, and what ends with the old one.

use snug_protocol::http::{MemberState, Role};
use snug_protocol::limits::EPOCH_KEYS_PAGE_MAX;
use snug_protocol::{DeviceId, EntryKind, GrantId, Header, RoomId, Seq};
use snug_store::{
    AppendError, DeviceKeys, EnterError, EpochBegun, EpochKeys, Lookup, NewEpoch, Quotas, Standing, StepEffect,
    StepError, Store,
};

use crate::fixture::{
    Instance, administer, contract, device, envelope, epoch, id, invite, keyed, new_room, recovery, room_of, sealed,
    stage, step, together,
};

contract![
    the_first_epochs_key_is_the_recovery_devices,
    an_epoch_begins_with_keys_for_all_who_remain,
    what_was_sealed_to_others_is_shown_to_who_asks,
    the_same_record_again_is_answered_and_begins_nothing,
    keys_that_are_not_those_that_were_meant_stop_an_epoch,
    whoever_gets_no_key_is_put_out_and_nobody_who_comes_or_goes_stops_an_epoch,
    three_thousand_silent_devices_are_put_out_at_once,
    a_room_that_a_guest_filled_with_devices_takes_newcomers_again_after_a_new_key,
    nobody_is_put_out_by_who_does_not_outrank_them,
    a_record_from_the_future_is_refused_and_mutes_end_by_its_time,
    staged_keys_are_for_their_record_alone_and_of_no_effect_before_it,
    only_admins_stage_and_only_for_the_next_epoch_and_those_who_are_here,
    one_who_is_removed_may_return_as_a_plain_member,
    one_who_is_banned_may_not_return_until_unbanned,
    nobody_removes_an_equal_or_the_recovery_device,
    one_who_was_excluded_has_left_and_keeps_the_role,
    of_two_epochs_at_once_one_begins,
    a_deleted_rooms_keys_are_erased_with_it,
    another_recovery_device_takes_the_place_of_the_old_with_the_epoch,
    only_an_owners_own_device_replaces_the_recovery_device_and_by_a_stranger,
];

fn keys(devices: &[DeviceKeys], own: Option<DeviceKeys>) -> EpochKeys {
    let mut recipients: Vec<_> = devices.iter().map(|keys| keys.device).collect();
    recipients.sort_unstable();
    EpochKeys { recipients, key: own.map(sealed) }
}

/// With keys for these and the recovery device of room 1, if none takes its place.
pub async fn begin(store: &Store, new: NewEpoch, remain: &[DeviceKeys]) -> Result<EpochBegun, StepError> {
    let spare: &[DeviceKeys] = if new.recovery.is_none() { &[recovery(1)] } else { &[] };
    let keys = [remain, spare].concat();
    let new = keyed(new, &keys);
    for page in keys.chunks(EPOCH_KEYS_PAGE_MAX) {
        stage(store, &new, page).await?;
    }
    store.begin_epoch(new).await
}

async fn standing(store: &Store, room: RoomId, number: u32) -> Option<Standing> {
    store.standing(room, device(number).device).await.unwrap()
}

async fn the_first_epochs_key_is_the_recovery_devices(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let found = store.epoch_keys(room, 0, recovery(1).device).await.unwrap();
    let key = Some(new_room(1, device(1)).recovery_key);
    assert_eq!(found, EpochKeys { recipients: Vec::new(), key }, "the record names nobody");
    assert_eq!(store.epoch_keys(room, 0, device(1).device).await.unwrap().key, None);
    assert_eq!(store.epoch_keys(room, 1, recovery(1).device).await.unwrap(), EpochKeys::default());
}

async fn an_epoch_begins_with_keys_for_all_who_remain(store: Store) {
    let all = [device(1), device(2), device(3), recovery(1)];
    let room = room_of(&store, 1, &all[..3]).await;
    store.create_invite(invite(room, 7, device(2))).await.unwrap();
    let before = store.room(room).await.unwrap().unwrap();
    let new = keyed(epoch(&store, room, device(1), 5).await, &all);
    stage(&store, &new, &all[..2]).await.unwrap();
    stage(&store, &new, &all[2..]).await.unwrap();
    let EpochBegun { appended, revoked, excluded } = store.begin_epoch(new.clone()).await.unwrap();
    assert_eq!(excluded, []);
    assert_eq!(revoked.iter().map(|invite| invite.grant).collect::<Vec<_>>(), [GrantId(id(7))]);
    assert_eq!(appended.frame.unwrap().envelope().unwrap(), new.record);
    let now = store.room(room).await.unwrap().unwrap();
    assert_eq!((now.epoch, now.chain, now.head), (1, appended.seq, appended.seq));
    assert_eq!(now.access_version, before.access_version + 1);
    for one in all {
        assert_eq!(store.epoch_keys(room, 1, one.device).await.unwrap(), keys(&all, Some(one)));
    }
    assert_eq!(store.epoch_keys(room, 1, device(9).device).await.unwrap(), keys(&all, None));
    assert!(store.invites(room).await.unwrap().is_empty());
    assert_eq!(store.lookup("room 001").await.unwrap(), Some(Lookup { room, grant: GrantId(id(5)), kdf: 1 }));
    for old in [1, 7] {
        assert!(matches!(store.enter(room, GrantId(id(old)), device(9)).await, Err(EnterError::Gone)));
    }
    let entering = store.enter(room, GrantId(id(5)), device(9)).await.unwrap();
    assert_eq!(entering.epoch_record.envelope().unwrap(), new.record);
    let stale = store.append(Instance::new(room, device(1), 1).message()).await;
    assert!(matches!(stale, Err(AppendError::StaleEpoch { epoch: 1 })), "{stale:?}");
    let header = Instance::new(room, device(1), 1).header(EntryKind::Message, 0, 0);
    store.append(envelope(&Header { epoch: 1, ..header })).await.unwrap();
}

async fn what_was_sealed_to_others_is_shown_to_who_asks(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let new = epoch(&store, room, device(1), 5).await;
    let of = [device(2), device(9), recovery(1)].map(|keys| keys.device);
    assert_eq!(store.epoch_seals(room, 1, &of).await.unwrap(), []);
    begin(&store, new, &[device(1), device(2)]).await.unwrap();
    let seals = [device(2), recovery(1)].map(|keys| (keys.device, sealed(keys)));
    assert_eq!(store.epoch_seals(room, 1, &of).await.unwrap(), seals);
    assert_eq!(store.epoch_seals(room, 2, &of).await.unwrap(), []);
}

async fn the_same_record_again_is_answered_and_begins_nothing(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let new = epoch(&store, room, device(1), 5).await;
    let seq = begin(&store, new.clone(), &[device(1)]).await.unwrap().appended.seq;
    store.create_invite(invite(room, 7, device(1))).await.unwrap();
    let now = store.room(room).await.unwrap();
    let again = store.begin_epoch(new).await.unwrap();
    assert_eq!((again.appended.seq, again.appended.frame), (seq, None));
    assert_eq!((again.revoked, again.excluded), (Vec::new(), Vec::new()));
    assert_eq!(store.room(room).await.unwrap(), now);
    assert_eq!(store.invites(room).await.unwrap().len(), 1);
}

async fn keys_that_are_not_those_that_were_meant_stop_an_epoch(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2), device(3)]).await;
    let all = [device(1), device(2), device(3), recovery(1)];
    let refused = async |new: NewEpoch, staged: &[DeviceKeys]| {
        let before = store.room(room).await.unwrap();
        stage(&store, &new, staged).await.unwrap();
        let answer = store.begin_epoch(new).await;
        assert!(matches!(answer, Err(StepError::MembersChanged)), "{answer:?}");
        assert_eq!(store.room(room).await.unwrap(), before);
    };
    let new = async || keyed(epoch(&store, room, device(1), 5).await, &all);
    refused(new().await, &[]).await;
    refused(new().await, &all[1..]).await;
    refused(keyed(new().await, &all[1..]), &all).await;
    refused(NewEpoch { remove: vec![device(3).device], ..new().await }, &all).await;
    let late = new().await;
    refused(late.clone(), &all[..2]).await;
    stage(&store, &late, &all[2..]).await.unwrap();
    store.begin_epoch(late).await.expect("now there is one for each");
}

async fn whoever_gets_no_key_is_put_out_and_nobody_who_comes_or_goes_stops_an_epoch(store: Store) {
    let members = [device(1), device(2), device(3), device(4)];
    let room = room_of(&store, 1, &members).await;
    let keys = [device(1), device(2), device(3), recovery(1)];
    let new = keyed(epoch(&store, room, device(1), 5).await, &keys);
    stage(&store, &new, &keys[..2]).await.unwrap();
    // One leaves after its key was sealed and one before, one comes, and one comes and goes.
    for (number, instance) in [(2, 1), (3, 1)] {
        store.append(Instance::new(room, device(number), instance).next(EntryKind::Leave, 0)).await.unwrap();
    }
    store.enter(room, GrantId(id(1)), device(5)).await.unwrap();
    store.enter(room, GrantId(id(1)), device(6)).await.unwrap();
    store.append(Instance::new(room, device(6), 1).next(EntryKind::Leave, 0)).await.unwrap();
    stage(&store, &new, &keys[2..]).await.unwrap();
    let before = store.room(room).await.unwrap().unwrap();
    let begun = store.begin_epoch(new).await.unwrap();
    let mut excluded = begun.excluded;
    excluded.sort_unstable();
    assert_eq!(excluded, [device(4).device, device(5).device]);
    assert_eq!(store.room(room).await.unwrap().unwrap().access_version, before.access_version + 1);
    for number in 2..=6 {
        // Of those who never said anything nothing is kept.
        let left = (![4, 5].contains(&number)).then_some(Standing::Left);
        assert_eq!(standing(&store, room, number).await, left, "{number}");
        assert_eq!(store.enter(room, GrantId(id(5)), device(number)).await.unwrap().role, Role::Member);
    }
    let found = store.epoch_keys(room, 1, device(2).device).await.unwrap();
    assert_eq!(found, self::keys(&keys, Some(device(2))), "what the record says is what is there");
}

async fn three_thousand_silent_devices_are_put_out_at_once(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let many: Vec<DeviceKeys> = (100..3_100).map(device).collect();
    for some in many.chunks(100) {
        let entered = together(some.iter().map(|keys| store.enter(room, GrantId(id(1)), *keys))).await;
        assert!(entered.iter().all(Result::is_ok));
    }
    let new = NewEpoch { remove: vec![device(2).device], ..epoch(&store, room, device(1), 5).await };
    let begun = begin(&store, new, &[device(1)]).await.unwrap();
    assert_eq!(begun.excluded.len(), 3_000);
    let left: Vec<DeviceId> = store.members(room, None, 5).await.unwrap().iter().map(|it| it.keys.device).collect();
    assert_eq!(left, [device(1).device, device(2).device], "they said nothing that their keys verify");
    assert_eq!(standing(&store, room, 3_099).await, None);
    assert_eq!(standing(&store, room, 2).await, Some(Standing::Removed));
}

async fn a_room_that_a_guest_filled_with_devices_takes_newcomers_again_after_a_new_key(store: Store) {
    let store = store.with_quotas(Quotas { members_per_room_max: 8, ..Quotas::default() });
    let room = room_of(&store, 1, &[device(1), device(2), device(3), device(4)]).await;
    // Two of them have spoken, one of which is banned, and one is muted.
    for number in [2, 3] {
        Instance::new(room, device(number), 1).say(&store).await;
    }
    let ban = NewEpoch { remove: vec![device(3).device], ban: true, ..epoch(&store, room, device(1), 5).await };
    begin(&store, ban, &[device(1), device(2), device(4)]).await.unwrap();
    let until_ms = store.now_ms().await.unwrap() + 3_600_000;
    administer(&store, room, device(1), StepEffect::Mute { device: device(4).device, until_ms }).await;
    for round in 0..3 {
        let grant = GrantId(id(5 + round));
        // As many as there is room for, all of them new.
        let present = store.members(room, None, 100).await.unwrap();
        let present = present.iter().filter(|member| member.state == MemberState::Member).count();
        for guest in (100 + 10 * round..).take(8 - present) {
            store.enter(room, grant, device(guest)).await.unwrap();
        }
        let refused = store.enter(room, grant, device(9)).await;
        assert!(matches!(refused, Err(EnterError::TooManyMembers)), "{refused:?}");
        let next = epoch(&store, room, device(1), 6 + round).await;
        begin(&store, next, &[device(1), device(2)]).await.unwrap();
        if round == 0 {
            // Who was muted is so if it comes back, and takes a place then.
            assert_eq!(standing(&store, room, 4).await, Some(Standing::Left));
        }
    }
    store.enter(room, GrantId(id(8)), device(9)).await.expect("an owner's new browser gets in");
    let listed = store.members(room, None, 100).await.unwrap();
    let listed: Vec<DeviceId> = listed.iter().map(|member| member.keys.device).collect();
    let mut kept: Vec<DeviceId> = [1, 2, 3, 4, 9].map(|number| device(number).device).into();
    kept.sort_unstable();
    assert_eq!(listed, kept);
    assert!(matches!(store.enter(room, GrantId(id(8)), device(3)).await, Err(EnterError::Banned)));
}

async fn nobody_is_put_out_by_who_does_not_outrank_them(store: Store) {
    let members = [device(1), device(2), device(3), device(4)];
    let room = room_of(&store, 1, &members).await;
    for number in [2, 3] {
        let role = StepEffect::Role { device: device(number).device, role: Role::Moderator };
        administer(&store, room, device(1), role).await;
    }
    let try_with = async |author: DeviceKeys, keys: &[DeviceKeys]| {
        let new = keyed(epoch(&store, room, author, 5).await, keys);
        stage(&store, &new, keys).await.unwrap();
        store.begin_epoch(new).await
    };
    let (owner, moderator, other, member, saviour) = (members[0], members[1], members[2], members[3], recovery(1));
    for (author, keys) in [
        (moderator, vec![moderator, other, member, saviour]),
        (moderator, vec![owner, moderator, member, saviour]),
        (moderator, vec![owner, other, member, saviour]),
        (moderator, vec![owner, moderator, other, member]),
        (owner, vec![owner, moderator, other, member]),
        (owner, vec![moderator, other, member, saviour]),
        (saviour, vec![moderator, other, member, saviour]),
    ] {
        let answer = try_with(author, &keys).await;
        assert!(matches!(answer, Err(StepError::NotAllowed)), "{answer:?}");
    }
    // One who has left is not put out by anybody.
    store.append(Instance::new(room, other, 1).next(EntryKind::Leave, 0)).await.unwrap();
    let begun = try_with(moderator, &[owner, moderator, saviour]).await.unwrap();
    assert_eq!(begun.excluded, [member.device]);
}

async fn a_record_from_the_future_is_refused_and_mutes_end_by_its_time(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2), device(3)]).await;
    let now_ms = store.now_ms().await.unwrap();
    // The record's clock is half a minute ahead: by it the first mute is over and by the server's it is not.
    for (number, until_ms) in [(2, now_ms + 20_000), (3, now_ms + 50_000)] {
        administer(&store, room, device(1), StepEffect::Mute { device: device(number).device, until_ms }).await;
    }
    let all = [device(1), device(2), device(3)];
    let ahead = NewEpoch { sent_at_ms: now_ms + 120_000, ..epoch(&store, room, device(1), 5).await };
    let answer = begin(&store, ahead, &all).await;
    assert!(matches!(answer, Err(StepError::ClockAhead { now_ms: told }) if told >= now_ms), "{answer:?}");
    let new = NewEpoch { sent_at_ms: now_ms + 30_000, ..epoch(&store, room, device(1), 5).await };
    begin(&store, new, &all).await.unwrap();
    let say = async |number: u32| {
        let header = Instance::new(room, device(number), 1).header(EntryKind::Message, 0, 0);
        store.append(envelope(&Header { epoch: 1, ..header })).await
    };
    say(2).await.expect("its mute was forgotten with the record");
    let muted = say(3).await;
    assert!(matches!(muted, Err(AppendError::Muted)), "{muted:?}");
}

async fn staged_keys_are_for_their_record_alone_and_of_no_effect_before_it(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let role = StepEffect::Role { device: device(2).device, role: Role::Moderator };
    administer(&store, room, device(1), role).await;
    let all = [device(1), device(2), recovery(1)];
    let (one, two) = (epoch(&store, room, device(1), 5).await, epoch(&store, room, device(2), 6).await);
    let (one, two) = (keyed(one, &all), keyed(two, &all));
    stage(&store, &one, &[device(1)]).await.unwrap();
    stage(&store, &two, &all).await.unwrap();
    assert_eq!(store.epoch_keys(room, 1, device(1).device).await.unwrap(), EpochKeys::default());
    let answer = store.begin_epoch(one).await;
    assert!(matches!(answer, Err(StepError::MembersChanged)), "{answer:?}");
    // Staging for another record forgets what the same author staged before.
    let another = keyed(epoch(&store, room, device(2), 6).await, &all);
    stage(&store, &another, &all[..1]).await.unwrap();
    let answer = store.begin_epoch(two).await;
    assert!(matches!(answer, Err(StepError::MembersChanged)), "{answer:?}");
    stage(&store, &another, &all[1..]).await.unwrap();
    store.begin_epoch(another.clone()).await.unwrap();
    assert_eq!(store.epoch_keys(room, 1, device(1).device).await.unwrap(), keys(&all, Some(device(1))));
    let forged = store.stage_epoch_keys(room, device(2).device, 2, another.record.hash(), vec![]).await;
    assert!(matches!(forged, Err(StepError::StaleEpoch { epoch: 1 })), "keys in force do not change: {forged:?}");
    stage(&store, &epoch(&store, room, device(2), 7).await, &[device(2)]).await.unwrap();
    assert_eq!(store.epoch_keys(room, 1, device(1).device).await.unwrap().recipients.len(), 3);
}

async fn only_admins_stage_and_only_for_the_next_epoch_and_those_who_are_here(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let by = async |number| stage(&store, &epoch(&store, room, device(number), 5).await, &[device(1)]).await;
    assert!(matches!(by(2).await, Err(StepError::NotAllowed)));
    assert!(matches!(by(9).await, Err(StepError::NotAMember)));
    let new = epoch(&store, room, device(1), 5).await;
    let stranger = stage(&store, &new, &[device(1), device(9)]).await;
    assert!(matches!(stranger, Err(StepError::MembersChanged)), "{stranger:?}");
    for wrong in [0, 2] {
        let keys = vec![(device(1).device, sealed(device(1)))];
        let answer = store.stage_epoch_keys(room, device(1).device, wrong, new.record.hash(), keys).await;
        assert!(matches!(answer, Err(StepError::StaleEpoch { epoch: 0 })), "{answer:?}");
    }
    let many = vec![device(1); EPOCH_KEYS_PAGE_MAX + 1];
    assert!(matches!(stage(&store, &new, &many).await, Err(StepError::TooManyEntries)));
    stage(&store, &epoch(&store, room, recovery(1), 5).await, &[device(1), device(2)]).await.unwrap();
}

async fn one_who_is_removed_may_return_as_a_plain_member(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2), device(3)]).await;
    let role = StepEffect::Role { device: device(2).device, role: Role::Moderator };
    administer(&store, room, device(1), role).await;
    let new = NewEpoch { remove: vec![device(2).device], ..epoch(&store, room, device(1), 5).await };
    begin(&store, new, &[device(1), device(3)]).await.unwrap();
    assert_eq!(standing(&store, room, 2).await, Some(Standing::Removed));
    assert_eq!(store.member(room, device(2).device).await.unwrap().unwrap().state, MemberState::Removed);
    let refused = store.append(Instance::new(room, device(2), 1).message()).await;
    assert!(matches!(refused, Err(AppendError::Removed)), "{refused:?}");
    assert!(store.rooms_of(device(2).device).await.unwrap().is_empty());
    let error = store.administer(step(&store, room, device(2), StepEffect::None).await).await;
    assert!(matches!(error, Err(StepError::Removed)), "{error:?}");
    let entering = store.enter(room, GrantId(id(5)), device(2)).await.unwrap();
    assert_eq!((entering.role, entering.new_member), (Role::Member, true));
}

async fn one_who_is_banned_may_not_return_until_unbanned(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2), device(3)]).await;
    store.append(Instance::new(room, device(3), 1).next(EntryKind::Leave, 0)).await.unwrap();
    let remove = vec![device(2).device, device(3).device];
    let new = epoch(&store, room, device(1), 5).await;
    begin(&store, NewEpoch { remove: remove.clone(), ban: true, ..new }, &[device(1)]).await.unwrap();
    // Who leaves at the last moment is removed all the same, and a removal lifts no ban.
    let again = epoch(&store, room, device(1), 6).await;
    begin(&store, NewEpoch { remove, ..again }, &[device(1)]).await.unwrap();
    for banned in [2, 3] {
        assert_eq!(standing(&store, room, banned).await, Some(Standing::Banned));
        let refused = store.enter(room, GrantId(id(6)), device(banned)).await;
        assert!(matches!(refused, Err(EnterError::Banned)), "{refused:?}");
        let refused = store.append(Instance::new(room, device(banned), 2).message()).await;
        assert!(matches!(refused, Err(AppendError::Banned)), "{refused:?}");
    }
    administer(&store, room, device(1), StepEffect::Unban { device: device(2).device }).await;
    store.enter(room, GrantId(id(6)), device(2)).await.unwrap();
    assert_eq!(standing(&store, room, 3).await, Some(Standing::Banned));
}

async fn nobody_removes_an_equal_or_the_recovery_device(store: Store) {
    let members = [device(1), device(2), device(3)];
    let room = room_of(&store, 1, &members).await;
    for number in [2, 3] {
        let role = StepEffect::Role { device: device(number).device, role: Role::Moderator };
        administer(&store, room, device(1), role).await;
    }
    for target in [device(1), device(2), device(3), device(9), recovery(1)] {
        for ban in [true, false] {
            let new = epoch(&store, room, device(2), 5).await;
            let remain: Vec<_> = members.into_iter().filter(|member| *member != target).collect();
            let answer = begin(&store, NewEpoch { remove: vec![target.device], ban, ..new }, &remain).await;
            assert!(matches!(answer, Err(StepError::NotAllowed)), "{answer:?}");
        }
    }
}

async fn one_who_was_excluded_has_left_and_keeps_the_role(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let role = StepEffect::Role { device: device(2).device, role: Role::Moderator };
    administer(&store, room, device(1), role).await;
    let new = epoch(&store, room, device(1), 5).await;
    assert_eq!(begin(&store, new, &[device(1)]).await.unwrap().excluded, [device(2).device]);
    assert_eq!(standing(&store, room, 2).await, Some(Standing::Left));
    assert_eq!(store.enter(room, GrantId(id(5)), device(2)).await.unwrap().role, Role::Moderator);
    let answer = begin(&store, epoch(&store, room, device(1), 6).await, &[device(2)]).await;
    assert!(matches!(answer, Err(StepError::NotAllowed)), "nobody excludes itself: {answer:?}");
}

async fn of_two_epochs_at_once_one_begins(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let transfer = StepEffect::Role { device: device(2).device, role: Role::Owner };
    administer(&store, room, device(1), transfer).await;
    let (one, two) = (epoch(&store, room, device(1), 5).await, epoch(&store, room, device(2), 6).await);
    let all = [device(1), device(2), recovery(1)];
    let (one, two) = (keyed(one, &all), keyed(two, &all));
    for new in [&one, &two] {
        stage(&store, new, &all).await.unwrap();
    }
    let answers = together([one, two].map(|new| store.begin_epoch(new))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.iter().any(|answer| matches!(answer, Err(StepError::ChainMoved { chain: Seq(3) }))), "{answers:?}");
}

async fn a_deleted_rooms_keys_are_erased_with_it(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let both = [device(1), recovery(1)];
    let new = keyed(epoch(&store, room, device(1), 5).await, &both);
    stage(&store, &new, &both).await.unwrap();
    assert_eq!(store.sweep().await.unwrap().staged_keys, 0, "they are young");
    store.begin_epoch(new).await.unwrap();
    store.delete_room(room).await.unwrap();
    assert_eq!(store.epoch_keys(room, 1, device(1).device).await.unwrap(), EpochKeys::default());
    room_of(&store, 1, &[device(1)]).await;
    assert!(store.epoch_keys(room, 0, recovery(1).device).await.unwrap().key.is_some());
    assert_eq!(store.epoch_keys(room, 1, device(1).device).await.unwrap(), EpochKeys::default());
}

/// An epoch that puts this device in the place of the recovery device.
fn renewing(new: NewEpoch, by: DeviceKeys) -> NewEpoch {
    NewEpoch { recovery: Some((by, sealed(by))), ..new }
}

async fn another_recovery_device_takes_the_place_of_the_old_with_the_epoch(store: Store) {
    let (old, fresh, members) = (recovery(1), device(77), [device(1), device(2)]);
    let room = room_of(&store, 1, &members).await;
    let new = renewing(epoch(&store, room, device(1), 5).await, fresh);
    let answer = begin(&store, new.clone(), &[device(1), device(2), old]).await;
    assert!(matches!(answer, Err(StepError::MembersChanged)), "the old one gets no key: {answer:?}");
    assert_eq!(store.standing(room, old.device).await.unwrap(), Some(Standing::Recovery));
    let new = renewing(epoch(&store, room, device(1), 5).await, fresh);
    let without = NewEpoch { recipients: keyed(epoch(&store, room, device(1), 5).await, &members).recipients, ..new };
    stage(&store, &without, &members).await.unwrap();
    let answer = store.begin_epoch(without.clone()).await;
    assert!(matches!(answer, Err(StepError::MembersChanged)), "the new one is a recipient: {answer:?}");
    let new = keyed(without, &members);
    let begun = store.begin_epoch(new.clone()).await.unwrap();
    assert_eq!(begun.excluded, [], "the old one was no member");
    let seq = begun.appended.seq;
    let remain = [device(1), device(2), fresh];
    assert_eq!(store.epoch_keys(room, 1, fresh.device).await.unwrap(), keys(&remain, Some(fresh)));
    assert_eq!(store.epoch_keys(room, 1, old.device).await.unwrap(), keys(&remain, None));
    assert_eq!(store.standing(room, fresh.device).await.unwrap(), Some(Standing::Recovery));
    assert_eq!(store.device(fresh.device).await.unwrap(), Some(fresh));
    // The old one is nothing any more and becomes nothing again.
    assert_eq!(store.standing(room, old.device).await.unwrap(), Some(Standing::Retired));
    assert_eq!(store.member(room, old.device).await.unwrap(), None);
    assert_eq!(store.members(room, None, 9).await.unwrap().len(), 2);
    assert!(matches!(store.enter(room, GrantId(id(5)), old).await, Err(EnterError::Banned)));
    assert!(store.create_invite(invite(room, 8, old)).await.is_err());
    let error = store.administer(step(&store, room, old, StepEffect::None).await).await;
    assert!(matches!(error, Err(StepError::NotAMember)), "{error:?}");
    let error = stage(&store, &epoch(&store, room, old, 6).await, &[device(1)]).await;
    assert!(matches!(error, Err(StepError::NotAMember)), "{error:?}");
    let error = stage(&store, &epoch(&store, room, device(1), 6).await, &[old]).await;
    assert!(matches!(error, Err(StepError::MembersChanged)), "{error:?}");
    let role = StepEffect::Role { device: old.device, role: Role::Owner };
    for effect in [role, StepEffect::Transfer { device: old.device }, StepEffect::Unban { device: old.device }] {
        let error = store.administer(step(&store, room, device(1), effect).await).await;
        assert!(matches!(error, Err(StepError::NotAllowed)), "{error:?}");
    }
    let again = store.begin_epoch(new).await.unwrap();
    assert_eq!(again.appended.seq, seq, "the same request is answered again");
    // The new one is what the old one was, and can be replaced as well.
    administer(&store, room, fresh, StepEffect::Lock { locked: true }).await;
    let next = renewing(epoch(&store, room, device(1), 6).await, device(78));
    begin(&store, next, &members).await.unwrap();
    for device in [fresh, old] {
        assert_eq!(store.standing(room, device.device).await.unwrap(), Some(Standing::Retired));
    }
}

async fn only_an_owners_own_device_replaces_the_recovery_device_and_by_a_stranger(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2), device(3)]).await;
    let role = StepEffect::Role { device: device(2).device, role: Role::Moderator };
    administer(&store, room, device(1), role).await;
    store.append(Instance::new(room, device(3), 1).next(EntryKind::Leave, 0)).await.unwrap();
    for (author, by) in [
        (device(2), device(77)),
        (recovery(1), device(77)),
        (device(1), device(1)),
        (device(1), device(2)),
        (device(1), device(3)),
        (device(1), recovery(1)),
    ] {
        let before = store.room(room).await.unwrap();
        let new = renewing(epoch(&store, room, author, 5).await, by);
        let answer = begin(&store, new, &[device(1), device(2)]).await;
        assert!(matches!(answer, Err(StepError::NotAllowed)), "{answer:?}");
        assert_eq!(store.room(room).await.unwrap(), before);
        assert_eq!(store.standing(room, recovery(1).device).await.unwrap(), Some(Standing::Recovery));
    }
}
