//! Any node will do: a session, its cursor, its token and what it was about to send go on at another.

use snug_client::crypto::sign_in;
use snug_protocol::frame::{Cursor, ServerFrame};
use snug_protocol::http::NonceAnswer;
use snug_protocol::{GrantId, RoomId, Seq};
use snug_tests::cluster::Cluster;
use snug_tests::guest::Guest;
use snug_tests::in_time;

use super::{PASSWORD, at, client, entries_until, following, texts_until};

#[tokio::test]
async fn a_reader_goes_on_at_another_node_where_it_stopped() {
    let cluster = Cluster::new();
    let (here, there) = (cluster.node(&[]).await, cluster.node(&[]).await);
    let mut ana = Guest::new(&here.url);
    let mut room = ana.create("Resume").await;
    let mut sends = ana.socket().await;
    let mut hears = following(&ana, &room).await;
    for _ in 0..5 {
        let envelope = ana.message(&mut room, "early");
        sends.append(&envelope).await;
    }
    let newest = entries_until(&mut hears, Seq(6)).await.pop().expect("six");
    drop(hears);
    for _ in 0..5 {
        let envelope = ana.message(&mut room, "late");
        sends.append(&envelope).await;
    }
    let mut elsewhere = at(&ana, &there).socket().await;
    let hash = newest.hash().short().to_vec().into();
    let cursor = Cursor { history: room.entered.room.history, seq: Seq(6), hash };
    let followed = elsewhere.follow(room.room, Some(cursor)).await;
    let ServerFrame::Followed { from, head, skipped, resync, .. } = followed else { panic!("{followed:?}") };
    assert_eq!((from, head, skipped, resync), (Seq(7), Seq(11), false, None));
    let seqs: Vec<u64> = entries_until(&mut elsewhere, Seq(11)).await.iter().map(|entry| entry.seq().0).collect();
    assert_eq!(seqs, [7, 8, 9, 10, 11]);
}

#[tokio::test]
async fn one_envelope_sent_through_three_nodes_at_once_is_stored_once() {
    let cluster = Cluster::new();
    let nodes = [cluster.node(&[]).await, cluster.node(&[]).await, cluster.node(&[]).await];
    let mut ana = Guest::new(&nodes[0].url);
    let mut room = ana.create("Once").await;
    let mut sockets = Vec::new();
    for node in &nodes {
        sockets.push(at(&ana, node).socket().await);
    }
    for id in 0..20 {
        let envelope = ana.message(&mut room, "once");
        for socket in &mut sockets {
            socket.send(id, &envelope).await;
        }
        let mut answers = Vec::new();
        for socket in &mut sockets {
            answers.push(socket.sent(id).await);
        }
        assert!(answers.iter().all(|(seq, _)| *seq == Seq(u64::from(id) + 2)), "{answers:?}");
        assert_eq!(answers.iter().filter(|(_, duplicate)| !duplicate).count(), 1, "{answers:?}");
    }
}

#[tokio::test]
async fn a_nonce_of_one_node_signs_in_at_another_and_the_token_is_good_at_both() {
    let cluster = Cluster::new();
    let (here, there) = (cluster.node(&[]).await, cluster.node(&[]).await);
    let mut ana = Guest::new(&here.url);
    ana.create("Nonce").await;
    let (status, answer) = ana.post("/api/nonce", &()).await;
    assert_eq!(status, 200, "{answer}");
    let nonce: NonceAnswer = serde_json::from_value(answer).expect("a nonce");
    let mut elsewhere = at(&ana, &there);
    let request = sign_in(&ana.device, RoomId::default(), GrantId::default(), &nonce.nonce, &there.url);
    let body = serde_json::json!({ "sign_in": request.expect("a nonce of the usual length") });
    let (status, answer) = elsewhere.post("/api/token", &body).await;
    assert_eq!(status, 200, "{answer}");
    elsewhere.token = answer["token"].as_str().map(str::to_owned);
    for node in [&here, &there] {
        assert_eq!(at(&elsewhere, node).get("/api/rooms").await.0, 200);
    }
}

#[tokio::test]
async fn when_its_node_is_killed_a_client_goes_on_at_another_and_nothing_is_lost_or_doubled() {
    let cluster = Cluster::new();
    let (here, there) = (cluster.node(&[]).await, cluster.node(&[]).await);
    let (ana, ben) = (client(&[&here, &there]), client(&[&there, &here]));
    let (garden, _) = in_time("a room", ana.create_room("Garden", PASSWORD, "Ana")).await.expect("a room");
    let bens = in_time("joined", ben.join("Garden", PASSWORD, "Ben")).await.expect("joined");
    let (mut events, mut bens_events) = (garden.events().await.expect("open"), bens.events().await.expect("open"));
    let mut sendings: Vec<_> = (0..100).map(|n| garden.send(format!("message {n}"))).collect();
    in_time("one is sent", sendings.remove(0)).await.expect("sent");
    here.kill();
    for sending in sendings {
        in_time("sent in spite of it", sending).await.expect("sent");
    }
    let wanted: Vec<String> = (0..100).map(|n| format!("message {n}")).collect();
    for events in [&mut events, &mut bens_events] {
        assert_eq!(texts_until(events, "message 99", false).await, wanted);
    }
}
