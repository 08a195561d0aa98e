//! Messages that change: edits, deletions, reactions and pins.

use snug_protocol::{EntryKind, RoomId, Seq};
use snug_store::{AppendError, StepEffect, Store};

use crate::fixture::{Instance, contract, device, envelope, is_duplicate, room_of, step, together};

contract![
    what_is_about_a_message_needs_a_message,
    only_the_author_edits,
    a_deletion_leaves_a_tombstone_of_the_message_its_edits_and_reactions,
    a_deletion_is_its_authors_or_that_of_a_higher_role,
    an_erased_message_takes_nothing_more,
    a_resend_of_an_erased_message_is_gone_and_the_instance_goes_on,
    messages_sent_together_may_be_about_one_another,
    pins_are_listed_in_order_and_the_newest_kept,
    chain_entries_are_no_later_entries_of_a_page,
];

async fn refusal(store: &Store, instance: &Instance, kind: EntryKind, target: u64) -> AppendError {
    let counter = instance.counter;
    store.append(envelope(&instance.header(kind, counter, target))).await.expect_err("it is refused")
}

async fn what_is_about_a_message_needs_a_message(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    store.append(instance.next(EntryKind::Profile, 0)).await.unwrap();
    instance.say(&store).await;
    for kind in [EntryKind::Edit, EntryKind::Deletion, EntryKind::Reaction, EntryKind::Pin] {
        // None; the epoch record; the profile; itself; what is not there yet.
        for target in [0, 1, 2, 4, 9, (1 << 53) - 1] {
            let refused = refusal(&store, &instance, kind, target).await;
            assert!(matches!(refused, AppendError::TargetInvalid), "{kind:?} {target} {refused:?}");
        }
    }
    for kind in [EntryKind::Message, EntryKind::Profile, EntryKind::Leave] {
        let refused = refusal(&store, &instance, kind, 3).await;
        assert!(matches!(refused, AppendError::TargetInvalid), "{kind:?} {refused:?}");
    }
}

async fn only_the_author_edits(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let mut author = Instance::new(room, device(2), 2);
    author.say(&store).await;
    let refused = refusal(&store, &Instance::new(room, device(1), 1), EntryKind::Edit, 2).await;
    assert!(matches!(refused, AppendError::NotAllowed), "not even an owner: {refused:?}");
    store.append(author.next(EntryKind::Edit, 2)).await.unwrap();
}

async fn erased(store: &Store, room: RoomId) -> Vec<u64> {
    let entries = store.read_after(room, Seq::ZERO, 1000, usize::MAX).await.unwrap();
    entries.iter().filter(|entry| entry.is_tombstone()).map(|entry| entry.seq().0).collect()
}

async fn a_deletion_leaves_a_tombstone_of_the_message_its_edits_and_reactions(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let (mut author, mut other) = (Instance::new(room, device(1), 1), Instance::new(room, device(2), 2));
    let message = author.message();
    store.append(message.clone()).await.unwrap();
    author.say(&store).await;
    for target in [2, 3] {
        store.append(author.next(EntryKind::Edit, target)).await.unwrap();
        store.append(other.next(EntryKind::Reaction, target)).await.unwrap();
        store.append(other.next(EntryKind::Pin, target)).await.unwrap();
    }
    assert!(erased(&store, room).await.is_empty());
    let deletion = store.append(author.next(EntryKind::Deletion, 2)).await.unwrap();
    assert_eq!(erased(&store, room).await, [2, 4, 5]);
    assert_eq!(store.entry_hash(room, Seq(2)).await.unwrap(), Some(message.hash()));
    let tombstone = &store.read_after(room, Seq(1), 1, usize::MAX).await.unwrap()[0];
    assert_eq!((tombstone.header().unwrap(), tombstone.hash()), (*message.header(), message.hash()));
    let page = store.read_page(room, Some(Seq(3)), 1, usize::MAX).await.unwrap().unwrap();
    assert_eq!(page.entries, std::slice::from_ref(tombstone));
    assert_eq!(page.later.last(), deletion.frame.as_ref());
}

async fn a_deletion_is_its_authors_or_that_of_a_higher_role(store: Store) {
    let (owner, moderator, member, other) = (device(1), device(2), device(3), device(4));
    let room = room_of(&store, 1, &[owner, moderator, member, other]).await;
    let role = StepEffect::Role { device: moderator.device, role: snug_protocol::http::Role::Moderator };
    store.administer(step(&store, room, owner, role).await).await.unwrap();
    // Seqs 3 to 6, by each of them.
    let instances = [owner, moderator, member, other].map(|device| Instance::new(room, device, 1));
    for mut instance in instances.clone() {
        instance.say(&store).await;
    }
    for (by, of, may) in
        [(1, 3, false), (2, 3, false), (2, 4, false), (3, 5, false), (2, 6, false), (1, 6, true), (0, 4, true)]
    {
        let mut instance = instances[by].clone();
        instance.counter = 1;
        let answer = store.append(instance.next(EntryKind::Deletion, of)).await;
        assert_eq!(answer.is_ok(), may, "{by} {of} {answer:?}");
        assert!(may || matches!(answer, Err(AppendError::NotAllowed)));
    }
    let mut own = instances[2].clone();
    own.counter = 1;
    store.append(own.next(EntryKind::Deletion, 5)).await.expect("one's own");
}

async fn an_erased_message_takes_nothing_more(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    instance.say(&store).await;
    store.append(instance.next(EntryKind::Deletion, 2)).await.unwrap();
    for kind in [EntryKind::Edit, EntryKind::Deletion, EntryKind::Reaction, EntryKind::Pin] {
        let refused = refusal(&store, &instance, kind, 2).await;
        assert!(matches!(refused, AppendError::TargetGone), "{kind:?} {refused:?}");
    }
}

async fn a_resend_of_an_erased_message_is_gone_and_the_instance_goes_on(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let message = instance.message();
    store.append(message.clone()).await.unwrap();
    let deletion = instance.next(EntryKind::Deletion, 2);
    store.append(deletion.clone()).await.unwrap();
    let answer = store.append(message).await;
    assert!(matches!(answer, Err(AppendError::Gone)), "{answer:?}");
    assert!(is_duplicate(&store.append(deletion).await, Seq(3)));
    assert_eq!(instance.say(&store).await.seq, Seq(4));
}

async fn messages_sent_together_may_be_about_one_another(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let kinds = [
        (EntryKind::Message, 0),
        (EntryKind::Edit, 2),
        (EntryKind::Reaction, 2),
        (EntryKind::Deletion, 2),
        (EntryKind::Message, 0),
        (EntryKind::Pin, 6),
    ];
    let sends: Vec<_> = kinds.map(|(kind, target)| store.append(instance.next(kind, target))).into();
    let answers = together(sends).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(erased(&store, room).await, [2, 3, 4]);
}

async fn pins_are_listed_in_order_and_the_newest_kept(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let mut instance = Instance::new(room, device(2), 1);
    let empty = store.pins(room, 10).await.unwrap().unwrap();
    assert!(empty.from > empty.to && empty.entries.is_empty());
    for _ in 0..4 {
        let seq = instance.say(&store).await.seq.0;
        store.append(instance.next(EntryKind::Pin, seq)).await.unwrap();
    }
    let seqs = async |limit| {
        let page = store.pins(room, limit).await.unwrap().unwrap();
        assert_eq!((page.head, page.later.len()), (Seq(9), 0));
        page.entries.iter().map(|entry| entry.seq().0).collect::<Vec<_>>()
    };
    assert_eq!(seqs(10).await, [3, 5, 7, 9]);
    assert_eq!(seqs(2).await, [7, 9]);
    assert!(store.pins(RoomId([9; 16]), 10).await.unwrap().is_none());
}

async fn chain_entries_are_no_later_entries_of_a_page(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    store.administer(step(&store, room, device(1), StepEffect::None).await).await.unwrap();
    let page = store.read_page(room, Some(Seq(2)), 10, usize::MAX).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.later.len()), (1, 0), "its target is the record, and it is not about it");
}
