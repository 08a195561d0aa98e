//! The published vectors: `sdk-v1.json` is written here and read by the browser client, `web-v1.json` the other way round.
//!
//! `UPDATE=1 cargo test -p snug-client vectors` rewrites ours.

mod governing;
mod verify;
mod verify_governing;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::envelope::{encrypt, plaintext};
use super::*;
use snug_protocol::{
    Base64Bytes, DeviceId, EntryKind, Envelope, EnvelopeHash, GrantId, Header, InstanceId, RoomId, Seq,
};
use verify::verify;

#[derive(Serialize, Deserialize)]
struct Vectors {
    format: String,
    device: DeviceVector,
    password_grant: PasswordGrant,
    invite_grant: InviteGrant,
    sign_in: SignInVector,
    recovery: RecoveryVector,
    room_key_commitment: Commitment,
    envelopes: Vec<Sealed>,
    refused: Vec<Refused>,
    #[serde(default)]
    epoch_records: Vec<governing::RecordVector>,
    #[serde(default)]
    sealed_keys: Vec<governing::SealedKeyVector>,
    #[serde(default)]
    chains: Vec<governing::ChainVector>,
    #[serde(default)]
    moves: Vec<governing::MoveVector>,
    #[serde(default)]
    emoji: Option<governing::Accepted>,
    #[serde(default)]
    topics: Option<governing::Accepted>,
}

#[derive(Serialize, Deserialize)]
struct DeviceVector {
    sign_seed: Base64Bytes,
    agree_secret: Base64Bytes,
    sign_key: Base64Bytes,
    agree_key: Base64Bytes,
    device: DeviceId,
}

#[derive(Serialize, Deserialize)]
struct PasswordGrant {
    password: String,
    room: RoomId,
    grant: GrantId,
    ikm: Base64Bytes,
    auth: Base64Bytes,
    kek: Base64Bytes,
    commit: Base64Bytes,
    epoch: u32,
    room_key: Base64Bytes,
    record_hash: Base64Bytes,
    iv: Base64Bytes,
    blob: Base64Bytes,
}

#[derive(Serialize, Deserialize)]
struct InviteGrant {
    room: RoomId,
    grant: GrantId,
    secret: Base64Bytes,
    auth: Base64Bytes,
    kek: Base64Bytes,
    commit: Base64Bytes,
    epoch: u32,
    room_key: Base64Bytes,
    record_hash: Base64Bytes,
    iv: Base64Bytes,
    blob: Base64Bytes,
    link_fragment: String,
}

#[derive(Serialize, Deserialize)]
struct SignInVector {
    room: RoomId,
    grant: GrantId,
    nonce: String,
    origin: String,
    signature: Base64Bytes,
}

#[derive(Serialize, Deserialize)]
struct RecoveryVector {
    secret: Base64Bytes,
    text: String,
    sign_key: Base64Bytes,
    agree_key: Base64Bytes,
}

#[derive(Serialize, Deserialize)]
struct Commitment {
    room: RoomId,
    epoch: u32,
    room_key: Base64Bytes,
    commitment: Base64Bytes,
}

#[derive(Serialize, Deserialize, Clone)]
struct Sealed {
    name: String,
    r#type: u8,
    room: RoomId,
    epoch: u32,
    room_key: Base64Bytes,
    device: DeviceId,
    instance: InstanceId,
    counter: u64,
    target_seq: Seq,
    prev_seq: Seq,
    prev_hash: Base64Bytes,
    sent_at_ms: u64,
    body: String,
    envelope: Base64Bytes,
    hash: Base64Bytes,
}

#[derive(Serialize, Deserialize)]
struct Refused {
    name: String,
    envelope: Base64Bytes,
    why: String,
}

/// Bytes that look random and are the same at every run.
fn fixed<const N: usize>(label: &str) -> [u8; N] {
    super::sha256(&[b"snug sdk vectors", label.as_bytes()])[..N].try_into().expect("at most 32 bytes")
}

fn secret(label: &str) -> zeroize::Zeroizing<[u8; 32]> {
    zeroize::Zeroizing::new(fixed(label))
}

fn room() -> RoomId {
    RoomId(fixed("room"))
}

fn device() -> Device {
    Device::import(&DeviceSecrets { sign_seed: secret("sign seed"), agree_secret: secret("agree secret") })
}

fn room_key() -> RoomKey {
    RoomKey::import(room(), 0, secret("room key"))
}

fn header(kind: EntryKind, counter: u64) -> Header {
    let instance = InstanceId(fixed("instance"));
    Header { kind, room: room(), epoch: 0, device: device().id(), instance, counter, target: Seq::ZERO }
}

fn sealed(name: &str, kind: EntryKind, counter: u64, prev: Prev, body: &str) -> Sealed {
    sealed_as(name, &room_key(), &header(kind, counter), prev, body)
}

fn sealed_as(name: &str, key: &RoomKey, header: &Header, prev: Prev, body: &str) -> Sealed {
    let sent_at_ms = 1_790_000_000_000 + header.counter;
    let content = Content { prev, sent_at_ms, body: body.as_bytes() };
    let envelope = seal(&device(), key, header, &content).expect("it can be sealed");
    Sealed {
        name: name.into(),
        r#type: header.kind as u8,
        room: header.room,
        epoch: header.epoch,
        room_key: (*key.export()).into(),
        device: header.device,
        instance: header.instance,
        counter: header.counter,
        target_seq: header.target,
        prev_seq: prev.seq,
        prev_hash: prev.hash.0.into(),
        sent_at_ms,
        body: body.into(),
        envelope: envelope.bytes().to_vec().into(),
        hash: envelope.hash().0.into(),
    }
}

/// A message body of exactly `bytes` bytes.
fn message_of(bytes: usize) -> String {
    let text = |fill: usize| format!(r#"{{"text":"{}"}}"#, "a".repeat(fill));
    text(bytes - text(0).len())
}

/// The largest body: as long a text as may be, and a field that readers ignore.
fn largest_body() -> String {
    let body = |fill: usize| format!(r#"{{"text":"{}","ignored":"{}"}}"#, "\u{1F9F6}".repeat(4_000), "x".repeat(fill));
    body(16_384 - body(0).len())
}

fn envelopes() -> Vec<Sealed> {
    let recovery = RecoveryKey::import(secret("recovery")).device();
    let record =
        Body::EpochRecord(Box::new(EpochRecord::founding(&room_key(), device().keys(), recovery.keys()))).to_json();
    let record = String::from_utf8(record).expect("JSON");
    let first = sealed("epoch record", EntryKind::EpochRecord, 0, Prev::default(), &record);
    let after = Prev { seq: Seq(1), hash: EnvelopeHash(first.hash.array().expect("32 bytes")) };
    let profile = Body::Profile(Profile {
        name: "Ana".into(),
        joined: true,
        sign_key: device().keys().sign_key.into(),
        agree_key: device().keys().agree_key.into(),
    });
    let profile = String::from_utf8(profile.to_json()).expect("JSON");
    let message = |name: &str, counter, body: &str| sealed(name, EntryKind::Message, counter, after, body);
    let about = |name: &str, kind, counter, body: &str| {
        sealed_as(name, &room_key(), &Header { target: Seq(3), ..header(kind, counter) }, after, body)
    };
    let reply = format!(r#"{{"text":"a","reply_to":3,"mentions":["{}"]}}"#, device().id());
    let step = Body::Step(StepBody { previous: after.hash, step: Step::Slow { interval_ms: 5_000 } });
    let step = String::from_utf8(step.to_json()).expect("JSON");
    vec![
        first.clone(),
        sealed("profile", EntryKind::Profile, 1, after, &profile),
        message("smallest message", 2, r#"{"text":"a"}"#),
        message("one byte below a bucket", 3, &message_of(256 - 116 - 1)),
        message("exactly a bucket", 4, &message_of(256 - 116)),
        message("one byte above a bucket", 5, &message_of(256 - 116 + 1)),
        message("largest body", 6, &largest_body()),
        message("text beyond ASCII", 7, "{\"text\":\"Grüße, 世界! \u{1F44B}\u{1F3FD} cafe\u{301}\\n\\t“שלום”\"}"),
        sealed("leave", EntryKind::Leave, 8, after, "{}"),
        message("reply that names somebody", 9, &reply),
        about("edit", EntryKind::Edit, 10, r#"{"text":"b","mentions":[]}"#),
        about("deletion", EntryKind::Deletion, 11, "{}"),
        about("reaction", EntryKind::Reaction, 12, "{\"emoji\":\"\u{1F44D}\u{1F3FD}\",\"on\":true}"),
        about("pin", EntryKind::Pin, 13, r#"{"on":false}"#),
        about("step", EntryKind::Step, 14, &step),
        governing::epoch_record(&first).1,
    ]
}

fn refused(envelopes: &[Sealed]) -> Vec<Refused> {
    let small = &envelopes[2].envelope.0;
    let item = |name: &str, why: &str, envelope: Vec<u8>| Refused {
        name: name.into(),
        envelope: envelope.into(),
        why: why.into(),
    };
    let flipped = |at: usize| {
        let mut bytes = small.clone();
        bytes[at] ^= 1;
        bytes
    };
    let header = header(EntryKind::Message, 20);
    let content = Content { prev: Prev::default(), sent_at_ms: 1, body: br#"{"text":"a"}"# };
    let beyond = Prev { seq: Seq(1 << 53), hash: EnvelopeHash([7; 32]) };
    let sealed = |content: &Content<'_>| {
        encrypt(&room_key(), &header, &plaintext(&device(), &header, content, None).expect("short"))
    };
    let other = Device::import(&DeviceSecrets { sign_seed: secret("other"), agree_secret: secret("other agree") });
    let make = |signer: &Device, header: &Header, size: Option<usize>| {
        plaintext(signer, header, &content, size).expect("it is short")
    };
    let mut unclean = make(&device(), &header, None);
    *unclean.last_mut().expect("256 bytes") = 1;
    let elsewhere = Header { room: RoomId(fixed("another room")), ..header };
    let there = RoomKey::import(elsewhere.room, 0, secret("room key"));
    let long = &envelopes[5].envelope.0;
    let bad_text = Content { body: b"{\"text\":\"bell \\u0007\"}", ..content };
    let bad_text = plaintext(&device(), &header, &bad_text, None).expect("it is short");
    vec![
        item("bit flipped in the header", "the header is authenticated: its counter was changed", flipped(67)),
        item("bit flipped in the ciphertext", "the tag does not fit", flipped(100)),
        item(
            "signature by another key",
            "signed by another device than the header names",
            encrypt(&room_key(), &header, &make(&other, &header, None)),
        ),
        item("padding not zero", "the last byte of the padding is 1", encrypt(&room_key(), &header, &unclean)),
        item(
            "wrong bucket",
            "padded to 384 bytes where 256 hold it",
            encrypt(&room_key(), &header, &make(&device(), &header, Some(384))),
        ),
        item(
            "wrong room",
            "sealed for another room under the same key bytes",
            encrypt(&there, &elsewhere, &make(&device(), &elsewhere, None)),
        ),
        item("truncated", "cut to the size of a smaller bucket", long[..76 + 256 + 16].to_vec()),
        item("cut short", "one byte is missing", small[..small.len() - 1].to_vec()),
        item("forbidden control character", "a bell in the text", encrypt(&room_key(), &header, &bad_text)),
        item("seen beyond all places", "prev.seq is 2^53", sealed(&Content { prev: beyond, ..content })),
        item("sent beyond all times", "sent_at_ms is 2^53", sealed(&Content { sent_at_ms: 1 << 53, ..content })),
    ]
}

fn invite_grant(content: &GrantContent) -> InviteGrant {
    let invite = InviteLink {
        origin: "https://chat.example".into(),
        room: room(),
        grant: GrantId(fixed("invite grant")),
        secret: Secret::of_invite(secret("invite")),
    };
    let invite_keys = GrantKeys::derive(&invite.secret, room(), invite.grant);
    InviteGrant {
        room: room(),
        grant: invite.grant,
        secret: fixed::<32>("invite").into(),
        auth: invite_keys.auth().into(),
        kek: (*invite_keys.kek).into(),
        commit: (*invite_keys.commit).into(),
        epoch: 0,
        room_key: fixed::<32>("room key").into(),
        record_hash: content.record_hash.0.into(),
        iv: fixed::<12>("invite iv").into(),
        blob: invite_keys.seal_under(content, fixed("invite iv")).into(),
        link_fragment: invite.fragment().to_string(),
    }
}

fn vectors() -> Vectors {
    let grant = GrantId(fixed("password grant"));
    // The e and its accent are two code points; both sides must hash the composed one.
    let password = "cafe\u{301} à la carte";
    let envelopes = envelopes();
    let record_hash = EnvelopeHash(envelopes[0].hash.array().expect("32 bytes"));
    let content = GrantContent { room_key: room_key(), record_hash };
    let ikm = Secret::of_password(password, room(), grant).expect("a password");
    let keys = GrantKeys::derive(&ikm, room(), grant);
    let (nonce, origin) = ("bm9uY2U.1790000000000", "https://chat.example");
    let signed = sign_in(&device(), room(), grant, nonce, origin).expect("a short nonce");
    let recovery = RecoveryKey::import(secret("recovery"));
    Vectors {
        format: "snug/v1".into(),
        device: DeviceVector {
            sign_seed: fixed::<32>("sign seed").into(),
            agree_secret: fixed::<32>("agree secret").into(),
            sign_key: device().keys().sign_key.into(),
            agree_key: device().keys().agree_key.into(),
            device: device().id(),
        },
        password_grant: PasswordGrant {
            password: password.into(),
            room: room(),
            grant,
            ikm: (*ikm.bytes()).into(),
            auth: keys.auth().into(),
            kek: (*keys.kek).into(),
            commit: (*keys.commit).into(),
            epoch: 0,
            room_key: fixed::<32>("room key").into(),
            record_hash: record_hash.0.into(),
            iv: fixed::<12>("password iv").into(),
            blob: keys.seal_under(&content, fixed("password iv")).into(),
        },
        invite_grant: invite_grant(&content),
        sign_in: SignInVector {
            room: room(),
            grant,
            nonce: nonce.into(),
            origin: origin.into(),
            signature: signed.signature,
        },
        recovery: RecoveryVector {
            secret: fixed::<32>("recovery").into(),
            text: recovery.to_text().to_string(),
            sign_key: recovery.device().keys().sign_key.into(),
            agree_key: recovery.device().keys().agree_key.into(),
        },
        room_key_commitment: Commitment {
            room: room(),
            epoch: 0,
            room_key: fixed::<32>("room key").into(),
            commitment: room_key().commitment().into(),
        },
        refused: refused(&envelopes),
        epoch_records: vec![governing::epoch_record(&envelopes[0]).0],
        sealed_keys: vec![governing::sealed_key()],
        chains: vec![governing::chain()],
        moves: vec![governing::moving()],
        emoji: Some(governing::emoji()),
        topics: Some(governing::topics()),
        envelopes,
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors").join(name)
}

#[derive(Deserialize)]
struct BodyVectors {
    accepted: Vec<BodyVector>,
    refused: Vec<BodyVector>,
}

#[derive(Deserialize)]
struct BodyVector {
    name: String,
    r#type: u8,
    body: String,
}

/// Written by hand: what two readers of JSON could take for different things, and what they could not.
#[test]
fn a_body_is_read_here_exactly_if_a_browser_reads_it() {
    let text = std::fs::read(path("bodies-v1.json")).expect("the vectors are there");
    let vectors: BodyVectors = serde_json::from_slice(&text).expect("vectors");
    let reads =
        |it: &BodyVector| Body::parse(EntryKind::from_u8(it.r#type).expect("a type"), it.body.as_bytes()).is_ok();
    for it in &vectors.accepted {
        assert!(reads(it), "{}: {}", it.name, it.body);
    }
    for it in &vectors.refused {
        assert!(!reads(it), "{}: {}", it.name, it.body);
    }
}

#[test]
fn the_published_vectors_are_what_this_code_makes() {
    let text = serde_json::to_string_pretty(&vectors()).expect("plain") + "\n";
    let path = path("sdk-v1.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, &text).expect("the vectors can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{} is stale: run with UPDATE=1", path.display());
    verify(&serde_json::from_str(&text).expect("it reads what it wrote"));
}

#[test]
fn the_browser_clients_vectors_hold_here() {
    let path = path("web-v1.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    verify(&serde_json::from_str::<Value>(&text).expect("JSON"));
}
