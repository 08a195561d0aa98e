//! A key that the server withholds: a record that cannot be opened counts as refused only until a key comes that opens it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use snug_client::crypto::{RoomKey, seal_room_key};
use snug_client::{Event, RekeyCause};
use snug_protocol::encode_base64;
use snug_tests::hostile::scene::{Scene, code, is_text, until};

const HONEST: u8 = 0;
const NOTHING: u8 = 1;
const ANOTHER: u8 = 2;

#[tokio::test]
async fn a_key_that_is_withheld_and_given_later_is_taken_with_all_that_came_after_it() {
    for lie in [NOTHING, ANOTHER] {
        let scene = Scene::set().await;
        let (room, mut events) = scene.joined().await;
        let (told, victim, id) = (Arc::new(AtomicU8::new(lie)), *scene.victim.device().keys(), room.id());
        let now = Arc::clone(&told);
        scene.server.on_http(move |answer| {
            let lie = now.load(Ordering::Relaxed);
            if !answer.path.ends_with("/epochs/1/keys") || lie == HONEST {
                return;
            }
            answer.rewrite(|json| {
                json.as_object_mut().expect("an answer").remove("key");
                if lie == ANOTHER {
                    let sealed = seal_room_key(&RoomKey::generate(id, 1), &victim).expect("usual keys");
                    json["key"] = encode_base64(&sealed).into();
                }
            });
        });
        scene.rekey(RekeyCause::Rotate).await;
        until(&mut events, |event| *event == Event::KeyMissing { epoch: 1 }).await;
        scene.garden.set_topic("Roses").await.expect("an owner may");
        let unread = scene.say("for those who have the key").await;
        until(&mut events, |event| matches!(event, Event::Unreadable { seq, .. } if *seq == unread)).await;
        assert_eq!((room.epoch(), room.state().topic.as_str()), (0, ""));
        // Meanwhile nothing is sealed under the old key.
        assert_eq!(code(room.create_invite(None, None).await), Err("key_missing"));
        told.store(HONEST, Ordering::Relaxed);
        scene.garden.set_locked(true).await.expect("an owner may");
        until(&mut events, |event| matches!(event, Event::Administered(_)) && room.epoch() == 1).await;
        snug_tests::eventually("all of it holds", async || (room.state() == scene.garden.state()).then_some(())).await;
        assert_eq!(room.audit(), scene.garden.audit());
        scene.say("among us").await;
        until(&mut events, |event| is_text(event, "among us")).await;
        assert_eq!(room.violations().await.expect("open"), [], "an honest record is held against nobody");
    }
}
