//! Who is here, by whichever node.

use std::time::{Duration, Instant};

use snug_backing::Redis;
use snug_protocol::frame::{PresenceState, ServerFrame};
use snug_tests::cluster::Cluster;
use snug_tests::guest::Guest;

use super::{at, following, presence};

#[tokio::test]
async fn arrivals_and_departures_are_seen_on_other_nodes() {
    let cluster = Cluster::new();
    let (here, there) = (cluster.node(&[]).await, cluster.node(&[]).await);
    let (mut ana, mut ben) = (Guest::new(&here.url), Guest::new(&there.url));
    let room = ana.create("Presence").await;
    ben.join(&room).await;
    let (anas_id, bens_id) = (ana.device.id(), ben.device.id());
    let mut ana_hears = following(&ana, &room).await;
    let mut bens = ben.socket().await;
    let followed = bens.follow(room.room, None).await;
    let ServerFrame::Followed { mut here, here_count, .. } = followed else { panic!("{followed:?}") };
    here.sort_unstable();
    let mut both = [anas_id, bens_id];
    both.sort_unstable();
    assert_eq!((here.as_slice(), here_count), (both.as_slice(), 2), "he is told of those on the other node");
    let told = |state, here_count| ServerFrame::Presence { room: room.room, device: bens_id, state, here_count };
    assert_eq!(presence(&mut ana_hears, anas_id).await, told(PresenceState::Here, 2));
    let began = Instant::now();
    drop(bens);
    assert_eq!(presence(&mut ana_hears, anas_id).await, told(PresenceState::Gone, 1));
    assert!(began.elapsed() >= Duration::from_secs(9), "a short absence would not have been told");
}

#[tokio::test]
async fn who_was_on_a_node_that_is_killed_is_gone_within_half_a_minute_unless_they_are_back() {
    let cluster = Cluster::new();
    let (here, there) = (cluster.node(&[]).await, cluster.node(&[]).await);
    let (mut ana, mut ben, mut cleo) = (Guest::new(&here.url), Guest::new(&there.url), Guest::new(&there.url));
    let room = ana.create("Killed").await;
    ben.join(&room).await;
    cleo.join(&room).await;
    let mut ana_hears = following(&ana, &room).await;
    let _bens = following(&ben, &room).await;
    let _cleos = following(&cleo, &room).await;
    for _ in [&ben, &cleo] {
        let arrival = presence(&mut ana_hears, ana.device.id()).await;
        assert!(matches!(arrival, ServerFrame::Presence { state: PresenceState::Here, .. }), "{arrival:?}");
    }
    let died = Instant::now();
    there.kill();
    let _cleo_is_back = following(&at(&cleo, &here), &room).await;
    let told = presence(&mut ana_hears, ana.device.id()).await;
    let gone =
        ServerFrame::Presence { room: room.room, device: ben.device.id(), state: PresenceState::Gone, here_count: 2 };
    assert_eq!(told, gone, "Cleo was never gone");
    assert!(died.elapsed() < Duration::from_secs(30), "{:?}", died.elapsed());
}

#[tokio::test]
async fn who_was_on_a_node_that_is_killed_is_gone_although_redis_has_forgotten_them() {
    let redis = Redis::start(&[]).await;
    let cluster = Cluster::on_redis(redis.url());
    let (here, there) = (cluster.node(&[]).await, cluster.node(&[]).await);
    let (mut ana, mut ben) = (Guest::new(&here.url), Guest::new(&there.url));
    let room = ana.create("Forgotten").await;
    ben.join(&room).await;
    let mut ana_hears = following(&ana, &room).await;
    let _bens = following(&ben, &room).await;
    let arrival = presence(&mut ana_hears, ana.device.id()).await;
    assert!(matches!(arrival, ServerFrame::Presence { state: PresenceState::Here, .. }), "{arrival:?}");
    let died = Instant::now();
    there.kill();
    assert_eq!(redis.exec(&["redis-cli", "-p", &redis.port().to_string(), "flushall"]).await.trim(), "OK");
    // Nobody is left in Redis to be buried.
    loop {
        match presence(&mut ana_hears, ana.device.id()).await {
            ServerFrame::Here { here: Some(here), .. } if here == [ana.device.id()] => break,
            ServerFrame::Presence { device, state: PresenceState::Gone, .. } if device == ben.device.id() => break,
            other => assert!(matches!(other, ServerFrame::Here { .. }), "{other:?}"),
        }
    }
    assert!(died.elapsed() < Duration::from_secs(30), "{:?}", died.elapsed());
}
