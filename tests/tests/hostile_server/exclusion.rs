//! A moderator and the server together put out who governs more than the moderator.

use snug_client::crypto::{Cause, ChainPlace, Device, NextEpoch, Prev, RoomKey, next_record, seal_room_key};
use snug_client::log::ViolationCode;
use snug_client::{Client, Event, Room};
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::Role;
use snug_protocol::{DeviceId, EntryKind, Envelope};
use snug_tests::hostile::scene::{NAME, PASSWORD, Scene, client, say, until, violation};
use snug_tests::{eventually, in_time};

/// Mallory, whom Ana has made a moderator.
async fn moderator(scene: &Scene, victims: &Room) -> (Client, Room) {
    let mallory = client(&scene.node.url, &scene.node);
    let room = in_time("joined", mallory.join(NAME, PASSWORD, "Mallory")).await.expect("joined");
    say(&room, "hello").await;
    scene.garden.set_role(mallory.device().id(), Role::Moderator).await.expect("an owner may");
    for seen in [&room, victims] {
        let role = async || (seen.state().role(mallory.device().id()) == Role::Moderator).then_some(());
        eventually("it is known", role).await;
    }
    (mallory, room)
}

/// Mallory's record for a new key that is sealed to these devices, as the victim is shown it; the server shows `listed` as its recipients.
async fn put_out(scene: &Scene, mallory: &Client, room: &Room, to: Vec<DeviceId>, listed: Vec<DeviceId>) {
    assert!(to.contains(&scene.victim.device().id()));
    let (secrets, state) = (room.secrets(), room.state());
    let newest = room.audit().pop().expect("a step at least");
    let hash = scene.node.store.entry_hash(room.id(), newest.seq).await.expect("memory").expect("it is there");
    let after = ChainPlace { seq: newest.seq, hash };
    let device = Device::import(&mallory.device().export());
    let key = RoomKey::generate(room.id(), 1);
    let sealed = seal_room_key(&key, scene.victim.device().keys()).expect("usual keys");
    scene.server.on_http(move |answer| {
        if answer.path.ends_with("/epochs/1/keys") {
            let (mut listed, key) = (listed.clone(), snug_protocol::encode_base64(&sealed));
            listed.sort_unstable();
            answer.rewrite(|json| *json = serde_json::json!({ "recipients": listed, "key": key }));
        }
    });
    let mut done = false;
    scene.server.on_entry(move |entry| {
        if entry.kind() != Some(EntryKind::Message) || std::mem::replace(&mut done, true) {
            return vec![entry];
        }
        let prev = Prev { seq: entry.seq(), hash: entry.hash() };
        let record = record(&device, &key, &secrets.key, (after, prev), &to, state.clone());
        let record = EntryFrame::new(entry.seq().next(), entry.at_ms(), record.bytes());
        vec![entry, record]
    });
    scene.say("the last under this key").await;
}

fn record(
    device: &Device,
    key: &RoomKey,
    previous_key: &RoomKey,
    (after, prev): (ChainPlace, Prev),
    to: &[DeviceId],
    state: snug_client::chain::RoomState,
) -> Envelope {
    let mut to = to.to_vec();
    to.sort_unstable();
    let next = NextEpoch { after, previous_key, recipients: &to, cause: Cause::Rotate, recovery: None, state };
    next_record(device, key, next, prev, 1).expect("in bounds")
}

/// Everyone in the room, the recovery device included.
fn everyone(scene: &Scene, mallory: &Client, room: &Room) -> Vec<DeviceId> {
    let recovery = room.state().admins.iter().find(|admin| admin.recovery).map(snug_client::chain::Admin::device);
    let people = [scene.ana.device().id(), scene.victim.device().id(), mallory.device().id()];
    people.into_iter().chain(recovery).collect()
}

#[tokio::test]
async fn a_moderator_who_puts_out_an_owner_or_the_recovery_key_is_flagged() {
    for recovery in [false, true] {
        let scene = Scene::set().await;
        let (room, mut events) = scene.joined().await;
        let (mallory, mallorys) = moderator(&scene, &room).await;
        let owner = scene.ana.device().id();
        let all = everyone(&scene, &mallory, &room);
        let gone = |device: &DeviceId| room.state().is_recovery(*device) == recovery && (recovery || *device == owner);
        let to: Vec<DeviceId> = all.iter().copied().filter(|device| !gone(device)).collect();
        assert_eq!(to.len(), 3);
        put_out(&scene, &mallory, &mallorys, to.clone(), to).await;
        let found = violation(&mut events).await;
        assert_eq!(found.code, ViolationCode::Authority);
        assert_eq!(found.evidence.len(), 2, "the record, and the one before it");
        assert_eq!(found.evidence[1].seq, found.seq);
        assert_eq!(room.epoch(), 1, "the key is the room's all the same");
    }
}

#[tokio::test]
async fn a_server_that_hides_who_was_put_out_is_flagged() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    let (mallory, mallorys) = moderator(&scene, &room).await;
    let all = everyone(&scene, &mallory, &room);
    let owner = scene.ana.device().id();
    let to: Vec<DeviceId> = all.iter().copied().filter(|device| *device != owner).collect();
    put_out(&scene, &mallory, &mallorys, to, all).await;
    let found = violation(&mut events).await;
    assert_eq!(found.code, ViolationCode::Authority);
}

#[tokio::test]
async fn a_record_that_is_sealed_to_everyone_is_not_flagged_and_tells_who_dropped_out() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    let (mallory, mallorys) = moderator(&scene, &room).await;
    let all = everyone(&scene, &mallory, &room);
    put_out(&scene, &mallory, &mallorys, all.clone(), all).await;
    until(&mut events, |event| matches!(event, Event::Administered(entry) if entry.seq > room.audit()[1].seq)).await;
    eventually("the epoch is known", async || (room.epoch() == 1).then_some(())).await;
    assert_eq!(room.violations().await.expect("open"), []);
    assert_eq!(room.dropped_out(1).await.expect("it is known"), [], "the first record names nobody");
}
