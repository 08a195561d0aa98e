//! The chain: one entry after another, each acknowledged as often as it is sent, and of two at once only one.

use serde_json::json;
use snug_protocol::frame::{EntryFrame, ServerFrame};
use snug_protocol::http::{Effect, Role, StepRequest};
use snug_protocol::{EntryKind, Envelope, Seq};
use snug_tests::guest::{Guest, random, seq};
use snug_tests::node::Node;

use super::{entry_at, following, refusal, role};

#[tokio::test]
async fn of_two_admins_at_once_one_wins_and_the_other_is_told_where_the_chain_is() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let anas = ana.create("Two at once").await;
    let bens = ben.join(&anas).await;
    let mut chain = ana.stepped(&anas, Seq(1), role(ben.device.id(), Role::Moderator)).await;
    for round in 0..20 {
        let lock = || Effect::Lock { locked: round % 2 == 0 };
        let (one, other) = tokio::join!(ana.step(&anas, chain, lock()), ben.step(&bens, chain, lock()));
        let (won, lost) = if one.0 == 200 { (one, other) } else { (other, one) };
        let next = seq(&won.1);
        assert_eq!((won.0, next), (200, chain.next()), "{}", won.1);
        assert_eq!(refusal(&lost), (409, "chain_moved"), "{}", lost.1);
        assert_eq!(lost.1["chain"].as_u64(), Some(next.0), "{}", lost.1);
        chain = next;
    }
}

#[tokio::test]
async fn the_same_step_again_is_acknowledged_again_whatever_came_after() {
    let node = Node::start().await;
    let mut ana = Guest::new(&node.url);
    let room = ana.create("Again").await;
    let steps = format!("/api/rooms/{}/steps", room.room);
    let first = ana.draft_step(&room, Seq(1), Effect::Lock { locked: true });
    let (status, answer) = ana.post(&steps, &first).await;
    assert_eq!((status, answer["duplicate"].as_bool()), (200, Some(false)));
    let (_, again) = ana.post(&steps, &first).await;
    assert_eq!((seq(&again), again["duplicate"].as_bool()), (Seq(2), Some(true)));
    assert_eq!(again["at_ms"], answer["at_ms"]);
    ana.stepped(&room, Seq(2), Effect::Lock { locked: false }).await;
    let (status, again) = ana.post(&steps, &first).await;
    assert_eq!((status, seq(&again)), (200, Seq(2)));
    let info = &ana.get("/api/rooms").await.1["rooms"][0];
    assert_eq!((info["locked"].as_bool(), info["chain"].as_u64()), (Some(false), Some(3)), "and changes nothing");
}

#[tokio::test]
async fn the_chain_is_read_apart_from_the_log_and_told_to_who_follows() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut room = ana.create("Chain").await;
    ben.join(&room).await;
    let (mut socket, mut live) = (ana.socket().await, following(&ben, &room).await);
    let mut chain = vec![Seq(1)];
    for number in 0..6 {
        let envelope = ana.message(&mut room, "between");
        socket.append(&envelope).await;
        let last = *chain.last().expect("not empty");
        chain.push(ana.stepped(&room, last, Effect::Slow { interval_ms: number }).await);
        assert_eq!(entry_at(&mut live, chain[chain.len() - 1]).await.kind(), Some(EntryKind::Step), "steps are live");
    }
    let newest = *chain.last().expect("not empty");
    let path = format!("/api/rooms/{}/chain", room.room);
    let seqs = |entries: &[EntryFrame]| entries.iter().map(EntryFrame::seq).collect::<Vec<_>>();
    let (head, entries) = ben.page(&path).await;
    assert_eq!((seqs(&entries), head.from, head.to), (chain.clone(), Seq(1), newest));
    let (head, entries) = ben.page(&format!("{path}?limit=2")).await;
    assert_eq!((seqs(&entries), head.from), (chain[5..].to_vec(), chain[5]));
    let (head, entries) = ben.page(&format!("{path}?limit=200&before={}", head.from)).await;
    assert_eq!((seqs(&entries), head.from, head.head), (chain[..5].to_vec(), Seq(1), newest));
    let (head, entries) = ben.page(&format!("{path}?before=1")).await;
    assert!(entries.is_empty() && head.from > head.to);
    for query in ["limit=0", "limit=201", "before=0", "before=x"] {
        assert_eq!(refusal(&ben.get(&format!("{path}?{query}")).await), (400, "bad_request"), "{query}");
    }
    let ServerFrame::Followed { chain, role, .. } = live.follow(room.room, None).await else { panic!("no answer") };
    assert_eq!((chain, role), (newest, Role::Member));
    let mut eve = Guest::new(&node.url);
    eve.create("Eve's own").await;
    for part in ["chain", "pins", "epochs/0/keys"] {
        let path = format!("/api/rooms/{}/{part}", room.room);
        assert_eq!(refusal(&eve.get(&path).await), (403, "not_a_member"), "{part}");
        assert_eq!(refusal(&Guest::new(&node.url).get(&path).await), (401, "token_missing"), "{part}");
    }
}

#[tokio::test]
async fn steps_that_do_not_belong_are_refused_by_name() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut room = ana.create("Steps").await;
    let bens = ben.create("Ben's").await;
    let path = format!("/api/rooms/{}/steps", room.room);
    let request = |envelope: &Envelope| StepRequest {
        envelope: envelope.bytes().to_vec().into(),
        effect: Effect::Lock { locked: true },
    };
    let late = ana.chain_entry(&room, EntryKind::Step, Seq(1));
    let mut second = late.bytes().to_vec();
    second[67] = 1;
    let second = Envelope::parse(second.into()).expect("a header with another counter");
    let mut of_epoch_1 = room.elsewhere();
    of_epoch_1.epoch = 1;
    for (envelope, status, code) in [
        (ben.chain_entry(&room, EntryKind::Step, Seq(1)), 403, "wrong_device"),
        (ana.chain_entry(&bens, EntryKind::Step, Seq(1)), 400, "bad_envelope"),
        (ana.chain_entry(&room, EntryKind::EpochRecord, Seq(1)), 400, "entry_not_accepted"),
        (ana.about(&mut room, EntryKind::Reaction, Seq(1)), 400, "entry_not_accepted"),
        (second, 409, "out_of_order"),
        (ana.chain_entry(&of_epoch_1, EntryKind::Step, Seq(1)), 409, "stale_epoch"),
        (ana.chain_entry(&room, EntryKind::Step, Seq(0)), 409, "chain_moved"),
        (ana.chain_entry(&room, EntryKind::Step, Seq(9)), 409, "chain_moved"),
    ] {
        let answer = ana.post(&path, &request(&envelope)).await;
        assert_eq!(refusal(&answer), (status, code), "{:?}", envelope.header());
    }
    let effect = json!({ "type": "lock", "locked": true });
    for (body, code) in [
        (json!({ "effect": effect }), "bad_request"),
        (json!({ "envelope": "AAAA", "effect": effect }), "bad_envelope"),
        (json!({ "envelope": "&", "effect": effect }), "bad_request"),
        (json!({ "envelope": "AAAA", "effect": { "type": "dance" } }), "bad_request"),
        (json!({ "envelope": "AAAA", "effect": { "type": "role", "device": "x", "role": "owner" } }), "bad_request"),
    ] {
        assert_eq!(refusal(&ana.post(&path, &body).await), (400, code), "{body}");
    }
    let password = |kdf: u32, proof: usize, blob: usize| Effect::Password {
        grant: snug_protocol::GrantId(random()),
        kdf,
        auth: vec![1; proof].into(),
        blob: vec![1; blob].into(),
    };
    for effect in [
        Effect::Slow { interval_ms: 3_600_001 },
        Effect::Mute { device: ben.device.id(), until_ms: 1 << 53 },
        Effect::Retention { age_ms: 3_599_999 },
        Effect::Retention { age_ms: 315_360_000_001 },
        password(2, 32, 129),
        password(1, 31, 129),
        password(1, 32, 128),
    ] {
        let said = format!("{effect:?}");
        assert_eq!(refusal(&ana.step(&room, Seq(1), effect).await), (400, "bad_request"), "{said}");
    }
    assert_eq!(
        node.store.room(room.room).await.expect("memory").expect("it exists").head,
        Seq(1),
        "nothing was stored"
    );
    assert_eq!(ana.post(&path, &request(&late)).await.0, 200, "the chain is where it was");
}

#[tokio::test]
async fn steps_count_against_the_rate_of_their_device() {
    let node = Node::start_with(&["--sends-per-second=1", "--sends-burst=2"]).await;
    let mut ana = Guest::new(&node.url);
    let room = ana.create("Eager").await;
    let chain = ana.stepped(&room, Seq(1), Effect::None {}).await;
    let chain = ana.stepped(&room, chain, Effect::None {}).await;
    let answer = ana.step(&room, chain, Effect::None {}).await;
    assert_eq!(refusal(&answer), (429, "too_fast"));
    assert!(answer.1["retry_after_ms"].as_u64().is_some_and(|wait_ms| wait_ms > 0), "{}", answer.1);
}
