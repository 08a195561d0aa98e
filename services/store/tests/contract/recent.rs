//! What a node remembers of rooms is a guess: whatever others have done since decides, other nodes or an operator's command.

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{MemberState, Role};
use snug_protocol::{EntryKind, RoomId, Seq};
use snug_store::{AppendError, Appended, Member, NewEpoch, StepEffect, Store};

use crate::epochs::begin;
use crate::fixture::{
    ANY, Behind, Instance, administer, behind, device, envelope, epoch, is_duplicate, log, room_of, together,
};

behind![
    messages_that_follow_others_are_decided_by_what_is_remembered_until_the_room_is_another,
    what_others_wrote_is_remembered_by_who_is_told_of_it,
    what_is_heard_in_whatever_way_is_a_guess_and_the_log_decides,
    what_is_heard_of_another_log_lets_nobody_write_who_may_not,
    rooms_of_which_others_have_written_to_some_are_all_written_to_together,
    two_stores_that_take_turns_in_a_room_refuse_nobody,
    what_others_have_decided_since_holds_for_the_next_message,
    a_sender_who_has_gone_on_elsewhere_comes_back_without_a_word_lost,
    a_room_that_was_deleted_elsewhere_takes_nothing_more_and_one_made_anew_knows_nothing_of_it,
    whoever_has_left_by_one_instance_writes_by_no_other,
    what_is_said_about_messages_goes_by_the_log_as_it_is_now,
    what_is_refused_by_how_the_room_is_now_changes_nothing,
    whoever_reacts_while_a_message_is_deleted_elsewhere_leaves_nothing_about_it,
    of_two_owners_who_leave_at_once_in_two_places_one_stays_with_the_others,
    of_rooms_in_which_all_kinds_of_things_are_said_at_once_each_gets_its_own,
];

fn hear(store: &Store, room: RoomId, entries: &[EntryFrame]) {
    store.hear(room, entries.last().map_or(Seq::ZERO, EntryFrame::seq), entries);
}

fn frame(appended: Appended) -> EntryFrame {
    appended.frame.expect("it is new")
}

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

async fn what_others_wrote_is_remembered_by_who_is_told_of_it(here: Store, behind: Behind) {
    let elsewhere = behind.another().await;
    let room = room_of(&here, 1, &[device(1), device(2)]).await;
    let (mut ana, mut ben) = (Instance::new(room, device(1), 1), Instance::new(room, device(2), 1));
    talk(&here, &mut ana).await;
    for turn in 0..4 {
        let frames = [ben.say(&elsewhere).await, ben.say(&elsewhere).await].map(frame);
        // Whoever looks finds no members.
        behind.run("update member set state = 3").await;
        hear(&here, room, &frames);
        hear(&here, room, &frames[turn % 2..]);
        ana.say(&here).await;
        behind.run("update member set state = 1").await;
    }
    // Nobody tells of this one.
    ben.say(&elsewhere).await;
    behind.run("update member set state = 3").await;
    let refused = here.append(ana.message()).await;
    assert!(matches!(refused, Err(AppendError::Removed)), "{refused:?}");
    elsewhere.close().await;
}

async fn what_is_heard_in_whatever_way_is_a_guess_and_the_log_decides(here: Store, behind: Behind) {
    let stores = [&here, &behind.another().await];
    let room = room_of(&here, 1, &[device(1), device(2)]).await;
    let (mut ana, mut ben) = (Instance::new(room, device(1), 1), Instance::new(room, device(2), 2));
    let (mut frames, mut seqs) = (Vec::new(), Vec::new());
    for turn in 0..60_usize {
        // Each writes in both stores, and what they hear of each other comes whole, late, twice, with holes, or not at all.
        let (at_ana, at_ben) = (turn / 7 % 2, turn / 5 % 2);
        for (is_ana, at) in [(true, at_ana), (false, at_ben), (true, at_ana)] {
            let sender = if is_ana { &mut ana } else { &mut ben };
            let appended = sender.say(stores[at]).await;
            seqs.push(appended.seq.0);
            frames.push(frame(appended));
            let heard = match turn % 6 {
                0 => &frames[frames.len() - 1..],
                1 => &frames[frames.len().saturating_sub(4)..],
                2 => &frames[..frames.len() - 1],
                3 if frames.len() % 2 == 0 => &frames[frames.len() - 1..],
                4 => &frames[frames.len() / 2..=frames.len() / 2],
                _ => &[],
            };
            hear(stores[1 - at], room, heard);
        }
    }
    assert!(seqs.iter().copied().eq(2..2 + seqs.len() as u64), "{seqs:?}");
    // A message that nobody wrote.
    let (made_up, mut sender) = (ana.header(EntryKind::Message, ana.counter, 0), ana);
    let seq = Seq(seqs[seqs.len() - 1] + 1);
    hear(&here, room, &[EntryFrame::new(seq, 1, envelope(&made_up).bytes())]);
    assert_eq!(sender.say(&here).await.seq, seq);
    assert_eq!(log(&here, room).await.len(), seqs.len() + 2);
    stores[1].close().await;
}

async fn what_is_heard_of_another_log_lets_nobody_write_who_may_not(here: Store, behind: Behind) {
    let elsewhere = behind.another().await;
    let members = [1, 2, 3].map(device);
    let room = room_of(&here, 1, &members).await;
    let [mut ana, mut ben, mut dan] = members.map(|member| Instance::new(room, member, 1));
    for sender in [&mut ana, &mut ben, &mut dan] {
        talk(&here, sender).await;
    }
    // As of a database that has lost the newest commits: something else stands there now.
    let lost = |sender: &Instance, seq: Seq, counter: u64| {
        EntryFrame::new(seq, 1, envelope(&sender.header(EntryKind::Message, counter, 0)).bytes())
    };
    let next = Seq(ana.say(&here).await.seq.0 + 1);
    hear(&here, room, &[lost(&ben, next, ben.counter)]);
    administer(&elsewhere, room, members[0], StepEffect::Mute { device: dan.device, until_ms: u64::MAX >> 12 }).await;
    // And the one after it is in both.
    let after = frame(ana.say(&elsewhere).await);
    hear(&here, room, &[after]);
    let refused = here.append(dan.message()).await;
    assert!(matches!(refused, Err(AppendError::Muted)), "{refused:?}");

    talk(&here, &mut ben).await;
    let next = Seq(ana.say(&here).await.seq.0 + 1);
    hear(&here, room, &[lost(&ben, next, ben.counter)]);
    assert_eq!(ana.say(&elsewhere).await.seq, next);
    let ahead = envelope(&ben.header(EntryKind::Message, ben.counter + 1, 0));
    let refused = here.append(ahead).await;
    assert!(matches!(refused, Err(AppendError::OutOfOrder { expected }) if expected == ben.counter), "{refused:?}");
    for sender in [&mut ben, &mut ana] {
        talk(&here, sender).await;
    }
    elsewhere.close().await;
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

async fn whoever_has_left_by_one_instance_writes_by_no_other(store: Store, _: Behind) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let [mut phone, mut laptop] = [1, 2].map(|instance| Instance::new(room, device(2), instance));
    let mut other = Instance::new(room, device(1), 3);
    for sender in [&mut phone, &mut laptop, &mut other] {
        talk(&store, sender).await;
    }
    let leave = phone.next(EntryKind::Leave, 0);
    let left = store.append(leave.clone()).await.expect("whoever wants may leave");
    talk(&store, &mut other).await;
    for sender in [&mut laptop, &mut phone] {
        let refused = store.append(sender.message()).await;
        assert!(matches!(refused, Err(AppendError::NotAMember)), "{refused:?}");
    }
    assert!(is_duplicate(&store.append(leave).await, left.seq));
    talk(&store, &mut other).await;
}

async fn what_is_said_about_messages_goes_by_the_log_as_it_is_now(here: Store, behind: Behind) {
    let elsewhere = behind.another().await;
    let room = room_of(&here, 1, &[device(1), device(2)]).await;
    let (mut ana, mut ben) = (Instance::new(room, device(1), 1), Instance::new(room, device(2), 2));
    talk(&here, &mut ana).await;
    let kept = ana.say(&here).await.seq.0;
    let deleted = ana.say(&here).await.seq.0;
    talk(&here, &mut ben).await;
    elsewhere.append(ana.next(EntryKind::Deletion, deleted)).await.expect("it is her own");
    let new = ben.say(&elsewhere).await.seq.0;

    for kind in [EntryKind::Reaction, EntryKind::Pin] {
        let answer = here.append(envelope(&ben.header(kind, ben.counter, deleted))).await;
        assert!(matches!(answer, Err(AppendError::TargetGone)), "{kind:?}: {answer:?}");
        for target in [kept, new] {
            here.append(ben.next(kind, target)).await.expect("it is there");
            talk(&here, &mut ben).await;
        }
        let answer = here.append(envelope(&ben.header(kind, ben.counter, 1_000))).await;
        assert!(matches!(answer, Err(AppendError::TargetInvalid)), "{kind:?}: {answer:?}");
    }
    here.append(ben.next(EntryKind::Edit, new)).await.expect("it is his own");
    let answer = here.append(envelope(&ben.header(EntryKind::Edit, ben.counter, kept))).await;
    assert!(matches!(answer, Err(AppendError::NotAllowed)), "{answer:?}");
    here.append(ben.next(EntryKind::Deletion, new)).await.expect("it is his own");
    let answer = here.append(envelope(&ben.header(EntryKind::Reaction, ben.counter, new))).await;
    assert!(matches!(answer, Err(AppendError::TargetGone)), "{answer:?}");
    talk(&here, &mut ben).await;
    elsewhere.close().await;
}

async fn what_is_refused_by_how_the_room_is_now_changes_nothing(here: Store, behind: Behind) {
    let elsewhere = behind.another().await;
    for (number, kind) in [(1, EntryKind::Deletion), (2, EntryKind::Profile)] {
        let room = room_of(&here, number, &[device(1), device(2)]).await;
        let mut sender = Instance::new(room, device(2), 1);
        here.append(sender.next(EntryKind::Profile, 0)).await.expect("it is appended");
        talk(&here, &mut sender).await;
        let leave = Instance::new(room, device(2), 2).next(EntryKind::Leave, 0);
        elsewhere.append(leave).await.expect("whoever wants may leave");
        let state = async || (log(&here, room).await, here.member(room, device(2).device).await.expect("it is read"));
        let before = state().await;
        // As far as this store remembers, the sender is a member still.
        let target = if kind.is_about_a_message() { 3 } else { 0 };
        let refused = here.append(sender.next(kind, target)).await;
        assert!(matches!(refused, Err(AppendError::NotAMember)), "{kind:?}: {refused:?}");
        assert_eq!(state().await, before, "{kind:?}");
    }
    elsewhere.close().await;
}

async fn whoever_reacts_while_a_message_is_deleted_elsewhere_leaves_nothing_about_it(here: Store, behind: Behind) {
    let elsewhere = behind.another().await;
    let room = room_of(&here, 1, &[device(1), device(2)]).await;
    let mut author = Instance::new(room, device(1), 1);
    let mut others: Vec<_> = (2..6).map(|instance| Instance::new(room, device(2), instance)).collect();
    let (mut reactions, mut refusals) = (0, 0);
    for turn in 0..40 {
        let message = author.say(&here).await.seq.0;
        let (deletes, reacts) = if turn % 2 == 0 { (&here, &elsewhere) } else { (&elsewhere, &here) };
        let deletion = author.next(EntryKind::Deletion, message);
        let reacting = others.iter_mut().map(|other| async move {
            let reaction = envelope(&other.header(EntryKind::Reaction, other.counter, message));
            let answer = reacts.append(reaction).await;
            other.counter += u64::from(answer.is_ok());
            answer
        });
        let (deleting, reacting) = (deletes.append(deletion), together(reacting));
        // The one first, the other first, or both at once.
        let (deleted, reacted) = match turn % 4 {
            0 => {
                let reacted = reacting.await;
                (deleting.await, reacted)
            }
            1 => (deleting.await, reacting.await),
            _ => tokio::join!(deleting, reacting),
        };
        deleted.expect("it is the author's own");
        for answer in reacted {
            match answer {
                Ok(_) => reactions += 1,
                Err(AppendError::TargetGone) => refusals += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    let entries = here.read_after(room, Seq::ZERO, ANY, ANY).await.expect("it is read");
    for entry in entries.iter().filter(|entry| !entry.is_tombstone()) {
        let kind = entry.header().expect("an entry has a header").kind;
        assert!(matches!(kind, EntryKind::EpochRecord | EntryKind::Deletion), "{kind:?} at {:?}", entry.seq());
    }
    assert_eq!(entries.iter().filter(|entry| entry.is_tombstone()).count(), 40 + reactions);
    assert!(reactions >= 40 && refusals >= 40, "{reactions} reactions, {refusals} refusals");
    elsewhere.close().await;
}

async fn of_two_owners_who_leave_at_once_in_two_places_one_stays_with_the_others(here: Store, behind: Behind) {
    let elsewhere = behind.another().await;
    for number in 1..=12 {
        let room = room_of(&here, number, &[device(1), device(2), device(3)]).await;
        let role = StepEffect::Role { device: device(2).device, role: Role::Owner };
        administer(&here, room, device(1), role).await;
        let [mut ana, mut ben] = [1, 2].map(|owner| Instance::new(room, device(owner), owner));
        // Each store remembers one of them, and one store what the other has not heard of.
        talk(&here, &mut ana).await;
        talk(&elsewhere, &mut ben).await;
        let leaves = [(&here, &mut ana), (&elsewhere, &mut ben)];
        let leaving = leaves.map(|(store, owner)| store.append(owner.next(EntryKind::Leave, 0)));
        let answers = together(leaving).await;
        let left = answers.iter().filter(|answer| answer.is_ok()).count();
        let refused = answers.iter().filter(|answer| matches!(answer, Err(AppendError::LastOwner))).count();
        assert_eq!((left, refused), (1, 1), "{answers:?}");
        let members = here.members(room, None, ANY).await.expect("they are read");
        let stays = |member: &&Member| member.state == MemberState::Member && member.role == Role::Owner;
        assert_eq!(members.iter().filter(stays).count(), 1);
    }
    elsewhere.close().await;
}

async fn of_rooms_in_which_all_kinds_of_things_are_said_at_once_each_gets_its_own(here: Store, behind: Behind) {
    const ROOMS: u32 = 24;
    const KINDS: [EntryKind; 6] = [
        EntryKind::Message,
        EntryKind::Profile,
        EntryKind::Edit,
        EntryKind::Reaction,
        EntryKind::Pin,
        EntryKind::Deletion,
    ];
    let elsewhere = behind.another().await;
    let mut rooms = Vec::new();
    for number in 0..ROOMS {
        let room = room_of(&here, number, &[device(1), device(2)]).await;
        rooms.push((Instance::new(room, device(1), 1), Instance::new(room, device(2), 1)));
    }
    let (mut heads, mut profiles, mut erased) =
        ([1; ROOMS as usize], [0; ROOMS as usize], vec![vec![]; ROOMS as usize]);
    for turn in 0..KINDS.len() {
        let mut sends = Vec::new();
        for (room, (sender, _)) in rooms.iter_mut().enumerate() {
            // A message, something about it, and another message.
            let (kind, about) = (KINDS[(room + turn) % KINDS.len()], heads[room] + 1);
            let target = if kind.is_about_a_message() { about } else { 0 };
            for (kind, target) in [(EntryKind::Message, 0), (kind, target), (EntryKind::Message, 0)] {
                sends.push(here.append(sender.next(kind, target)));
            }
            match kind {
                EntryKind::Profile => profiles[room] = about + 1,
                EntryKind::Deletion => erased[room].push(about),
                _ => {}
            }
        }
        for (at, answer) in together(sends).await.into_iter().enumerate() {
            heads[at / 3] += 1;
            assert_eq!(answer.expect("it is appended").seq, Seq(heads[at / 3]));
        }
        for (room, (_, other)) in rooms.iter_mut().enumerate().step_by(3) {
            other.say(&elsewhere).await;
            heads[room] += 1;
        }
    }
    for (room, (sender, _)) in rooms.iter().enumerate() {
        let entries = here.read_after(sender.room, Seq::ZERO, ANY, ANY).await.expect("it is read");
        let tombstones = entries.iter().filter(|entry| entry.is_tombstone()).map(|entry| entry.seq().0);
        assert_eq!(tombstones.collect::<Vec<_>>(), erased[room]);
        let member = here.member(sender.room, sender.device).await.expect("it is read").expect("a member");
        assert_eq!(member.profile.map(|profile| profile.seq().0), Some(profiles[room]));
    }
    elsewhere.close().await;
}
