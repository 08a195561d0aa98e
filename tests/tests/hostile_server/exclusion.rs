//! A moderator and the server together put out who governs more than the moderator.

use snug_client::crypto::{Cause, ChainPlace, Device, NextEpoch, Prev, RoomKey, next_record, seal_room_key};
use snug_client::log::ViolationCode;
use snug_client::{Client, Event, Room};
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{Role, SealedKey};
use snug_protocol::{DeviceId, EntryKind, Envelope, ErrorBody, ErrorCode};
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

/// What the server shows of a key.
struct Shown {
    /// Whom it was sealed to.
    listed: Vec<DeviceId>,
    /// Who has got something else.
    deceived: Option<DeviceId>,
    /// What is answered to who has got its own key and asks again.
    refusal: Option<&'static str>,
}

impl Shown {
    fn all(listed: Vec<DeviceId>) -> Self {
        Self { listed, deceived: None, refusal: None }
    }
}

/// Mallory's record for a new key that is sealed to these devices, as the victim is shown it.
async fn put_out(scene: &Scene, mallory: &Client, room: &Room, to: Vec<DeviceId>, shown: Shown) {
    assert!(to.contains(&scene.victim.device().id()));
    let (secrets, state) = (room.secrets(), room.state());
    let newest = room.audit().pop().expect("a step at least");
    let hash = scene.node.store.entry_hash(room.id(), newest.seq).await.expect("memory").expect("it is there");
    let after = ChainPlace { seq: newest.seq, hash };
    let device = Device::import(&mallory.device().export());
    let key = RoomKey::generate(room.id(), 1);
    let sealed = seal_room_key(&key, scene.victim.device().keys()).expect("usual keys");
    let Shown { mut listed, deceived, refusal } = shown;
    listed.sort_unstable();
    let seals: Vec<SealedKey> = state
        .admins
        .iter()
        .map(|admin| (admin.device(), admin.keys))
        .filter_map(|(device, keys)| {
            let is_deceived = deceived == Some(device);
            let key = if is_deceived { [7; 80] } else { seal_room_key(&key, &keys).expect("usual keys") };
            listed.contains(&device).then(|| SealedKey { device, key: key.into() })
        })
        .collect();
    let mut asked = false;
    scene.server.on_http(move |answer| {
        if !answer.path.contains("/epochs/1/keys") {
            return;
        }
        let key = snug_protocol::encode_base64(&sealed);
        let refusal = refusal.filter(|_| std::mem::replace(&mut asked, true));
        answer.rewrite(|json| {
            *json = serde_json::json!({ "recipients": listed, "seals": seals, "key": key });
            if let Some(code) = refusal {
                let code: ErrorCode = serde_json::from_value(code.into()).expect("a code");
                *json = serde_json::to_value(ErrorBody::from(code)).expect("JSON");
            }
        });
        answer.status = if refusal.is_some() { 404 } else { 200 };
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
        put_out(&scene, &mallory, &mallorys, to.clone(), Shown::all(to)).await;
        let found = violation(&mut events).await;
        assert_eq!(found.code, ViolationCode::Authority);
        assert_eq!(found.evidence.len(), 2, "the record, and the one before it");
        assert_eq!(found.evidence[1].seq, found.seq);
        assert_eq!(room.epoch(), 1, "the key is the room's all the same");
    }
}

#[tokio::test]
async fn a_moderator_who_gives_an_owner_or_the_recovery_key_something_else_than_the_key_is_flagged() {
    for recovery in [false, true] {
        let scene = Scene::set().await;
        let (room, mut events) = scene.joined().await;
        let (mallory, mallorys) = moderator(&scene, &room).await;
        let owner = scene.ana.device().id();
        let all = everyone(&scene, &mallory, &room);
        let governs = |device: &DeviceId| if recovery { room.state().is_recovery(*device) } else { *device == owner };
        let deceived = all.iter().copied().find(governs);
        assert!(deceived.is_some());
        let shown = Shown { deceived, ..Shown::all(all.clone()) };
        put_out(&scene, &mallory, &mallorys, all, shown).await;
        let found = violation(&mut events).await;
        assert_eq!(found.code, ViolationCode::Authority);
        assert_eq!(found.evidence.len(), 2, "the record, and the one before it");
        assert_eq!(room.epoch(), 1, "the key is the room's all the same");
    }
}

#[tokio::test]
async fn a_server_that_gives_out_the_new_key_and_will_not_say_who_got_it_is_flagged() {
    // At once, after a while, and also where it says that this device has no part in the room, which it goes on serving.
    for refusal in ["not_found", "unavailable", "not_a_member"] {
        let scene = Scene::set().await;
        let (room, mut events) = scene.joined().await;
        let (mallory, mallorys) = moderator(&scene, &room).await;
        let owner = scene.ana.device().id();
        let all = everyone(&scene, &mallory, &room);
        let to: Vec<DeviceId> = all.into_iter().filter(|device| *device != owner).collect();
        let shown = Shown { refusal: Some(refusal), ..Shown::all(to.clone()) };
        put_out(&scene, &mallory, &mallorys, to, shown).await;
        let found = violation(&mut events).await;
        assert_eq!((found.code, room.epoch()), (ViolationCode::Authority, 1), "{refusal}");
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
    put_out(&scene, &mallory, &mallorys, to, Shown::all(all)).await;
    let found = violation(&mut events).await;
    assert_eq!(found.code, ViolationCode::Authority);
}

#[tokio::test]
async fn a_record_that_is_sealed_to_everyone_is_not_flagged_and_tells_who_dropped_out() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    let (mallory, mallorys) = moderator(&scene, &room).await;
    let all = everyone(&scene, &mallory, &room);
    put_out(&scene, &mallory, &mallorys, all.clone(), Shown::all(all)).await;
    until(&mut events, |event| matches!(event, Event::Administered(entry) if entry.seq > room.audit()[1].seq)).await;
    eventually("the epoch is known", async || (room.epoch() == 1).then_some(())).await;
    assert_eq!(room.violations().await.expect("open"), []);
    assert_eq!(room.dropped_out(1).await.expect("it is known"), [], "the first record names nobody");
}
