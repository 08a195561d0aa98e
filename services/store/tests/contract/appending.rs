//! Appending: order, duplicates, refusals, effects.

use snug_protocol::http::MemberState;
use snug_protocol::{EntryKind, Header, RoomId, Seq};
use snug_store::{AppendError, Standing, Store};

use crate::fixture::{
    EPOCH, Instance, contract, device, envelope, id, is_duplicate, log, new_room, room_of, sized, together,
};

contract![
    messages_get_gapless_seqs_and_are_read_back_as_they_were,
    a_resent_message_is_stored_once_and_answered_with_its_first_seq,
    a_counter_ahead_is_refused_with_the_expected_one,
    counters_run_per_room_device_and_instance,
    concurrent_senders_get_gapless_seqs_in_commit_order,
    messages_submitted_in_order_without_waiting_keep_their_order,
    concurrent_resends_of_one_message_get_one_seq,
    a_dropped_append_is_whole_or_not_at_all_and_may_be_resent,
    one_messages_refusal_does_not_fail_the_others,
    a_stranger_cannot_append,
    a_room_that_is_not_there_takes_nothing,
    a_member_who_left_cannot_append,
    a_resent_leave_is_still_answered,
    a_resent_message_is_answered_even_after_its_sender_left,
    another_epoch_is_refused_with_the_rooms,
    an_epoch_record_is_not_appended,
    a_profile_becomes_the_members_newest,
    the_largest_envelopes_come_back_whole,
];

async fn messages_get_gapless_seqs_and_are_read_back_as_they_were(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let mut sealed = Vec::new();
    for seq in 2..12 {
        let message = instance.message();
        sealed.push(message.bytes().clone());
        let appended = store.append(message.clone()).await.unwrap();
        assert_eq!(appended.seq, Seq(seq));
        let frame = appended.frame.expect("a new entry has a frame");
        assert_eq!(
            (frame.seq(), frame.at_ms(), frame.envelope().unwrap()),
            (appended.seq, appended.at_ms, message.clone())
        );
        assert_eq!(store.entry_hash(room, Seq(seq)).await.unwrap(), Some(message.hash()));
    }
    assert_eq!(log(&store, room).await[1..], sealed);
    let head = store.heads(&[room]).await.unwrap();
    assert_eq!(head[0].head, Seq(11));
    assert_eq!(store.entry_hash(room, Seq(12)).await.unwrap(), None);
}

async fn a_resent_message_is_stored_once_and_answered_with_its_first_seq(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let message = instance.message();
    let first = store.append(message.clone()).await.unwrap();
    instance.say(&store).await;
    let again = store.append(message).await.unwrap();
    assert_eq!((again.seq, again.at_ms, again.frame), (first.seq, first.at_ms, None));
    assert_eq!(log(&store, room).await.len(), 3);
}

async fn a_counter_ahead_is_refused_with_the_expected_one(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let ahead = envelope(&instance.header(EntryKind::Message, 1, 0));
    let refused = store.append(ahead.clone()).await;
    assert!(matches!(refused, Err(AppendError::OutOfOrder { expected: 0 })), "{refused:?}");
    instance.say(&store).await;
    assert_eq!(store.append(ahead).await.unwrap().seq, Seq(3));
    let far = store.append(envelope(&instance.header(EntryKind::Message, (1 << 53) - 1, 0))).await;
    assert!(matches!(far, Err(AppendError::OutOfOrder { expected: 2 })), "{far:?}");
}

async fn counters_run_per_room_device_and_instance(store: Store) {
    let (a, b) = (device(1), device(2));
    let rooms = [room_of(&store, 1, &[a, b]).await, room_of(&store, 2, &[a, b]).await];
    for room in rooms {
        let mut seq = 1;
        // Two devices may choose the same instance id; it means nothing.
        for (device, instance) in [(a, 1), (a, 2), (b, 1)] {
            let mut instance = Instance::new(room, device, instance);
            for _ in 0..2 {
                seq += 1;
                let message = instance.message();
                assert_eq!(store.append(message.clone()).await.unwrap().seq, Seq(seq));
                assert!(is_duplicate(&store.append(message).await, Seq(seq)));
            }
        }
    }
}

async fn concurrent_senders_get_gapless_seqs_in_commit_order(store: Store) {
    const SENDERS: u32 = 16;
    let members: Vec<_> = (0..SENDERS).map(device).collect();
    let rooms = [room_of(&store, 1, &members).await, room_of(&store, 2, &members).await];
    let sends = (0..SENDERS).flat_map(|sender| rooms.map(|room| (sender, room))).map(|(sender, room)| {
        let store = store.clone();
        async move {
            let mut instance = Instance::new(room, device(sender), sender);
            let mut last = Seq::ZERO;
            for _ in 0..20 {
                let appended = instance.say(&store).await;
                assert!(appended.seq > last, "a sender's order is kept");
                last = appended.seq;
                // What is acknowledged is visible, and with it everything before it.
                let head = store.heads(&[room]).await.unwrap()[0].head;
                assert!(head >= last);
                let seen = store.read_after(room, Seq(head.0.saturating_sub(5)), 5, usize::MAX).await.unwrap();
                assert_eq!(seen.last().map(|entry| entry.seq()), Some(head), "nobody sees n + 1 without n");
            }
        }
    });
    together(sends).await;
    for room in rooms {
        assert_eq!(log(&store, room).await.len(), 1 + SENDERS as usize * 20);
    }
}

async fn messages_submitted_in_order_without_waiting_keep_their_order(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let sends: Vec<_> = (0..200).map(|_| store.append(instance.message())).collect();
    let answers = together(sends).await;
    let seqs: Vec<u64> = answers.into_iter().map(|answer| answer.unwrap().seq.0).collect();
    assert_eq!(seqs, (2..202).collect::<Vec<_>>());
}

async fn concurrent_resends_of_one_message_get_one_seq(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    for seq in 2..12 {
        let message = instance.message();
        let answers = together((0..8).map(|_| store.append(message.clone()))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().seq == Seq(seq)));
        let new = answers.iter().filter(|answer| answer.as_ref().unwrap().frame.is_some());
        assert_eq!(new.count(), 1, "readers are told once");
    }
    assert_eq!(log(&store, room).await.len(), 11);
}

async fn a_dropped_append_is_whole_or_not_at_all_and_may_be_resent(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    for _ in 0..50 {
        let message = instance.message();
        // Polled once and dropped: submitted, but nobody hears the answer.
        let sending = Box::pin(store.append(message.clone()));
        let _ = futures_util::future::select(sending, std::future::ready(())).await;
        store.append(message).await.expect("sending it again is safe");
    }
    assert_eq!(log(&store, room).await.len(), 51);
}

async fn one_messages_refusal_does_not_fail_the_others(store: Store) {
    let (member, stranger) = (device(1), device(2));
    let room = room_of(&store, 1, &[member]).await;
    let mut good = Instance::new(room, member, 1);
    let mut bad = Instance::new(room, stranger, 2);
    let absent = Instance::new(RoomId(id(9)), member, 3);
    let mut sends = Vec::new();
    for _ in 0..30 {
        sends.push(store.append(good.message()));
        sends.push(store.append(bad.message()));
        sends.push(store.append(envelope(&absent.header(EntryKind::Message, 0, 0))));
        sends.push(store.append(envelope(&Instance::new(room, member, 4).header(EntryKind::Message, 7, 0))));
    }
    let answers = together(sends).await;
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), at % 4 == 0, "{answer:?}");
    }
    assert_eq!(log(&store, room).await.len(), 31);
}

async fn a_stranger_cannot_append(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let refused = store.append(Instance::new(room, device(2), 1).message()).await;
    assert!(matches!(refused, Err(AppendError::NotAMember)), "{refused:?}");
    assert_eq!(log(&store, room).await.len(), 1);
}

async fn a_room_that_is_not_there_takes_nothing(store: Store) {
    let room = RoomId(id(1));
    let refused = store.append(Instance::new(room, device(1), 1).message()).await;
    assert!(matches!(refused, Err(AppendError::NotAMember)), "{refused:?}");
    assert!(log(&store, room).await.is_empty());
    assert!(store.heads(&[room]).await.unwrap().is_empty());
    assert!(store.read_page(room, None, 10, 1000).await.unwrap().is_none());
}

async fn a_member_who_left_cannot_append(store: Store) {
    let (owner, leaver) = (device(1), device(2));
    let room = room_of(&store, 1, &[owner, leaver]).await;
    let before = store.room(room).await.unwrap().unwrap().access_version;
    let mut instance = Instance::new(room, leaver, 1);
    instance.say(&store).await;
    store.append(instance.next(EntryKind::Leave, 0)).await.unwrap();
    assert_eq!(store.standing(room, leaver.device).await.unwrap(), Some(Standing::Left));
    assert!(store.room(room).await.unwrap().unwrap().access_version > before);
    let refused = store.append(instance.message()).await;
    assert!(matches!(refused, Err(AppendError::NotAMember)), "{refused:?}");
    let member = store.member(room, leaver.device).await.unwrap().expect("its keys still verify what it wrote");
    assert_eq!((member.state, member.keys), (MemberState::Left, leaver));
    assert!(store.rooms_of(leaver.device).await.unwrap().is_empty());
}

async fn a_resent_leave_is_still_answered(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let leave = Instance::new(room, device(2), 1).next(EntryKind::Leave, 0);
    let first = store.append(leave.clone()).await.unwrap();
    assert!(is_duplicate(&store.append(leave).await, first.seq));
}

async fn a_resent_message_is_answered_even_after_its_sender_left(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let mut instance = Instance::new(room, device(2), 1);
    let message = instance.message();
    let first = store.append(message.clone()).await.unwrap();
    store.append(instance.next(EntryKind::Leave, 0)).await.unwrap();
    assert!(is_duplicate(&store.append(message).await, first.seq));
}

async fn another_epoch_is_refused_with_the_rooms(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let instance = Instance::new(room, device(1), 1);
    for counter in [0, 3] {
        let other = Header { epoch: EPOCH + 1, ..instance.header(EntryKind::Message, counter, 0) };
        let refused = store.append(envelope(&other)).await;
        assert!(matches!(refused, Err(AppendError::StaleEpoch { epoch: EPOCH })), "{refused:?}");
    }
}

async fn an_epoch_record_is_not_appended(store: Store) {
    let new = new_room(1, device(1));
    let room = room_of(&store, 1, &[device(1)]).await;
    for record in [new.epoch_record, Instance::new(room, device(1), 5).next(EntryKind::EpochRecord, 0)] {
        let refused = store.append(record).await;
        assert!(matches!(refused, Err(AppendError::EntryNotAccepted)), "{refused:?}");
    }
    assert_eq!(log(&store, room).await.len(), 1);
}

async fn a_profile_becomes_the_members_newest(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let mut instance = Instance::new(room, device(2), 1);
    assert_eq!(store.member(room, device(2).device).await.unwrap().unwrap().profile, None);
    for _ in 0..2 {
        let profile = store.append(instance.next(EntryKind::Profile, 0)).await.unwrap();
        instance.say(&store).await;
        let member = store.member(room, device(2).device).await.unwrap().unwrap();
        assert_eq!(member.profile, profile.frame);
        let members = store.members(room, None, 10).await.unwrap();
        assert_eq!(members[1], member);
        assert_eq!(members[0].profile, None);
    }
}

async fn the_largest_envelopes_come_back_whole(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let instance = Instance::new(room, device(1), 1);
    let large: Vec<_> =
        (0..40).map(|counter| sized(&instance.header(EntryKind::Message, counter, 0), 24_576)).collect();
    let answers = together(large.iter().map(|message| store.append(message.clone()))).await;
    assert!(answers.iter().all(Result::is_ok));
    let read = log(&store, room).await;
    assert!(read[1..].iter().zip(&large).all(|(read, sent)| read == sent.bytes()));
}
