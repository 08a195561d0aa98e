//! Mailboxes for moving to another device.

use serde_json::Value;
use snug_protocol::limits::{MOVE_ANSWER_BYTES_MAX, MOVE_OFFER_BYTES};
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
    let answer = offer.replace("offer", "answer");
    let (sealed, bytes) = (random::<900>(), random::<MOVE_OFFER_BYTES>());
    assert_eq!(code(&old, "GET", &offer, &[]).await, refused(404, "move_not_found"));
    assert_eq!(code(&old, "PUT", &answer, &sealed).await, refused(404, "move_not_found"), "there is nothing to answer");
    assert_eq!(code(&new, "PUT", &offer, &bytes).await.0, 204, "who has no token yet makes the offer");
    assert_eq!(code(&new, "PUT", &offer, &bytes).await.0, 204, "its answer may have been lost");
    assert_eq!(code(&new, "PUT", &offer, &random::<MOVE_OFFER_BYTES>()).await, refused(409, "move_taken"));
    assert_eq!(code(&new, "GET", &answer, &[]).await, refused(404, "move_not_found"));
    assert_eq!(old.call_bytes("GET", &offer, Vec::new()).await, (200, bytes.to_vec().into()));
    assert_eq!(code(&new, "PUT", &answer, &sealed).await, refused(401, "token_missing"));
    assert_eq!(code(&old, "PUT", &answer, &sealed).await.0, 204);
    assert_eq!(code(&old, "PUT", &answer, &sealed).await.0, 204, "again");
    assert_eq!(code(&old, "PUT", &answer, &random::<900>()).await, refused(409, "move_taken"));
    assert_eq!(new.call_bytes("GET", &answer, Vec::new()).await, (200, sealed.to_vec().into()));
    assert_eq!(code(&old, "GET", &mailbox("offer"), &[]).await.0, 404, "each mailbox is its own");
}

#[tokio::test]
async fn what_goes_into_a_mailbox_has_its_size() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    guest.create("Sizes").await;
    let offer = mailbox("offer");
    let answer = offer.replace("offer", "answer");
    for bytes in [0, MOVE_OFFER_BYTES - 1, MOVE_OFFER_BYTES + 1] {
        assert_eq!(code(&guest, "PUT", &offer, &vec![1; bytes]).await, refused(400, "bad_request"), "{bytes} bytes");
    }
    assert_eq!(code(&guest, "PUT", &offer, &vec![1; 70_000]).await, refused(413, "too_large"));
    assert_eq!(code(&guest, "PUT", &offer, &[1; MOVE_OFFER_BYTES]).await.0, 204);
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
