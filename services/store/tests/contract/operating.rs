//! What an operator asks for and does.

use std::collections::BTreeSet;
use std::time::Duration;

use snug_protocol::{RoomId, Seq};
use snug_store::Store;

use crate::fixture::{self, Instance, PostgresDatabase, contract, device, room_of, together};

const LIFE: Duration = Duration::from_secs(3600);

contract![
    rooms_are_summed_up_page_by_page,
    sign_ins_are_listed_page_by_page,
    all_tokens_are_revoked_and_every_room_looks_again,
    new_lives_begin_in_every_room_and_nobody_is_signed_in,
    a_store_that_is_asked_for_a_turn_gives_one,
];

async fn rooms_are_summed_up_page_by_page(store: Store) {
    let mut rooms = Vec::new();
    for n in 0..5 {
        rooms.push(room_of(&store, n, &[device(1), device(2), device(3)][..1 + n as usize % 3]).await);
    }
    let mut instance = Instance::new(rooms[3], device(1), 1);
    for _ in 0..7 {
        instance.say(&store).await;
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.room_summaries(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.room);
        found.extend(page);
    }
    let ids: Vec<RoomId> = found.iter().map(|summary| summary.room).collect();
    assert!(ids.is_sorted() && ids.len() == 5, "{ids:?}");
    for (n, room) in rooms.iter().enumerate() {
        let summary = found.iter().find(|summary| summary.room == *room).unwrap();
        let is = store.room(*room).await.unwrap().unwrap();
        assert_eq!((summary.head, summary.created_at_ms), (is.head, is.created_at_ms));
        assert_eq!(summary.members, 1 + n as u64 % 3);
        let log = fixture::log(&store, *room).await;
        let bytes: usize = log.iter().map(|envelope| envelope.len()).sum();
        assert_eq!(store.room_bytes(*room, is.head).await.unwrap(), bytes as u64);
        let newest = store.read_after(*room, is.head.back(1), 1, fixture::ANY).await.unwrap();
        assert_eq!(summary.active_at_ms, newest[0].at_ms());
    }
    assert_eq!(store.room_bytes(RoomId([7; 16]), Seq(9)).await.unwrap(), 0);
}

async fn sign_ins_are_listed_page_by_page(store: Store) {
    for n in 0..5 {
        store.issue_token([n; 32], device(u32::from(n) % 2 + 1).device, LIFE, LIFE * 2).await.unwrap();
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.sign_ins(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.hash);
        found.extend(page);
    }
    let now_ms = store.now_ms().await.unwrap();
    let hour_ms = 3_600_000;
    assert!(found.iter().map(|sign_in| sign_in.hash).eq((0..5).map(|n| [n; 32])));
    for (n, sign_in) in (0..).zip(&found) {
        assert_eq!(sign_in.device, device(n % 2 + 1).device);
        assert!(now_ms.abs_diff(sign_in.used_at_ms) < hour_ms / 2, "it was used just now");
        assert!(sign_in.expires_at_ms.abs_diff(now_ms + hour_ms) < hour_ms / 2);
        assert!(sign_in.ends_at_ms.abs_diff(now_ms + 2 * hour_ms) < hour_ms / 2);
    }
}

async fn all_tokens_are_revoked_and_every_room_looks_again(store: Store) {
    let rooms = [room_of(&store, 1, &[device(1)]).await, room_of(&store, 2, &[device(2)]).await];
    for n in 0..3 {
        store.issue_token([n; 32], device(1).device, LIFE, LIFE).await.unwrap();
    }
    let before = [store.room(rooms[0]).await.unwrap().unwrap(), store.room(rooms[1]).await.unwrap().unwrap()];
    assert_eq!(store.revoke_all_tokens().await.unwrap(), 3);
    assert_eq!(store.token([1; 32]).await.unwrap(), None);
    for before in before {
        let after = store.room(before.room).await.unwrap().unwrap();
        assert_eq!(after.access_version, before.access_version + 1);
    }
    assert_eq!(store.revoke_all_tokens().await.unwrap(), 0);
}

async fn new_lives_begin_in_every_room_and_nobody_is_signed_in(store: Store) {
    assert_eq!(store.begin_new_lives().await.unwrap(), 0);
    let mut rooms = Vec::new();
    for n in 0..3 {
        rooms.push(room_of(&store, n, &[device(1)]).await);
    }
    store.issue_token([1; 32], device(1).device, LIFE, LIFE).await.unwrap();
    let histories = async || {
        let rooms = together(rooms.iter().map(|room| store.room(*room))).await;
        rooms.into_iter().map(|room| room.unwrap().unwrap().history.0).collect::<BTreeSet<_>>()
    };
    let before = histories().await;
    assert_eq!(store.begin_new_lives().await.unwrap(), 3);
    let after = histories().await;
    assert_eq!((after.len(), after.intersection(&before).count()), (3, 0));
    assert_eq!(store.token([1; 32]).await.unwrap(), None);
    let mut instance = Instance::new(rooms[0], device(1), 1);
    instance.say(&store).await;
}

async fn a_store_that_is_asked_for_a_turn_gives_one(store: Store) {
    assert!(store.takes_turn("dishes", LIFE).await.unwrap());
    assert!(store.takes_turn("laundry", LIFE).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_nodes_one_has_the_turn_until_it_is_over() {
    let database = PostgresDatabase::create().await;
    let nodes = [database.open().await, database.open().await, database.open().await];
    let ask = async |span| {
        let answers = together(nodes.iter().map(|node| node.takes_turn("dishes", span))).await;
        answers.into_iter().filter(|answer| *answer.as_ref().unwrap()).count()
    };
    assert_eq!(ask(LIFE).await, 1);
    assert_eq!(ask(LIFE).await, 0, "whoever has it has it alone, and once");
    database.run("update turn set until_ms = 0").await;
    assert_eq!(ask(LIFE).await, 1, "who had it need not be there any more");
    for node in nodes {
        node.close().await;
    }
}
