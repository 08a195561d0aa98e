//! What time does, and what is left when something was cut short: cases that go behind a store's back.

use snug_protocol::RoomId;
use snug_store::{AppendError, CreateRoomError, MovePart, OfferOutcome, StepEffect, StepError, Store};

use crate::fixture::{
    Behind, Instance, administer, behind, device, epoch, id, keyed, log, new_room, recovery, room_of, stage, together,
};

behind![
    an_erased_entry_is_gone_and_its_resend_is_not_stored_again,
    an_erasure_that_was_cut_short_is_ended_by_a_sweep,
    a_used_token_lives_longer_and_is_written_at_most_once_an_hour,
    a_devices_erasure_that_was_cut_short_is_ended_by_a_sweep,
    retention_erases_in_batches_and_stops_at_what_is_young,
    what_was_staged_a_day_ago_is_forgotten_and_what_is_in_force_is_kept,
    a_mailbox_ends_ten_minutes_after_its_offer,
];

/// The seqs of the tombstones among a room's entries.
async fn tombstones(store: &Store, room: RoomId) -> Vec<u64> {
    let entries = store.read_after(room, snug_protocol::Seq::ZERO, usize::MAX, usize::MAX).await.unwrap();
    entries.iter().filter(|entry| entry.is_tombstone()).map(|entry| entry.seq().0).collect()
}

async fn an_erased_entry_is_gone_and_its_resend_is_not_stored_again(store: Store, behind: Behind) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let message = Instance::new(room, device(1), 1).message();
    store.append(message.clone()).await.unwrap();
    behind.run("update entry set envelope = substr(envelope, 1, 76) where seq = 2").await;
    let answer = store.append(message).await;
    assert!(matches!(answer, Err(AppendError::Gone)), "{answer:?}");
}

async fn an_erasure_that_was_cut_short_is_ended_by_a_sweep(store: Store, behind: Behind) {
    let room = room_of(&store, 1, &[device(1)]).await;
    Instance::new(room, device(1), 1).say(&store).await;
    behind.run("insert into erasure (room) select room from room; delete from room").await;
    let refused = store.create_room(new_room(1, device(1))).await;
    assert!(matches!(refused, Err(CreateRoomError::IdTaken)), "{refused:?}");
    assert_eq!(store.sweep().await.unwrap().rooms, 1);
    assert!(log(&store, room).await.is_empty());
    store.create_room(new_room(1, device(1))).await.expect("the id is free");
}

async fn a_used_token_lives_longer_and_is_written_at_most_once_an_hour(store: Store, behind: Behind) {
    let (idle, absolute) = (std::time::Duration::from_secs(86_400), std::time::Duration::from_secs(864_000));
    let issued = store.issue_token([1; 32], device(1).device, idle, absolute).await.unwrap();
    behind.run("update token set expires_at_ms = expires_at_ms - 7200000").await;
    let used = store.token([1; 32]).await.unwrap().unwrap();
    assert!(used.expires_at_ms >= issued.expires_at_ms);
    // The use is written behind the answer.
    while behind.number("select max(expires_at_ms) from token").await < i64::try_from(used.expires_at_ms).unwrap() {
        tokio::task::yield_now().await;
    }
    behind.run("update token set expires_at_ms = expires_at_ms - 1800000").await;
    let again = store.token([1; 32]).await.unwrap().unwrap();
    assert_eq!(again.expires_at_ms, used.expires_at_ms - 1_800_000, "half an hour is not worth a write");
}

async fn a_devices_erasure_that_was_cut_short_is_ended_by_a_sweep(store: Store, behind: Behind) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    Instance::new(room, device(1), 1).say(&store).await;
    let mut instance = Instance::new(room, device(2), 1);
    let sends: Vec<_> = (0..1200).map(|_| store.append(instance.message())).collect();
    together(sends).await;
    // As the step leaves it when the process ends before the first batch.
    behind
        .run(
            "insert into device_erasure (room, device, before_seq)
         select room, device, 1000 from entry where kind = 3 and seq = 3",
        )
        .await;
    store.sweep().await.unwrap();
    assert_eq!(tombstones(&store, room).await, (3..1000).collect::<Vec<_>>());
    // A note that were still there would have its device erased again, in front of a later seq.
    behind.run("update device_erasure set before_seq = 9999").await;
    store.sweep().await.unwrap();
    assert_eq!(tombstones(&store, room).await.len(), 997);
}

async fn retention_erases_in_batches_and_stops_at_what_is_young(store: Store, behind: Behind) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let sends: Vec<_> = (0..1300).map(|_| store.append(instance.message())).collect();
    together(sends).await;
    let retention = StepEffect::Retention { age_ms: 3_600_000 };
    administer(&store, room, device(1), retention).await;
    // One of the old was committed by a clock that ran ahead.
    behind
        .run(
            "update entry set at_ms = at_ms - 3700000 where seq <= 1100 and seq <> 700;
         update entry set at_ms = at_ms + 86400000 where seq = 700",
        )
        .await;
    assert_eq!(store.sweep().await.unwrap().expired_entries, 1099);
    assert_eq!(tombstones(&store, room).await, (2..=1100).collect::<Vec<_>>());
    assert_eq!(store.sweep().await.unwrap().expired_entries, 0);
    behind.run("update entry set at_ms = at_ms - 3700000 where seq = 1101").await;
    assert_eq!(store.sweep().await.unwrap().expired_entries, 1);
}

async fn what_was_staged_a_day_ago_is_forgotten_and_what_is_in_force_is_kept(store: Store, behind: Behind) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let both = [device(1), recovery(1)];
    let begun = keyed(epoch(&store, room, device(1), 5).await, &both);
    stage(&store, &begun, &both).await.unwrap();
    store.begin_epoch(begun).await.unwrap();
    let day_ago = "update epoch_staging set staged_at_ms = staged_at_ms - 86400000";
    behind.run(day_ago).await;
    assert_eq!(store.sweep().await.unwrap().staged_keys, 0);
    let new = keyed(epoch(&store, room, device(1), 6).await, &both);
    stage(&store, &new, &both).await.unwrap();
    behind.run(day_ago).await;
    assert_eq!(store.sweep().await.unwrap().staged_keys, 2);
    assert!(matches!(store.begin_epoch(new).await, Err(StepError::MembersChanged)));
    assert_eq!(store.epoch_keys(room, 1, device(1).device).await.unwrap().recipients, both.map(|keys| keys.device));
}

async fn a_mailbox_ends_ten_minutes_after_its_offer(store: Store, behind: Behind) {
    const PARTS: [MovePart; 3] = [MovePart::Nonce, MovePart::Reveal, MovePart::Answer];
    for number in [1, 2] {
        store.put_offer(id(number), &[1; 64]).await.unwrap();
        for part in PARTS {
            assert!(store.put_move_part(id(number), part, &[2; 9]).await.unwrap());
        }
    }
    behind.run("update move set offered_at_ms = offered_at_ms - 600000").await;
    assert_eq!(store.offer(id(1)).await.unwrap(), None);
    for part in PARTS {
        assert_eq!(store.move_part(id(1), part).await.unwrap(), None);
        assert!(!store.put_move_part(id(1), part, &[2; 9]).await.unwrap());
    }
    assert_eq!(store.put_offer(id(1), &[3; 64]).await.unwrap(), OfferOutcome::Stored);
    for part in PARTS {
        assert_eq!(store.move_part(id(1), part).await.unwrap(), None, "what came before is not the new offer's");
    }
    assert_eq!(store.sweep().await.unwrap().moves, 1);
    assert_eq!(store.offer(id(1)).await.unwrap(), Some(vec![3; 64]));
}
