//! What a node remembers of rooms is a guess: whatever others have done since decides, other nodes or an operator's command.

use snug_protocol::{EntryKind, Seq};
use snug_store::{AppendError, NewEpoch, StepEffect, Store};

use crate::epochs::begin;
use crate::fixture::{
    Behind, Instance, administer, behind, device, envelope, epoch, is_duplicate, log, room_of, together,
};

behind![
    messages_that_follow_others_are_decided_by_what_is_remembered_until_the_room_is_another,
    rooms_of_which_others_have_written_to_some_are_all_written_to_together,
    two_stores_that_take_turns_in_a_room_refuse_nobody,
    what_others_have_decided_since_holds_for_the_next_message,
    a_sender_who_has_gone_on_elsewhere_comes_back_without_a_word_lost,
    a_room_that_was_deleted_elsewhere_takes_nothing_more_and_one_made_anew_knows_nothing_of_it,
];

/// So that the store remembers the room and this sender.
async fn talk(store: &Store, sender: &mut Instance) {
    for _ in 0..3 {
        sender.say(store).await;
    }
}

async fn messages_that_follow_others_are_decided_by_what_is_remembered_until_the_room_is_another(
    store: Store,
    behind: Behind,
) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut sender = Instance::new(room, device(1), 1);
    talk(&store, &mut sender).await;
    // Nothing of ours does the one without the other.
    behind.run("update member set state = 3").await;
    talk(&store, &mut sender).await;
    behind.run("update room set access_version = access_version + 1").await;
    let refused = store.append(sender.message()).await;
    assert!(matches!(refused, Err(AppendError::Removed)), "{refused:?}");
}

async fn rooms_of_which_others_have_written_to_some_are_all_written_to_together(here: Store, behind: Behind) {
    const ROOMS: u32 = 150;
    let elsewhere = behind.another().await;
    let mut senders = Vec::new();
    for number in 0..ROOMS {
        let room = room_of(&here, number, &[device(1), device(2)]).await;
        senders.push((Instance::new(room, device(1), 1), Instance::new(room, device(2), 1)));
    }
    for turn in 1..=3 {
        let sends: Vec<_> = senders.iter_mut().map(|(sender, _)| here.append(sender.message())).collect();
        for (number, answer) in together(sends).await.into_iter().enumerate() {
            // Each second room has a message of the other's for each turn before this one.
            let others = if number % 2 == 0 { turn - 1 } else { 0 };
            assert_eq!(answer.expect("it is appended").seq, Seq(1 + turn + others));
        }
        for (_, other) in senders.iter_mut().step_by(2) {
            other.say(&elsewhere).await;
        }
    }
    elsewhere.close().await;
}

async fn two_stores_that_take_turns_in_a_room_refuse_nobody(here: Store, behind: Behind) {
    let stores = [here, behind.another().await];
    let room = room_of(&stores[0], 1, &[device(1), device(2)]).await;
    let (mut ana, mut ben) = (Instance::new(room, device(1), 1), Instance::new(room, device(2), 2));
    let mut seqs = Vec::new();
    for turn in 0..60 {
        // By turns of one, two and three; then each goes on in the other's store.
        let (at_ana, at_ben) = if turn < 30 { (0, 1) } else { (1, 0) };
        for _ in 0..turn % 3 {
            seqs.push(ana.say(&stores[at_ana]).await.seq.0);
        }
        seqs.push(ben.say(&stores[at_ben]).await.seq.0);
    }
    assert!(seqs.iter().copied().eq(2..2 + seqs.len() as u64), "{seqs:?}");
    assert_eq!(log(&stores[0], room).await.len(), seqs.len() + 1);
    stores[1].close().await;
}

async fn what_others_have_decided_since_holds_for_the_next_message(here: Store, behind: Behind) {
    let (here, elsewhere) = (&here, &behind.another().await);
    let members = [1, 2, 3, 4, 5].map(device);
    let [owner, muted, _, removed, other] = members;
    let room = room_of(here, 1, &members).await;
    let mut senders = members.map(|member| Instance::new(room, member, 1));
    for sender in &mut senders {
        talk(here, sender).await;
    }
    let refusal = async |sender: &mut Instance| here.append(sender.message()).await.expect_err("it is refused");

    administer(elsewhere, room, owner, StepEffect::Mute { device: muted.device, until_ms: u64::MAX >> 12 }).await;
    assert!(matches!(refusal(&mut senders[1]).await, AppendError::Muted));
    let leave = senders[2].next(EntryKind::Leave, 0);
    elsewhere.append(leave).await.expect("whoever wants may leave");
    assert!(matches!(refusal(&mut senders[2]).await, AppendError::NotAMember));
    talk(here, &mut senders[4]).await;

    administer(elsewhere, room, owner, StepEffect::Slow { interval_ms: 600_000 }).await;
    senders[4].say(here).await;
    assert!(matches!(refusal(&mut senders[4]).await, AppendError::SlowMode { .. }));
    senders[4].counter -= 1;
    administer(elsewhere, room, owner, StepEffect::Slow { interval_ms: 0 }).await;
    talk(here, &mut senders[4]).await;
    talk(here, &mut senders[3]).await;

    let new = epoch(elsewhere, room, owner, 7).await;
    let new = NewEpoch { remove: vec![removed.device], ..new };
    begin(elsewhere, new, &[owner, muted, other]).await.expect("the epoch begins");
    assert!(matches!(refusal(&mut senders[3]).await, AppendError::Removed));
    assert!(matches!(refusal(&mut senders[0]).await, AppendError::StaleEpoch { epoch: 1 }));
    elsewhere.close().await;
}

async fn a_sender_who_has_gone_on_elsewhere_comes_back_without_a_word_lost(here: Store, behind: Behind) {
    let stores = [here, behind.another().await];
    let room = room_of(&stores[0], 1, &[device(1)]).await;
    let mut sender = Instance::new(room, device(1), 1);
    talk(&stores[0], &mut sender).await;
    talk(&stores[1], &mut sender).await;
    // As far as the first store knows, this one is far too early.
    let came_back = sender.say(&stores[0]).await;
    let again = envelope(&sender.header(EntryKind::Message, sender.counter - 1, 0));
    for store in &stores {
        assert!(is_duplicate(&store.append(again.clone()).await, came_back.seq));
    }
    let ahead = envelope(&sender.header(EntryKind::Message, sender.counter + 5, 0));
    let refused = stores[0].append(ahead).await;
    assert!(matches!(refused, Err(AppendError::OutOfOrder { expected }) if expected == sender.counter), "{refused:?}");
    stores[1].close().await;
}

async fn a_room_that_was_deleted_elsewhere_takes_nothing_more_and_one_made_anew_knows_nothing_of_it(
    here: Store,
    behind: Behind,
) {
    let stores = [here, behind.another().await];
    let room = room_of(&stores[0], 1, &[device(1)]).await;
    let mut sender = Instance::new(room, device(1), 1);
    talk(&stores[0], &mut sender).await;
    let first = envelope(&sender.header(EntryKind::Message, 0, 0));
    assert!(is_duplicate(&stores[0].append(first.clone()).await, Seq(2)));
    talk(&stores[0], &mut sender).await;
    assert!(stores[1].delete_room(room).await.expect("it is deleted"));
    for message in [first.clone(), sender.message()] {
        let refused = stores[0].append(message).await;
        assert!(matches!(refused, Err(AppendError::NotAMember)), "{refused:?}");
    }
    room_of(&stores[1], 1, &[device(1)]).await;
    let anew = stores[0].append(first).await.expect("it is another room");
    assert!(anew.seq == Seq(2) && anew.frame.is_some());
    stores[1].close().await;
}
