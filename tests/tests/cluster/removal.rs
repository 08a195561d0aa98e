//! Whoever loses the right to be in a room hears no more of it, on every node, with the bus or without.

use std::time::{Duration, Instant};

use snug_protocol::frame::close;
use snug_protocol::{ErrorCode, Seq};
use snug_tests::cluster::Cluster;
use snug_tests::guest::Guest;

use super::following;

/// How long it took from the removal on one node to the silence on another.
async fn removed_after(deaf: bool) -> Duration {
    let cluster = Cluster::new();
    let (here, (there, bus)) = (cluster.node(&[]).await, cluster.node_with_losses(&[]).await);
    let (mut ana, mut ben) = (Guest::new(&here.url), Guest::new(&there.url));
    let mut anas = ana.create("Removal").await;
    ben.join(&anas).await;
    let mut bens = following(&ben, &anas).await;
    if deaf {
        bus.deafen();
    }
    let anas_id = ana.device.id();
    let began = Instant::now();
    ana.remove(&mut anas, Seq(1), &[anas_id], ben.device.id(), false).await;
    assert_eq!(bens.room_closed().await, ErrorCode::Removed);
    let took = began.elapsed();
    assert_eq!(bus.lost() > 0, deaf, "the news were lost, or not");
    took
}

#[tokio::test]
async fn who_is_removed_on_one_node_is_told_on_another_at_once() {
    let took = removed_after(false).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn without_the_bus_who_is_removed_is_told_by_the_next_look_at_the_heads() {
    let took = removed_after(true).await;
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[tokio::test]
async fn a_revoked_token_ends_its_sockets_on_a_node_that_did_not_hear_of_it() {
    let cluster = Cluster::new();
    let (here, (there, bus)) = (cluster.node(&[]).await, cluster.node_with_losses(&[]).await);
    let mut ana = Guest::new(&here.url);
    let room = ana.create("Token").await;
    let mut elsewhere = following(&super::at(&ana, &there), &room).await;
    bus.deafen();
    let began = Instant::now();
    assert_eq!(ana.delete("/api/token").await.0, 204);
    assert_eq!(elsewhere.closed().await, Some(close::TOKEN));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_room_that_is_deleted_on_one_node_is_closed_on_one_that_did_not_hear_of_it() {
    let cluster = Cluster::new();
    let (here, (there, bus)) = (cluster.node(&[]).await, cluster.node_with_losses(&[]).await);
    let (mut ana, mut ben) = (Guest::new(&here.url), Guest::new(&there.url));
    let room = ana.create("Deleted").await;
    ben.join(&room).await;
    let mut bens = following(&ben, &room).await;
    bus.deafen();
    assert_eq!(ana.delete(&format!("/api/rooms/{}", room.room)).await.0, 204);
    assert_eq!(bens.room_closed().await, ErrorCode::RoomDeleted);
}
