//! Creating, joining, inviting, leaving, deleting: who gets in and who does not, and what each is told.

use snug_client::crypto::Secret;
use snug_protocol::frame::{PresenceState, ServerFrame};
use snug_protocol::http::Entered;
use snug_protocol::{EntryKind, ErrorCode, GrantId, Seq};
use snug_tests::eventually;
use snug_tests::guest::Guest;
use snug_tests::node::Node;

#[tokio::test]
async fn an_unknown_room_and_a_wrong_password_look_the_same() {
    let node = Node::start().await;
    let (mut ana, eve) = (Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Garden").await;
    let mut answers = Vec::new();
    for name in ["Garden", "No such garden"] {
        let (status, found) = eve.post("/api/lookup", &serde_json::json!({ "name": name })).await;
        assert_eq!(status, 200);
        let keys: Vec<_> = found.as_object().expect("an object").keys().cloned().collect();
        let (id, grant) =
            (found["room"].as_str().expect("text").parse(), found["grant"].as_str().expect("text").parse());
        let request = eve.draft_join(id.expect("an id"), grant.expect("an id"), &Secret::generate()).await;
        answers.push((keys, found["kdf"].clone(), eve.post("/api/join", &request).await));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].2.1["code"], "wrong_credentials");
    let again = |name: &'static str| eve_lookup(&eve, name);
    assert_eq!(again("no such GARDEN").await, again("No such garden").await, "an unknown name has lasting ids too");
    assert_ne!(again("No such garden").await, again("Another one").await);
    assert_eq!(again("garden").await.0, room.room.to_string(), "names are found without regard to case");
}

async fn eve_lookup(eve: &Guest, name: &str) -> (String, String) {
    let found = eve.post("/api/lookup", &serde_json::json!({ "name": name })).await.1;
    (found["room"].as_str().expect("text").to_owned(), found["grant"].as_str().expect("text").to_owned())
}

#[tokio::test]
async fn guessing_is_stopped_and_says_when_to_go_on_while_others_get_in() {
    let node = Node::start_with(&["--joins-per-minute=1", "--joins-burst=3"]).await;
    let (mut ana, eve, mut ben) = (Guest::new(&node.url), Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Guarded").await;
    for _ in 0..10 {
        ben.join(&room).await;
    }
    for _ in 0..3 {
        let wrong = eve.draft_join(room.room, room.grant, &Secret::generate()).await;
        assert_eq!(eve.post("/api/join", &wrong).await.1["code"], "wrong_credentials");
    }
    let wrong = eve.draft_join(room.room, room.grant, &Secret::generate()).await;
    let (status, answer) = eve.post("/api/join", &wrong).await;
    assert_eq!((status, answer["code"].as_str()), (429, Some("too_many_attempts")));
    let wait_ms = answer["retry_after_ms"].as_u64().expect("it says when");
    assert!((1..=60_001).contains(&wait_ms), "{wait_ms}");
    let other = ana.create("Another door").await;
    assert_eq!(
        eve.post("/api/join", &eve.draft_join(other.room, other.grant, &other.secret).await).await.0,
        200,
        "only that room is barred"
    );
}

#[tokio::test]
async fn a_name_that_is_taken_or_looks_taken_is_refused_with_a_free_one() {
    let node = Node::start().await;
    let mut ana = Guest::new(&node.url);
    ana.create("Book Club").await;
    for name in ["Book Club", "  book   CLUB ", "Bооk Club"] {
        let (request, ..) = ana.draft_room(name).await;
        let (status, answer) = ana.post("/api/rooms", &request).await;
        assert_eq!((status, answer["code"].as_str()), (409, Some("room_name_taken")), "{name}");
        let free = answer["free_variant"].as_str().expect("a free name").to_owned();
        let (request, ..) = ana.draft_room(&free).await;
        assert_eq!(ana.post("/api/rooms", &request).await.0, 201, "{free} is free");
    }
}

#[tokio::test]
async fn an_invite_lets_in_as_often_as_it_says_and_not_after() {
    let node = Node::start().await;
    let mut ana = Guest::new(&node.url);
    let room = ana.create("Invites").await;
    let path = format!("/api/rooms/{}/invites", room.room);
    let (request, secret) = ana.draft_invite(&room, None, Some(1));
    let (status, invite) = ana.post(&path, &request).await;
    assert_eq!((status, invite["uses"].as_u64(), invite["uses_max"].as_u64()), (201, Some(0), Some(1)));
    let join = async |guest: &Guest, grant: GrantId, secret: &Secret| {
        let request = guest.draft_join(room.room, grant, secret).await;
        guest.post("/api/join", &request).await
    };
    let (ben, cleo, mut dan) = (Guest::new(&node.url), Guest::new(&node.url), Guest::new(&node.url));
    let (status, answer) = join(&ben, request.grant, &secret).await;
    assert_eq!(status, 200, "{answer}");
    let entered: Entered = serde_json::from_value(answer).expect("the answer's form");
    assert_eq!(entered.blob, request.blob, "the blob comes back as its maker sealed it");
    assert_eq!(join(&ben, request.grant, &secret).await.0, 200, "a member who comes again uses nothing up");
    assert_eq!(join(&cleo, request.grant, &secret).await.1["code"], "invite_used_up");
    assert_eq!(
        join(&cleo, request.grant, &Secret::generate()).await.1["code"],
        "wrong_credentials",
        "a guess learns nothing"
    );
    let (request, secret) = ana.draft_invite(&room, Some(1), None);
    assert_eq!(ana.post(&path, &request).await.0, 201);
    let code = eventually("the invite expires", async || {
        let (status, answer) = join(&cleo, request.grant, &secret).await;
        (status != 200).then(|| answer["code"].clone())
    });
    assert_eq!(code.await, "invite_expired");
    let (request, secret) = ana.draft_invite(&room, None, None);
    assert_eq!(ana.post(&path, &request).await.0, 201);
    dan.join(&room).await;
    let one = format!("{path}/{}", request.grant);
    assert_eq!(dan.delete(&one).await.1["code"], "not_allowed", "not his to revoke");
    assert_eq!(ana.delete(&one).await.0, 204);
    assert_eq!(join(&Guest::new(&node.url), request.grant, &secret).await.1["code"], "wrong_credentials");
    assert_eq!(ana.delete(&one).await.1["code"], "not_found");
    for (expires_in_ms, uses_max) in [(Some(0), None), (Some(u64::MAX), None), (None, Some(0))] {
        let (request, _) = ana.draft_invite(&room, expires_in_ms, uses_max);
        assert_eq!(ana.post(&path, &request).await.1["code"], "bad_request");
    }
}

#[tokio::test]
async fn a_token_is_renewed_by_a_signature_and_only_by_the_devices_own() {
    let node = Node::start().await;
    let mut ana = Guest::new(&node.url);
    ana.create("Renewal").await;
    let renew = async |sign_in| ana.post("/api/token", &serde_json::json!({ "sign_in": sign_in })).await;
    let sign_in = ana.sign_in(snug_protocol::RoomId::default(), GrantId::default()).await;
    let (status, answer) = renew(sign_in.clone()).await;
    assert_eq!(status, 200);
    let mut fresh = Guest::new(&node.url);
    fresh.token = answer["token"].as_str().map(str::to_owned);
    assert_eq!(fresh.get("/api/rooms").await.1["rooms"].as_array().map(Vec::len), Some(1));
    let mut forged = sign_in.clone();
    forged.signature = vec![0; 64].into();
    assert_eq!(renew(forged).await.1["code"], "bad_signature");
    let mut elsewhere = sign_in.clone();
    elsewhere.origin = "https://evil.example".into();
    assert_eq!(renew(elsewhere).await.1["code"], "origin_not_allowed");
    let mut stale = sign_in;
    stale.nonce = snug_protocol::encode_base64(&[1; 40]);
    assert_eq!(renew(stale).await.1["code"], "nonce_expired");
    let stranger = Guest::new(&node.url);
    let sign_in = stranger.sign_in(snug_protocol::RoomId::default(), GrantId::default()).await;
    assert_eq!(renew(sign_in).await.1["code"], "device_unknown");
}

#[tokio::test]
async fn who_leaves_hears_no_more_and_cannot_send_but_their_keys_stay_for_the_old_messages() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut anas = ana.create("Leaving").await;
    let mut bens = ben.join(&anas).await;
    let (mut ana_socket, mut ben_socket, mut ben_tab) = (ana.socket().await, ben.socket().await, ben.socket().await);
    for socket in [&mut ana_socket, &mut ben_socket, &mut ben_tab] {
        assert!(matches!(socket.follow(anas.room, None).await, ServerFrame::Followed { .. }));
    }
    let profile = ben.profile(&mut bens, "Ben");
    ben_socket.send(1, &profile).await;
    ben_socket.sent(1).await;
    let leave = ben.seal(&mut bens, EntryKind::Leave, Seq::ZERO, &serde_json::json!({}));
    ben_socket.send(2, &leave).await;
    ben_socket.sent(2).await;
    for socket in [&mut ben_socket, &mut ben_tab] {
        assert!(
            matches!(socket.hear().await, ServerFrame::RoomClosed { room, code: ErrorCode::NotAMember } if room == anas.room)
        );
    }
    let late = ben.message(&mut bens, "one more thing");
    ben_socket.send(3, &late).await;
    assert_eq!(ben_socket.error().await.code, ErrorCode::NotAMember);
    ben_socket.send(4, &leave).await;
    assert!(ben_socket.sent(4).await.1, "the leave itself is acknowledged again");
    let after = ana.message(&mut anas, "just us");
    ana_socket.send(5, &after).await;
    assert_eq!(ana_socket.sent(5).await.0.0, 4);
    let (_, members) = ana.get(&format!("/api/rooms/{}/members", anas.room)).await;
    let bens_row = members["members"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|row| row["device"] == ben.device.id().to_string())
        .cloned();
    let bens_row = bens_row.expect("he was a member");
    assert_eq!((bens_row["state"].as_str(), bens_row["profile"]["seq"].as_u64()), (Some("left"), Some(2)));
    ben.join(&anas).await;
    assert!(
        matches!(ben_socket.follow(anas.room, None).await, ServerFrame::Followed { .. }),
        "the password still lets him in"
    );
}

#[tokio::test]
async fn only_an_owner_deletes_the_room_and_then_it_is_gone_for_everyone() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Short-lived").await;
    ben.join(&room).await;
    let mut socket = ben.socket().await;
    socket.follow(room.room, None).await;
    let path = format!("/api/rooms/{}", room.room);
    assert_eq!(ben.delete(&path).await.1["code"], "not_allowed");
    assert_eq!(ana.delete(&path).await.0, 204);
    assert!(matches!(socket.hear().await, ServerFrame::RoomClosed { code: ErrorCode::RoomDeleted, .. }));
    assert_eq!(ben.get(&format!("{path}/history")).await.0, 403);
    assert_eq!(ben.get("/api/rooms").await.1["rooms"].as_array().map(Vec::len), Some(0));
    let (request, ..) = ana.draft_room("Short-lived").await;
    assert_eq!(ana.post("/api/rooms", &request).await.0, 201, "the name is free again");
}

#[tokio::test]
async fn a_stranger_who_tries_to_follow_hears_nothing_of_the_room() {
    let node = Node::start().await;
    let (mut ana, mut ben, mut eve) = (Guest::new(&node.url), Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Discreet").await;
    ben.join(&room).await;
    eve.create("Eve's own").await;
    let (mut anas, mut eves) = (ana.socket().await, eve.socket().await);
    anas.follow(room.room, None).await;
    for _ in 0..20 {
        assert!(matches!(eves.follow(room.room, None).await, ServerFrame::Error { .. }));
        let mut bens = ben.socket().await;
        bens.follow(room.room, None).await;
        bens.say(&snug_protocol::frame::ClientFrame::Typing { room: room.room }).await;
        ben.delete("/api/token").await;
        ben.join(&room).await;
    }
    eves.say_text("{}").await;
    // Whatever had been on its way to her would come before the answer to that.
    match eves.next().await {
        snug_client::wire::Incoming::Frame(ServerFrame::Error { error, .. }) => {
            assert_eq!(error.code, ErrorCode::BadRequest);
        }
        other => panic!("a stranger was told {other:?}"),
    }
}

#[tokio::test]
async fn right_sign_ins_are_limited_too() {
    let node = Node::start_with(&["--sign-ins-per-minute=3"]).await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Busy").await;
    for _ in 0..3 {
        ben.join(&room).await;
    }
    let request = ben.draft_join(room.room, room.grant, &room.secret).await;
    let (status, answer) = ben.post("/api/join", &request).await;
    assert_eq!((status, answer["code"].as_str()), (429, Some("too_many_attempts")));
}

#[tokio::test]
async fn the_others_see_who_comes() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Presence").await;
    ben.join(&room).await;
    let mut anas = ana.socket().await;
    let ServerFrame::Followed { here, here_count, .. } = anas.follow(room.room, None).await else {
        panic!("no answer")
    };
    assert_eq!((here, here_count), (vec![ana.device.id()], 1));
    let mut bens = ben.socket().await;
    let ServerFrame::Followed { here_count, .. } = bens.follow(room.room, None).await else { panic!("no answer") };
    assert_eq!(here_count, 2);
    let came = loop {
        if let snug_client::wire::Incoming::Frame(frame) = anas.next().await {
            break frame;
        }
    };
    let wanted =
        ServerFrame::Presence { room: room.room, device: ben.device.id(), state: PresenceState::Here, here_count: 2 };
    assert_eq!(came, wanted);
    bens.say(&snug_protocol::frame::ClientFrame::Typing { room: room.room }).await;
    assert_eq!(anas.hear().await, ServerFrame::Typing { room: room.room, device: ben.device.id() });
}

#[tokio::test]
async fn the_database_holds_no_password_no_proof_and_no_blob_in_clear() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snug.db");
    let tasks = tokio_util::task::TaskTracker::new();
    let store =
        snug_store::Store::open_sqlite(&path, snug_store::SqliteOptions::default(), &tasks).await.expect("a database");
    let node = Node::over(store.clone(), &[]).await;
    let mut ana = Guest::new(&node.url);
    let (request, secret, key) = ana.draft_room("Secrets").await;
    assert_eq!(ana.post("/api/rooms", &request).await.0, 201);
    let mut room = ana.join_drafted(&request, secret.clone(), key).await;
    let token = ana.token.clone().expect("a token");
    let mut socket = ana.socket().await;
    let message = ana.message(&mut room, "a text that nobody else may read");
    socket.send(1, &message).await;
    socket.sent(1).await;
    node.stop().await;
    let token = snug_protocol::decode_base64(&token).expect("base64url");
    let canaries: [(&str, &[u8]); 5] = [
        ("the proof", &request.auth.0),
        ("the grant's blob", &request.blob.0),
        ("the room key", &room.key.export()[..]),
        ("the token", &token),
        ("the text", b"a text that nobody else may read"),
    ];
    for file in std::fs::read_dir(folder.path()).expect("a folder") {
        let file = file.expect("an entry").path();
        let bytes = std::fs::read(&file).expect("a file");
        for (name, canary) in canaries {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary), "{name} stands in {}", file.display());
        }
    }
    let bytes = std::fs::read(&path).expect("a file");
    assert!(bytes.windows(16).any(|window| window == room.room.as_bytes()), "the search would have found it");
}
