//! Removals: hidden from somebody, or undone by the server.

use std::sync::{Arc, Mutex};

use snug_client::crypto::{Body, Device, Message, Prev};
use snug_client::log::ViolationCode;
use snug_client::{Client, ClientConfig, Event, RekeyCause};
use snug_protocol::frame::{EntryFrame, SendFrame, ServerFrame};
use snug_protocol::{DeviceId, EntryKind, Seq};
use snug_tests::hostile::Fate;
use snug_tests::hostile::scene::{Scene, all_until_now, code, is_text, say, until, violation};
use snug_tests::{eventually, in_time};

fn removal(device: DeviceId) -> RekeyCause {
    RekeyCause::Remove { devices: vec![device], ban: false }
}

#[tokio::test]
async fn a_removed_members_later_message_is_flagged() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    let (room, mut events) = scene.joined().await;
    scene.rekey(removal(mallory.id())).await;
    eventually("the epoch is known", async || (room.epoch() == 1).then_some(())).await;
    let place = scene
        .say_and_forge("without Mallory", move |prev| {
            mallory.entry(&Body::Message(Message::of("still here")), Seq::ZERO, prev)
        })
        .await;
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Epoch, place));
    assert_eq!(found.evidence.len(), 2, "it and what it stands after");
}

#[tokio::test]
async fn an_entry_of_an_older_epoch_that_is_replayed_is_flagged() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    let mut held = None;
    scene.server.on_entry(move |entry| {
        if entry.kind() == Some(EntryKind::Message) {
            match &held {
                None => held = Some(entry.envelope_bytes()),
                Some(old) => {
                    let again = EntryFrame::new(entry.seq().next(), entry.at_ms(), old);
                    return vec![entry, again];
                }
            }
        }
        vec![entry]
    });
    scene.say("in the first epoch").await;
    until(&mut events, |event| is_text(event, "in the first epoch")).await;
    scene.rekey(RekeyCause::Rotate).await;
    let place = scene.say("in the second").await.next();
    let found = eventually("both are found", async || {
        let found = room.violations().await.expect("open");
        (found.len() >= 2).then_some(found)
    })
    .await;
    let mut codes: Vec<_> = found.iter().map(|found| (found.code, found.seq)).collect();
    codes.sort_unstable();
    assert_eq!(codes, [(ViolationCode::Counter, place), (ViolationCode::Epoch, place)]);
}

#[tokio::test]
async fn a_removal_that_is_left_out_is_flagged_with_the_next_entry() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    let (_room, mut events) = scene.joined().await;
    scene.server.on_entry(|entry| if entry.kind() == Some(EntryKind::EpochRecord) { vec![] } else { vec![entry] });
    let record = scene.rekey(removal(mallory.id())).await.seq;
    scene.say("without Mallory").await;
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Fork, record));
}

/// Hides what the chain has from `from` on.
fn cut_chain(page: &bytes::Bytes, from: Seq) -> bytes::Bytes {
    let (mut kept, mut rest) = (Vec::new(), page.as_ref());
    while rest.len() >= 4 {
        let length = u32::from_be_bytes(rest[..4].try_into().expect("four bytes")) as usize;
        let (record, later) = rest.split_at(4 + length);
        // The first record is the head.
        if kept.is_empty()
            || EntryFrame::parse(&bytes::Bytes::copy_from_slice(&record[4..])).is_ok_and(|it| it.seq() < from)
        {
            kept.extend_from_slice(record);
        }
        rest = later;
    }
    kept.into()
}

#[tokio::test]
async fn a_removal_for_which_the_removed_members_own_message_is_shown_is_found_with_the_next_entry() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    let (room, mut events) = scene.joined().await;
    let before = scene.say("before").await;
    until(&mut events, |event| is_text(event, "before")).await;
    let record = before.next();
    let removed = mallory.id();
    scene.server.on_http(move |answer| {
        if answer.path.contains("/chain") {
            answer.body = cut_chain(&answer.body, record);
        }
    });
    let edge = Prev { seq: Seq(1), hash: scene.newest_record().hash };
    scene.server.on_entry(move |entry| {
        if entry.seq() != record {
            return vec![entry];
        }
        let instead = mallory.entry(&Body::Message(Message::of("still here")), Seq::ZERO, edge);
        vec![EntryFrame::new(record, entry.at_ms(), instead.bytes())]
    });
    assert_eq!(scene.rekey(removal(removed)).await.seq, record);
    scene.say("without Mallory").await;
    let found = eventually("it is found", async || {
        let found = room.violations().await.expect("open");
        found.into_iter().find(|found| found.code == ViolationCode::Authority)
    })
    .await;
    assert_eq!(found.seq, record.next(), "the first entry of an epoch that nothing began");
    assert!(!found.evidence.is_empty());
    let told = all_until_now(&scene, &mut events).await;
    assert!(!told.iter().any(|event| is_text(event, "without Mallory")), "it has no key for it");
    assert!(told.contains(&Event::KeyMissing { epoch: 1 }));
    // What it says is not for Mallory.
    let sealed = sealed_from_now_on(&scene);
    let waiting = room.send("for those who stay");
    assert_eq!(code(room.create_invite(None, None).await.map(|(link, _)| link)), Err("key_missing"));
    let later = scene.say("and again").await;
    until(&mut events, |event| event.seq() == Some(later)).await;
    assert_eq!(*sealed.lock().expect("no test panics with it"), Vec::<u32>::new());
    drop(waiting);
}

/// The epochs of what the victim sends from here on.
fn sealed_from_now_on(scene: &Scene) -> Arc<Mutex<Vec<u32>>> {
    let epochs = Arc::<Mutex<Vec<u32>>>::default();
    let noted = Arc::clone(&epochs);
    scene.server.on_send(move |frame| {
        let frame = SendFrame::parse(frame).expect("the victim speaks the protocol");
        noted.lock().expect("no test panics with it").push(frame.envelope.header().epoch);
        Fate::Passed
    });
    epochs
}

#[tokio::test]
async fn what_is_sealed_under_a_newer_key_than_the_server_shows_is_never_sent_under_the_older_one() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    let (room, mut events) = scene.joined().await;
    let record = scene.say("before").await.next();
    until(&mut events, |event| is_text(event, "before")).await;
    scene.server.on_http(move |answer| {
        if answer.path.contains("/chain") {
            answer.body = cut_chain(&answer.body, record);
        }
    });
    scene.server.on_entry(move |entry| if entry.seq() >= record { vec![] } else { vec![entry] });
    scene.rekey(removal(mallory.id())).await;
    // The victim does not know of it; what it says is refused by the node, and not said to Mallory.
    let refused = in_time("an answer", room.send("a secret")).await.expect_err("the room has another key");
    assert_eq!(refused.code(), "stale_epoch");
    // Nor does it try again, since a server that hides a removal might take it.
    until(&mut events, |event| *event == Event::KeyMissing { epoch: 1 }).await;
    let sealed = sealed_from_now_on(&scene);
    let waiting = room.send("another secret");
    assert_eq!(code(room.create_invite(None, None).await.map(|(link, _)| link)), Err("key_missing"));
    all_until_now(&scene, &mut events).await;
    assert_eq!(*sealed.lock().expect("no test panics with it"), Vec::<u32>::new());
    drop(waiting);
}

#[tokio::test]
async fn a_chain_that_ends_before_the_record_one_knows_is_refused() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    let (room, _events) = scene.joined().await;
    let record = scene.rekey(removal(mallory.id())).await.seq;
    eventually("the epoch is known", async || (room.epoch() == 1).then_some(())).await;
    let (secrets, device) = (room.secrets(), scene.victim.device().export());
    scene.victim.close().await;
    scene.server.on_http(move |answer| {
        if answer.path.contains("/chain") {
            answer.body = cut_chain(&answer.body, record);
        }
    });
    let mut config = ClientConfig::new(&scene.server.url);
    config.origin = Some(scene.node.url.clone());
    let again = Client::connect(config, Device::import(&device)).expect("an address");
    assert_eq!(code(in_time("an answer", again.resume(secrets)).await), Err("record_refused"));
}

#[tokio::test]
async fn an_old_grant_with_the_old_record_does_not_lead_who_was_in_a_newer_epoch_back() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    let (room, mut events) = scene.joined().await;
    scene.rekey(removal(mallory.id())).await;
    eventually("the epoch is known", async || (room.epoch() == 1).then_some(())).await;
    // The server shows the victim the room as it was, on a new session.
    scene.server.on_http(|answer| {
        if answer.path.contains("/chain") {
            answer.body = cut_chain(&answer.body, Seq(2));
        }
    });
    scene.server.on_frame(|mut frame| {
        if let ServerFrame::Followed { chain, .. } = &mut frame {
            *chain = Seq(1);
        }
        Some(frame)
    });
    scene.server.cut();
    until(&mut events, |event| *event == Event::ConnectionRestored).await;
    assert_eq!(room.epoch(), 1);
    say(&room, "still under the newer key").await;
    let mut heard = scene.garden.events().await.expect("open");
    until(&mut heard, |event| is_text(event, "still under the newer key")).await;
}
