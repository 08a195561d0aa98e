//! An owner tells the server something else than its steps say, which no other client sees: what it leaves there outlives neither its role
//! nor the next key.

use snug_client::crypto::{Device, Prev, RecoveryKey, Step, seal_room_key};
use snug_client::protocol::recipients_hash;
use snug_client::{Misplaced, Rekey, RekeyCause, Room};
use snug_protocol::http::{Effect, NewEpoch, RecoveryDevice, Role, SealedKey, StageKeys, StepRequest};
use snug_protocol::limits::GRANT_BLOB_BYTES;
use snug_protocol::{DeviceId, GrantId, Seq};
use snug_store::DeviceKeys;
use snug_tests::guest::{Guest, random};
use snug_tests::hostile::accomplice::Accomplice;
use snug_tests::hostile::scene::{Scene, code, say};
use snug_tests::{eventually, in_time};

const NEXT: &str = "the password after that";

/// Bob, whom Ana has made an owner: his room, and himself as one who speaks the raw protocol.
async fn owner(scene: &Scene) -> (Room, Guest, Accomplice) {
    let (room, _) = scene.joined().await;
    say(&room, "hello").await;
    let id = scene.victim.device().id();
    scene.garden.set_role(id, Role::Owner).await.expect("an owner may");
    eventually("it is known", async || (room.role() == Role::Owner).then_some(())).await;
    let mut bob = Guest::of(&scene.node.url, Device::import(&scene.victim.device().export()));
    bob.renew().await;
    let accomplice = Accomplice::of(&scene.victim, &room);
    (room, bob, accomplice)
}

/// The newest entry of the log.
async fn newest(scene: &Scene) -> Prev {
    let head = scene.node.store.room(scene.garden.id()).await.expect("memory").expect("it is there").head;
    Prev { seq: head, hash: scene.node_hash(head).await }
}

/// The newest link of the chain.
async fn newest_link(scene: &Scene) -> snug_client::crypto::ChainPlace {
    let seq: Seq = scene.garden.audit().pop().expect("a step").seq;
    snug_client::crypto::ChainPlace { seq, hash: scene.node_hash(seq).await }
}

#[tokio::test]
async fn a_device_that_a_demoted_owner_had_the_server_take_for_an_owner_keeps_nobody_from_being_removed() {
    let scene = Scene::set().await;
    let (_bobs, bob, accomplice) = owner(&scene).await;
    let (room, puppet) = (scene.garden.id(), Device::generate());
    let invite = scene.garden.create_invite(None, None).await.expect("an invite").1;
    let keys = puppet.keys();
    let keys = DeviceKeys { device: puppet.id(), sign_key: keys.sign_key, agree_key: keys.agree_key };
    scene.node.store.enter(room, invite.grant, keys).await.expect("it has an invite");
    // Its body sets a topic; the server is told another story.
    let topic = Step::Topic { topic: "Gardens".into() };
    let step = accomplice.step(newest_link(&scene).await, topic, newest(&scene).await);
    let effect = Effect::Role { device: puppet.id(), role: Role::Owner };
    let request = StepRequest { envelope: step.bytes().to_vec().into(), effect };
    let (status, answer) = bob.post(&format!("/api/rooms/{room}/steps"), &request).await;
    assert_eq!(status, 200, "{answer}");
    eventually("it is known", async || (scene.garden.state().topic == "Gardens").then_some(())).await;
    let found = in_time("the list", scene.garden.misplaced()).await.expect("it is to be had");
    assert_eq!(found, [Misplaced { device: puppet.id(), role: Role::Member, server_role: Role::Owner }]);
    scene.garden.set_role(accomplice.id(), Role::Member).await.expect("an owner may");
    let rekeyed = scene.rekey(RekeyCause::Remove { devices: vec![accomplice.id()], ban: true }).await;
    assert_eq!((rekeyed.epoch, rekeyed.excluded), (1, vec![puppet.id()]));
    assert_eq!(in_time("the list", scene.garden.misplaced()).await.expect("it is to be had"), []);
    let mut puppet = Guest::of(&scene.node.url, puppet);
    puppet.renew().await;
    assert_eq!(puppet.delete(&format!("/api/rooms/{room}")).await.1["code"], "not_a_member");
}

#[tokio::test]
async fn another_recovery_key_that_an_owner_gave_the_server_alone_is_ended_by_a_new_one() {
    let scene = Scene::set().await;
    let (_bobs, bob, accomplice) = owner(&scene).await;
    let (room, hidden) = (scene.garden.id(), RecoveryKey::generate().device());
    // The record that everybody sees names no recovery device; the request beside it does.
    let mut to: Vec<DeviceId> = vec![scene.ana.device().id(), accomplice.id(), hidden.id()];
    to.sort_unstable();
    let (after, state) = (newest_link(&scene).await, scene.garden.state());
    let (record, key) = accomplice.record(after, state, &to, newest(&scene).await);
    let seal = |device: &Device| seal_room_key(&key, device.keys()).expect("usual keys").into();
    let keys = [Device::import(&scene.ana.device().export()), Device::import(&accomplice.device.export())];
    let keys = keys.map(|device| SealedKey { device: device.id(), key: seal(&device) }).to_vec();
    let stage = StageKeys { record: record.hash().0.into(), keys };
    let (status, answer) = bob.put(&format!("/api/rooms/{room}/epochs/1/keys"), &stage).await;
    assert_eq!(status, 204, "{answer}");
    let of = hidden.keys();
    let recovery = RecoveryDevice { sign_key: of.sign_key.into(), agree_key: of.agree_key.into(), key: seal(&hidden) };
    let request = NewEpoch {
        record: record.bytes().to_vec().into(),
        remove: Vec::new(),
        ban: false,
        recipients: recipients_hash(to).into(),
        sent_at_ms: 1,
        recovery: Some(recovery),
        grant: GrantId(random()),
        kdf: 1,
        auth: random::<32>().into(),
        blob: random::<GRANT_BLOB_BYTES>().into(),
    };
    let (status, answer) = bob.post(&format!("/api/rooms/{room}/epochs"), &request).await;
    assert_eq!(status, 200, "{answer}");
    eventually("its key is there", async || (scene.garden.epoch() == 1).then_some(())).await;
    let rotate = Rekey { cause: &RekeyCause::Rotate, password: NEXT };
    let refused = in_time("an answer", scene.garden.rekey(rotate, |_| {})).await;
    assert_eq!(code(refused), Err("members_changed"), "the chain's recovery device is an old one to the server");
    let fresh = RecoveryKey::generate();
    let rekeyed = in_time("another key", scene.garden.rekey_with_recovery(rotate, &fresh, |_| {})).await;
    assert_eq!(rekeyed.expect("an owner may").epoch, 2);
    assert!(scene.garden.state().is_recovery(fresh.device().id()));
    let mut hidden = Guest::of(&scene.node.url, hidden);
    hidden.renew().await;
    assert_eq!(hidden.delete(&format!("/api/rooms/{room}")).await.1["code"], "recovery_replaced");
}
