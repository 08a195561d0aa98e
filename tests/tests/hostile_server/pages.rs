//! Pages of history that are not what was live, or hide something.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use snug_client::Event;
use snug_client::log::ViolationCode;
use snug_protocol::http::LogPageHead;
use snug_tests::hostile::scene::{Scene, code, is_text, until, violation};
use snug_tests::hostile::{rewrite_page, with_envelope};

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
