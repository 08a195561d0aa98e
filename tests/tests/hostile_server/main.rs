//! A hostile server: whatever it changes, withholds, repeats or invents, the SDK refuses it or flags it, and never shows it as a message.
//!
//! The victim speaks through a proxy that lies; Ana speaks to the node itself.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use snug_client::Event;
use snug_client::crypto::Device;
use snug_client::log::ViolationCode;
use snug_protocol::Seq;
use snug_protocol::frame::{EntryFrame, SendFrame, ServerFrame};
use snug_protocol::http::LogPageHead;
use snug_tests::hostile::scene::{NAME, PASSWORD, Scene, client, code, is_text, lie_at, say, until, violation};
use snug_tests::hostile::{Fate, HostileServer, renumbered, rewrite_page, with_envelope};

#[tokio::test]
async fn a_proxy_that_does_not_lie_is_not_noticed() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    scene.say("hello").await;
    until(&mut events, |event| is_text(event, "hello")).await;
    let mine = say(&room, "hello back").await;
    let seen = until(&mut events, |event| is_text(event, "hello back")).await;
    assert_eq!(seen.seq(), Some(mine));
    let names: Vec<Option<String>> =
        room.members().await.expect("the list").into_iter().map(|member| member.name).collect();
    assert!(names.contains(&Some("Ana".into())) && names.contains(&Some("Bob".into())), "{names:?}");
    assert_eq!(room.violations().await.expect("open"), []);
    scene.victim.close().await;
    scene.ana.close().await;
    scene.node.stop().await;
}

#[tokio::test]
async fn a_weaker_or_unknown_key_derivation_is_refused_before_the_password_is_hashed() {
    let scene = Scene::set().await;
    for kdf in [0, 2] {
        scene.server.on_http(move |answer| {
            if answer.path == "/api/lookup" {
                answer.rewrite(|json| json["kdf"] = kdf.into());
            }
            assert_ne!(answer.path, "/api/join", "nothing derived from the password leaves the client");
        });
        assert_eq!(code(scene.join().await), Err("kdf_unknown"));
    }
}

#[tokio::test]
async fn another_room_or_salt_in_a_lookup_does_not_lead_into_a_room() {
    let scene = Scene::set().await;
    let (other, _) = scene.ana.create_room("Cellar", "another password", "Ana").await.expect("a room");
    let honest: Arc<Mutex<Option<serde_json::Value>>> = Arc::default();
    // The server knows what it answers to who enters; it tells the victim of another room, and waves it through there.
    scene.server.on_http({
        let honest = Arc::clone(&honest);
        move |answer| {
            if answer.path == "/api/join" && answer.status == 200 {
                *honest.lock().expect("no panic") = serde_json::from_slice(&answer.body).ok();
            }
        }
    });
    drop(scene.join().await.expect("honest so far"));
    let entered = honest.lock().expect("no panic").take().expect("an answer");
    let fresh = client(&scene.server.url, &scene.node);
    for field in ["room", "grant"] {
        let (entered, lie) = (entered.clone(), other.id().to_string());
        scene.server.on_http(move |answer| match answer.path.as_str() {
            "/api/lookup" => answer.rewrite(|json| json[field] = lie.clone().into()),
            "/api/join" => answer.rewrite(|json| {
                *json = entered.clone();
                if field == "room" {
                    json["room"]["room"] = lie.clone().into();
                }
            }),
            _ => {}
        });
        assert_eq!(code(fresh.join(NAME, PASSWORD, "Carol").await), Err("grant_refused"), "another {field}");
    }
}

#[tokio::test]
async fn a_substituted_grant_or_record_is_refused() {
    let scene = Scene::set().await;
    let flip = |field: &'static str, at: usize| {
        move |json: &mut serde_json::Value| {
            let place = if field == "blob" { &mut json["blob"] } else { &mut json["epoch_record"]["envelope"] };
            let mut bytes = snug_protocol::decode_base64(place.as_str().expect("text")).expect("base64");
            bytes[at] ^= 1;
            *place = snug_protocol::encode_base64(&bytes).into();
        }
    };
    for (field, at, refused) in
        [("blob", 1, "grant_refused"), ("blob", 60, "grant_refused"), ("record", 200, "record_refused")]
    {
        scene.server.on_http(move |answer| {
            if answer.path == "/api/join" {
                answer.rewrite(flip(field, at));
            }
        });
        assert_eq!(code(scene.join().await), Err(refused), "{field} {at}");
    }
}

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

#[tokio::test]
async fn an_acknowledgement_without_the_message_is_flagged_by_its_sender() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    let head = scene.say("before").await;
    until(&mut events, |event| is_text(event, "before")).await;
    scene.server.on_send(move |bytes| {
        let frame = SendFrame::parse(bytes).expect("the victim speaks the protocol");
        let room = frame.envelope.header().room;
        Fate::Answered(ServerFrame::Sent { id: frame.id, room, seq: head.next(), at_ms: 1, duplicate: false })
    });
    let claimed = say(&room, "swallowed").await;
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Dropped, claimed));
}

#[tokio::test]
async fn an_acknowledged_message_whose_place_goes_to_another_is_flagged() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    let head = scene.say("before").await;
    until(&mut events, |event| is_text(event, "before")).await;
    scene.server.on_send(move |bytes| {
        let frame = SendFrame::parse(bytes).expect("the victim speaks the protocol");
        let room = frame.envelope.header().room;
        Fate::Answered(ServerFrame::Sent { id: frame.id, room, seq: head.next(), at_ms: 1, duplicate: false })
    });
    let claimed = say(&room, "swallowed").await;
    scene.say("stands there instead").await;
    let found = violation(&mut events).await;
    assert!([ViolationCode::Substituted, ViolationCode::Dropped].contains(&found.code), "{found:?}");
    assert_eq!(found.seq, claimed);
}

#[tokio::test]
async fn a_newest_message_that_is_withheld_from_its_sender_is_flagged() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    scene.server.on_entry(|_| vec![]);
    let sent = say(&room, "acknowledged and never shown").await;
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Dropped, sent));
}

#[tokio::test]
async fn a_page_of_history_that_differs_from_what_was_live_is_a_fork() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    let first = scene.say("first").await;
    let second = scene.say("second").await;
    until(&mut events, |event| is_text(event, "second")).await;
    let live: Arc<Mutex<Option<Bytes>>> = Arc::default();
    scene.server.on_http(move |answer| {
        if answer.path.contains("/history") {
            let live = Arc::clone(&live);
            answer.body = rewrite_page(&answer.body, |entry| {
                let mut held = live.lock().expect("no panic");
                let first_envelope = held.get_or_insert_with(|| entry.envelope_bytes()).clone();
                if entry.seq() == second { with_envelope(&entry, &first_envelope) } else { entry }
            });
        }
    });
    let page = room.history_before(second.next(), 2).await.expect("a page");
    assert_eq!(page.events.first().and_then(Event::seq), Some(first));
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq, found.evidence.len()), (ViolationCode::Fork, second, 2));
}

#[tokio::test]
async fn an_empty_page_of_history_does_not_pass_for_the_beginning_of_the_room() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    let said = scene.say("hidden").await;
    until(&mut events, |event| is_text(event, "hidden")).await;
    scene.server.on_http(move |answer| {
        if answer.path.contains("/history") {
            let length = u32::from_be_bytes(answer.body[..4].try_into().expect("four bytes")) as usize;
            let honest: LogPageHead = serde_json::from_slice(&answer.body[4..4 + length]).expect("the head");
            let head = LogPageHead { from: said, ..honest };
            let head = serde_json::to_vec(&head).expect("plain");
            answer.body = [&u32::try_from(head.len()).expect("short").to_be_bytes(), head.as_slice()].concat().into();
        }
    });
    assert_eq!(code(room.history_before(said, 200).await), Err("answer_invalid"));
}
