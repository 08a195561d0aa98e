//! One order for all, whoever is where.

use snug_client::Room;
use snug_protocol::Seq;
use snug_protocol::frame::EntryFrame;
use snug_tests::cluster::Cluster;
use snug_tests::guest::Guest;
use snug_tests::in_time;

use super::{PASSWORD, client, entries_until, following, texts_until};

const EACH: u32 = 50;

#[tokio::test]
async fn messages_sent_through_two_nodes_have_one_order_for_all() {
    let cluster = Cluster::new();
    let (here, there) = (cluster.node(&[]).await, cluster.node(&[]).await);
    let (mut ana, mut ben) = (Guest::new(&here.url), Guest::new(&there.url));
    let mut anas = ana.create("Order").await;
    let mut bens = ben.join(&anas).await;
    let (mut ana_hears, mut ben_hears) = (following(&ana, &anas).await, following(&ben, &bens).await);
    let (mut ana_sends, mut ben_sends) = (ana.socket().await, ben.socket().await);
    let mut sent = vec![Vec::new(), Vec::new()];
    for id in 0..EACH {
        let (by_ana, by_ben) = (ana.message(&mut anas, "from Ana"), ben.message(&mut bens, "from Ben"));
        ana_sends.send(id, &by_ana).await;
        ben_sends.send(id, &by_ben).await;
        sent[0].push(by_ana.hash());
        sent[1].push(by_ben.hash());
    }
    let last = Seq(1 + 2 * u64::from(EACH));
    let (seen_by_ana, seen_by_ben) =
        (entries_until(&mut ana_hears, last).await, entries_until(&mut ben_hears, last).await);
    assert_eq!(seen_by_ana, seen_by_ben);
    let seqs: Vec<u64> = seen_by_ana.iter().map(|entry| entry.seq().0).collect();
    assert_eq!(seqs, (1..=last.0).collect::<Vec<_>>());
    let hashes: Vec<_> = seen_by_ana.iter().map(EntryFrame::hash).collect();
    for sent in sent {
        let found: Vec<_> = hashes.iter().filter(|hash| sent.contains(hash)).copied().collect();
        assert_eq!(found, sent, "and each sender's own order is kept");
    }
}

#[tokio::test]
async fn people_on_three_nodes_read_the_same_conversation() {
    let cluster = Cluster::new();
    let nodes = [cluster.node(&[]).await, cluster.node(&[]).await, cluster.node(&[]).await];
    let ana = client(&[&nodes[0]]);
    let (garden, _) = in_time("a room", ana.create_room("Garden", PASSWORD, "Ana")).await.expect("a room");
    let (ben, cleo) = (client(&[&nodes[1]]), client(&[&nodes[2]]));
    let bens = in_time("joined", ben.join("Garden", PASSWORD, "Ben")).await.expect("joined");
    let cleos = in_time("joined", cleo.join("Garden", PASSWORD, "Cleo")).await.expect("joined");
    let rooms = [&garden, &bens, &cleos];
    let mut events = Vec::new();
    for room in rooms {
        events.push(room.events().await.expect("open"));
    }
    let say = async |room: &Room, text: String| in_time("sent", room.send(text)).await.expect("sent");
    for n in 0..20 {
        let sendings: Vec<_> = rooms.iter().enumerate().map(|(who, room)| room.send(format!("{n} by {who}"))).collect();
        for sending in sendings {
            in_time("sent", sending).await.expect("sent");
        }
    }
    say(&garden, "the end".into()).await;
    let mut read = Vec::new();
    for events in &mut events {
        read.push(texts_until(events, "the end", true).await);
    }
    assert_eq!(read[0].len(), 61);
    assert!(read[0] == read[1] && read[1] == read[2], "{read:?}");
}
