//! Nodes over one backend, and how to wait for what they hear.

use std::sync::Arc;
use std::time::Duration;

use snug_bus::{
    Backplane, Bus, BusCounters, BusEvent, Listening, LocalBus, LocalRoster, NodeId, RedisBackplane, RedisOptions,
    Roster, SharedLimits,
};
use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, RoomId, Seq};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How long anything may take to happen.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The nodes' lease, short enough to wait for its end.
pub const LEASE: Duration = Duration::from_secs(2);
/// What a test may leave lying of what a node hears.
const EVENTS_QUEUED_MAX: usize = 16_384;

/// The address of a Redis 7 that the tests share with others.
pub async fn redis_server() -> String {
    snug_backing::redis().await.url().to_owned()
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

pub fn room() -> RoomId {
    RoomId(random())
}

pub fn device() -> DeviceId {
    DeviceId(random())
}

pub fn hint(room: RoomId, seq: u64) -> BusEvent {
    let frame = EntryFrame::new(Seq(seq), 1_700_000_000_000, &[7; 600]);
    BusEvent::Hint { room, seq: Seq(seq), frames: vec![frame], trace: None }
}

/// One node of a test.
pub struct Node {
    pub id: NodeId,
    pub backplane: Backplane,
    /// Of a node on Redis.
    pub counters: Option<Arc<BusCounters>>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    _stopped_with_it: DropGuard,
}

impl Node {
    pub async fn on_redis(url: &str, options: RedisOptions) -> Self {
        // Shown by cargo test when a test fails.
        let _ = tracing_subscriber::fmt().with_test_writer().with_env_filter("snug_bus=info").try_init();
        let (id, tasks, stop) = (NodeId(random()), TaskTracker::new(), CancellationToken::new());
        let on_redis = RedisBackplane::connect(url, id, options, &tasks, stop.clone()).await.expect("Redis takes us");
        let RedisBackplane { backplane, counters } = on_redis;
        Self { id, backplane, counters: Some(counters), tasks, stop: stop.clone(), _stopped_with_it: stop.drop_guard() }
    }

    fn local(bus: &Arc<LocalBus>, roster: &Arc<LocalRoster>) -> Self {
        let (bus, roster): (Arc<dyn Bus>, Arc<dyn Roster>) = (bus.clone(), roster.clone());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let backplane = Backplane { bus, roster, limits: None };
        Self {
            id: NodeId(random()),
            backplane,
            counters: None,
            tasks,
            stop: stop.clone(),
            _stopped_with_it: stop.drop_guard(),
        }
    }

    pub fn bus(&self) -> &dyn Bus {
        &*self.backplane.bus
    }

    pub fn roster(&self) -> &dyn Roster {
        &*self.backplane.roster
    }

    pub fn limits(&self) -> &dyn SharedLimits {
        self.backplane.limits.as_deref().expect("a node on Redis")
    }

    pub fn counters(&self) -> &BusCounters {
        self.counters.as_deref().expect("a node on Redis")
    }

    pub fn events(&self) -> Events {
        let sender = broadcast::Sender::new(EVENTS_QUEUED_MAX);
        Events { events: sender.subscribe(), _listening: self.bus().listen(Arc::new(sender)) }
    }

    pub fn publish(&self, event: BusEvent) {
        self.bus().publish(event).expect("the bus takes it");
    }

    /// Follows, again and again while a busy machine does not get it confirmed in time.
    pub async fn follow(&self, room: RoomId) {
        eventually("the room is followed", async || self.bus().follow(room).await.ok()).await;
    }
}

/// Options under a prefix of their own, so that tests with one Redis do not meet.
pub fn options() -> RedisOptions {
    let prefix = format!("snug-test-{:016x}:", u64::from_be_bytes(random()));
    RedisOptions { prefix, lease: LEASE, ..RedisOptions::default() }
}

pub async fn local_nodes(count: usize) -> Vec<Node> {
    let (bus, roster) = (Arc::new(LocalBus::new()), Arc::new(LocalRoster::with_lease(LEASE)));
    (0..count).map(|_| Node::local(&bus, &roster)).collect()
}

pub async fn redis_nodes(count: usize) -> Vec<Node> {
    nodes_on(&redis_server().await, count, options()).await
}

pub async fn nodes_on(url: &str, count: usize, options: RedisOptions) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(Node::on_redis(url, options.clone()).await);
    }
    nodes
}

/// Makes a test of each case for each backend.
macro_rules! over_every_backend {
    ($($case:ident($count:literal)),* $(,)?) => {
        mod local {
            $(#[tokio::test]
            async fn $case() {
                super::$case(crate::fixture::local_nodes($count).await).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $case() {
                super::$case(crate::fixture::redis_nodes($count).await).await;
            })*
        }
    };
}
pub(crate) use over_every_backend;

/// What one node hears.
pub struct Events {
    events: broadcast::Receiver<BusEvent>,
    _listening: Listening,
}

impl Events {
    /// The next event, as it looks.
    pub async fn next(&mut self) -> BusEvent {
        match timeout(PATIENCE, self.events.recv()).await {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => panic!("no event: {error}"),
            Err(_) => panic!("no event came"),
        }
    }

    /// Waits for an event that `is_it`, passing over others.
    pub async fn until<T>(&mut self, what: &str, is_it: impl Fn(&BusEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(Ok(event)) => {
                    if let Some(found) = is_it(&event) {
                        return found;
                    }
                }
                Ok(Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) => panic!("the bus has ended before: {what}"),
                Err(_) => panic!("did not come: {what}"),
            }
        }
    }

    pub async fn until_hint(&mut self, of: RoomId, at: u64) {
        let is_it = |event: &BusEvent| match event {
            BusEvent::Hint { room, seq, .. } if *room == of && seq.0 == at => Some(()),
            _ => None,
        };
        self.until(&format!("the hint {at} of {of}"), is_it).await;
    }

    pub async fn until_missed(&mut self) {
        let is_it = |event: &BusEvent| matches!(event, BusEvent::Missed { room: None }).then_some(());
        self.until("news that something was missed", is_it).await;
    }

    pub fn try_next(&mut self) -> Result<BusEvent, broadcast::error::TryRecvError> {
        self.events.try_recv()
    }
}

/// Looks again and again until there is something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(Some(found)) = timeout(PATIENCE, look()).await {
            return found;
        }
        assert!(Instant::now() < deadline, "did not happen in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub fn looks(event: &BusEvent) -> String {
    format!("{event:?}")
}
