//! The backplane on Redis 7 or later, alone, behind sentinels or as a cluster. The only place that uses `fred`.
//!
//! One client publishes and runs scripts, one subscribes. Each room has two sharded channels, for news and for ephemeral events; beside
//! them are one for all nodes and one on which a node hears itself. Which rooms are subscribed is this module's business and not fred's,
//! which loses sharded subscriptions on a reconnect and does not see slots move.
//!
//! A publisher tells its own node's listeners itself and the echo is dropped, so a node's own members talk at full speed without Redis.
//! `publish` never waits for Redis either: it hands the event to a bounded queue, from which one task keeps many on their way; what does
//! not fit, or is not taken in time, is counted and lost, and the head check of the other nodes finds it.

mod connect;
mod counters;
mod encoding;
mod follow;
mod limits;
mod link;
mod names;
mod publish;
mod receive;
mod roster;
mod script;
mod side;
mod table;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use fred::clients::SubscriberClient;
use fred::interfaces::EventInterface;
use snug_protocol::RoomId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Backplane, Bus, BusError, BusEvent, BusHealth, Listener, Listening, NodeId};

pub use connect::{ConnectError, RedisOptions};
pub use counters::{BusCounters, MissedCause};

use connect::Opened;
use link::Link;
use names::Names;
use side::Current;
use table::Topic;

/// What nodes share, on Redis.
#[derive(Clone)]
pub struct RedisBackplane {
    /// The bus, the roster and the limits.
    pub backplane: Backplane,
    /// What the bus counts, for metrics.
    pub counters: Arc<BusCounters>,
}

impl RedisBackplane {
    /// Connects, and makes sure that everything the backplane needs works: a message to ourselves, a script, the version.
    ///
    /// `url` is `redis://`, `redis-cluster://` or `redis-sentinel://`, or the same with `rediss` for TLS, as fred takes them:
    /// `redis://user:password@host:6379/0`, `redis-cluster://host:6379?node=other:6379`,
    /// `redis-sentinel://host:26379?sentinelServiceName=name&node=other:26379&sentinelPassword=secret`.
    ///
    /// Tasks are given to `tasks` and end when `stop` is cancelled, after what is queued was published or a second has passed; cancel it
    /// when nothing is published any more. Once connected, losing Redis ends nothing: it is returned to whenever it is back.
    ///
    /// # Errors
    /// One line for an operator, without the password, within 15 s.
    pub async fn connect(
        url: &str,
        node: NodeId,
        options: RedisOptions,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, ConnectError> {
        let (link, hints, ephemerals) = Link::new(node, Names::new(&options.prefix));
        let opened = connect::open(url, &options, &link).await?;
        let link = Arc::new(link);
        let (counters, is_clustered) = (Arc::clone(&link.counters), opened.is_clustered);
        let backplane = Backplane {
            bus: Arc::new(RedisBus { link: Arc::clone(&link) }),
            roster: Arc::new(roster::RedisRoster::new(Arc::clone(&link), options.lease)),
            limits: Some(Arc::new(limits::RedisLimits::new(Arc::clone(&link)))),
        };
        // The connections outlive `stop` until the publisher is done.
        let closed = CancellationToken::new();
        keep(&link, opened, tasks, &closed);
        tasks.spawn(watch::run(Arc::clone(&link), stop.clone()));
        tasks.spawn(publish::run(link, hints, ephemerals, is_clustered, stop, closed.drop_guard()));
        Ok(Self { backplane, counters })
    }
}

/// Keeps both sides connected until `closed`.
fn keep(link: &Arc<Link>, opened: Opened, tasks: &TaskTracker, closed: &CancellationToken) {
    let Opened { publishing, subscribing, publisher, subscriber, round_every, is_clustered: _ } = opened;
    let first = link.publisher.take(&publisher, closed);
    let (side, until) = (Arc::clone(link), closed.clone());
    tasks.spawn(async move {
        side.publisher.keep("publishing", (publisher, first), || publishing.build(), |_| {}, until).await;
    });

    link.set_hears(true);
    link.table().want(Topic::Everyone);
    link.table().want(Topic::Probe);
    let first = link.subscriber.take(&subscriber, closed);
    let (side, begun, until) = (Arc::clone(link), tasks.clone(), closed.clone());
    let listen = move |current: &Current<SubscriberClient>| {
        // Before anything is subscribed, so that nothing is overheard.
        begun.spawn(receive::run(Arc::clone(&side), current.client.message_rx(), current.clone()));
        let epoch = side.table().epoch();
        begun.spawn(follow::run(Arc::clone(&side), current.clone(), epoch, round_every));
    };
    listen(&first);
    let side = Arc::clone(link);
    tasks.spawn(async move {
        let begin = |current: &Current<SubscriberClient>| {
            side.set_hears(false);
            side.table().begin_anew();
            listen(current);
        };
        side.subscriber
            .keep("subscribing", (subscriber, first), || subscribing.build_subscriber_client(), begin, until)
            .await;
    });
}

struct RedisBus {
    link: Arc<Link>,
}

#[async_trait]
impl Bus for RedisBus {
    /// `Ok` means that the event is on its way; it may still be lost. Takes no time whatever Redis does.
    fn publish(&self, event: BusEvent) -> Result<(), BusError> {
        self.link.publish(&event)
    }

    async fn follow(&self, room: RoomId) -> Result<(), BusError> {
        self.link.follow(room).await
    }

    async fn unfollow(&self, room: RoomId) {
        self.link.unfollow(room);
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Listening {
        self.link.listeners.add(listener)
    }

    fn name(&self) -> &'static str {
        "redis"
    }

    fn health(&self) -> BusHealth {
        let link = &self.link;
        let works = link.publisher.current().is_some() && link.subscriber.current().is_some() && link.hears();
        if works { BusHealth::Connected } else { BusHealth::Away }
    }

    fn counters(&self) -> Option<&BusCounters> {
        Some(&self.link.counters)
    }
}
