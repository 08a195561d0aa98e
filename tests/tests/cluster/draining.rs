//! A node that stops in order loses nothing, and nobody notices but by looking.

use std::time::{Duration, Instant};

use snug_client::wire::Incoming;
use snug_client::{Event, Events};
use snug_protocol::frame::{PresenceState, ServerFrame, close};
use snug_tests::cluster::Cluster;
use snug_tests::guest::Guest;
use snug_tests::{eventually, http, in_time};

use super::{PASSWORD, client, following, texts_until};

/// Fails if the room's reader has been told that somebody left.
fn nobody_left(events: &mut Events) {
    use futures_util::FutureExt;
    while let Some(Some(event)) = events.next().now_or_never() {
        assert!(!matches!(event, Event::Presence { here: false, .. }), "{event:?}");
    }
}

#[tokio::test]
async fn everybody_moves_with_no_failed_send_no_gap_and_nobody_seen_to_leave() {
    let cluster = Cluster::new();
    let drain = ["--drain-wait-ms=500", "--drain-move-ms=8000"];
    let (here, there) = (cluster.node(&drain).await, cluster.node(&drain).await);
    let clients = [client(&[&here, &there]), client(&[&here, &there]), client(&[&there, &here])];
    let (garden, _) = in_time("a room", clients[0].create_room("Garden", PASSWORD, "Ana")).await.expect("a room");
    let mut rooms = vec![garden];
    for (client, name) in clients[1..].iter().zip(["Ben", "Cleo"]) {
        rooms.push(in_time("joined", client.join("Garden", PASSWORD, name)).await.expect("joined"));
    }
    let mut readers = Vec::new();
    for room in &rooms {
        readers.push(room.events().await.expect("open"));
    }
    eventually("all are here", async || (rooms[2].here_count().await.expect("open") == 3).then_some(())).await;
    let (stopped, began) = (here.begin_stop(), Instant::now());
    let mut wanted = Vec::new();
    for n in 0.. {
        let texts: Vec<String> = (0..rooms.len()).map(|who| format!("{n} by {who}")).collect();
        let sendings: Vec<_> = rooms.iter().zip(&texts).map(|(room, text)| room.send(text.clone())).collect();
        for sending in sendings {
            in_time("sent while it drains", sending).await.expect("no send fails");
        }
        wanted.extend(texts);
        if stopped.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    in_time("the end", rooms[0].send("the end")).await.expect("sent");
    wanted.push("the end".into());
    wanted.sort();
    let mut read = Vec::new();
    for events in &mut readers {
        read.push(texts_until(events, "the end", true).await);
    }
    assert!(read[0] == read[1] && read[1] == read[2], "one order for all");
    read[0].sort();
    assert_eq!(read[0], wanted, "each once");
    // Longer than an absence that would be told.
    tokio::time::sleep(Duration::from_secs(12)).await;
    readers.iter_mut().for_each(nobody_left);
}

#[tokio::test]
async fn a_node_is_not_ready_first_then_takes_nobody_then_tells_and_then_closes() {
    let cluster = Cluster::new();
    let node = cluster.node(&["--drain-wait-ms=3000", "--drain-move-ms=2000"]).await;
    let mut ana = Guest::new(&node.url);
    let room = ana.create("Drain").await;
    let mut socket = following(&ana, &room).await;
    let ready = async || {
        let answer = http().get(format!("{}/readyz", node.url)).send().await;
        answer.map(|answer| answer.status().as_u16()).ok()
    };
    assert_eq!(ready().await, Some(200));
    let stopped = node.begin_stop();
    eventually("it says that it is not ready", async || (ready().await == Some(503)).then_some(())).await;
    // What still comes by a load balancer that has not noticed is served.
    let mut late = following(&ana, &room).await;
    let told = socket.hear().await;
    assert!(matches!(told, ServerFrame::Move { within_ms: 1..=2_000 }), "{told:?}");
    assert!(matches!(late.hear().await, ServerFrame::Move { .. }));
    assert_eq!(ready().await, None, "it accepts no connection any more");
    for mut socket in [socket, late] {
        loop {
            match socket.next().await {
                Incoming::Closed { code } => break assert_eq!(code, Some(close::RESTART)),
                Incoming::Frame(ServerFrame::Presence { state: PresenceState::Gone, .. }) => panic!("nobody left"),
                _ => {}
            }
        }
    }
    in_time("the node stops", stopped.wait()).await;
}

#[tokio::test]
async fn a_node_with_nobody_connected_stops_at_once() {
    let cluster = Cluster::new();
    let node = cluster.node(&["--drain-wait-ms=20000", "--drain-move-ms=20000"]).await;
    let began = Instant::now();
    node.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
