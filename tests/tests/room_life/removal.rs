//! Removal, banning, and the new key that makes them true.

use serde_json::json;
use snug_protocol::frame::{PresenceState, ServerFrame};
use snug_protocol::http::{Effect, NewEpoch, Role};
use snug_protocol::{DeviceId, EntryKind, ErrorCode, Seq, recipients_hash};
use snug_tests::guest::{Answer, Guest, GuestRoom, recovery_device, seq};
use snug_tests::node::Node;

use super::{entry_at, following, refusal, role};

async fn try_join(guest: &Guest, room: &GuestRoom) -> Answer {
    guest.post("/api/join", &guest.draft_join(room.room, room.grant, &room.secret).await).await
}

#[tokio::test]
async fn who_is_removed_is_told_at_once_and_refused_everywhere_after() {
    removal(&Node::start().await).await;
}

pub async fn removal(node: &Node) {
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut anas = ana.create("Removal").await;
    let old = anas.elsewhere();
    let mut bens = ben.join(&anas).await;
    let (invite, invited) = ana.draft_invite(&anas, None, None);
    assert_eq!(ana.post(&format!("/api/rooms/{}/invites", anas.room), &invite).await.0, 201);
    let (mut ana_socket, mut ben_socket) = (following(&ana, &anas).await, following(&ben, &bens).await);
    let mut tab = following(&ben, &bens).await;
    let draft = ana.draft_epoch(&anas, Seq(1), &[ben.device.id()]);
    assert_eq!(ana.stage(&anas, &draft, &[ana.device.id()]).await.0, 204);
    let (status, answer) = ana.begin_epoch(&anas, &draft).await;
    assert_eq!((status, answer["duplicate"].as_bool()), (200, Some(false)), "{answer}");
    assert_eq!(answer["revoked"][0]["grant"], invite.grant.to_string(), "the admin is told which invites are no more");
    let record = seq(&answer);
    for socket in [&mut ben_socket, &mut tab] {
        assert_eq!(socket.room_closed().await, ErrorCode::Removed);
    }
    let gone = loop {
        match ana_socket.next().await {
            snug_client::wire::Incoming::Frame(ServerFrame::Presence {
                device, state: PresenceState::Gone, ..
            }) => {
                break device;
            }
            snug_client::wire::Incoming::Closed { code } => panic!("closed: {code:?}"),
            _ => {}
        }
    };
    assert_eq!(gone, ben.device.id());
    let part = |part: &str| format!("/api/rooms/{}/{part}", anas.room);
    for path in ["history", "members", "invites", "chain", "pins", "epochs/0/keys", "epochs/1/keys"] {
        assert_eq!(refusal(&ben.get(&part(path)).await), (403, "removed"), "{path}");
    }
    let again = ben_socket.follow(anas.room, None).await;
    assert!(matches!(&again, ServerFrame::Error { error, .. } if error.code == ErrorCode::Removed), "{again:?}");
    let message = ben.message(&mut bens, "one more thing");
    assert_eq!(ben_socket.refused(&message).await.code, ErrorCode::Removed);
    assert_eq!(refusal(&ben.step(&bens, record, Effect::None {}).await), (403, "removed"));
    let (bens_invite, _) = ben.draft_invite(&bens, None, None);
    assert_eq!(refusal(&ben.post(&part("invites"), &bens_invite).await), (403, "removed"));
    assert_eq!(ben.get("/api/rooms").await.1["rooms"].as_array().map(Vec::len), Some(0));
    assert_eq!(refusal(&try_join(&ben, &old).await), (403, "wrong_credentials"), "the old password is no more");
    let by_invite = ben.draft_join(anas.room, invite.grant, &invited).await;
    assert_eq!(refusal(&ben.post("/api/join", &by_invite).await), (403, "wrong_credentials"), "nor is the invite");
    let members = ana.get(&part("members")).await.1["members"].clone();
    let row = members.as_array().expect("a list").iter().find(|row| row["device"] == ben.device.id().to_string());
    assert_eq!(row.expect("his keys verify the old messages")["state"], "removed");
    let stale = ana.message(&mut anas.elsewhere(), "under the old key");
    let mut sender = ana.socket().await;
    let error = sender.refused(&stale).await;
    assert_eq!((error.code, error.epoch), (ErrorCode::StaleEpoch, Some(1)));
    anas.enter_epoch(&draft);
    let envelope = ana.message(&mut anas, "among us");
    sender.append(&envelope).await;
    assert_eq!(try_join(&ben, &anas).await.0, 200, "but the new password would let him in");
}

#[tokio::test]
async fn who_is_banned_comes_back_by_no_way_until_the_ban_is_lifted() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut anas = ana.create("Banned").await;
    let mut bens = ben.join(&anas).await;
    let mut socket = following(&ben, &bens).await;
    let record = ana.remove(&mut anas, Seq(1), &[ana.device.id()], ben.device.id(), true).await;
    assert_eq!(socket.room_closed().await, ErrorCode::Banned);
    assert_eq!(refusal(&try_join(&ben, &anas).await), (403, "banned"));
    let (invite, secret) = ana.draft_invite(&anas, None, None);
    assert_eq!(ana.post(&format!("/api/rooms/{}/invites", anas.room), &invite).await.0, 201);
    let by_invite = ben.draft_join(anas.room, invite.grant, &secret).await;
    assert_eq!(refusal(&ben.post("/api/join", &by_invite).await), (403, "banned"));
    assert_eq!(refusal(&ben.get(&format!("/api/rooms/{}/history", anas.room)).await), (403, "banned"));
    let message = ben.message(&mut bens, "let me in");
    assert_eq!(socket.refused(&message).await.code, ErrorCode::Banned);
    let row = ana.get(&format!("/api/rooms/{}/members/{}", anas.room, ben.device.id())).await.1;
    assert_eq!(row["state"], "banned");
    ana.stepped(&anas, record, Effect::Unban { device: ben.device.id() }).await;
    assert_eq!(try_join(&ben, &anas).await.0, 200);
}

#[tokio::test]
async fn an_epoch_begins_for_those_who_get_its_key_and_nobody_who_comes_or_goes_hinders_it() {
    exact_epoch(&Node::start().await).await;
}

pub async fn exact_epoch(node: &Node) {
    let mut guests = [(); 4].map(|()| Guest::new(&node.url));
    let [ana, ben, cleo, dan] = &mut guests;
    let mut anas = ana.create("Exactly").await;
    let bens = ben.join(&anas).await;
    let cleos = cleo.join(&anas).await;
    let [a, b] = [&*ana, &*ben].map(|guest| guest.device.id());
    let mut draft = ana.draft_epoch(&anas, Seq(1), &[]);
    assert_eq!(ana.stage(&anas, &draft, &[a]).await.0, 204);
    draft.request.recipients = recipients_hash([a, b, recovery_device().id()]).into();
    assert_eq!(refusal(&ana.begin_epoch(&anas, &draft).await), (409, "members_changed"), "Ben's key is on its way");
    draft.request.recipients = Vec::new().into();
    assert_eq!(ana.stage(&anas, &draft, &[b]).await.0, 204, "what was staged before is kept");
    dan.join(&anas).await;
    let mut cleo_socket = following(cleo, &cleos).await;
    let mut live = following(ben, &bens).await;
    let (status, answer) = ana.begin_epoch(&anas, &draft).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(cleo_socket.room_closed().await, ErrorCode::NotAMember, "who is excluded has done nothing wrong");
    let dans = dan.get(&format!("/api/rooms/{}/members", anas.room)).await;
    assert_eq!(refusal(&dans), (403, "not_a_member"), "he came too late for a key");
    let record = entry_at(&mut live, seq(&answer)).await;
    assert_eq!(record.kind(), Some(EntryKind::EpochRecord), "the record is live as messages are");
    let (status, again) = ana.begin_epoch(&anas, &draft).await;
    assert_eq!((status, seq(&again), again["duplicate"].as_bool()), (200, seq(&answer), Some(true)));
    let keys = ben.get(&format!("/api/rooms/{}/epochs/1/keys", anas.room)).await.1;
    let mut recipients = vec![a, b, recovery_device().id()];
    recipients.sort_unstable();
    assert_eq!(keys["recipients"], serde_json::to_value(&recipients).expect("JSON"));
    assert_eq!(keys["key"].as_str().map(str::len), Some(107), "his own key is with it");
    anas.enter_epoch(&draft);
    for guest in [cleo, dan] {
        assert_eq!(try_join(guest, &anas).await.0, 200, "both come back by the new password");
    }
}

#[tokio::test]
async fn only_admins_begin_epochs_and_only_over_lower_roles() {
    let node = Node::start().await;
    let mut guests = [(); 3].map(|()| Guest::new(&node.url));
    let [ana, ben, cleo] = &mut guests;
    let anas = ana.create("Admins").await;
    let (bens, cleos) = (ben.join(&anas).await, cleo.join(&anas).await);
    let [a, b, c] = [&*ana, &*ben, &*cleo].map(|guest| guest.device.id());
    let chain = ana.stepped(&anas, Seq(1), role(b, Role::Moderator)).await;
    let draft = cleo.draft_epoch(&cleos, chain, &[b]);
    assert_eq!(refusal(&cleo.stage(&cleos, &draft, &[a, c]).await), (403, "not_allowed"));
    assert_eq!(refusal(&cleo.begin_epoch(&cleos, &draft).await), (403, "not_allowed"));
    let draft = ben.draft_epoch(&bens, chain, &[a]);
    assert_eq!(ben.stage(&bens, &draft, &[b, c]).await.0, 204);
    assert_eq!(refusal(&ben.begin_epoch(&bens, &draft).await), (403, "not_allowed"), "a moderator over an owner");
    let (ours, theirs) = (ana.draft_epoch(&anas, chain, &[c]), ben.draft_epoch(&bens, chain, &[c]));
    assert_eq!(ana.stage(&anas, &ours, &[a, b]).await.0, 204);
    assert_eq!(ben.stage(&bens, &theirs, &[a, b]).await.0, 204);
    let (one, other) = tokio::join!(ana.begin_epoch(&anas, &ours), ben.begin_epoch(&bens, &theirs));
    let (won, lost) = if one.0 == 200 { (one, other) } else { (other, one) };
    assert_eq!((won.0, lost.0), (200, 409), "one wins: {} {}", won.1, lost.1);
    assert!(["chain_moved", "stale_epoch"].contains(&refusal(&lost).1), "{}", lost.1);
    assert_eq!(refusal(&cleo.get(&format!("/api/rooms/{}/members", anas.room)).await), (403, "removed"));
}

#[tokio::test]
async fn epochs_that_make_no_sense_are_refused_by_name() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Sense").await;
    ben.join(&room).await;
    let (a, b) = (ana.device.id(), ben.device.id());
    let strangers = |count: u32| {
        (0..count).map(|number| {
            let mut id = [9; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            DeviceId(id)
        })
    };
    let stage = format!("/api/rooms/{}/epochs/1/keys", room.room);
    let (record, key) = (snug_protocol::encode_base64(&[1; 32]), snug_protocol::encode_base64(&[1; 80]));
    let sealed = |device: DeviceId| json!({ "device": device, "key": key });
    for (body, code) in [
        (json!({ "record": record, "keys": [] }), "bad_request"),
        (json!({ "record": record, "keys": strangers(201).map(sealed).collect::<Vec<_>>() }), "bad_request"),
        (json!({ "record": record, "keys": [sealed(a), sealed(a)] }), "bad_request"),
        (json!({ "record": record, "keys": [{ "device": a, "key": "AAAA" }] }), "bad_request"),
        (json!({ "record": "AAAA", "keys": [sealed(a)] }), "bad_request"),
    ] {
        assert_eq!(refusal(&ana.put(&stage, &body).await), (400, code), "{body}");
    }
    let body = json!({ "record": record, "keys": [sealed(a)] });
    let later = stage.replace("/1/", "/2/");
    assert_eq!(refusal(&ana.put(&later, &body).await), (409, "stale_epoch"));
    assert_eq!(refusal(&ana.put(&stage.replace("/1/", "/x/"), &body).await), (400, "bad_request"));
    let stranger = json!({ "record": record, "keys": [sealed(DeviceId([8; 16]))] });
    assert_eq!(refusal(&ana.put(&stage, &stranger).await), (409, "members_changed"));
    let good = || ana.draft_epoch(&room, Seq(1), &[b]);
    let mut drafts = Vec::new();
    let spoilers: [fn(&mut NewEpoch); 6] = [
        |request| request.kdf = 2,
        |request| request.blob = vec![1; 128].into(),
        |request| request.auth = vec![1; 31].into(),
        |request| request.recipients = vec![1; 31].into(),
        |request| request.remove = vec![request.remove[0]; 2],
        |request| (request.remove, request.ban) = (Vec::new(), true),
    ];
    for spoil in spoilers {
        let mut draft = good();
        spoil(&mut draft.request);
        drafts.push(draft);
    }
    let (mut myself, mut too_many, mut untimely) = (good(), good(), good());
    untimely.request.sent_at_ms = 1 << 53;
    myself.request.remove = vec![a];
    too_many.request.remove = strangers(51).collect();
    for draft in drafts.iter().chain([&myself, &too_many, &untimely]) {
        assert_eq!(refusal(&ana.begin_epoch(&room, draft).await), (400, "bad_request"), "{:?}", draft.request);
    }
    let (mut foreign, mut a_step) = (good(), good());
    foreign.request.record = ben.draft_epoch(&room, Seq(1), &[]).request.record;
    assert_eq!(refusal(&ana.begin_epoch(&room, &foreign).await), (403, "wrong_device"));
    a_step.request.record = ana.chain_entry(&room, EntryKind::Step, Seq(1)).bytes().to_vec().into();
    assert_eq!(refusal(&ana.begin_epoch(&room, &a_step).await), (400, "entry_not_accepted"));
    let moved = ana.draft_epoch(&room, Seq(7), &[b]);
    let answer = ana.begin_epoch(&room, &moved).await;
    assert_eq!((refusal(&answer), answer.1["chain"].as_u64()), ((409, "chain_moved"), Some(1)));
    let mut ahead = room.elsewhere();
    ahead.epoch = 4;
    let answer = ana.begin_epoch(&room, &ana.draft_epoch(&ahead, Seq(1), &[b])).await;
    assert_eq!((refusal(&answer), answer.1["epoch"].as_u64()), ((409, "stale_epoch"), Some(0)));
    assert_eq!(
        node.store.room(room.room).await.expect("memory").expect("it exists").head,
        Seq(1),
        "nothing was stored"
    );
}
