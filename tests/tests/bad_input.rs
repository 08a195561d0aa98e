//! Bad input gets a clear error with a stable code, and loses nothing.

use bytes::Bytes;
use serde_json::json;
use snug_client::crypto::{Content, seal};
use snug_protocol::frame::{ClientFrame, SendFrame, ServerFrame, close};
use snug_protocol::limits::{FRAME_BYTES_MAX, ROOMS_PER_SESSION_MAX};
use snug_protocol::{EntryKind, ErrorCode, RoomId, Seq};
use snug_tests::guest::{Guest, random};
use snug_tests::node::Node;

#[tokio::test]
async fn frames_that_make_no_sense_are_answered_and_the_socket_stays_open() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let mut room = guest.create("Frames").await;
    let mut socket = guest.socket().await;
    for (text, code) in [
        ("{", ErrorCode::BadRequest),
        ("[]", ErrorCode::BadRequest),
        ("{}", ErrorCode::BadRequest),
        (r#"{"type":"dance"}"#, ErrorCode::UnknownFrame),
        (r#"{"type":"follow","id":1}"#, ErrorCode::BadRequest),
        (r#"{"type":"follow","id":-1,"room":"AQEBAQEBAQEBAQEBAQEBAQ"}"#, ErrorCode::BadRequest),
        (r#"{"type":"unfollow","room":"short"}"#, ErrorCode::BadRequest),
        (r#"{"type":"hello","client":"again"}"#, ErrorCode::BadRequest),
    ] {
        socket.say_text(text).await;
        assert_eq!(socket.error().await.code, code, "{text}");
    }
    let envelope = guest.message(&mut room, "still here");
    for (bytes, code) in [
        (Bytes::from_static(b""), ErrorCode::BadRequest),
        (Bytes::from_static(&[9, 0, 0, 0, 1]), ErrorCode::BadRequest),
        (SendFrame::encode(7, b"short"), ErrorCode::BadEnvelope),
        (SendFrame::encode(7, &envelope.bytes()[..300]), ErrorCode::BadEnvelope),
        (SendFrame::encode(7, &vec![0; 40_000]), ErrorCode::TooLarge),
    ] {
        socket.say_bytes(bytes.clone()).await;
        assert_eq!(socket.error().await.code, code, "{} bytes", bytes.len());
    }
    for (at, value, code) in
        [(4, 2, ErrorCode::UnsupportedVersion), (5, 31, ErrorCode::EntryNotAccepted), (0, b'X', ErrorCode::BadEnvelope)]
    {
        let mut bytes = envelope.bytes().to_vec();
        bytes[at] = value;
        socket.say_bytes(SendFrame::encode(8, &bytes)).await;
        assert_eq!(socket.error().await.code, code, "byte {at}");
    }
    socket.send(9, &envelope).await;
    assert_eq!(socket.sent(9).await, (Seq(2), false));
}

#[tokio::test]
async fn a_frame_over_the_limit_is_named_and_the_socket_closes() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    guest.create("Large").await;
    let mut socket = guest.socket().await;
    socket.say_bytes(vec![1; FRAME_BYTES_MAX + 1]).await;
    assert_eq!(socket.error().await.code, ErrorCode::TooLarge);
    assert_eq!(socket.closed().await, Some(close::TOO_LARGE));
}

#[tokio::test]
async fn a_socket_must_begin_with_hello() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let room = guest.create("Hello").await;
    for first in [r#"{"type":"heartbeat"}"#, "nonsense"] {
        let mut socket = guest.raw_socket().await;
        socket.say_text(first).await;
        assert_eq!(socket.error().await.code, ErrorCode::HelloExpected);
        assert_eq!(socket.closed().await, Some(close::PROTOCOL));
    }
    let mut socket = guest.raw_socket().await;
    socket.say(&ClientFrame::Hello { client: "eager".into() }).await;
    socket.say(&ClientFrame::Follow { id: 3, room: room.room, cursor: None }).await;
    assert!(matches!(socket.hear().await, ServerFrame::Welcome { .. }));
    assert!(
        matches!(socket.hear().await, ServerFrame::Followed { id: 3, .. }),
        "the client need not wait for the welcome"
    );
}

#[tokio::test]
async fn without_a_valid_token_the_socket_says_so_and_closes() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    guest.create("Tokens").await;
    let good = guest.token.clone();
    for (token, code) in [
        (None, ErrorCode::TokenMissing),
        (Some("nonsense".to_owned()), ErrorCode::TokenInvalid),
        (Some(snug_protocol::encode_base64(&[7; 32])), ErrorCode::TokenInvalid),
    ] {
        guest.token = token;
        let mut socket = guest.raw_socket().await;
        assert_eq!(socket.error().await.code, code);
        assert_eq!(socket.closed().await, Some(close::TOKEN));
    }
    guest.token = good;
    let mut socket = guest.socket().await;
    assert_eq!(guest.delete("/api/token").await.0, 204);
    assert_eq!(socket.error().await.code, ErrorCode::TokenInvalid, "a revoked token ends the sockets that are open");
    assert_eq!(socket.closed().await, Some(close::TOKEN));
    let (status, answer) = guest.get("/api/rooms").await;
    assert_eq!((status, answer["code"].as_str()), (401, Some("token_invalid")));
    assert_eq!(answer["retry"], "sign_in");
}

#[tokio::test]
async fn envelopes_that_do_not_belong_are_refused_by_name() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut room = ana.create("Envelopes").await;
    let mut elsewhere = ben.create("Elsewhere").await;
    let mut socket = ana.socket().await;
    let refused = async |socket: &mut snug_tests::guest::Socket, envelope| {
        socket.send(5, &envelope).await;
        socket.error().await
    };
    let foreign = ben.message(&mut elsewhere, "mine");
    assert_eq!(refused(&mut socket, foreign).await.code, ErrorCode::WrongDevice);
    elsewhere.new_instance();
    let trespass = ana.message(&mut elsewhere, "I am not in there");
    assert_eq!(refused(&mut socket, trespass).await.code, ErrorCode::NotAMember);
    let mut header = room.next_header(ana.device.id(), EntryKind::Message);
    header.epoch = 3;
    let later_key = snug_client::crypto::RoomKey::generate(room.room, 3);
    let content = Content { prev: room.prev, sent_at_ms: 0, body: br#"{"text":"from the future"}"# };
    let stale = refused(&mut socket, seal(&ana.device, &later_key, &header, &content).expect("a small body")).await;
    assert_eq!((stale.code, stale.epoch), (ErrorCode::StaleEpoch, Some(0)));
    room.new_instance();
    room.skip();
    let ahead = refused(&mut socket, ana.message(&mut room, "counter 1 before 0")).await;
    assert_eq!((ahead.code, ahead.expected), (ErrorCode::OutOfOrder, Some(0)));
    room.new_instance();
    let mut header = room.next_header(ana.device.id(), EntryKind::EpochRecord);
    header.counter = 0;
    let record = seal(&ana.device, &room.key, &header, &content).expect("a small body");
    assert_eq!(refused(&mut socket, record).await.code, ErrorCode::EntryNotAccepted);
}

#[tokio::test]
async fn a_resent_message_is_acknowledged_with_its_first_place() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let mut room = guest.create("Resend").await;
    let (first, second) = (guest.message(&mut room, "one"), guest.message(&mut room, "two"));
    let mut socket = guest.socket().await;
    socket.send(1, &first).await;
    socket.send(2, &second).await;
    assert_eq!(socket.sent(1).await, (Seq(2), false));
    assert_eq!(socket.sent(2).await, (Seq(3), false));
    let mut again = guest.socket().await;
    again.send(3, &first).await;
    again.send(4, &second).await;
    assert_eq!(again.sent(3).await, (Seq(2), true));
    assert_eq!(again.sent(4).await, (Seq(3), true));
    assert_eq!(node.store.room(room.room).await.expect("memory").expect("it exists").head, Seq(3));
}

#[tokio::test]
async fn sending_too_fast_says_how_long_to_wait_and_loses_nothing() {
    let node = Node::start_with(&["--sends-per-second=5", "--sends-burst=2"]).await;
    let mut guest = Guest::new(&node.url);
    let mut room = guest.create("Fast").await;
    let mut socket = guest.socket().await;
    for id in 1..=2 {
        let envelope = guest.message(&mut room, "quick");
        socket.send(id, &envelope).await;
        socket.sent(id).await;
    }
    let held_back = guest.message(&mut room, "too quick");
    socket.send(3, &held_back).await;
    let error = socket.error().await;
    assert_eq!(error.code, ErrorCode::TooFast);
    // Time itself is what is tested here: waiting as told is enough.
    tokio::time::sleep(std::time::Duration::from_millis(error.retry_after_ms.expect("it says how long"))).await;
    socket.send(3, &held_back).await;
    assert_eq!(socket.sent(3).await, (Seq(4), false));
}

#[tokio::test]
async fn rooms_one_is_not_in_cannot_be_followed_read_or_listed() {
    let node = Node::start().await;
    let (mut ana, mut eve) = (Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Private").await;
    eve.create("Eve's own").await;
    let mut socket = eve.socket().await;
    for id in [room.room, RoomId(random())] {
        match socket.follow(id, None).await {
            ServerFrame::Error { error, id: Some(1), room: Some(about) } => {
                assert_eq!((error.code, about), (ErrorCode::NotAMember, id));
            }
            other => panic!("{other:?}"),
        }
        for path in ["history", "members", "invites"] {
            let (status, answer) = eve.get(&format!("/api/rooms/{id}/{path}")).await;
            assert_eq!((status, answer["code"].as_str()), (403, Some("not_a_member")), "{path}");
        }
        assert_eq!(eve.delete(&format!("/api/rooms/{id}")).await.1["code"], "not_a_member");
    }
    assert_eq!(eve.get("/api/rooms").await.1["rooms"].as_array().map(Vec::len), Some(1));
    let (status, answer) = Guest::new(&node.url).get("/api/rooms").await;
    assert_eq!((status, answer["code"].as_str()), (401, Some("token_missing")));
}

#[tokio::test]
async fn a_socket_follows_so_many_rooms_and_no_more() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let mut rooms = Vec::new();
    for number in 0..=ROOMS_PER_SESSION_MAX {
        rooms.push(guest.create(&format!("Room {number}")).await.room);
    }
    let mut socket = guest.socket().await;
    let last = rooms.pop().expect("there is one");
    for room in &rooms {
        assert!(matches!(socket.follow(*room, None).await, ServerFrame::Followed { .. }));
    }
    assert!(
        matches!(socket.follow(last, None).await, ServerFrame::Error { error, .. } if error.code == ErrorCode::TooManyRooms)
    );
    assert!(
        matches!(socket.follow(rooms[0], None).await, ServerFrame::Followed { .. }),
        "following again is not one more"
    );
    socket.say(&ClientFrame::Unfollow { room: rooms[0] }).await;
    assert!(matches!(socket.follow(last, None).await, ServerFrame::Followed { .. }));
}

#[tokio::test]
async fn malformed_calls_are_bad_requests_and_unknown_addresses_are_not_found() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let room = guest.create("Calls").await.room;
    let history = |query: &str| format!("/api/rooms/{room}/history?{query}");
    for (method, path, body, status, code) in [
        ("POST", "/api/lookup".to_owned(), json!({"nome": "x"}), 400, "bad_request"),
        ("POST", "/api/lookup".into(), json!({"name": ""}), 400, "room_name_invalid"),
        ("POST", "/api/lookup".into(), json!({"name": "a\u{202e}b"}), 400, "room_name_invalid"),
        ("POST", "/api/lookup".into(), json!({"name": "x".repeat(65)}), 400, "room_name_invalid"),
        ("POST", "/api/lookup".into(), json!({"name": "x".repeat(70_000)}), 413, "too_large"),
        ("POST", "/api/join".into(), json!({}), 400, "bad_request"),
        ("GET", history("limit=0"), json!({}), 400, "bad_request"),
        ("GET", history("limit=201"), json!({}), 400, "bad_request"),
        ("GET", history("before=0"), json!({}), 400, "bad_request"),
        ("GET", history("before=soon"), json!({}), 400, "bad_request"),
        ("GET", "/api/rooms/short/history".into(), json!({}), 400, "bad_request"),
        ("GET", "/api/nothing".into(), json!({}), 404, "not_found"),
        ("GET", "/missing.js".into(), json!({}), 404, "not_found"),
        ("PUT", "/api/rooms".into(), json!({}), 405, "method_not_allowed"),
    ] {
        let answer = guest.call(method, &path, Some(&body)).await;
        assert_eq!((answer.0, answer.1["code"].as_str()), (status, Some(code)), "{method} {path}");
        assert!(answer.1["message"].as_str().is_some_and(|message| message.ends_with('.')), "{}", answer.1);
    }
}

#[tokio::test]
async fn a_room_is_not_created_from_a_record_that_is_not_the_creators() {
    let node = Node::start().await;
    let guest = Guest::new(&node.url);
    let code = async |request: snug_protocol::http::CreateRoom| {
        guest.post("/api/rooms", &request).await.1["code"].as_str().map(str::to_owned)
    };
    let (mut request, ..) = guest.draft_room("Records").await;
    request.epoch_record = guest.draft_room("Other").await.0.epoch_record;
    assert_eq!(code(request).await.as_deref(), Some("bad_envelope"));
    let (mut request, ..) = guest.draft_room("Records").await;
    request.epoch_record = Guest::new(&node.url).draft_room("Records").await.0.epoch_record;
    assert_eq!(code(request).await.as_deref(), Some("wrong_device"));
    let (mut request, ..) = guest.draft_room("Records").await;
    request.blob = vec![1; 128].into();
    assert_eq!(code(request).await.as_deref(), Some("bad_request"));
    let (mut request, ..) = guest.draft_room("Records").await;
    request.sign_in = Guest::new(&node.url).sign_in(RoomId(random()), request.grant).await;
    assert_eq!(code(request).await.as_deref(), Some("bad_signature"));
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_can_be_repeated_and_makes_one_room() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let (request, ..) = guest.draft_room("Once").await;
    let (status, first) = guest.post("/api/rooms", &request).await;
    assert_eq!(status, 201, "{first}");
    let (status, second) = guest.post("/api/rooms", &request).await;
    assert_eq!((status, &second["room"]), (201, &first["room"]));
    guest.token = second["token"].as_str().map(str::to_owned);
    assert_eq!(guest.get("/api/rooms").await.1["rooms"].as_array().map(Vec::len), Some(1));
    let (other, ..) = guest.draft_room("Once").await;
    assert_eq!(guest.post("/api/rooms", &other).await.1["code"], "room_name_taken");
}

#[tokio::test]
async fn each_type_has_its_size_and_its_target() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let mut room = guest.create("Small").await;
    let mut socket = guest.socket().await;
    let long = |bytes: usize| json!({ "text": "x".repeat(bytes) });
    use EntryKind::{Deletion, Edit, EpochRecord, Leave, Message, Pin, Profile, Reaction, Step};
    for (kind, target, body, code) in [
        (Profile, 0, long(1_000), ErrorCode::TooLarge),
        (Reaction, 1, long(500), ErrorCode::TooLarge),
        (Pin, 1, long(500), ErrorCode::TooLarge),
        (Profile, 1, json!({}), ErrorCode::TargetInvalid),
        (Message, 1, json!({}), ErrorCode::TargetInvalid),
        (Leave, 1, json!({}), ErrorCode::TargetInvalid),
        (Edit, 0, json!({}), ErrorCode::TargetInvalid),
        (Deletion, 0, json!({}), ErrorCode::TargetInvalid),
        (Reaction, 0, json!({}), ErrorCode::TargetInvalid),
        (Pin, 0, json!({}), ErrorCode::TargetInvalid),
        (Step, 1, json!({}), ErrorCode::EntryNotAccepted),
        (EpochRecord, 1, json!({}), ErrorCode::EntryNotAccepted),
    ] {
        room.new_instance();
        let envelope = guest.seal(&mut room, kind, Seq(target), &body);
        assert_eq!(socket.refused(&envelope).await.code, code, "{kind:?} about {target}");
    }
    assert_eq!(node.store.room(room.room).await.expect("memory").expect("it exists").head, Seq(1));
}

#[tokio::test]
async fn a_device_to_which_nothing_can_be_sealed_holds_up_no_removal_since_it_does_not_get_in() {
    let node = Node::start().await;
    let (mut ana, ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut room = ana.create("Removals").await;
    let mut one_and_a_bit = [0; 32];
    (one_and_a_bit[0], one_and_a_bit[31]) = (1, 0x80);
    for low in [[0; 32], one_and_a_bit] {
        let mut join = ben.draft_join(room.room, room.grant, &room.secret).await;
        join.sign_in.agree_key = low.into();
        assert_eq!(ben.post("/api/join", &join).await.1["code"], "bad_request");
        let (mut create, ..) = ben.draft_room("Low order").await;
        create.recovery.agree_key = low.into();
        assert_eq!(ben.post("/api/rooms", &create).await.1["code"], "bad_request");
        let mut draft = ana.draft_epoch(&room, Seq(1), &[]);
        draft.request.recovery = Some(create.recovery);
        let (status, answer) = ana.stage(&room, &draft, &[ana.device.id()]).await;
        assert_eq!(status, 204, "{answer}");
        assert_eq!(ana.begin_epoch(&room, &draft).await.1["code"], "bad_request");
    }
    let mut eve = Guest::new(&node.url);
    eve.join(&room).await;
    ana.remove(&mut room, Seq(1), &[ana.device.id()], eve.device.id(), false).await;
}

#[tokio::test]
async fn a_room_is_not_created_without_a_recovery_device_of_its_own() {
    let node = Node::start().await;
    let guest = Guest::new(&node.url);
    let code = async |request: snug_protocol::http::CreateRoom| {
        guest.post("/api/rooms", &request).await.1["code"].as_str().map(str::to_owned)
    };
    let (request, ..) = guest.draft_room_with("Recovery", guest.device.keys()).await;
    assert_eq!(code(request).await.as_deref(), Some("bad_request"), "the creator is no recovery device");
    for (sign_key, agree_key, key) in [(31, 32, 80), (32, 33, 80), (32, 32, 79)] {
        let (mut request, ..) = guest.draft_room("Recovery").await;
        request.recovery = snug_protocol::http::RecoveryDevice {
            sign_key: vec![1; sign_key].into(),
            agree_key: vec![1; agree_key].into(),
            key: vec![1; key].into(),
        };
        assert_eq!(code(request).await.as_deref(), Some("bad_request"));
    }
    let (request, ..) = guest.draft_room("Recovery").await;
    let mut request = serde_json::to_value(&request).expect("JSON");
    request.as_object_mut().expect("an object").remove("recovery");
    assert_eq!(guest.post("/api/rooms", &request).await.1["code"], "bad_request");
}
