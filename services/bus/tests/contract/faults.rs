//! What Redis may do to its users while they run: end, stand still, lose connections, forget everything, or only seem to listen.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use snug_backing::{Direction, FaultProxy};
use snug_bus::redis::MissedCause;
use snug_bus::{BusError, BusEvent, BusHealth, Listener, RedisOptions, SharedBucket};
use snug_protocol::RoomId;
use tokio::time::{Instant, sleep};

use crate::fixture::{Events, LEASE, Node, PATIENCE, device, eventually, hint, nodes_on, options, room};
use crate::proxy::{Fault, Proxy};
use crate::server::Server;

const ROOMS: usize = 200;

/// One node that talks in many rooms that another listens to.
pub struct Two {
    pub talking: Node,
    pub hearing: Node,
    pub events: Events,
    pub rooms: Vec<RoomId>,
    seq: u64,
}

impl Two {
    /// Both over `urls`, and everything that one says heard by the other.
    pub async fn over(urls: [&str; 2], options: RedisOptions) -> Self {
        let talking = Node::on_redis(urls[0], options.clone()).await;
        let hearing = Node::on_redis(urls[1], options).await;
        let (events, rooms) = (hearing.events(), (0..ROOMS).map(|_| room()).collect::<Vec<_>>());
        futures_util::future::join_all(rooms.iter().map(|room| hearing.follow(*room))).await;
        let mut two = Self { talking, hearing, events, rooms, seq: 0 };
        two.all_is_heard().await;
        two
    }

    pub async fn connected(&self) {
        for node in [&self.talking, &self.hearing] {
            becomes(node, BusHealth::Connected).await;
        }
    }

    /// Every room is heard of, once both are connected. What was said while a cut was not noticed yet is lost, and said again.
    pub async fn all_is_heard(&mut self) {
        let (mut silent, deadline): (BTreeSet<_>, _) =
            (self.rooms.iter().copied().collect(), Instant::now() + PATIENCE);
        while !silent.is_empty() {
            assert!(Instant::now() < deadline, "{} of {} rooms are silent", silent.len(), self.rooms.len());
            self.connected().await;
            self.seq += 1;
            for room in &silent {
                let _ = self.talking.bus().publish(hint(*room, self.seq));
            }
            let (said, seq) = (silent.len(), self.seq);
            let hear = async {
                for _ in 0..said {
                    let of_now = |event: &BusEvent| match event {
                        BusEvent::Hint { room, seq: of, .. } if of.0 == seq => Some(*room),
                        _ => None,
                    };
                    silent.remove(&self.events.until("a hint of this round", of_now).await);
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(5), hear).await;
        }
    }
}

pub async fn becomes(node: &Node, health: BusHealth) {
    eventually(&format!("{health:?}"), async || (node.bus().health() == health).then_some(())).await;
}

/// Publishes for a while, and answers how long the slowest took.
async fn slowest_publication(node: &Node, during: Duration) -> Duration {
    let (room, until, mut slowest) = (room(), Instant::now() + during, Duration::ZERO);
    while Instant::now() < until {
        let begun = Instant::now();
        let _ = node.bus().publish(hint(room, 1));
        slowest = slowest.max(begun.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    slowest
}

#[tokio::test]
async fn all_is_heard_again_after_a_restart_and_nobody_waits_meanwhile() {
    let mut redis = Server::start(&[]).await;
    let mut two = Two::over([&redis.url(), &redis.url()], options()).await;
    redis.kill().await;
    becomes(&two.hearing, BusHealth::Away).await;
    let (mut own, while_away) = (two.talking.events(), room());
    eventually("publishing notices, too", async || two.talking.bus().publish(hint(while_away, 0)).err()).await;

    let begun = Instant::now();
    for seq in 1..=100 {
        let published = two.talking.bus().publish(hint(while_away, seq));
        assert!(matches!(published, Err(BusError::Unavailable)));
        own.until_hint(while_away, seq).await;
    }
    assert!(matches!(two.hearing.bus().follow(while_away).await, Err(BusError::Unavailable)));
    assert!(two.talking.roster().here(while_away, 1).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(1), "nothing waits for a Redis that is gone");

    redis.restart().await;
    two.events.until_missed().await;
    two.rooms.push(while_away);
    two.all_is_heard().await;
    assert_eq!(two.hearing.counters().missed.of(MissedCause::Reconnected).get(), 1);
}

#[tokio::test]
async fn a_redis_that_stands_still_is_noticed_and_delays_no_publication() {
    let redis = Server::start(&[]).await;
    let mut two = Two::over([&redis.url(), &redis.url()], options()).await;
    redis.pause().await;
    let begun = Instant::now();
    let slowest = slowest_publication(&two.talking, Duration::from_secs(5)).await;
    assert!(slowest < Duration::from_millis(200), "{slowest:?}");
    assert_eq!([two.talking.bus().health(), two.hearing.bus().health()], [BusHealth::Away; 2]);
    assert!(two.talking.counters().publish_failed.get() > 0);
    assert!(matches!(two.talking.bus().publish(hint(two.rooms[0], 1)), Err(BusError::Unavailable)));
    assert!(begun.elapsed() < Duration::from_secs(7));
    redis.go_on().await;
    two.events.until_missed().await;
    two.all_is_heard().await;
}

#[tokio::test]
async fn all_is_heard_again_each_time_that_connections_are_cut() {
    let redis = Server::start(&[]).await;
    let mut two = Two::over([&redis.url(), &redis.url()], options()).await;
    for kind in ["pubsub", "pubsub", "normal", "pubsub"] {
        redis.cli(&["CLIENT", "KILL", "TYPE", kind]).await;
        if kind == "pubsub" {
            two.events.until_missed().await;
        }
        two.all_is_heard().await;
    }
    assert!(two.hearing.counters().resubscribed.get() >= 3 * u64::try_from(ROOMS).expect("it fits"));
}

#[tokio::test]
async fn a_subscription_that_is_deaf_on_a_good_connection_is_replaced() {
    let redis = Server::start(&[]).await;
    let proxy = Proxy::before(redis.port).await;
    let mut two = Two::over([&redis.url(), &proxy.url()], options()).await;
    proxy.set(Fault::Deaf);
    two.talking.publish(hint(two.rooms[0], 99));
    two.events.until_missed().await;
    assert!(proxy.messages_lost() > 0, "nothing was lost");
    assert!(two.hearing.counters().probes_lost.get() > 0);
    assert!(two.hearing.counters().missed.of(MissedCause::Deaf).get() > 0);
    two.all_is_heard().await;
    assert_eq!(two.talking.counters().probes_lost.get(), 0, "the other hears well");
}

#[tokio::test]
async fn a_connection_that_answers_nothing_any_more_is_replaced() {
    let redis = Server::start(&[]).await;
    let proxy = Proxy::before(redis.port).await;
    let mut two = Two::over([&proxy.url(), &redis.url()], options()).await;
    proxy.set(Fault::Silent);
    let begun = Instant::now();
    becomes(&two.talking, BusHealth::Away).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    two.all_is_heard().await;
}

#[tokio::test]
async fn a_redis_that_forgets_everything_costs_nothing_but_presence_and_limits() {
    let redis = Server::start(&[]).await;
    let mut two = Two::over([&redis.url(), &redis.url()], options()).await;
    let (room, [one, other]) = (room(), [device(), device()]);
    let buckets = [SharedBucket { name: "joins".to_owned(), burst: 1.0, per_second: 0.001 }];
    let id = two.talking.id;
    let roster = two.talking.roster();
    assert!(!roster.renew(id).await.expect("Redis answers"));
    roster.enter(id, room, one).await.expect("Redis answers");
    two.talking.limits().charge("subject", &buckets).await.expect("Redis answers").expect("it is full");

    redis.cli(&["FLUSHALL"]).await;
    redis.cli(&["SCRIPT", "FLUSH"]).await;

    two.talking.limits().charge("subject", &buckets).await.expect("scripts are sent again").expect("it is full again");
    // An entry between the loss and its discovery.
    roster.enter(id, room, other).await.expect("Redis answers");
    assert!(!roster.renew(id).await.expect("Redis answers"), "all is to be written again");
    for device in [one, other] {
        roster.enter(id, room, device).await.expect("Redis answers");
    }
    assert!(roster.renew(id).await.expect("Redis answers"));
    // What the loss has left behind is cleared away, and nobody departs by it.
    assert_eq!(two.hearing.roster().bury().await.expect("Redis answers"), []);
    let gone = roster.resign(id).await.expect("Redis answers");
    assert_eq!(gone.into_iter().map(|gone| gone.device).collect::<BTreeSet<_>>(), BTreeSet::from([one, other]));
    assert_eq!(two.hearing.roster().here(room, 10).await.expect("Redis answers"), (Vec::new(), 0));
    two.all_is_heard().await;
}

#[tokio::test]
async fn a_burial_that_was_left_half_done_is_finished_by_another() {
    let redis = Server::start(&[]).await;
    let options = options();
    let (leases, graves) =
        (format!("{}{{nodes}}:leases", options.prefix), format!("{}{{nodes}}:graves", options.prefix));
    let nodes = nodes_on(&redis.url(), 2, options).await;
    let (room, who) = (room(), device());
    nodes[0].roster().renew(nodes[0].id).await.expect("Redis answers");
    nodes[0].roster().enter(nodes[0].id, room, who).await.expect("Redis answers");
    let term = redis.cli(&["ZRANGE", &leases, "0", "-1"]).await;
    // As after the claim of one that died then, a while ago.
    redis.cli(&["ZREM", &leases, &term]).await;
    redis.cli(&["ZADD", &graves, "1", &term]).await;
    let gone = nodes[1].roster().bury().await.expect("Redis answers");
    assert_eq!(gone.into_iter().map(|gone| gone.device).collect::<Vec<_>>(), [who]);
    assert_eq!(redis.cli(&["ZCARD", &graves]).await, "0");
}

#[tokio::test]
async fn who_departed_by_an_answer_that_was_lost_leaves_the_room_in_doubt() {
    let redis = Server::start(&[]).await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], redis.port).into()).await.expect("a port is free");
    let options = options();
    let dead = Node::on_redis(&redis.url(), options.clone()).await;
    let living = Node::on_redis(&proxy.through(&redis.url()), options).await;
    let (rooms, who) = ([room(), room()], [device(), device()]);
    dead.roster().renew(dead.id).await.expect("Redis answers");
    for (room, who) in rooms.into_iter().zip(who) {
        dead.roster().enter(dead.id, room, who).await.expect("Redis answers");
    }
    // The answer that one of them went never comes.
    proxy.cut_at(Direction::ToClient, who[0].as_bytes());
    let (mut told, mut unsure) = (BTreeSet::new(), BTreeSet::new());
    eventually("both are buried", async || {
        let _ = living.roster().renew(living.id).await;
        let found = living.roster().bury().await.unwrap_or_default();
        told.extend(found.into_iter().map(|gone| gone.room));
        unsure.extend(living.roster().take_unsure());
        (told.len() + unsure.len() >= rooms.len()).then_some(())
    })
    .await;
    assert_eq!(proxy.counts().cut_by_pattern, 1);
    assert!(unsure.contains(&rooms[0]) && !told.contains(&rooms[0]), "{told:?} {unsure:?}");
    assert!(living.roster().take_unsure().is_empty());
    let here = eventually("Redis answers", async || living.roster().here(rooms[0], 1).await.ok()).await;
    assert_eq!(here, (Vec::new(), 0));
}

#[tokio::test]
async fn nobody_is_thought_dead_because_redis_was_away() {
    let redis = Server::start(&[]).await;
    let nodes = nodes_on(&redis.url(), 2, options()).await;
    let (room, who) = (room(), device());
    for node in &nodes {
        node.roster().renew(node.id).await.expect("Redis answers");
    }
    nodes[0].roster().enter(nodes[0].id, room, who).await.expect("Redis answers");
    redis.pause().await;
    let paused = Instant::now();
    assert!(nodes[1].roster().renew(nodes[1].id).await.is_err());
    tokio::time::sleep_until(paused + LEASE + Duration::from_millis(500)).await;
    redis.go_on().await;
    becomes(&nodes[1], BusHealth::Connected).await;
    // The lease of the other has ended, and it is the first to be asked.
    nodes[1].roster().renew(nodes[1].id).await.expect("Redis answers");
    assert_eq!(nodes[1].roster().bury().await.expect("Redis answers"), []);
    becomes(&nodes[0], BusHealth::Connected).await;
    assert!(nodes[0].roster().renew(nodes[0].id).await.expect("Redis answers"), "nothing is lost");
    assert_eq!(nodes[1].roster().here(room, 10).await.expect("Redis answers"), (vec![who], 1));
}

/// Keeps who tells it of something waiting until the other end is dropped.
struct Gate(Mutex<mpsc::Receiver<()>>);

impl Listener for Gate {
    fn hear(&self, _event: &BusEvent) {
        // A worker that waits keeps to itself what it was about to do next, which may be what the gate's opening waits for.
        tokio::task::block_in_place(|| {
            let _ = self.0.lock().expect("no panic").recv();
        });
    }
}

/// Publishes these, and waits until Redis has them all.
async fn publish_all(node: &Node, events: impl Iterator<Item = BusEvent>) {
    let mut all = node.counters().published.get();
    for event in events {
        all += 1;
        eventually("it is queued", async || node.bus().publish(event.clone()).ok()).await;
    }
    eventually("all is published", async || (node.counters().published.get() >= all).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn fleeting_events_make_room_for_news() {
    /// More than half of what the driver may be ahead of a node.
    const NEWS: u64 = 7_500;
    const FLEETING: u64 = 100;
    let redis = Server::start(&[]).await;
    let nodes = nodes_on(&redis.url(), 2, options()).await;
    let (mut events, (open, gate), [room, another]) = (nodes[1].events(), mpsc::channel(), [room(), room()]);
    let _listening = nodes[1].bus().listen(Arc::new(Gate(Mutex::new(gate))));
    nodes[1].follow(room).await;
    let fleeting = |_| BusEvent::Ephemeral { room, frame: "{}".into(), from: device() };
    publish_all(&nodes[0], [hint(room, 1)].into_iter().chain((0..FLEETING).map(fleeting))).await;
    publish_all(&nodes[0], (2..=NEWS).map(|seq| hint(room, seq))).await;
    // What Redis confirms to the other comes behind what it was sent before: then its driver has taken in everything.
    nodes[1].follow(another).await;
    drop(open);
    for seq in 1..=NEWS {
        events.until_hint(room, seq).await;
    }
    assert!(nodes[1].counters().shed.get() > 0);
}

#[tokio::test]
async fn nothing_stays_in_redis_for_ever() {
    let redis = Server::start(&[]).await;
    let options = RedisOptions { lease: PATIENCE * 4, ..options() };
    let nodes = nodes_on(&redis.url(), 2, options).await;
    let buckets = [SharedBucket { name: "joins".to_owned(), burst: 5.0, per_second: 0.01 }];
    for node in &nodes {
        node.roster().renew(node.id).await.expect("Redis answers");
        for _ in 0..20 {
            let (room, who) = (room(), device());
            node.roster().enter(node.id, room, who).await.expect("Redis answers");
            node.roster().enter(node.id, room, device()).await.expect("Redis answers");
            node.roster().leave(node.id, room, who).await.expect("Redis answers");
            let _ = node.limits().charge(&format!("{room}"), &buckets).await.expect("Redis answers");
        }
    }
    let keys = redis.cli(&["KEYS", "*"]).await;
    assert!(keys.lines().count() > 80, "{keys}");
    for key in keys.lines() {
        let life_ms: i64 = redis.cli(&["PTTL", key]).await.parse().expect("a number");
        assert!(life_ms > 0 && life_ms <= 3_600_000, "{key} lives for {life_ms}");
    }
    assert_eq!(nodes[0].roster().bury().await.expect("Redis answers"), []);
    for node in &nodes {
        assert_eq!(node.roster().resign(node.id).await.expect("Redis answers").len(), 20);
    }
    let left = redis.cli(&["KEYS", "*"]).await;
    assert!(left.lines().all(|key| key.contains("buckets:")), "{left}");
}

#[tokio::test]
async fn rooms_that_nobody_wants_are_let_go() {
    let redis = Server::start(&[]).await;
    let two = Two::over([&redis.url(), &redis.url()], options()).await;
    let channels = async || redis.cli(&["PUBSUB", "SHARDCHANNELS"]).await.lines().count();
    // Two for each room, one for each node, one for all.
    assert_eq!(channels().await, 2 * ROOMS + 3);
    // Several ticks: the node is at rest, and it is the unfollowing that must wake it.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for room in &two.rooms {
        two.hearing.bus().unfollow(*room).await;
    }
    assert_eq!(channels().await, 2 * ROOMS + 3, "not at once: people come back");
    eventually("only the nodes' own channels are left", async || (channels().await == 3).then_some(())).await;
}

#[tokio::test]
async fn a_node_that_stops_sends_what_it_has_taken_and_ends() {
    let redis = Server::start(&[]).await;
    let mut two = Two::over([&redis.url(), &redis.url()], options()).await;
    for seq in 1..=1_000 {
        two.talking.publish(hint(two.rooms[0], 1_000 + seq));
    }
    let begun = Instant::now();
    two.talking.stop.cancel();
    two.talking.tasks.close();
    two.talking.tasks.wait().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    two.events.until_hint(two.rooms[0], 2_000).await;
    let stays = redis.cli(&["CLIENT", "LIST"]).await;
    // Two of the other node, and the one that asks.
    assert_eq!(stays.lines().count(), 3, "{stays}");
}

#[tokio::test]
async fn a_node_stops_in_time_also_without_redis() {
    let redis = Server::start(&[]).await;
    let two = Two::over([&redis.url(), &redis.url()], options()).await;
    redis.pause().await;
    for seq in 1..=1_000 {
        let _ = two.talking.bus().publish(hint(two.rooms[0], seq));
    }
    let begun = Instant::now();
    two.talking.stop.cancel();
    two.talking.tasks.close();
    two.talking.tasks.wait().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
