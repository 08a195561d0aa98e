//! Hints that do not arrive: what they would have told is found in the store.

use std::time::{Duration, Instant};

use snug_bus::BusEvent;
use snug_protocol::Seq;
use snug_protocol::frame::EntryFrame;
use snug_tests::cluster::{Cluster, ClusterNode};
use snug_tests::guest::{Guest, GuestRoom, Socket};
use snug_tests::lossy::LossyBus;

use super::{entries_until, following};

struct Scene {
    ana: Guest,
    room: GuestRoom,
    sends: Socket,
    /// Ben's socket on the node that does not hear everything.
    hears: Socket,
    bus: std::sync::Arc<LossyBus>,
    _nodes: [ClusterNode; 2],
}

async fn scene() -> Scene {
    let cluster = Cluster::new();
    let (here, (there, bus)) = (cluster.node(&[]).await, cluster.node_with_losses(&[]).await);
    let (mut ana, mut ben) = (Guest::new(&here.url), Guest::new(&there.url));
    let room = ana.create("Lost").await;
    ben.join(&room).await;
    let sends = ana.socket().await;
    let mut hears = following(&ben, &room).await;
    entries_until(&mut hears, Seq(1)).await;
    Scene { ana, room, sends, hears, bus, _nodes: [here, there] }
}

impl Scene {
    async fn say(&mut self, text: &str) -> Seq {
        let envelope = self.ana.message(&mut self.room, text);
        self.sends.append(&envelope).await
    }
}

fn is_hint(event: &BusEvent, of: u64) -> bool {
    matches!(event, BusEvent::Hint { seq, .. } if seq.0 == of)
}

fn seqs(entries: &[EntryFrame]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq().0).collect()
}

#[tokio::test]
async fn a_gap_is_filled_at_once() {
    let mut scene = scene().await;
    scene.bus.lose(|event| is_hint(event, 3));
    for text in ["two", "three", "four"] {
        scene.say(text).await;
    }
    let began = Instant::now();
    assert_eq!(seqs(&entries_until(&mut scene.hears, Seq(4)).await), [2, 3, 4]);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(scene.bus.lost(), 1);
}

#[tokio::test]
async fn the_loss_of_the_last_hint_is_found_within_seconds() {
    let mut scene = scene().await;
    scene.bus.lose(|event| is_hint(event, 2));
    scene.say("the last word").await;
    let began = Instant::now();
    assert_eq!(seqs(&entries_until(&mut scene.hears, Seq(2)).await), [2]);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(scene.bus.lost(), 1);
}

#[tokio::test]
async fn a_node_that_hears_nothing_at_all_misses_nothing() {
    let mut scene = scene().await;
    scene.bus.deafen();
    for round in 0..3 {
        for _ in 0..10 {
            scene.say("unheard").await;
        }
        let (first, last) = (2 + round * 10, 11 + round * 10);
        let began = Instant::now();
        assert_eq!(seqs(&entries_until(&mut scene.hears, Seq(last)).await), (first..=last).collect::<Vec<_>>());
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    }
    assert!(scene.bus.lost() >= 30);
}

#[tokio::test]
async fn a_bus_that_says_it_missed_something_is_made_up_for_at_once() {
    for room_only in [true, false] {
        let mut scene = scene().await;
        scene.bus.deafen();
        scene.say("unheard").await;
        let began = Instant::now();
        scene.bus.tell_missed(room_only.then_some(scene.room.room));
        assert_eq!(seqs(&entries_until(&mut scene.hears, Seq(2)).await), [2]);
        assert!(began.elapsed() < Duration::from_millis(1_500), "{room_only}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn messages_are_acknowledged_and_found_while_the_bus_is_away() {
    let cluster = Cluster::new();
    let ((here, bus), there) = (cluster.node_with_losses(&[]).await, cluster.node(&[]).await);
    bus.set_away(true);
    let (mut ana, mut ben) = (Guest::new(&here.url), Guest::new(&there.url));
    let mut room = ana.create("Away").await;
    ben.join(&room).await;
    let (mut sends, mut hears) = (ana.socket().await, following(&ben, &room).await);
    let began = Instant::now();
    let envelope = ana.message(&mut room, "without a bus");
    sends.append(&envelope).await;
    assert!(began.elapsed() < Duration::from_secs(1), "nobody waits for the bus: {:?}", began.elapsed());
    assert_eq!(seqs(&entries_until(&mut hears, Seq(2)).await), [1, 2]);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
