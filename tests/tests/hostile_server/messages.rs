//! What is said about messages by who may not say it: the node would refuse it, so only a hostile one delivers it.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use snug_client::crypto::{Body, Edit, Prev};
use snug_client::{DeletedBy, Event, RekeyCause};
use snug_protocol::frame::EntryFrame;
use snug_protocol::{EntryKind, Envelope, Seq};
use snug_tests::hostile::accomplice::Accomplice;
use snug_tests::hostile::rewrite_page;
use snug_tests::hostile::scene::{NAME, Scene, all_until_now, is_text, until};
use snug_tests::{eventually, in_time};

fn edit(by: &Accomplice, target: Seq, prev: Prev) -> Envelope {
    by.entry(&Body::Edit(Edit { text: "I owe Mallory money".into(), mentions: Vec::new() }), target, prev)
}

fn deletion(by: &Accomplice, target: Seq, prev: Prev) -> Envelope {
    by.entry(&Body::Deletion, target, prev)
}

#[tokio::test]
async fn an_edit_or_deletion_by_someone_else_changes_nothing_live() {
    for forge in [edit, deletion] {
        let scene = Scene::set().await;
        let mallory = scene.accomplice().await;
        let (room, mut events) = scene.joined().await;
        let owed = scene.say("Mallory owes me money").await;
        until(&mut events, |event| is_text(event, "Mallory owes me money")).await;
        let place = scene.say_and_forge("a lot", move |prev| forge(&mallory, owed, prev)).await;
        until(&mut events, |event| is_text(event, "a lot")).await;
        let told = all_until_now(&scene, &mut events).await;
        assert!(told.is_empty(), "{told:?}");
        let shown = room.loaded().await.expect("open");
        let shown = shown.iter().find(|event| event.seq() == Some(owed)).expect("it is there");
        assert!(
            matches!(shown, Event::Message { text, edited: false, .. } if text == "Mallory owes me money"),
            "{shown:?}"
        );
        assert_eq!(room.violations().await.expect("open"), [], "passed over without a word");
        assert!(place > owed);
    }
}

#[tokio::test]
async fn an_edit_or_deletion_by_someone_else_changes_nothing_on_old_pages() {
    for forge in [edit, deletion] {
        let scene = Scene::set().await;
        let mallory = scene.accomplice().await;
        let (room, mut events) = scene.joined().await;
        let owed = scene.say("Mallory owes me money").await;
        until(&mut events, |event| is_text(event, "Mallory owes me money")).await;
        scene.server.on_http(move |answer| {
            if answer.path.contains("/history") {
                let forged = forge(&mallory, owed, Prev { seq: owed, hash: snug_protocol::EnvelopeHash::default() });
                let record = EntryFrame::new(owed.next(), 1, forged.bytes()).bytes().clone();
                let mut page = BytesMut::from(answer.body.as_ref());
                page.put_u32(u32::try_from(record.len()).expect("short"));
                page.put_slice(&record);
                answer.body = page.freeze();
            }
        });
        let page = room.history_before(owed.next(), 1).await.expect("a page").events;
        assert!(
            matches!(&page[0], Event::Message { text, edited: false, .. } if text == "Mallory owes me money"),
            "{page:?}"
        );
    }
}

#[tokio::test]
async fn a_message_that_the_server_erased_is_shown_as_erased_by_the_server() {
    let scene = Scene::set().await;
    let gone = scene.say("the server does not like this").await;
    let room = scene.join().await.expect("nothing is wrong yet");
    scene.server.on_http(move |answer| {
        if answer.path.contains("/history") {
            answer.body = rewrite_page(&answer.body, |entry| match entry.header() {
                Ok(header) if entry.seq() == gone => {
                    EntryFrame::tombstone(entry.seq(), entry.at_ms(), &header.encode(), &entry.hash())
                }
                _ => entry,
            });
        }
    });
    let page = room.history_before(gone.next(), 1).await.expect("a page").events;
    assert!(matches!(&page[0], Event::Deleted { by: DeletedBy::Server, .. }), "{page:?}");
}

const HOUR_MS: u64 = 3_600_000;

/// The victim is shown Ana's message as committed so long ago; with nothing but a tombstone left, if that is wanted.
fn age(scene: &Scene, by_ms: u64, erased: bool) {
    scene.server.on_entry(move |entry| {
        let at_ms = entry.at_ms() - by_ms;
        vec![match entry.header() {
            Ok(header) if header.kind == EntryKind::Message && erased => {
                EntryFrame::tombstone(entry.seq(), at_ms, &header.encode(), &entry.hash())
            }
            Ok(header) if header.kind == EntryKind::Message => {
                EntryFrame::new(entry.seq(), at_ms, &entry.envelope_bytes())
            }
            _ => entry,
        }]
    });
}

#[tokio::test]
async fn a_message_that_the_retention_has_reached_is_gone_though_it_is_loaded() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    age(&scene, 2 * HOUR_MS, false);
    let old = scene.say("two hours ago").await;
    until(&mut events, |event| is_text(event, "two hours ago")).await;
    age(&scene, HOUR_MS / 2, false);
    let young = scene.say("half an hour ago").await;
    until(&mut events, |event| is_text(event, "half an hour ago")).await;
    scene.garden.set_retention(Some(Duration::from_millis(HOUR_MS))).await.expect("an owner may");
    eventually("it is known", async || (room.state().retention_ms == HOUR_MS).then_some(())).await;
    let shown = room.loaded().await.expect("open");
    let at = |seq| shown.iter().find(|event| event.seq() == Some(seq)).expect("it is shown");
    assert!(matches!(at(old), Event::Deleted { by: DeletedBy::Retention, .. }), "{:?}", at(old));
    assert!(is_text(at(young), "half an hour ago"), "{:?}", at(young));
}

#[tokio::test]
async fn a_retention_from_before_a_cut_explains_to_a_newcomer_what_it_erased() {
    let scene = Scene::set().await;
    scene.garden.set_retention(Some(Duration::from_millis(HOUR_MS))).await.expect("an owner may");
    scene.rekey(RekeyCause::CutHistory).await;
    // By half a minute not yet old enough: the server's clock is ahead.
    age(&scene, HOUR_MS - 30_000, true);
    let gone = scene.say("an hour ago").await;
    let room =
        in_time("the victim joins", scene.victim.join(NAME, "the password after that", "Bob")).await.expect("in");
    let mut events = room.events().await.expect("open");
    let event = until(&mut events, |event| event.seq() == Some(gone)).await;
    assert!(matches!(event, Event::Deleted { by: DeletedBy::Retention, .. }), "{event:?}");
    assert_eq!(room.violations().await.expect("open"), []);
}
