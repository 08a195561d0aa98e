//! One's own messages: acknowledged, and not there.

use snug_client::log::ViolationCode;
use snug_protocol::frame::{SendFrame, ServerFrame};
use snug_tests::hostile::Fate;
use snug_tests::hostile::scene::{Scene, is_text, say, until, violation};

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
