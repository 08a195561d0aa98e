//! Mailboxes for moving to another device.

use serde_json::Value;
use snug_protocol::limits::{MOVE_ANSWER_BYTES_MAX, MOVE_NONCE_BYTES, MOVE_OFFER_BYTES, MOVE_REVEAL_BYTES};
use snug_tests::guest::{Guest, random};
use snug_tests::node::Node;

fn mailbox(part: &str) -> String {
    format!("/api/moves/{}/{part}", snug_protocol::encode_base64(&random::<16>()))
}

async fn code(guest: &Guest, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let (status, bytes) = guest.call_bytes(method, path, body.to_vec()).await;
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    (status, answer["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn two_devices_meet_in_a_mailbox_and_no_third_gets_in_between() {
    meeting(&Node::start().await).await;
}

pub async fn meeting(node: &Node) {
    let (mut old, new) = (Guest::new(&node.url), Guest::new(&node.url));
    old.create("Moving house").await;
    let offer = mailbox("offer");
    let bytes = random::<MOVE_OFFER_BYTES>();
    assert_eq!(code(&old, "GET", &offer, &[]).await, refused(404, "move_not_found"));
    assert_eq!(code(&new, "PUT", &offer, &bytes).await.0, 204, "who has no token yet makes the offer");
    assert_eq!(code(&new, "PUT", &offer, &bytes).await.0, 204, "its answer may have been lost");
    assert_eq!(code(&new, "PUT", &offer, &random::<MOVE_OFFER_BYTES>()).await, refused(409, "move_taken"));
    assert_eq!(old.call_bytes("GET", &offer, Vec::new()).await, (200, bytes.to_vec().into()));
    let parts = [("nonce", true, MOVE_NONCE_BYTES), ("reveal", false, MOVE_REVEAL_BYTES), ("answer", true, 900)];
    for (at, (part, needs_token, size)) in parts.into_iter().enumerate() {
        for (later, _, size) in &parts[at + 1..] {
            let path = offer.replace("offer", later);
            let early = code(&old, "PUT", &path, &vec![1; *size]).await;
            assert_eq!(early, refused(404, "move_not_found"), "{later} comes after {part}");
        }
        let path = offer.replace("offer", part);
        let (said, other) = (vec![7; size], vec![8; size]);
        assert_eq!(code(&new, "GET", &path, &[]).await, refused(404, "move_not_found"));
        let who = if needs_token { &old } else { &new };
        if needs_token {
            assert_eq!(code(&new, "PUT", &path, &said).await, refused(401, "token_missing"));
        }
        assert_eq!(code(who, "PUT", &path, &said).await.0, 204, "{part}");
        assert_eq!(code(who, "PUT", &path, &said).await.0, 204, "again");
        assert_eq!(code(who, "PUT", &path, &other).await, refused(409, "move_taken"));
        assert_eq!(new.call_bytes("GET", &path, Vec::new()).await, (200, said.into()));
    }
    assert_eq!(code(&old, "GET", &mailbox("offer"), &[]).await.0, 404, "each mailbox is its own");
}

#[tokio::test]
async fn what_goes_into_a_mailbox_has_its_size() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    guest.create("Sizes").await;
    let offer = mailbox("offer");
    for (part, size) in [("offer", MOVE_OFFER_BYTES), ("nonce", MOVE_NONCE_BYTES), ("reveal", MOVE_REVEAL_BYTES)] {
        let path = offer.replace("offer", part);
        for bytes in [0, size - 1, size + 1] {
            assert_eq!(code(&guest, "PUT", &path, &vec![1; bytes]).await, refused(400, "bad_request"), "{bytes} bytes");
        }
        assert_eq!(code(&guest, "PUT", &path, &vec![1; 70_000]).await, refused(413, "too_large"));
        assert_eq!(code(&guest, "PUT", &path, &vec![1; size]).await.0, 204);
    }
    let answer = offer.replace("offer", "answer");
    assert_eq!(code(&guest, "PUT", &answer, &[]).await, refused(400, "bad_request"));
    assert_eq!(code(&guest, "PUT", &answer, &vec![1; MOVE_ANSWER_BYTES_MAX + 1]).await, refused(413, "too_large"));
    assert_eq!(code(&guest, "PUT", &answer, &vec![1; MOVE_ANSWER_BYTES_MAX]).await.0, 204);
    for id in ["short", "AQEBAQEBAQEBAQEBAQEBAQE", "!QEBAQEBAQEBAQEBAQEBAQ"] {
        assert_eq!(code(&guest, "GET", &format!("/api/moves/{id}/offer"), &[]).await, refused(400, "bad_request"));
    }
}

#[tokio::test]
async fn one_address_makes_so_many_offers_and_no_more() {
    let node = Node::start_with(&["--moves-per-minute=2"]).await;
    let guest = Guest::new(&node.url);
    for _ in 0..2 {
        assert_eq!(code(&guest, "PUT", &mailbox("offer"), &[1; MOVE_OFFER_BYTES]).await.0, 204);
    }
    let path = mailbox("offer");
    assert_eq!(code(&guest, "PUT", &path, &[1; MOVE_OFFER_BYTES]).await, refused(429, "too_many_attempts"));
    assert_eq!(code(&guest, "GET", &path, &[]).await, refused(404, "move_not_found"), "looking is free");
}
