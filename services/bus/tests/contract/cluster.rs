//! A Redis Cluster of three, whose slots move, and one behind a sentinel.

use std::collections::BTreeSet;
use std::time::Duration;

use snug_backing::free_port;
use snug_bus::redis::MissedCause;
use snug_bus::{RedisOptions, SharedBucket};

use crate::faults::Two;
use crate::fixture::{Node, device, eventually, hint, nodes_on, options, room};
use crate::server::Server;

struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    async fn start() -> Self {
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(Server::start_clustered().await);
        }
        let addresses: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let created = servers[0].cli(&[&["--cluster", "create"], &addresses[..], &["--cluster-yes"]].concat()).await;
        assert!(created.contains("All 16384 slots covered"), "{created}");
        for server in &servers {
            eventually("the cluster is up", async || {
                server.cli(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok").then_some(())
            })
            .await;
        }
        Self { servers }
    }

    fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.servers[0].port)
    }

    async fn id(&self, server: usize) -> String {
        self.servers[server].cli(&["CLUSTER", "MYID"]).await
    }

    /// Moves many slots from one server to another.
    async fn move_slots(&self, count: &str, from: usize, to: usize) {
        let (from, to, at) = (self.id(from).await, self.id(to).await, format!("127.0.0.1:{}", self.servers[0].port));
        let moved = self.servers[0]
            .cli(&[
                "--cluster",
                "reshard",
                &at,
                "--cluster-from",
                &from,
                "--cluster-to",
                &to,
                "--cluster-slots",
                count,
                "--cluster-yes",
            ])
            .await;
        assert!(!moved.contains("ERR"), "{moved}");
    }
}

#[tokio::test]
async fn all_is_heard_in_a_cluster_also_after_slots_have_moved() {
    let cluster = Cluster::start().await;
    let options = RedisOptions { round_every: Some(Duration::from_secs(2)), ..options() };
    let mut two = Two::over([&cluster.url(), &cluster.url()], options).await;
    two.all_is_heard().await;
    cluster.move_slots("1500", 0, 1).await;
    // Nobody is told that a subscription is gone; a round on a timer restores it.
    let rounds = two.hearing.counters().missed.of(MissedCause::Timer);
    let before = rounds.get();
    eventually("two rounds by the timer", async || (rounds.get() >= before + 2).then_some(())).await;
    two.all_is_heard().await;
}

#[tokio::test]
async fn presence_and_limits_work_in_a_cluster() {
    let cluster = Cluster::start().await;
    let nodes = nodes_on(&cluster.url(), 2, options()).await;
    let (one, other) = (&nodes[0], &nodes[1]);
    let rooms: Vec<_> = (0..30).map(|_| room()).collect();
    assert!(!one.roster().renew(one.id).await.expect("Redis answers"));
    for room in &rooms {
        let stand = one.roster().enter(one.id, *room, device()).await.expect("Redis answers");
        assert!(stand.changed && stand.here_count == 1);
    }
    assert!(one.roster().renew(one.id).await.expect("Redis answers"));
    cluster.move_slots("500", 2, 0).await;
    let gone = one.roster().resign(one.id).await.expect("Redis answers");
    let gone: BTreeSet<_> = gone.into_iter().map(|gone| gone.room).collect();
    assert_eq!(gone, rooms.iter().copied().collect());
    let buckets = [SharedBucket { name: "joins".to_owned(), burst: 1.0, per_second: 0.001 }];
    for subject in 0..20 {
        let subject = format!("subject {subject}");
        assert_eq!(one.limits().charge(&subject, &buckets).await.expect("Redis answers"), Ok(()));
        assert!(other.limits().charge(&subject, &buckets).await.expect("Redis answers").is_err());
    }
}

#[tokio::test]
async fn a_server_of_a_cluster_may_be_restarted() {
    let mut cluster = Cluster::start().await;
    let mut two = Two::over([&cluster.url(), &cluster.url()], options()).await;
    cluster.servers[1].restart().await;
    two.events.until_missed().await;
    two.all_is_heard().await;
}

#[tokio::test]
async fn a_sentinel_tells_where_the_main_server_is() {
    let main = Server::start(&[]).await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (config, port) = (folder.path().join("sentinel.conf"), free_port());
    std::fs::write(&config, format!("sentinel monitor snug 127.0.0.1 {} 1\n", main.port)).expect("it is written");
    let mut sentinel = tokio::process::Command::new("redis-server");
    sentinel.arg(&config).args(["--sentinel", "--port", &port.to_string(), "--bind", "127.0.0.1"]);
    sentinel.stdout(std::process::Stdio::null()).kill_on_drop(true);
    let _sentinel = sentinel.spawn().expect("redis-server runs");
    eventually("the sentinel answers", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| ())
    })
    .await;
    let url = format!("redis-sentinel://127.0.0.1:{port}?sentinelServiceName=snug");
    let (one, other, room) =
        (Node::on_redis(&url, options()).await, Node::on_redis(&main.url(), options()).await, room());
    let mut events = one.events();
    one.follow(room).await;
    one.publish(hint(room, 1));
    events.until_hint(room, 1).await;
    assert_eq!(other.bus().name(), "redis");
    let clients = main.cli(&["CLIENT", "LIST"]).await;
    assert!(clients.lines().count() >= 5, "both are at the main server: {clients}");
}
