//! Entering rooms and listing who is in them.

use snug_protocol::http::{MemberState, Role};
use snug_protocol::{DeviceId, EntryKind, GrantId, RoomId, Seq};
use snug_store::{EnterError, Quotas, Standing, StepEffect, Store};

use crate::fixture::{Instance, administer, contract, device, id, invite, new_room, room_of, together};

contract![
    entering_makes_a_member_and_hands_out_the_epoch_record,
    entering_again_changes_nothing,
    entering_needs_a_grant_of_that_room,
    one_who_left_may_return_in_the_role_they_had,
    a_room_has_at_most_as_many_members_as_allowed,
    members_are_listed_in_pages_by_device_id_with_those_who_left,
    an_unknown_device_is_nobody,
    concurrent_entries_of_one_device_make_one_member,
];

async fn access_version(store: &Store, room: RoomId) -> u64 {
    store.room(room).await.unwrap().unwrap().access_version
}

async fn entering_makes_a_member_and_hands_out_the_epoch_record(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    Instance::new(room, device(1), 1).say(&store).await;
    let before = access_version(&store, room).await;
    let entering = store.enter(room, GrantId(id(1)), device(2)).await.unwrap();
    assert_eq!((entering.role, entering.new_member), (Role::Member, true));
    assert_eq!(entering.epoch_record.envelope().unwrap(), new_room(1, device(1)).epoch_record);
    assert_eq!((entering.room.head, entering.room.access_version), (Seq(2), before));
    assert_eq!(store.room(room).await.unwrap(), Some(entering.room));
    assert_eq!(store.standing(room, device(2).device).await.unwrap(), Some(Standing::Member(Role::Member)));
    let member = store.member(room, device(2).device).await.unwrap().unwrap();
    assert_eq!((member.keys, member.role, member.state), (device(2), Role::Member, MemberState::Member));
    assert_eq!(store.grant(room, GrantId(id(1))).await.unwrap().unwrap().uses, 1);
}

async fn entering_again_changes_nothing(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let before = (access_version(&store, room).await, store.members(room, None, 10).await.unwrap());
    let entering = store.enter(room, GrantId(id(1)), device(2)).await.unwrap();
    assert!(!entering.new_member);
    let owner = store.enter(room, GrantId(id(1)), device(1)).await.unwrap();
    assert_eq!((owner.role, owner.new_member), (Role::Owner, false));
    assert_eq!(before, (access_version(&store, room).await, store.members(room, None, 10).await.unwrap()));
    assert_eq!(store.grant(room, GrantId(id(1))).await.unwrap().unwrap().uses, 1);
}

async fn entering_needs_a_grant_of_that_room(store: Store) {
    let one = room_of(&store, 1, &[device(1)]).await;
    let two = room_of(&store, 2, &[device(1)]).await;
    store.create_invite(invite(two, 7, device(1))).await.unwrap();
    for grant in [2, 7, 9] {
        assert!(matches!(store.enter(one, GrantId(id(grant)), device(2)).await, Err(EnterError::Gone)));
    }
    assert_eq!(store.device(device(2).device).await.unwrap(), None, "nothing of it was stored");
}

async fn one_who_left_may_return_in_the_role_they_had(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2), device(3)]).await;
    let second = StepEffect::Role { device: device(2).device, role: Role::Owner };
    administer(&store, room, device(1), second).await;
    for (leaver, role) in [(device(1), Role::Owner), (device(2), Role::Owner), (device(3), Role::Member)] {
        store.append(Instance::new(room, leaver, 1).next(EntryKind::Leave, 0)).await.unwrap();
        assert_eq!(store.standing(room, leaver.device).await.unwrap(), Some(Standing::Left));
        let before = access_version(&store, room).await;
        let entering = store.enter(room, GrantId(id(1)), leaver).await.unwrap();
        assert_eq!((entering.role, entering.new_member), (role, true));
        assert_eq!(access_version(&store, room).await, before, "joining takes nobody's access away");
        Instance::new(room, leaver, 2).say(&store).await;
    }
}

async fn a_room_has_at_most_as_many_members_as_allowed(store: Store) {
    let store = store.with_quotas(Quotas { members_per_room_max: 3, ..Quotas::default() });
    let room = room_of(&store, 1, &[device(1), device(2), device(3)]).await;
    let refused = store.enter(room, GrantId(id(1)), device(4)).await;
    assert!(matches!(refused, Err(EnterError::TooManyMembers)), "{refused:?}");
    store.append(Instance::new(room, device(3), 1).next(EntryKind::Leave, 0)).await.unwrap();
    store.enter(room, GrantId(id(1)), device(4)).await.expect("who left takes nobody's place");
    let refused = store.enter(room, GrantId(id(1)), device(3)).await;
    assert!(matches!(refused, Err(EnterError::TooManyMembers)), "nor keeps one: {refused:?}");
    store.enter(room, GrantId(id(1)), device(4)).await.expect("who is a member is counted already");
}

async fn members_are_listed_in_pages_by_device_id_with_those_who_left(store: Store) {
    let devices: Vec<_> = [5, 3, 9, 1, 7].map(device).into();
    let room = room_of(&store, 1, &devices).await;
    store.append(Instance::new(room, device(3), 1).next(EntryKind::Leave, 0)).await.unwrap();
    let (mut after, mut listed) = (None, Vec::new());
    loop {
        let page = store.members(room, after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.keys.device);
        listed.extend(page);
    }
    let ids: Vec<DeviceId> = listed.iter().map(|member| member.keys.device).collect();
    assert_eq!(ids, [1, 3, 5, 7, 9].map(|number| device(number).device));
    let left: Vec<_> = listed.iter().filter(|member| member.state == MemberState::Left).collect();
    assert_eq!((left.len(), left[0].keys), (1, device(3)));
}

async fn an_unknown_device_is_nobody(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    assert_eq!(store.standing(room, device(2).device).await.unwrap(), None);
    assert_eq!(store.member(room, device(2).device).await.unwrap(), None);
    assert_eq!(store.device(device(2).device).await.unwrap(), None);
    assert_eq!(store.member(RoomId(id(9)), device(1).device).await.unwrap(), None);
}

async fn concurrent_entries_of_one_device_make_one_member(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let entries = (0..8).map(|_| store.enter(room, GrantId(id(1)), device(2)));
    let answers = together(entries).await;
    assert_eq!(answers.iter().filter(|answer| answer.as_ref().unwrap().new_member).count(), 1);
    assert_eq!(store.grant(room, GrantId(id(1))).await.unwrap().unwrap().uses, 1);
}
