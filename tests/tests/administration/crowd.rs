//! Many members, made without clients of their own: each joins by the protocol and introduces itself.

use futures_util::{StreamExt, stream};
use snug_client::crypto::{Body, InviteLink, Prev, Profile};
use snug_protocol::Seq;
use snug_protocol::http::Entered;
use snug_tests::guest::Guest;
use snug_tests::hostile::accomplice::Accomplice;

use super::cast::{Cast, Person};

/// Joins that are under way at one time.
const AT_ONCE: usize = 8;

/// So many devices join the room that `host` is in.
pub async fn join(cast: &Cast, host: &Person, count: usize) {
    let (link, _) = host.room.create_invite(None, None).await.expect("an invite");
    stream::iter(0..count).for_each_concurrent(AT_ONCE, |n| come_in(cast, &link, n)).await;
}

async fn come_in(cast: &Cast, link: &InviteLink, number: usize) {
    let mut guest = Guest::new(&cast.node.url);
    let request = guest.draft_join(link.room, link.grant, &link.secret).await;
    let (status, answer) = guest.post("/api/join", &request).await;
    assert_eq!(status, 200, "{answer}");
    let entered: Entered = serde_json::from_value(answer).expect("the answer's form");
    guest.token.clone_from(&entered.token);
    let keys = snug_client::crypto::GrantKeys::derive(&link.secret, link.room, link.grant);
    let key = keys.open(&entered.blob.0).expect("the invite's own").room_key;
    let prev = Prev { seq: Seq(1), hash: snug_protocol::EnvelopeHash::of(&entered.epoch_record.envelope.0) };
    let sealed_by = *guest.device.keys();
    let name = format!("Member {number}");
    let profile =
        Profile { name, joined: true, sign_key: sealed_by.sign_key.into(), agree_key: sealed_by.agree_key.into() };
    let device = snug_client::crypto::Device::import(&guest.device.export());
    let envelope = Accomplice { device, key }.entry(&Body::Profile(profile), Seq::ZERO, prev);
    guest.socket().await.append(&envelope).await;
}
