//! To whom a new key is sealed: never to whom the server merely lists.

use snug_client::crypto::Device;
use snug_client::{Event, Rekey, RekeyCause};
use snug_protocol::http::Role;
use snug_store::DeviceKeys;
use snug_tests::hostile::scene::{NAME, PASSWORD, Scene, client, code, say, until};
use snug_tests::{eventually, in_time};

const NEXT: &str = "the password after that";

/// The server makes a device a member by itself.
async fn add(scene: &Scene, device: &Device) {
    let room = scene.garden.id();
    let invite = scene.garden.create_invite(None, None).await.expect("an invite").1;
    let keys = device.keys();
    let keys = DeviceKeys { device: device.id(), sign_key: keys.sign_key, agree_key: keys.agree_key };
    scene.node.store.enter(room, invite.grant, keys).await.expect("the server may do what it likes");
}

#[tokio::test]
async fn a_member_whom_the_server_added_gets_no_key_and_the_admin_is_told() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    let added = Device::generate();
    add(&scene, &added).await;
    let rekeyed = scene.rekey(RekeyCause::Rotate).await;
    assert_eq!(rekeyed.excluded, [added.id()]);
    let keys = scene.node.store.epoch_keys(room.id(), 1, added.id()).await.expect("the store answers");
    assert!(!keys.recipients.contains(&added.id()) && keys.key.is_none());
    let mut wanted = vec![scene.ana.device().id(), scene.victim.device().id()];
    wanted.extend(room.state().admins.iter().filter(|admin| admin.recovery).map(snug_client::chain::Admin::device));
    wanted.sort_unstable();
    assert_eq!(keys.recipients, wanted);
    scene.say("among us").await;
    until(&mut events, |event| matches!(event, Event::Message { text, .. } if text == "among us")).await;
}

#[tokio::test]
async fn a_removed_member_whom_the_server_readmits_has_no_key_and_gets_none() {
    let scene = Scene::set().await;
    let mallory = client(&scene.node.url, &scene.node);
    let room = in_time("joined", mallory.join(NAME, PASSWORD, "Mallory")).await.expect("joined");
    say(&room, "hello").await;
    let (secrets, device) = (room.secrets(), mallory.device().id());
    scene.rekey(RekeyCause::Remove { devices: vec![device], ban: false }).await;
    add(&scene, mallory.device()).await;
    // To the node Mallory is a member again, and is told everything; but it opens nothing.
    eventually("the room is closed", async || room.loaded().await.is_err().then_some(())).await;
    let room = in_time("back", mallory.resume(secrets)).await.expect("the node lets Mallory in");
    let mut events = room.events().await.expect("open");
    scene.say("among us").await;
    assert_eq!(room.epoch(), 0);
    until(&mut events, |event| *event == Event::KeyMissing { epoch: 1 }).await;
    let unread = until(&mut events, |event| event.seq() > Some(room.audit()[0].seq.next().next().next())).await;
    assert!(matches!(unread, Event::Unreadable { .. }), "{unread:?}");
    assert_eq!(code(room.create_invite(None, None).await.map(|(link, _)| link)), Err("key_missing"));
    let rekeyed = scene.rekey(RekeyCause::Rotate).await;
    assert_eq!(rekeyed.excluded, [device], "without a word of Mallory's under the newest key it is put out again");
}

#[tokio::test]
async fn a_list_of_recipients_that_is_not_the_records_counts_for_nobody() {
    let scene = Scene::set().await;
    let (room, _events) = scene.joined().await;
    scene.garden.set_role(scene.victim.device().id(), Role::Moderator).await.expect("an owner may");
    eventually("it is known", async || (room.role() == Role::Moderator).then_some(())).await;
    let silent = client(&scene.node.url, &scene.node);
    let silents = in_time("joined", silent.join(NAME, PASSWORD, "Silent")).await.expect("joined");
    say(&silents, "hello").await;
    let rotate = Rekey { cause: &RekeyCause::Rotate, password: NEXT };
    let rekeyed = in_time("another key", room.rekey(rotate, |_| {})).await.expect("nothing is wrong yet");
    assert_eq!(rekeyed.excluded, []);
    let added = Device::generate();
    add(&scene, &added).await;
    let id = added.id();
    scene.server.on_http(move |answer| {
        if answer.path.ends_with("/epochs/1/keys") {
            answer.rewrite(|json| {
                let recipients = json["recipients"].as_array_mut().expect("a list");
                recipients.push(id.to_string().into());
                recipients.sort_by_key(|device| snug_protocol::decode_base64(device.as_str().expect("text")));
            });
        }
    });
    // Else a server, or an admin who states a wrong hash, could keep everybody from ever being removed.
    let rekeyed = in_time("another key", room.rekey(rotate, |_| {})).await.expect("it stops nobody");
    let mut wanted = vec![id, silent.device().id()];
    wanted.sort_unstable();
    assert_eq!(rekeyed.excluded, wanted, "who has not spoken under the newest key is put out, and the admin is told");
    let keys = scene.node.store.epoch_keys(room.id(), 2, id).await.expect("the store answers").recipients;
    assert!(keys.contains(&scene.ana.device().id()), "but nobody who governs as much or more");
}

#[tokio::test]
async fn a_key_is_never_sealed_to_keys_that_the_server_shows_for_someone() {
    let scene = Scene::set().await;
    let (room, _events) = scene.joined().await;
    scene.garden.set_role(scene.victim.device().id(), Role::Owner).await.expect("an owner may");
    eventually("it is known", async || (room.role() == Role::Owner).then_some(())).await;
    let carol = client(&scene.node.url, &scene.node);
    let carols = in_time("joined", carol.join(NAME, PASSWORD, "Carol")).await.expect("joined");
    say(&carols, "hello").await;
    let (own, id) = (Device::generate(), carol.device().id());
    scene.server.on_http(move |answer| {
        if answer.path.contains("/members") && answer.status == 200 {
            let key = snug_protocol::encode_base64(&own.keys().agree_key);
            answer.rewrite(|json| {
                for row in json["members"].as_array_mut().into_iter().flatten() {
                    if row["device"] == id.to_string() {
                        row["agree_key"] = key.clone().into();
                    }
                }
            });
        }
    });
    let rotate = Rekey { cause: &RekeyCause::Rotate, password: NEXT };
    let rekeyed = in_time("another key", room.rekey(rotate, |_| {})).await.expect("it stops nobody else");
    assert_eq!(rekeyed.excluded, [id], "it is put out rather than given to somebody else, and the admin is told");
    let keys = scene.node.store.epoch_keys(room.id(), 1, id).await.expect("the store answers");
    assert!(!keys.recipients.contains(&id));
}
