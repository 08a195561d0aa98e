//! What a bus promises.

use std::sync::Arc;

use bytes::Bytes;
use snug_bus::{BusEvent, BusHealth, HINT_BYTES_MAX, TraceParent};
use snug_protocol::Seq;
use snug_protocol::frame::EntryFrame;
use snug_protocol::limits::{ENVELOPE_BYTES_MAX, FRAME_BYTES_MAX};
use tokio::sync::broadcast::{self, error::TryRecvError};

use crate::fixture::{Node, device, hint, looks, over_every_backend, room};

over_every_backend!(
    every_event_reaches_every_node_that_follows_the_room(3),
    a_token_that_was_revoked_is_told_to_nodes_that_follow_nothing(2),
    what_a_node_publishes_arrives_in_its_order(2),
    what_two_nodes_publish_arrives_in_the_order_of_each(3),
    what_is_published_after_a_follow_arrives(2),
    a_room_is_followed_however_often_it_was_left_before(2),
    the_largest_frames_arrive_whole(2),
    publishing_that_something_was_missed_does_nothing(2),
    who_publishes_has_been_heard_on_its_own_node_however_much_there_is(1),
    who_has_stopped_listening_hears_nothing_more(1),
    it_works_at_first(1),
);

async fn every_event_reaches_every_node_that_follows_the_room(nodes: Vec<Node>) {
    let room = room();
    let mut hearing: Vec<_> = nodes.iter().map(Node::events).collect();
    for node in &nodes {
        node.follow(room).await;
    }
    let entry = |seq| EntryFrame::new(Seq(seq), 5, b"an envelope");
    let frame = entry(3);
    let trace = TraceParent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    let news = [
        BusEvent::Hint { room, seq: Seq(3), frames: vec![frame.clone()], trace: Some(trace) },
        BusEvent::Hint { room, seq: Seq(4), frames: Vec::new(), trace: None },
        BusEvent::Hint { room, seq: Seq(9), frames: [5, 6, 8].map(entry).into(), trace: None },
        BusEvent::Hint { room, seq: Seq(3), frames: vec![frame], trace: None },
        BusEvent::Access { room, device: None },
        BusEvent::Access { room, device: Some(device()) },
    ];
    let fleeting = BusEvent::Ephemeral { room, frame: Bytes::from_static(b"{}"), from: device() };
    for event in news.iter().chain([&fleeting]) {
        nodes[1].publish(event.clone());
    }
    for events in &mut hearing {
        let mut heard = Vec::new();
        while heard.len() < news.len() + 1 {
            heard.push(looks(&events.next().await));
        }
        // Fleeting events have a way of their own.
        let at = heard.iter().position(|event| *event == looks(&fleeting)).expect("it is among them");
        heard.remove(at);
        assert_eq!(heard, news.iter().map(looks).collect::<Vec<_>>());
    }
}

async fn a_token_that_was_revoked_is_told_to_nodes_that_follow_nothing(nodes: Vec<Node>) {
    let (event, mut events) = (BusEvent::Token { device: device() }, nodes[1].events());
    nodes[0].publish(event.clone());
    assert_eq!(looks(&events.next().await), looks(&event));
}

async fn what_a_node_publishes_arrives_in_its_order(nodes: Vec<Node>) {
    let room = room();
    let mut hearing: Vec<_> = nodes.iter().map(Node::events).collect();
    for node in &nodes {
        node.follow(room).await;
    }
    for seq in 1..=2_000 {
        nodes[0].publish(hint(room, seq));
    }
    for events in &mut hearing {
        for seq in 1..=2_000 {
            assert_eq!(looks(&events.next().await), looks(&hint(room, seq)));
        }
    }
}

async fn what_two_nodes_publish_arrives_in_the_order_of_each(nodes: Vec<Node>) {
    let room = room();
    let mut events = nodes[2].events();
    nodes[2].follow(room).await;
    for seq in 1..=500 {
        nodes[0].publish(hint(room, seq));
        nodes[1].publish(hint(room, 1_000 + seq));
    }
    let mut next = [1, 1_001];
    while next != [501, 1_501] {
        let BusEvent::Hint { seq, .. } = events.next().await else { panic!("only hints were published") };
        let of = usize::from(seq.0 > 1_000);
        assert_eq!(seq.0, next[of]);
        next[of] += 1;
    }
}

async fn what_is_published_after_a_follow_arrives(nodes: Vec<Node>) {
    let mut events = nodes[1].events();
    for seq in 1..=100 {
        let room = room();
        nodes[1].follow(room).await;
        nodes[0].publish(hint(room, seq));
        events.until_hint(room, seq).await;
    }
}

async fn a_room_is_followed_however_often_it_was_left_before(nodes: Vec<Node>) {
    let mut events = nodes[1].events();
    for seq in 1..=50 {
        let room = room();
        nodes[1].follow(room).await;
        for _ in 0..seq % 4 {
            nodes[1].bus().unfollow(room).await;
            nodes[1].follow(room).await;
        }
        // One that is not waited for.
        let _ = futures_util::FutureExt::now_or_never(nodes[1].bus().follow(room));
        nodes[1].bus().unfollow(room).await;
        nodes[1].follow(room).await;
        nodes[0].publish(hint(room, seq));
        events.until_hint(room, seq).await;
    }
}

async fn the_largest_frames_arrive_whole(nodes: Vec<Node>) {
    let room = room();
    let mut events = nodes[1].events();
    nodes[1].follow(room).await;
    let small = EntryFrame::new(Seq(1), 5, &[1; HINT_BYTES_MAX]);
    let frame = EntryFrame::new(Seq(2), 5, &vec![1; ENVELOPE_BYTES_MAX]);
    let entry = BusEvent::Hint { room, seq: Seq(2), frames: vec![small, frame], trace: None };
    let fleeting = BusEvent::Ephemeral { room, frame: vec![b'x'; FRAME_BYTES_MAX].into(), from: device() };
    for event in [entry, fleeting] {
        nodes[0].publish(event.clone());
        assert!(looks(&events.next().await) == looks(&event), "it was changed on its way");
    }
}

async fn publishing_that_something_was_missed_does_nothing(nodes: Vec<Node>) {
    let room = room();
    let mut events = nodes[1].events();
    nodes[1].follow(room).await;
    nodes[0].publish(BusEvent::Missed { room: None });
    nodes[0].publish(hint(room, 1));
    assert_eq!(looks(&events.next().await), looks(&hint(room, 1)));
}

async fn who_publishes_has_been_heard_on_its_own_node_however_much_there_is(nodes: Vec<Node>) {
    let room = room();
    let mut events = nodes[0].events();
    nodes[0].follow(room).await;
    // More than the queue to other nodes takes.
    for seq in 1..=10_000 {
        let _ = nodes[0].bus().publish(hint(room, seq));
        assert_eq!(events.try_next().as_ref().map(looks), Ok(looks(&hint(room, seq))));
    }
}

async fn who_has_stopped_listening_hears_nothing_more(nodes: Vec<Node>) {
    let room = room();
    let (sender, mut others) = (broadcast::Sender::new(8), nodes[0].events());
    let mut heard = sender.subscribe();
    let listening = nodes[0].bus().listen(Arc::new(sender));
    nodes[0].publish(hint(room, 1));
    assert_eq!(heard.try_recv().as_ref().map(looks), Ok(looks(&hint(room, 1))));
    drop(listening);
    nodes[0].publish(hint(room, 2));
    assert!(matches!(heard.try_recv(), Err(TryRecvError::Closed)), "nor is it kept");
    for seq in 1..=2 {
        assert_eq!(looks(&others.next().await), looks(&hint(room, seq)), "while others go on hearing");
    }
}

async fn it_works_at_first(nodes: Vec<Node>) {
    assert_eq!(nodes[0].bus().health(), BusHealth::Connected);
}
