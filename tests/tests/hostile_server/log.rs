//! The log: entries of others left out, replaced, repeated, in another order, by another device.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use snug_client::Event;
use snug_client::crypto::Device;
use snug_client::log::ViolationCode;
use snug_protocol::Seq;
use snug_protocol::frame::{EntryFrame, ServerFrame};
use snug_tests::hostile::scene::{NAME, PASSWORD, Scene, client, code, is_text, lie_at, say, until, violation};
use snug_tests::hostile::{HostileServer, renumbered, with_envelope};

#[tokio::test]
async fn keys_that_are_not_the_devices_are_refused_and_never_verify_a_message() {
    let scene = Scene::set().await;
    // Not Ana: an owner's keys are in the room's chain, where no lie reaches them.
    let carol = client(&scene.node.url, &scene.node);
    let carols = carol.join(NAME, PASSWORD, "Carol").await.expect("joined");
    let last = {
        say(&carols, "the first").await;
        // More than a page, so that Carol's profile is not in what the victim loads.
        for n in 0..60 {
            scene.say(&format!("message {n}")).await;
        }
        say(&carols, "the last").await
    };
    scene.server.on_http(|answer| {
        let mallory = Device::generate();
        let swap = |member: &mut serde_json::Value| {
            member["sign_key"] = snug_protocol::encode_base64(&mallory.keys().sign_key).into();
        };
        if answer.path.contains("/members/") {
            answer.rewrite(swap);
        } else if answer.path.ends_with("/members") {
            answer.rewrite(|json| json["members"].as_array_mut().expect("a list").iter_mut().for_each(swap));
        }
    });
    let room = scene.join().await.expect("the lie is not about joining");
    let mut events = room.events().await.expect("open");
    let seen = until(&mut events, |event| event.seq() == Some(last)).await;
    assert!(matches!(seen, Event::Unreadable { .. }), "{seen:?}");
    assert_eq!(code(room.members().await), Err("device_keys_refused"));
}

#[tokio::test]
async fn an_envelope_of_another_room_is_not_shown_and_is_flagged() {
    let scene = Scene::set().await;
    let (cellar, _) = scene.ana.create_room("Cellar", "another password", "Ana").await.expect("a room");
    let (_room, mut events) = scene.joined().await;
    let stolen = Arc::new(Mutex::new(None::<Bytes>));
    // The server takes an envelope of the cellar and serves it in the garden.
    let eavesdropper = HostileServer::before(&scene.node.url).await;
    eavesdropper.on_entry({
        let stolen = Arc::clone(&stolen);
        move |entry| {
            *stolen.lock().expect("no panic") = Some(entry.envelope_bytes());
            vec![entry]
        }
    });
    let reader = client(&eavesdropper.url, &scene.node);
    let copy = reader.join("Cellar", "another password", "Reader").await.expect("joined");
    let mut cellar_events = copy.events().await.expect("open");
    say(&cellar, "meant for the cellar").await;
    until(&mut cellar_events, |event| is_text(event, "meant for the cellar")).await;
    let stolen = stolen.lock().expect("no panic").take().expect("an entry");
    let mut stolen = Some(stolen);
    scene.server.on_entry(move |entry| {
        vec![stolen.take().map_or_else(|| entry.clone(), |stolen| with_envelope(&entry, &stolen))]
    });
    scene.say("replaced").await;
    let after = scene.say("after").await;
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Fork, Seq(after.0 - 1)));
}

#[tokio::test]
async fn an_entry_that_is_left_out_is_flagged_whether_or_not_the_rest_is_renumbered() {
    for renumber in [false, true] {
        let scene = Scene::set().await;
        let (_room, mut events) = scene.joined().await;
        let before = scene.say("before").await;
        until(&mut events, |event| is_text(event, "before")).await;
        lie_at(&scene.server, before.next(), move |entry, _| match entry.seq() {
            seq if seq == before.next() => vec![],
            seq if renumber => vec![renumbered(&entry, seq.back(1))],
            _ => vec![entry],
        });
        scene.say("left out").await;
        scene.say("after").await;
        let found = violation(&mut events).await;
        let expected = if renumber { ViolationCode::Counter } else { ViolationCode::Fork };
        assert_eq!(found.seq, before.next());
        assert!([expected, ViolationCode::Prev].contains(&found.code), "{found:?}");
        assert!(!found.evidence.is_empty());
    }
}

#[tokio::test]
async fn entries_in_another_order_are_flagged_whether_or_not_they_are_renumbered() {
    for renumber in [false, true] {
        let scene = Scene::set().await;
        let (_room, mut events) = scene.joined().await;
        let before = scene.say("before").await;
        until(&mut events, |event| is_text(event, "before")).await;
        let (first, second) = (before.next(), before.next().next());
        lie_at(&scene.server, first, move |entry, seen| match entry.seq() {
            seq if seq == first => vec![],
            seq if seq == second => {
                let held = seen[&first].clone();
                if renumber { vec![renumbered(&entry, first), renumbered(&held, second)] } else { vec![entry, held] }
            }
            _ => vec![entry],
        });
        scene.say("one").await;
        scene.say("two").await;
        let found = violation(&mut events).await;
        assert_eq!(found.seq, first);
    }
}

#[tokio::test]
async fn a_replayed_entry_is_flagged_and_its_text_is_not_a_second_message_without_it() {
    let scene = Scene::set().await;
    let (_room, mut events) = scene.joined().await;
    let old = scene.say("pay the gardener").await;
    until(&mut events, |event| is_text(event, "pay the gardener")).await;
    lie_at(&scene.server, old.next(), move |entry, _| {
        if entry.seq() != old.next() {
            return vec![renumbered(&entry, entry.seq().next())];
        }
        vec![entry]
    });
    scene.say("thanks").await;
    until(&mut events, |event| is_text(event, "thanks")).await;
    let replayed: Arc<Mutex<Option<EntryFrame>>> = Arc::default();
    scene.server.on_entry({
        let replayed = Arc::clone(&replayed);
        move |entry| {
            let first = replayed.lock().expect("no panic").get_or_insert_with(|| entry.clone()).clone();
            vec![entry.clone(), renumbered(&first, entry.seq().next())]
        }
    });
    let place = scene.say("see you").await.next();
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Counter, place));
}

#[tokio::test]
async fn a_member_who_is_shown_another_log_learns_it_from_those_who_were_not() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    let before = scene.say("before").await;
    until(&mut events, |event| is_text(event, "before")).await;
    let hidden = before.next();
    // The victim's fork lacks one message, and everything it is told is renumbered to hide it.
    lie_at(&scene.server, hidden, move |entry, _| {
        if entry.seq() == hidden { vec![] } else { vec![renumbered(&entry, entry.seq().back(1))] }
    });
    scene.server.on_frame(move |frame| {
        Some(match frame {
            ServerFrame::Sent { id, room, seq, at_ms, duplicate } if seq > hidden => {
                ServerFrame::Sent { id, room, seq: seq.back(1), at_ms, duplicate }
            }
            other => other,
        })
    });
    let carol = client(&scene.node.url, &scene.node);
    let carols = carol.join(NAME, PASSWORD, "Carol").await.expect("joined");
    let mut carols_events = carols.events().await.expect("open");
    until(&mut carols_events, |event| matches!(event, Event::Joined { name, .. } if name == "Carol")).await;
    say(&room, "what the victim says in its fork").await;
    until(&mut events, |event| is_text(event, "what the victim says in its fork")).await;
    say(&carols, "what Carol says to all").await;
    let found = violation(&mut events).await;
    assert!([ViolationCode::Prev, ViolationCode::Counter].contains(&found.code), "{found:?}");
}
