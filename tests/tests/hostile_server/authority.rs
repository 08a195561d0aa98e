//! The chain: acts in the name of admins by who is none, and what the server says of roles by itself.

use std::sync::{Arc, Mutex};

use snug_client::crypto::{Admin, ChainPlace, Device, Step, seal_room_key};
use snug_client::log::ViolationCode;
use snug_client::{Event, Room};
use snug_protocol::frame::ServerFrame;
use snug_protocol::http::Role;
use snug_protocol::limits::EPOCH_KEY_BYTES;
use snug_protocol::{EntryKind, Envelope, EnvelopeHash};
use snug_tests::hostile::accomplice::Accomplice;
use snug_tests::hostile::scene::{Scene, all_until_now, code, is_text, until, violation};

fn promotion(of: &Accomplice) -> Step {
    Step::Role { device: of.id(), keys: *of.device.keys(), role: Role::Owner }
}

/// Nothing of what a member may not do holds.
fn is_as_it_was(scene: &Scene, room: &Room, mallory: &Accomplice) {
    assert_eq!(room.state(), scene.garden.state());
    assert_eq!(room.state().role(mallory.id()), Role::Member);
    assert_eq!((room.epoch(), room.audit().len()), (0, 1));
}

#[tokio::test]
async fn a_step_by_who_is_no_admin_counts_for_nothing_and_is_flagged() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    let (room, mut events) = scene.joined().await;
    let (after, step, device) = (scene.newest_record(), promotion(&mallory), mallory.device.export());
    let place = scene.say_and_forge("hello", move |prev| mallory.step(after, step.clone(), prev)).await;
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Authority, place));
    assert!(!found.evidence.is_empty());
    let mallory = Accomplice { device: Device::import(&device), key: room.secrets().key };
    is_as_it_was(&scene, &room, &mallory);
    let told = all_until_now(&scene, &mut events).await;
    assert!(!told.iter().any(|event| matches!(event, Event::Administered(_))), "{told:?}");
}

#[tokio::test]
async fn a_step_in_ana_s_name_by_who_lacks_her_keys_counts_for_nothing_and_is_flagged() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    let (room, mut events) = scene.joined().await;
    let (after, step, ana) = (scene.newest_record(), promotion(&mallory), scene.ana.device().id());
    let id = mallory.id();
    let place = scene
        .say_and_forge("hello", move |prev| {
            // Mallory's own seal, with Ana's id in the header: neither opens nor verifies.
            let mut bytes = mallory.step(after, step.clone(), prev).bytes().to_vec();
            bytes[28..44].copy_from_slice(ana.as_bytes());
            Envelope::parse(bytes.into()).expect("a header")
        })
        .await;
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Authority, place));
    assert_eq!(room.state().role(id), Role::Member);
}

#[tokio::test]
async fn a_record_by_who_is_no_admin_counts_for_nothing_though_its_key_is_handed_out() {
    for says_that_it_is_an_owner in [false, true] {
        let scene = Scene::set().await;
        let mallory = scene.accomplice().await;
        let (room, mut events) = scene.joined().await;
        let (after, mut state) = (scene.newest_record(), room.state());
        if says_that_it_is_an_owner {
            state.admins.push(Admin { keys: *mallory.device.keys(), role: Role::Owner, recovery: false });
            state.admins.sort_by_key(Admin::device);
        }
        let victim = *scene.victim.device().keys();
        let sealed = Arc::new(Mutex::new(None::<[u8; EPOCH_KEY_BYTES]>));
        let handed_out = Arc::clone(&sealed);
        scene.server.on_http(move |answer| {
            let sealed = handed_out.lock().expect("no panic");
            if let Some(key) = sealed.as_ref().filter(|_| answer.path.ends_with("/epochs/1/keys")) {
                let key = snug_protocol::encode_base64(key);
                answer.rewrite(|json| {
                    *json = serde_json::json!({ "recipients": [victim.id()], "seals": [], "key": key });
                });
            }
        });
        let id = mallory.id();
        let place = scene
            .say_and_forge("hello", move |prev| {
                let (record, key) = mallory.record(after, state.clone(), &[victim.id()], prev);
                *sealed.lock().expect("no panic") = Some(seal_room_key(&key, &victim).expect("usual keys"));
                record
            })
            .await;
        let found = violation(&mut events).await;
        assert_eq!((found.code, found.seq), (ViolationCode::Authority, place));
        assert_eq!((room.epoch(), room.state().role(id)), (0, Role::Member));
        let (kept, hers) = (room.secrets().key.export(), scene.garden.secrets().key.export());
        assert_eq!(kept, hers, "nothing is sealed under Mallory's key");
    }
}

#[tokio::test]
async fn a_recovery_device_that_a_moderator_names_takes_nobodys_place_though_its_key_is_handed_out() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    scene.garden.set_role(mallory.id(), Role::Moderator).await.expect("an owner may");
    let (room, mut events) = scene.joined().await;
    // The newest link is a step, whose place is known by the log alone.
    let newest = scene.garden.audit().pop().expect("a step");
    let hash = scene.node_hash(newest.seq).await;
    let after = ChainPlace { seq: newest.seq, hash };
    let (before, fresh, victim) = (room.state(), *Device::generate().keys(), *scene.victim.device().keys());
    let mut state = before.clone();
    state.admins.retain(|admin| !admin.recovery);
    state.admins.push(Admin { keys: fresh, role: Role::Owner, recovery: true });
    state.admins.sort_by_key(Admin::device);
    state.recovery_by = mallory.id();
    let sealed = Arc::new(Mutex::new(None::<[u8; EPOCH_KEY_BYTES]>));
    let handed_out = Arc::clone(&sealed);
    scene.server.on_http(move |answer| {
        let sealed = handed_out.lock().expect("no panic");
        if let Some(key) = sealed.as_ref().filter(|_| answer.path.ends_with("/epochs/1/keys")) {
            let key = snug_protocol::encode_base64(key);
            answer.rewrite(|json| *json = serde_json::json!({ "recipients": [victim.id()], "seals": [], "key": key }));
        }
    });
    let place = scene
        .say_and_forge("hello", move |prev| {
            let (record, key) = mallory.renewal(after, Some(fresh), state.clone(), &[victim.id()], prev);
            *sealed.lock().expect("no panic") = Some(seal_room_key(&key, &victim).expect("usual keys"));
            record
        })
        .await;
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Authority, place));
    assert_eq!((room.epoch(), room.state()), (0, before), "the recovery key is the one it was");
}

#[tokio::test]
async fn a_step_that_does_not_follow_upon_the_newest_is_flagged_and_what_is_withheld_before_it_too() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    let (room, mut events) = scene.joined().await;
    let mut after = scene.newest_record();
    after.seq = after.seq.next();
    after.hash = EnvelopeHash([9; 32]);
    let place = scene.say_and_forge("hello", move |prev| mallory.step(after, Step::Lock { locked: true }, prev)).await;
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Authority, place));
    assert!(!room.state().locked);
}

#[tokio::test]
async fn a_step_that_is_left_out_is_flagged_with_the_next_entry() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    scene.server.on_entry(|entry| if entry.kind().is_some_and(EntryKind::is_chain) { vec![] } else { vec![entry] });
    scene.garden.set_topic("Roses").await.expect("an owner may");
    let after = scene.say("after").await;
    let found = violation(&mut events).await;
    assert_eq!((found.code, found.seq), (ViolationCode::Fork, after.back(1)));
    until(&mut events, |event| is_text(event, "after")).await;
    assert_eq!(room.state().topic, "", "it was neither shown nor told of");
}

#[tokio::test]
async fn what_the_server_says_of_roles_and_locks_gives_nobody_any() {
    let scene = Scene::set().await;
    let mallory = scene.accomplice().await;
    scene.server.on_http(|answer| {
        let path = answer.path.clone();
        if answer.status != 200 {
            return;
        }
        if path == "/api/join" {
            answer.rewrite(|json| json["room"]["role"] = "owner".into());
        } else if path.ends_with("/members") {
            answer.rewrite(|json| {
                json["members"].as_array_mut().expect("a list").iter_mut().for_each(|row| row["role"] = "owner".into());
            });
        }
    });
    scene.server.on_frame(|mut frame| {
        if let ServerFrame::Followed { role, .. } = &mut frame {
            *role = Role::Owner;
        }
        Some(frame)
    });
    let (room, _events) = scene.joined().await;
    assert_eq!(room.role(), Role::Member);
    let members = room.members().await.expect("a list");
    let owners = members.iter().filter(|member| member.role == Role::Owner).map(|member| member.device);
    assert_eq!(owners.collect::<Vec<_>>(), [scene.ana.device().id()]);
    assert_eq!(code(room.set_topic("mine").await), Err("not_allowed"));
    assert_eq!(code(room.mute(mallory.id(), 1).await), Err("not_allowed"));
}
