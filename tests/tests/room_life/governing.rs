//! Roles, locks, passwords, the last owner, and the recovery device.

use snug_client::crypto::{Device, Secret};
use snug_protocol::frame::ServerFrame;
use snug_protocol::http::{Effect, Role};
use snug_protocol::limits::EPOCH_KEY_BYTES;
use snug_protocol::{EntryKind, ErrorCode, GrantId, Seq};
use snug_tests::guest::{Answer, Guest, GuestRoom};
use snug_tests::node::Node;

use super::{following, refusal, role};

async fn try_join(guest: &Guest, room: &GuestRoom, grant: GrantId, secret: &Secret) -> Answer {
    guest.post("/api/join", &guest.draft_join(room.room, grant, secret).await).await
}

#[tokio::test]
async fn each_step_has_the_role_it_asks_for() {
    let node = Node::start().await;
    let mut guests = [(); 4].map(|()| Guest::new(&node.url));
    let [ana, ben, cleo, eve] = &mut guests;
    let anas = ana.create("Who may").await;
    let (bens, cleos) = (ben.join(&anas).await, cleo.join(&anas).await);
    eve.create("Eve's own").await;
    let chain = ana.stepped(&anas, Seq(1), role(ben.device.id(), Role::Moderator)).await;
    let (member, owner) = (cleo.device.id(), ana.device.id());
    let moderators = || {
        vec![
            Effect::None {},
            Effect::Lock { locked: false },
            Effect::Slow { interval_ms: 0 },
            Effect::Mute { device: member, until_ms: 0 },
            Effect::Erase { device: member },
            Effect::Unban { device: member },
        ]
    };
    let owners = || {
        vec![
            Effect::Retention { age_ms: 0 },
            ana.draft_password(&anas).0,
            role(member, Role::Moderator),
            Effect::Transfer { device: member },
        ]
    };
    for effect in moderators().into_iter().chain(owners()) {
        let said = format!("{effect:?}");
        assert_eq!(refusal(&cleo.step(&cleos, chain, effect.clone()).await), (403, "not_allowed"), "a member: {said}");
        let answer = eve.step(&anas, chain, effect).await;
        assert_eq!(refusal(&answer), (403, "not_a_member"), "a stranger: {said}");
    }
    for effect in owners() {
        let said = format!("{effect:?}");
        assert_eq!(refusal(&ben.step(&bens, chain, effect).await), (403, "not_allowed"), "a moderator: {said}");
    }
    for effect in [Effect::Mute { device: owner, until_ms: 9 }, Effect::Erase { device: owner }] {
        assert_eq!(
            refusal(&ben.step(&bens, chain, effect).await),
            (403, "not_allowed"),
            "nobody acts on a higher role"
        );
    }
    let mut chain = chain;
    for effect in moderators() {
        chain = ben.stepped(&bens, chain, effect).await;
    }
    for effect in [Effect::Retention { age_ms: 0 }, role(member, Role::Moderator)] {
        chain = ana.stepped(&anas, chain, effect).await;
    }
    cleo.stepped(&cleos, chain, Effect::None {}).await;
}

#[tokio::test]
async fn a_locked_room_lets_in_nobody_who_is_not_in_and_makes_no_invites() {
    let node = Node::start().await;
    let (mut ana, mut ben, eve) = (Guest::new(&node.url), Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Locked").await;
    ben.join(&room).await;
    let invites = format!("/api/rooms/{}/invites", room.room);
    let (invite, secret) = ana.draft_invite(&room, None, None);
    assert_eq!(ana.post(&invites, &invite).await.0, 201);
    let chain = ana.stepped(&room, Seq(1), Effect::Lock { locked: true }).await;
    assert_eq!(refusal(&try_join(&eve, &room, room.grant, &room.secret).await), (403, "room_locked"));
    assert_eq!(refusal(&try_join(&eve, &room, invite.grant, &secret).await), (403, "room_locked"));
    let wrong = try_join(&eve, &room, room.grant, &Secret::generate()).await;
    assert_eq!(refusal(&wrong), (403, "wrong_credentials"), "a guess does not even learn that");
    let (more, _) = ana.draft_invite(&room, None, None);
    assert_eq!(refusal(&ana.post(&invites, &more).await), (403, "room_locked"));
    let again = ben.join(&room).await;
    assert!(again.entered.room.locked, "a member comes in as always, and is told");
    ana.stepped(&room, chain, Effect::Lock { locked: false }).await;
    assert_eq!(try_join(&eve, &room, invite.grant, &secret).await.0, 200);
}

#[tokio::test]
async fn a_new_password_takes_the_place_of_the_old_one_and_moves_nobody() {
    let node = Node::start_with(&["--creates-per-minute=3"]).await;
    let (mut ana, mut ben, eve) = (Guest::new(&node.url), Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("New password").await;
    ben.join(&room).await;
    let (invite, invited) = ana.draft_invite(&room, None, None);
    assert_eq!(ana.post(&format!("/api/rooms/{}/invites", room.room), &invite).await.0, 201);
    let (effect, grant, secret) = ana.draft_password(&room);
    let mut chain = ana.stepped(&room, Seq(1), effect).await;
    let found = eve.post("/api/lookup", &serde_json::json!({ "name": "New password" })).await.1;
    assert_eq!(found["grant"], grant.to_string(), "the name leads to the new one");
    assert_eq!(refusal(&try_join(&eve, &room, room.grant, &room.secret).await), (403, "wrong_credentials"));
    assert_eq!(try_join(&eve, &room, grant, &secret).await.0, 200);
    assert_eq!(try_join(&Guest::new(&node.url), &room, invite.grant, &invited).await.0, 200, "invites stay");
    assert_eq!(ben.get(&format!("/api/rooms/{}/history", room.room)).await.0, 200, "members stay");
    chain = ana.stepped(&room, chain, ana.draft_password(&room).0).await;
    let answer = ana.step(&room, chain, ana.draft_password(&room).0).await;
    assert_eq!(refusal(&answer), (429, "too_many_attempts"), "each costs a hash, as a creation does");
}

#[tokio::test]
async fn a_room_with_members_is_never_left_without_an_owner() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut anas = ana.create("Owned").await;
    let bens = ben.join(&anas).await;
    let mut socket = ana.socket().await;
    let demote = ana.step(&anas, Seq(1), role(ana.device.id(), Role::Member)).await;
    assert_eq!(refusal(&demote), (409, "last_owner"));
    let leave = |room: &mut GuestRoom| ana.seal(room, EntryKind::Leave, Seq::ZERO, &serde_json::json!({}));
    assert_eq!(socket.refused(&leave(&mut anas.elsewhere())).await.code, ErrorCode::LastOwner);
    let chain = ana.stepped(&anas, Seq(1), Effect::Transfer { device: ben.device.id() }).await;
    assert_eq!(ben.get("/api/rooms").await.1["rooms"][0]["role"], "owner");
    assert_eq!(ana.get("/api/rooms").await.1["rooms"][0]["role"], "moderator");
    let retention = Effect::Retention { age_ms: 0 };
    assert_eq!(refusal(&ana.step(&anas, chain, retention).await), (403, "not_allowed"));
    socket.append(&leave(&mut anas)).await;
    let mut alone = bens.elsewhere();
    let envelope = ben.seal(&mut alone, EntryKind::Leave, Seq::ZERO, &serde_json::json!({}));
    ben.socket().await.append(&envelope).await;
}

#[tokio::test]
async fn the_recovery_device_governs_without_being_seen() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let recovery = Device::generate();
    let (request, secret, key) = ana.draft_room_with("Recovered", recovery.keys()).await;
    assert_eq!(ana.post("/api/rooms", &request).await.0, 201);
    let mut anas = ana.join_drafted(&request, secret, key).await;
    ben.join(&anas).await;
    let mut spare = Guest::of(&node.url, recovery);
    spare.renew().await;
    let room = anas.room;
    let part = |part: &str| format!("/api/rooms/{room}/{part}");
    let keys = spare.get(&part("epochs/0/keys")).await.1;
    assert_eq!(keys["key"], serde_json::to_value(&request.recovery.key).expect("JSON"), "the founder sealed it so");
    assert_eq!(
        snug_protocol::decode_base64(keys["key"].as_str().expect("text")).map(|key| key.len()),
        Some(EPOCH_KEY_BYTES)
    );
    assert_eq!(ana.get(&part("epochs/0/keys")).await.1["key"], serde_json::Value::Null, "and only to it");
    for path in ["chain", "history", "members", "pins", "invites"] {
        assert_eq!(spare.get(&part(path)).await.0, 200, "{path}");
    }
    let mut anas_socket = following(&ana, &anas).await;
    let mut socket = spare.socket().await;
    let ServerFrame::Followed { role: as_role, here, here_count, .. } = socket.follow(anas.room, None).await else {
        panic!("no answer")
    };
    assert_eq!((as_role, here, here_count), (Role::Owner, vec![ana.device.id()], 1), "it is not here itself");
    socket.say(&snug_protocol::frame::ClientFrame::Typing { room: anas.room }).await;
    let envelope = ana.message(&mut anas, "is anybody there?");
    let mut sender = ana.socket().await;
    let seq = sender.append(&envelope).await;
    loop {
        match anas_socket.next().await {
            snug_client::wire::Incoming::Entry(entry) if entry.seq() == seq => break,
            snug_client::wire::Incoming::Frame(frame) => panic!("the others were told {frame:?}"),
            _ => {}
        }
    }
    let members = ana.get(&part("members")).await.1["members"].as_array().expect("a list").clone();
    assert!(members.iter().all(|member| member["device"] != spare.device.id().to_string()) && members.len() == 2);
    let trespass = spare.message(&mut anas.elsewhere(), "I am no member");
    assert_eq!(socket.refused(&trespass).await.code, ErrorCode::NotAMember);
    let chain = ana.stepped(&anas, Seq(1), Effect::Lock { locked: true }).await;
    let (invite, secret) = spare.draft_invite(&anas, None, Some(1));
    assert_eq!(spare.post(&part("invites"), &invite).await.0, 201, "also in a locked room");
    let chain = spare.stepped(&anas, chain, Effect::Lock { locked: false }).await;
    let mut new = Guest::new(&node.url);
    assert_eq!(try_join(&new, &anas, invite.grant, &secret).await.0, 200);
    new.renew().await;
    let chain = spare.stepped(&anas, chain, role(new.device.id(), Role::Owner)).await;
    new.stepped(&anas, chain, role(ana.device.id(), Role::Member)).await;
    assert_eq!(refusal(&ana.delete(&format!("/api/rooms/{}", anas.room)).await), (403, "not_allowed"));
    assert_eq!(spare.delete(&format!("/api/rooms/{}", anas.room)).await.0, 204);
    assert_eq!(anas_socket.room_closed().await, ErrorCode::RoomDeleted);
}
