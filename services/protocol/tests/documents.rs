//! Files that are written from this crate and read elsewhere are up to date. `UPDATE=1 cargo test -p snug-protocol --all-features` rewrites them.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snug_protocol::envelope::{EntryKind, Header};
use snug_protocol::frame::{ClientFrame, Cursor, EntryFrame, Head, PresenceState, Resync, SendFrame, ServerFrame};
use snug_protocol::http::Role;
use snug_protocol::{Base64Bytes, DeviceId, EnvelopeHash, ErrorBody, ErrorCode, HistoryId, InstanceId, RoomId, Seq};

fn up_to_date(path: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, wanted).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{} is stale; run UPDATE=1 cargo test -p snug-protocol --all-features", path.display());
}

#[test]
fn the_error_table_in_the_reference_is_the_one_in_the_code() {
    let mut table = String::from("| code | HTTP | retry | meaning |\n| --- | --- | --- | --- |\n");
    for code in ErrorCode::ALL {
        let retry = serde_json::to_value(code.retry()).expect("plain").as_str().map(str::to_owned).expect("text");
        writeln!(table, "| `{}` | {} | {retry} | {} |", code.as_str(), code.status(), code.message().trim())
            .expect("memory");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md");
    let text = std::fs::read_to_string(path).expect("the reference");
    let (before, rest) = text.split_once("<!-- error-codes:begin -->\n").expect("a mark");
    let (_, after) = rest.split_once("<!-- error-codes:end -->").expect("a mark");
    up_to_date("PROTOCOL.md", &format!("{before}<!-- error-codes:begin -->\n{table}<!-- error-codes:end -->{after}"));
}

fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let text = serde_json::to_string_pretty(value).expect("plain") + "\n";
    up_to_date(&format!("golden/{name}.json"), &text);
    assert_eq!(&serde_json::from_str::<T>(&text).expect("it reads what it wrote"), value, "{name}");
}

const ROOM: RoomId = RoomId([1; 16]);
const DEVICE: DeviceId = DeviceId([2; 16]);
const HISTORY: HistoryId = HistoryId([3; 16]);

#[test]
fn every_client_frame_has_a_golden_example() {
    golden("client.hello", &ClientFrame::Hello { client: "snug-web/0.1.0".into() });
    golden("client.follow", &ClientFrame::Follow { id: 1, room: ROOM, cursor: None });
    let cursor = Cursor { history: HISTORY, seq: Seq(41), hash: Base64Bytes(vec![4; 8]) };
    golden("client.follow.resume", &ClientFrame::Follow { id: 2, room: ROOM, cursor: Some(cursor) });
    golden("client.unfollow", &ClientFrame::Unfollow { room: ROOM });
    golden("client.typing", &ClientFrame::Typing { room: ROOM });
    golden("client.heartbeat", &ClientFrame::Heartbeat {});
}

#[test]
fn every_server_frame_has_a_golden_example() {
    let at_ms = 1_790_000_000_000;
    golden(
        "server.welcome",
        &ServerFrame::Welcome { device: DEVICE, node: "Zm9v".into(), server_at_ms: at_ms, heartbeat_ms: 25_000 },
    );
    let followed = |skipped, resync| ServerFrame::Followed {
        id: 1,
        room: ROOM,
        history: HISTORY,
        head: Seq(1_641),
        from: Seq(1_592),
        skipped,
        resync,
        role: Role::Member,
        chain: Seq(1),
        here: vec![DEVICE],
        here_count: 1,
    };
    golden("server.followed", &followed(true, None));
    golden("server.followed.resync", &followed(false, Some(Resync::OtherHash)));
    golden("server.sent", &ServerFrame::Sent { id: 7, room: ROOM, seq: Seq(42), at_ms, duplicate: false });
    let error = ErrorBody { expected: Some(5), ..ErrorCode::OutOfOrder.into() };
    golden("server.error.out_of_order", &ServerFrame::Error { id: Some(7), room: Some(ROOM), error });
    let error = ErrorBody { retry_after_ms: Some(900), ..ErrorCode::TooFast.into() };
    golden("server.error.too_fast", &ServerFrame::Error { id: Some(8), room: Some(ROOM), error });
    golden("server.error.fatal", &ServerFrame::Error { id: None, room: None, error: ErrorCode::TokenInvalid.into() });
    golden(
        "server.presence",
        &ServerFrame::Presence { room: ROOM, device: DEVICE, state: PresenceState::Gone, here_count: 3 },
    );
    golden("server.here", &ServerFrame::Here { room: ROOM, here: Some(vec![DEVICE]), here_count: 1 });
    golden("server.here.crowd", &ServerFrame::Here { room: ROOM, here: None, here_count: 1_203 });
    golden("server.typing", &ServerFrame::Typing { room: ROOM, device: DEVICE });
    golden("server.typing_count", &ServerFrame::TypingCount { room: ROOM, count: 7 });
    golden("server.heartbeat", &ServerFrame::Heartbeat { heads: vec![Head { room: ROOM, head: Seq(42) }] });
    golden("server.room_closed", &ServerFrame::RoomClosed { room: ROOM, code: ErrorCode::RoomDeleted });
    golden("server.move", &ServerFrame::Move { within_ms: 10_000 });
}

#[test]
fn binary_frames_have_golden_examples() {
    #[derive(Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Binary {
        what: String,
        id: Option<u32>,
        seq: Option<Seq>,
        at_ms: Option<u64>,
        envelope: Base64Bytes,
        frame: Base64Bytes,
    }
    let header = Header {
        kind: EntryKind::Message,
        room: ROOM,
        epoch: 0,
        device: DEVICE,
        instance: InstanceId([5; 16]),
        counter: 9,
        target: Seq(0),
    };
    let tombstone = EntryFrame::tombstone(Seq(41), 1_790_000_000_000, &header.encode(), &EnvelopeHash([7; 32]));
    assert_eq!(EntryFrame::parse(tombstone.bytes()), Ok(tombstone.clone()));
    assert_eq!((tombstone.header(), tombstone.hash()), (Ok(header), EnvelopeHash([7; 32])));
    golden(
        "binary.tombstone",
        &Binary {
            what: "tombstone frame; the envelope is its header and the hash is filler".into(),
            id: None,
            seq: Some(Seq(41)),
            at_ms: Some(1_790_000_000_000),
            envelope: tombstone.envelope_bytes().to_vec().into(),
            frame: tombstone.bytes().to_vec().into(),
        },
    );
    let mut envelope = header.encode().to_vec();
    envelope.extend_from_slice(&[6; 256 + 16]);
    let entry = EntryFrame::new(Seq(42), 1_790_000_000_000, &envelope);
    assert_eq!(EntryFrame::parse(entry.bytes()), Ok(entry.clone()));
    golden(
        "binary.entry",
        &Binary {
            what: "entry frame; the envelope's sealed part is filler".into(),
            id: None,
            seq: Some(entry.seq()),
            at_ms: Some(entry.at_ms()),
            envelope: envelope.clone().into(),
            frame: entry.bytes().to_vec().into(),
        },
    );
    let send = SendFrame::encode(7, &envelope);
    let read = SendFrame::parse(&send).expect("it reads what it wrote");
    assert_eq!((read.id, read.envelope.bytes()), (7, &Bytes::from(envelope.clone())));
    golden(
        "binary.send",
        &Binary {
            what: "send frame; the envelope's sealed part is filler".into(),
            id: Some(7),
            seq: None,
            at_ms: None,
            envelope: envelope.into(),
            frame: send.to_vec().into(),
        },
    );
}

/// The limits that the browser client keeps too, as constants.
#[cfg(feature = "typescript")]
fn write_limits(out: &mut String) {
    use snug_protocol::limits;

    let ms = |span: std::time::Duration| span.as_millis();
    let numbers: Vec<(&str, u128)> = vec![
        ("FRAME_BYTES_MAX", limits::FRAME_BYTES_MAX as u128),
        ("ENVELOPE_BYTES_MAX", limits::ENVELOPE_BYTES_MAX as u128),
        ("BODY_BYTES_MAX", limits::BODY_BYTES_MAX as u128),
        ("TEXT_CHARS_MAX", limits::TEXT_CHARS_MAX as u128),
        ("MEMBER_NAME_CHARS_MAX", limits::MEMBER_NAME_CHARS_MAX as u128),
        ("ROOM_NAME_CHARS_MAX", limits::ROOM_NAME_CHARS_MAX as u128),
        ("PASSWORD_CHARS_MAX", limits::PASSWORD_CHARS_MAX as u128),
        ("ROOMS_PER_SESSION_MAX", limits::ROOMS_PER_SESSION_MAX as u128),
        ("MEMBERS_LISTED_MAX", limits::MEMBERS_LISTED_MAX as u128),
        ("MEMBERS_PAGE_MAX", limits::MEMBERS_PAGE_MAX as u128),
        ("INVITES_PER_ROOM_MAX", limits::INVITES_PER_ROOM_MAX as u128),
        ("INVITE_LIFE_MAX_MS", ms(limits::INVITE_LIFE_MAX)),
        ("HISTORY_PAGE_MAX", limits::HISTORY_PAGE_MAX as u128),
        ("HERE_LISTED_MAX", limits::HERE_LISTED_MAX as u128),
        ("LATEST_PAGE", u128::from(limits::LATEST_PAGE)),
        ("BACKLOG_MAX", u128::from(limits::BACKLOG_MAX)),
        ("SENDS_IN_FLIGHT_MAX", limits::SENDS_IN_FLIGHT_MAX as u128),
        ("SILENCE_LIMIT_MS", ms(limits::SILENCE_LIMIT)),
        ("TYPING_PERIOD_MS", ms(limits::TYPING_PERIOD)),
        ("GRANT_BLOB_BYTES", limits::GRANT_BLOB_BYTES as u128),
        ("MENTIONS_MAX", limits::MENTIONS_MAX as u128),
        ("EMOJI_CHARS_MAX", limits::EMOJI_CHARS_MAX as u128),
        ("EMOJI_BYTES_MAX", limits::EMOJI_BYTES_MAX as u128),
        ("TOPIC_CHARS_MAX", limits::TOPIC_CHARS_MAX as u128),
        ("ADMINS_MAX", limits::ADMINS_MAX as u128),
        ("BANNED_MAX", limits::BANNED_MAX as u128),
        ("MUTED_MAX", limits::MUTED_MAX as u128),
        ("REMOVALS_MAX", limits::REMOVALS_MAX as u128),
        ("SLOW_INTERVAL_MAX_MS", ms(limits::SLOW_INTERVAL_MAX)),
        ("RETENTION_MIN_MS", ms(limits::RETENTION_MIN)),
        ("RETENTION_MAX_MS", ms(limits::RETENTION_MAX)),
        ("EPOCH_KEYS_PAGE_MAX", limits::EPOCH_KEYS_PAGE_MAX as u128),
        ("EPOCH_KEY_BYTES", limits::EPOCH_KEY_BYTES as u128),
        ("MOVE_OFFER_BYTES", limits::MOVE_OFFER_BYTES as u128),
        ("MOVE_NONCE_BYTES", limits::MOVE_NONCE_BYTES as u128),
        ("MOVE_REVEAL_BYTES", limits::MOVE_REVEAL_BYTES as u128),
        ("MOVE_ANSWER_BYTES_MAX", limits::MOVE_ANSWER_BYTES_MAX as u128),
        ("MOVE_LIFE_MS", ms(limits::MOVE_LIFE)),
    ];
    for (name, value) in numbers {
        writeln!(out, "export const {name} = {value};").expect("memory");
    }
    writeln!(out, "export const PLAINTEXT_BUCKETS = {:?} as const;", limits::PLAINTEXT_BUCKETS).expect("memory");
    writeln!(out, "export const SUBPROTOCOL = {:?};", snug_protocol::SUBPROTOCOL).expect("memory");
}

#[cfg(feature = "typescript")]
#[test]
fn the_browser_clients_types_are_those_of_this_crate() {
    use snug_protocol::http;
    use ts_rs::{Config, TS};

    let config = Config::default().with_large_int("number");
    let mut out = String::from("// Generated from the crate snug-protocol by its test `documents`; do not edit.\n\n");
    macro_rules! types {
        ($($name:ty),* $(,)?) => { $( writeln!(out, "export {}\n", <$name as TS>::decl(&config)).expect("memory"); )* };
    }
    types!(
        RoomId,
        snug_protocol::GrantId,
        DeviceId,
        InstanceId,
        HistoryId,
        Seq,
        Base64Bytes,
        snug_protocol::Retry,
        ErrorCode,
        ErrorBody,
        Role,
        http::MemberState,
        Cursor,
        ClientFrame,
        Resync,
        PresenceState,
        Head,
        ServerFrame,
        http::NonceAnswer,
        http::LookupRequest,
        http::LookupAnswer,
        http::SignIn,
        http::RecoveryDevice,
        http::CreateRoom,
        http::JoinRequest,
        http::TokenRequest,
        http::RoomInfo,
        http::Entry,
        http::Entered,
        http::Signed,
        http::RoomsAnswer,
        http::Member,
        http::MembersAnswer,
        http::CreateInvite,
        http::Invite,
        http::InvitesAnswer,
        http::LogPageHead,
        http::Effect,
        http::StepRequest,
        http::NewEpoch,
        http::Committed,
        http::SealedKey,
        http::StageKeys,
        http::EpochKeys,
    );
    let codes = ErrorCode::ALL.iter().map(|code| {
        format!(
            "  {}: {:?},\n",
            code.as_str(),
            serde_json::to_value(code.retry()).expect("plain").as_str().expect("text")
        )
    });
    write!(out, "export const ERROR_RETRY: Record<ErrorCode, Retry> = {{\n{}}};\n\n", codes.collect::<String>())
        .expect("memory");
    write_limits(&mut out);
    up_to_date("../web/src/protocol.gen.ts", &out);
}
