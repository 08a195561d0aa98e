//! Rooms: creating, finding, deleting.

use snug_protocol::http::Role;
use snug_protocol::{GrantId, RoomId, Seq};
use snug_store::{
    AppendError, CreateRoomError, EnterError, GrantKind, Lookup, NewRoom, Quotas, Room, Standing, Store, StoreError,
};

use crate::fixture::{Instance, contract, device, envelope, id, invite, log, new_room, room_of, secret, together};

contract![
    a_new_room_has_its_owner_its_record_and_its_password,
    a_room_is_found_by_the_likeness_of_its_name,
    likeness_is_unique_under_concurrent_creation,
    a_room_id_is_taken_once,
    a_device_is_in_at_most_as_many_rooms_as_allowed,
    the_owners_instance_goes_on_after_the_record,
    rooms_are_listed_by_name_and_only_to_members,
    who_follows_a_room_learns_of_it_of_themselves_and_of_their_cursor_at_once,
    heads_tell_what_grew_and_leave_out_what_is_gone,
    a_deleted_room_is_erased_and_its_name_is_free,
    a_room_made_again_is_another_history,
    a_log_begins_a_new_life_once,
    a_closed_store_is_unavailable_and_may_be_closed_again,
    peppers_keep_their_first_check_value,
    time_is_in_milliseconds_of_this_century,
];

async fn a_new_room_has_its_owner_its_record_and_its_password(store: Store) {
    let new = new_room(1, device(1));
    let record = new.epoch_record.clone();
    let (room, frame) = store.create_room(new).await.unwrap();
    assert_eq!((room.head, room.epoch, room.name.as_str()), (Seq(1), 0, "Room 001"));
    assert_eq!((frame.seq(), frame.envelope().unwrap()), (Seq(1), record.clone()));
    assert_eq!(log(&store, room.room).await, [record.bytes().clone()]);
    assert_eq!(store.room(room.room).await.unwrap(), Some(room.clone()));
    assert_eq!(store.standing(room.room, device(1).device).await.unwrap(), Some(Standing::Member(Role::Owner)));
    assert_eq!(store.device(device(1).device).await.unwrap(), Some(device(1)));
    let grant = store.grant(room.room, GrantId(id(1))).await.unwrap().unwrap();
    assert_eq!((grant.kind, grant.kdf, &grant.secret, grant.expired), (GrantKind::Password, 1, &secret(1), false));
    assert!(store.invites(room.room).await.unwrap().is_empty());
}

async fn a_room_is_found_by_the_likeness_of_its_name(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    assert!(store.name_taken("room 001").await.unwrap());
    assert!(!store.name_taken("room 002").await.unwrap());
    let found = store.lookup("room 001").await.unwrap();
    assert_eq!(found, Some(Lookup { room, grant: GrantId(id(1)), kdf: 1 }));
    assert_eq!(store.lookup("room 002").await.unwrap(), None);
}

async fn who_follows_a_room_learns_of_it_of_themselves_and_of_their_cursor_at_once(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let record = new_room(1, device(1)).epoch_record;
    let asked = async |number, seq| store.follow_state(room, device(number).device, Seq(seq)).await.unwrap().unwrap();
    let owner = asked(1, 1).await;
    assert_eq!(Some(owner.room), store.room(room).await.unwrap());
    assert_eq!((owner.standing, owner.cursor_hash), (Some(Standing::Member(Role::Owner)), Some(record.hash())));
    let member = asked(2, 0).await;
    assert_eq!((member.standing, member.cursor_hash), (Some(Standing::Member(Role::Member)), None));
    assert_eq!(asked(2, 9).await.cursor_hash, None, "beyond the head");
    assert_eq!(asked(3, 1).await.standing, None, "a stranger");
    assert_eq!(store.follow_state(RoomId(id(9)), device(1).device, Seq(1)).await.unwrap(), None);
}

async fn likeness_is_unique_under_concurrent_creation(store: Store) {
    let creations = (1..9).map(|number| {
        let store = store.clone();
        async move {
            let new = NewRoom { likeness: "the same".into(), ..new_room(number, device(number)) };
            store.create_room(new).await
        }
    });
    let answers = together(creations).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let refused = answers.iter().filter(|answer| matches!(answer, Err(CreateRoomError::NameTaken)));
    assert_eq!(refused.count(), 7);
}

async fn a_room_id_is_taken_once(store: Store) {
    room_of(&store, 1, &[device(1)]).await;
    let new = NewRoom { likeness: "another".into(), ..new_room(1, device(2)) };
    assert!(matches!(store.create_room(new).await, Err(CreateRoomError::IdTaken)));
    assert!(!store.name_taken("another").await.unwrap(), "nothing of it was stored");
    assert_eq!(store.device(device(2).device).await.unwrap(), None);
}

async fn a_device_is_in_at_most_as_many_rooms_as_allowed(store: Store) {
    let store = store.with_quotas(Quotas { rooms_per_device_max: 2, ..Quotas::default() });
    let other = room_of(&store, 1, &[device(1)]).await;
    let left = room_of(&store, 2, &[device(2)]).await;
    room_of(&store, 3, &[device(2)]).await;
    let refused = store.create_room(new_room(4, device(2))).await;
    assert!(matches!(refused, Err(CreateRoomError::TooManyRooms)), "{refused:?}");
    let refused = store.enter(other, GrantId(id(1)), device(2)).await;
    assert!(matches!(refused, Err(EnterError::TooManyRooms)), "{refused:?}");
    store.append(Instance::new(left, device(2), 1).next(snug_protocol::EntryKind::Leave, 0)).await.unwrap();
    store.enter(other, GrantId(id(1)), device(2)).await.expect("a room that was left counts no more");
}

async fn the_owners_instance_goes_on_after_the_record(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let instance = Instance::new(room, device(1), u32::MAX);
    let next = envelope(&instance.header(snug_protocol::EntryKind::Message, 1, 0));
    assert_eq!(store.append(next).await.unwrap().seq, Seq(2));
    let repeated = envelope(&instance.header(snug_protocol::EntryKind::Message, 0, 0));
    assert_eq!(store.append(repeated).await.unwrap().seq, Seq(1), "the record's counter is used up");
}

async fn rooms_are_listed_by_name_and_only_to_members(store: Store) {
    for number in [3, 1, 2] {
        room_of(&store, number, &[device(number), device(9)]).await;
    }
    let rooms = store.rooms_of(device(9).device).await.unwrap();
    let names: Vec<&str> = rooms.iter().map(|(room, _)| room.name.as_str()).collect();
    assert_eq!(names, ["Room 001", "Room 002", "Room 003"]);
    assert!(rooms.iter().all(|(_, role)| *role == Role::Member));
    let own = store.rooms_of(device(2).device).await.unwrap();
    assert_eq!((own.len(), own[0].1), (1, Role::Owner));
    assert!(store.rooms_of(device(8).device).await.unwrap().is_empty());
}

async fn heads_tell_what_grew_and_leave_out_what_is_gone(store: Store) {
    let mut rooms = vec![RoomId(id(99))];
    for number in 1..6 {
        let room = room_of(&store, number, &[device(1)]).await;
        for _ in 0..number {
            Instance::new(room, device(1), number).say(&store).await;
        }
        rooms.push(room);
    }
    store.delete_room(rooms[2]).await.unwrap();
    let mut heads = store.heads(&rooms).await.unwrap();
    heads.sort_by_key(|head| head.room);
    let expected = [rooms[1], rooms[3], rooms[4], rooms[5]];
    assert_eq!(heads.iter().map(|head| head.room).collect::<Vec<_>>(), expected);
    for head in heads {
        let room = store.room(head.room).await.unwrap().unwrap();
        assert_eq!((head.history, head.head, head.access_version), (room.history, room.head, room.access_version));
    }
    assert!(store.heads(&[]).await.unwrap().is_empty());
}

async fn a_deleted_room_is_erased_and_its_name_is_free(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let kept = room_of(&store, 2, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    // More than one batch of an erasure.
    let sends: Vec<_> = (0..1200).map(|_| store.append(instance.message())).collect();
    together(sends).await;
    store.create_invite(invite(room, 7, device(2))).await.unwrap();
    assert!(store.delete_room(room).await.unwrap());
    assert!(!store.delete_room(room).await.unwrap());
    assert!(store.room(room).await.unwrap().is_none());
    assert!(log(&store, room).await.is_empty());
    assert_eq!(store.entry_hash(room, Seq(1)).await.unwrap(), None);
    assert!(store.grant(room, GrantId(id(7))).await.unwrap().is_none());
    assert!(store.members(room, None, 10).await.unwrap().is_empty());
    assert!(store.rooms_of(device(2).device).await.unwrap().is_empty());
    assert!(matches!(store.enter(room, GrantId(id(1)), device(3)).await, Err(EnterError::Gone)));
    assert!(matches!(store.append(instance.message()).await, Err(AppendError::NotAMember)));
    assert_eq!(log(&store, kept).await.len(), 1);
    assert!(!store.name_taken("room 001").await.unwrap());
    store.create_room(new_room(1, device(3))).await.expect("name and id are free");
}

async fn a_room_made_again_is_another_history(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let message = Instance::new(room, device(1), 1).message();
    store.append(message.clone()).await.unwrap();
    let first = store.room(room).await.unwrap().unwrap().history;
    store.delete_room(room).await.unwrap();
    room_of(&store, 1, &[device(1)]).await;
    assert_ne!(store.room(room).await.unwrap().unwrap().history, first);
    assert!(store.append(message).await.unwrap().frame.is_some(), "the old log's counters do not count");
}

async fn a_closed_store_is_unavailable_and_may_be_closed_again(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    store.check().await.unwrap();
    store.close().await;
    store.close().await;
    assert!(matches!(store.check().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.room(room).await, Err(StoreError::Unavailable(_))));
    let refused = store.append(Instance::new(room, device(1), 1).message()).await;
    assert!(matches!(refused, Err(AppendError::Store(StoreError::Unavailable(_)))), "{refused:?}");
    let refused = store.create_room(new_room(2, device(1))).await;
    assert!(matches!(refused, Err(CreateRoomError::Store(StoreError::Unavailable(_)))), "{refused:?}");
}

async fn a_log_begins_a_new_life_once(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let before = store.room(room).await.unwrap().unwrap();
    let answers = together((0..4).map(|_| store.begin_new_life(room, before.history))).await;
    assert_eq!(answers.into_iter().filter(|began| *began.as_ref().unwrap()).count(), 1);
    let after = store.room(room).await.unwrap().unwrap();
    assert_ne!(after.history, before.history);
    assert_eq!(after, Room { history: after.history, ..before }, "and nothing else is changed");
    assert!(!store.begin_new_life(RoomId([9; 16]), before.history).await.unwrap());
}

async fn peppers_keep_their_first_check_value(store: Store) {
    assert!(store.pepper_checks().await.unwrap().is_empty());
    store.add_pepper_check(2, [2; 32]).await.unwrap();
    store.add_pepper_check(1, [1; 32]).await.unwrap();
    store.add_pepper_check(1, [9; 32]).await.unwrap();
    assert_eq!(store.pepper_checks().await.unwrap(), [(1, [1; 32]), (2, [2; 32])]);
}

async fn time_is_in_milliseconds_of_this_century(store: Store) {
    let now_ms = store.now_ms().await.unwrap();
    assert!((1_700_000_000_000..4_000_000_000_000).contains(&now_ms), "{now_ms}");
}
