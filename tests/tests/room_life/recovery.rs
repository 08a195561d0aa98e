//! Another recovery device, as the server enforces it.

use serde_json::Value;
use snug_client::crypto::{Device, PublicKeys};
use snug_protocol::ErrorCode;
use snug_protocol::Seq;
use snug_protocol::http::{Effect, RecoveryDevice, Role};
use snug_protocol::limits::EPOCH_KEY_BYTES;
use snug_tests::guest::{Guest, seq};
use snug_tests::node::Node;

use super::{following, refusal, role};

fn named(keys: &PublicKeys) -> Option<RecoveryDevice> {
    let (sign_key, agree_key) = (keys.sign_key.into(), keys.agree_key.into());
    Some(RecoveryDevice { sign_key, agree_key, key: [7; EPOCH_KEY_BYTES].into() })
}

#[tokio::test]
async fn the_old_recovery_device_loses_its_standing_with_the_record_that_names_another() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let old = Device::generate();
    let (request, secret, key) = ana.draft_room_with("Renewed", old.keys()).await;
    assert_eq!(ana.post("/api/rooms", &request).await.0, 201);
    let mut anas = ana.join_drafted(&request, secret, key).await;
    ben.join(&anas).await;
    let mut spare = Guest::of(&node.url, old);
    spare.renew().await;
    let mut socket = following(&spare, &anas).await;
    let part = |part: &str| format!("/api/rooms/{}/{part}", request.room);
    let fresh = Device::generate();
    let mut draft = ana.draft_epoch(&anas, Seq(1), &[]);
    draft.request.recovery = named(fresh.keys());
    assert_eq!(ana.stage(&anas, &draft, &[ana.device.id(), ben.device.id()]).await.0, 204);
    let (status, answer) = ana.begin_epoch(&anas, &draft).await;
    assert_eq!(status, 200, "{answer}");
    anas.enter_epoch(&draft);
    assert_eq!(socket.room_closed().await, ErrorCode::RecoveryReplaced);
    for path in ["chain", "history", "members", "pins", "invites", "epochs/0/keys", "epochs/1/keys"] {
        assert_eq!(refusal(&spare.get(&part(path)).await), (403, "recovery_replaced"), "{path}");
    }
    let (invite, _) = spare.draft_invite(&anas, None, Some(1));
    assert_eq!(refusal(&spare.post(&part("invites"), &invite).await), (403, "recovery_replaced"));
    assert_eq!(refusal(&spare.step(&anas, seq(&answer), Effect::None {}).await), (403, "not_a_member"));
    assert_eq!(refusal(&spare.delete(&format!("/api/rooms/{}", anas.room)).await), (403, "recovery_replaced"));
    let join = spare.draft_join(anas.room, anas.grant, &anas.secret).await;
    assert_eq!(refusal(&spare.post("/api/join", &join).await), (403, "banned"), "nor as somebody new");
    let mut new = Guest::of(&node.url, fresh);
    new.renew().await;
    let keys = new.get(&part("epochs/1/keys")).await.1;
    assert_eq!(keys["key"], Value::from(snug_protocol::encode_base64(&[7; EPOCH_KEY_BYTES])));
    let recipients = keys["recipients"].as_array().expect("a list");
    assert!(recipients.contains(&Value::from(new.device.id().to_string())) && recipients.len() == 3);
    new.stepped(&anas, seq(&answer), role(ben.device.id(), Role::Owner)).await;
    let (status, again) = ana.begin_epoch(&anas, &draft).await;
    assert_eq!((status, again["duplicate"].as_bool()), (200, Some(true)), "the same request is answered again");
}

#[tokio::test]
async fn a_recovery_device_is_named_by_owners_and_is_nobody_in_the_room() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let old = Device::generate();
    let (request, secret, key) = ana.draft_room_with("Not renewed", old.keys()).await;
    assert_eq!(ana.post("/api/rooms", &request).await.0, 201);
    let anas = ana.join_drafted(&request, secret, key).await;
    let bens = ben.join(&anas).await;
    let chain = ana.stepped(&anas, Seq(1), role(ben.device.id(), Role::Moderator)).await;
    let mut spare = Guest::of(&node.url, Device::import(&old.export()));
    spare.renew().await;
    let all = [ana.device.id(), ben.device.id()];
    let (stranger, ben_keys) = (Device::generate(), *ben.device.keys());
    for (guest, room, keys, wanted) in [
        (&ben, &bens, stranger.keys(), (403, "not_allowed")),
        (&spare, &anas, stranger.keys(), (403, "not_allowed")),
        (&ana, &anas, &ben_keys, (403, "not_allowed")),
        (&ana, &anas, old.keys(), (403, "not_allowed")),
        (&ana, &anas, ana.device.keys(), (400, "bad_request")),
    ] {
        let mut draft = guest.draft_epoch(room, chain, &[]);
        draft.request.recovery = named(keys);
        let (status, answer) = guest.stage(room, &draft, &all).await;
        assert_eq!(status, 204, "{answer}");
        assert_eq!(refusal(&guest.begin_epoch(room, &draft).await), wanted);
    }
    let mut draft = ana.draft_epoch(&anas, chain, &[]);
    draft.request.recovery = Some(RecoveryDevice { key: vec![7; 79].into(), ..named(stranger.keys()).expect("one") });
    assert_eq!(refusal(&ana.begin_epoch(&anas, &draft).await), (400, "bad_request"));
    assert_eq!(spare.get(&format!("/api/rooms/{}/chain", anas.room)).await.0, 200, "it is what it was");
}
