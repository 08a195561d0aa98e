//! Edits, deletions, reactions, pins.

use snug_protocol::frame::{Cursor, EntryFrame, ServerFrame};
use snug_protocol::http::{Effect, Role};
use snug_protocol::{EntryKind, Envelope, ErrorCode, Seq};
use snug_tests::guest::Guest;
use snug_tests::node::Node;

use super::{entry_at, following, log, role};

fn tombstones(entries: &[EntryFrame]) -> Vec<u64> {
    entries.iter().filter(|entry| entry.is_tombstone()).map(|entry| entry.seq().0).collect()
}

fn is_whole(entry: &EntryFrame, envelope: &Envelope) -> bool {
    entry.envelope_bytes() == envelope.bytes()
}

#[tokio::test]
async fn what_is_about_a_message_needs_one_and_an_edit_its_author() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut anas = ana.create("About").await;
    let mut bens = ben.join(&anas).await;
    let (mut ana_socket, mut ben_socket) = (following(&ana, &anas).await, ben.socket().await);
    let message = ana.message(&mut anas, "hello");
    let message = ana_socket.append(&message).await;
    let profile = ben.profile(&mut bens, "Ben");
    let profile = ben_socket.append(&profile).await;
    for kind in [EntryKind::Edit, EntryKind::Deletion, EntryKind::Reaction, EntryKind::Pin] {
        for (target, why) in [(Seq(1), "a record"), (profile, "a profile"), (Seq(77), "not there"), (Seq(4), "itself")]
        {
            let mut elsewhere = bens.elsewhere();
            let envelope = ben.about(&mut elsewhere, kind, target);
            assert_eq!(ben_socket.refused(&envelope).await.code, ErrorCode::TargetInvalid, "{kind:?} about {why}");
        }
    }
    for kind in [EntryKind::Edit, EntryKind::Deletion] {
        let envelope = ben.about(&mut bens.elsewhere(), kind, message);
        assert_eq!(ben_socket.refused(&envelope).await.code, ErrorCode::NotAllowed, "{kind:?} of another's message");
    }
    let reaction = ben.about(&mut bens, EntryKind::Reaction, message);
    let reaction = ben_socket.append(&reaction).await;
    let pin = ben.about(&mut bens, EntryKind::Pin, message);
    let pin = ben_socket.append(&pin).await;
    let edit = ana.about(&mut anas, EntryKind::Edit, message);
    let edit = ana_socket.append(&edit).await;
    assert_eq!(entry_at(&mut ana_socket, edit).await.kind(), Some(EntryKind::Edit), "it is live as messages are");
    let on_reaction = ben.about(&mut bens.elsewhere(), EntryKind::Reaction, reaction);
    assert_eq!(ben_socket.refused(&on_reaction).await.code, ErrorCode::TargetInvalid);
    let history = format!("/api/rooms/{}/history?limit=1&before={}", anas.room, message.next());
    let (head, entries) = ben.page(&history).await;
    let seqs: Vec<Seq> = entries.iter().map(EntryFrame::seq).collect();
    assert_eq!((head.from, head.to), (message, message));
    assert_eq!(seqs, [message, reaction, pin, edit], "an old page comes with what was said about it later");
    let (_, pins) = ben.page(&format!("/api/rooms/{}/pins", anas.room)).await;
    assert_eq!(pins.iter().map(EntryFrame::seq).collect::<Vec<_>>(), [pin]);
}

#[tokio::test]
async fn a_deletion_erases_the_message_for_everyone_who_looks_from_then_on() {
    deletion(&Node::start().await).await;
}

pub async fn deletion(node: &Node) {
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut anas = ana.create("Erased").await;
    let mut bens = ben.join(&anas).await;
    let (mut ana_socket, mut ben_socket) = (ana.socket().await, following(&ben, &bens).await);
    let history = anas.entered.room.history;
    let message = ana.message(&mut anas, "regrettable");
    let at = ana_socket.append(&message).await;
    let edit = ana.about(&mut anas, EntryKind::Edit, at);
    let edit_at = ana_socket.append(&edit).await;
    let reaction = ben.about(&mut bens, EntryKind::Reaction, at);
    ben_socket.send(9, &reaction).await;
    let reaction_at = edit_at.next();
    assert!(is_whole(&entry_at(&mut ben_socket, at).await, &message), "who was there saw it");
    entry_at(&mut ben_socket, reaction_at).await;
    let before = Cursor { history, seq: Seq(1), hash: log(&ana, &anas).await[0].hash().short().into() };
    let deletion = ana.about(&mut anas, EntryKind::Deletion, at);
    let deletion_at = ana_socket.append(&deletion).await;
    let live = entry_at(&mut ben_socket, deletion_at).await;
    assert!(is_whole(&live, &deletion), "the deletion itself stays, for those who have to show it");
    let entries = log(&ben, &anas).await;
    assert_eq!(tombstones(&entries), [at.0, edit_at.0, reaction_at.0]);
    for (seq, envelope) in [(at, &message), (edit_at, &edit), (reaction_at, &reaction)] {
        let entry = entries.iter().find(|entry| entry.seq() == seq).expect("in the page");
        assert_eq!((entry.hash(), entry.header()), (envelope.hash(), Ok(*envelope.header())), "header and hash remain");
    }
    for cursor in [None, Some(before)] {
        let mut later = ben.socket().await;
        let ServerFrame::Followed { from, head, .. } = later.follow(anas.room, cursor).await else {
            panic!("no answer")
        };
        let mut seen = Vec::new();
        for _ in from.0..=head.0 {
            seen.push(later.entry().await);
        }
        assert_eq!(tombstones(&seen), [at.0, edit_at.0, reaction_at.0]);
    }
    assert_eq!(ana_socket.refused(&message).await.code, ErrorCode::Gone, "sent again");
    ana_socket.send(5, &deletion).await;
    assert_eq!(ana_socket.sent(5).await, (deletion_at, true), "the deletion sent again is acknowledged again");
    for kind in [EntryKind::Reaction, EntryKind::Edit, EntryKind::Pin, EntryKind::Deletion] {
        let envelope = ana.about(&mut anas.elsewhere(), kind, at);
        assert_eq!(ana_socket.refused(&envelope).await.code, ErrorCode::TargetGone, "{kind:?}");
    }
}

#[tokio::test]
async fn nobody_who_follows_after_a_deletion_was_acknowledged_gets_the_text() {
    let node = Node::start().await;
    let mut ana = Guest::new(&node.url);
    let mut room = ana.create("At once").await;
    // Someone follows all the time, so that the node keeps a tail.
    let _keeper = following(&ana, &room).await;
    let mut sender = ana.socket().await;
    for _ in 0..100 {
        let message = ana.message(&mut room, "for a moment");
        let at = sender.append(&message).await;
        let mut follower = ana.socket().await;
        let deletion = ana.about(&mut room, EntryKind::Deletion, at);
        sender.append(&deletion).await;
        follower.follow(room.room, None).await;
        assert!(entry_at(&mut follower, at).await.is_tombstone(), "the text at {at} was handed out after its deletion");
    }
}

#[tokio::test]
async fn who_has_a_higher_role_deletes_and_who_has_not_does_not() {
    let node = Node::start().await;
    let mut guests = [(); 4].map(|()| Guest::new(&node.url));
    let [ana, ben, cleo, dan] = &mut guests;
    let mut anas = ana.create("Roles").await;
    let (mut bens, mut cleos, mut dans) = (ben.join(&anas).await, cleo.join(&anas).await, dan.join(&anas).await);
    let mut chain = Seq(1);
    for moderator in [&ben, &cleo] {
        chain = ana.stepped(&anas, chain, role(moderator.device.id(), Role::Moderator)).await;
    }
    let mut sockets = [ana.socket().await, ben.socket().await, cleo.socket().await, dan.socket().await];
    let [ana_socket, ben_socket, cleo_socket, dan_socket] = &mut sockets;
    let envelope = ana.message(&mut anas, "owner");
    let owners = ana_socket.append(&envelope).await;
    let envelope = cleo.message(&mut cleos, "moderator");
    let moderators = cleo_socket.append(&envelope).await;
    let envelope = dan.message(&mut dans, "member");
    let members = dan_socket.append(&envelope).await;
    for (target, why) in [(owners, "the owner's"), (moderators, "an equal's")] {
        let envelope = ben.about(&mut bens.elsewhere(), EntryKind::Deletion, target);
        assert_eq!(ben_socket.refused(&envelope).await.code, ErrorCode::NotAllowed, "{why}");
    }
    let envelope = dan.about(&mut dans.elsewhere(), EntryKind::Deletion, moderators);
    assert_eq!(dan_socket.refused(&envelope).await.code, ErrorCode::NotAllowed);
    let envelope = ben.about(&mut bens, EntryKind::Deletion, members);
    ben_socket.append(&envelope).await;
    let envelope = ana.about(&mut anas, EntryKind::Deletion, moderators);
    ana_socket.append(&envelope).await;
    assert_eq!(tombstones(&log(ana, &anas).await), [moderators.0, members.0]);
}

#[tokio::test]
async fn an_erase_step_leaves_nothing_of_what_a_member_wrote() {
    erase_step(&Node::start().await).await;
}

pub async fn erase_step(node: &Node) {
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut anas = ana.create("Spam").await;
    let mut bens = ben.join(&anas).await;
    let (mut ana_socket, mut ben_socket) = (following(&ana, &anas).await, ben.socket().await);
    let envelope = ana.message(&mut anas, "stays");
    let stays = ana_socket.append(&envelope).await;
    let envelope = ben.profile(&mut bens, "Ben");
    ben_socket.append(&envelope).await;
    let envelope = ben.message(&mut bens, "goes");
    let goes = ben_socket.append(&envelope).await;
    let envelope = ben.about(&mut bens, EntryKind::Reaction, stays);
    let also = ben_socket.append(&envelope).await;
    let step = ana.stepped(&anas, Seq(1), Effect::Erase { device: ben.device.id() }).await;
    assert_eq!(entry_at(&mut ana_socket, step).await.kind(), Some(EntryKind::Step));
    assert_eq!(tombstones(&log(&ana, &anas).await), [goes.0, also.0]);
    let mut later = following(&ana, &anas).await;
    assert!(entry_at(&mut later, goes).await.is_tombstone() && entry_at(&mut later, also).await.is_tombstone());
    let envelope = ben.message(&mut bens, "may write on");
    ben_socket.append(&envelope).await;
}

#[tokio::test]
async fn who_is_muted_may_introduce_themselves_delete_and_leave_and_no_more() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut anas = ana.create("Muted").await;
    let mut bens = ben.join(&anas).await;
    let (mut ana_socket, mut socket) = (ana.socket().await, ben.socket().await);
    let envelope = ana.message(&mut anas, "to react to");
    let target = ana_socket.append(&envelope).await;
    let envelope = ben.message(&mut bens, "before");
    let before = socket.append(&envelope).await;
    let mute = |until_ms| Effect::Mute { device: ben.device.id(), until_ms };
    let chain = ana.stepped(&anas, Seq(1), mute((1 << 53) - 1)).await;
    let message = ben.message(&mut bens.elsewhere(), "after");
    assert_eq!(socket.refused(&message).await.code, ErrorCode::Muted);
    for (kind, target) in [(EntryKind::Edit, before), (EntryKind::Reaction, target), (EntryKind::Pin, target)] {
        let envelope = ben.about(&mut bens.elsewhere(), kind, target);
        assert_eq!(socket.refused(&envelope).await.code, ErrorCode::Muted, "{kind:?}");
    }
    let envelope = ben.profile(&mut bens, "Benjamin");
    socket.append(&envelope).await;
    let envelope = ben.about(&mut bens, EntryKind::Deletion, before);
    socket.append(&envelope).await;
    let chain = ana.stepped(&anas, chain, mute(0)).await;
    let envelope = ben.message(&mut bens, "again");
    socket.append(&envelope).await;
    ana.stepped(&anas, chain, mute((1 << 53) - 1)).await;
    let envelope = ben.seal(&mut bens, EntryKind::Leave, Seq::ZERO, &serde_json::json!({}));
    socket.append(&envelope).await;
}

#[tokio::test]
async fn slow_mode_makes_members_wait_as_long_as_it_says_and_admins_not() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut anas = ana.create("Slow").await;
    let mut bens = ben.join(&anas).await;
    let (mut ana_socket, mut socket) = (ana.socket().await, ben.socket().await);
    ana.stepped(&anas, Seq(1), Effect::Slow { interval_ms: 700 }).await;
    for text in ["one", "two", "three"] {
        let envelope = ana.message(&mut anas, text);
        ana_socket.append(&envelope).await;
    }
    let envelope = ben.message(&mut bens, "one");
    let first = socket.append(&envelope).await;
    let early = ben.message(&mut bens, "two");
    let error = socket.refused(&early).await;
    let wait_ms = error.retry_after_ms.expect("it says how long");
    assert_eq!(error.code, ErrorCode::SlowMode);
    assert!((1..=701).contains(&wait_ms), "{wait_ms}");
    // Time itself is what is tested here: waiting as told is enough.
    tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
    socket.append(&early).await;
    let reaction = ben.about(&mut bens, EntryKind::Reaction, first);
    socket.append(&reaction).await;
}

#[tokio::test]
async fn what_is_older_than_the_retention_is_erased_by_the_sweep() {
    let node = Node::start().await;
    let mut ana = Guest::new(&node.url);
    let mut room = ana.create("Short memory").await;
    let mut socket = ana.socket().await;
    let envelope = ana.profile(&mut room, "Ana");
    let profile = socket.append(&envelope).await;
    let envelope = ana.message(&mut room, "not for long");
    let message = socket.append(&envelope).await;
    for (age_ms, status) in [(1, 400), (3_599_999, 400), (315_360_000_001, 400), (3_600_000, 200)] {
        assert_eq!(ana.step(&room, Seq(1), Effect::Retention { age_ms }).await.0, status, "{age_ms}");
    }
    // By the API nothing is erased within the hour; what the sweep does with an age is the same for any.
    let chain = message.next();
    let step = ana.chain_entry(&room, EntryKind::Step, chain);
    let effect = snug_store::StepEffect::Retention { age_ms: 1 };
    node.store.administer(snug_store::NewStep { envelope: step, effect }).await.expect("the store takes any age");
    snug_tests::eventually("the message is old enough", async || {
        node.store.sweep().await.expect("memory");
        (tombstones(&log(&ana, &room).await) == [message.0]).then_some(())
    })
    .await;
    assert!(profile < message, "and who the members are is still known");
    assert_eq!(socket.refused(&envelope).await.code, ErrorCode::Gone);
}
