//! Subscribing: carries out what the table decides, on one connection, and asks for rounds when slots may have moved.
//!
//! Each channel is subscribed by a command of its own. fred takes the confirmations of further channels of one command for the answers
//! of later commands; with one channel each, many can be on their way and every confirmation belongs to its command.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::Options;
use futures_util::StreamExt;
use futures_util::future::try_join;
use futures_util::stream::FuturesUnordered;
use snug_protocol::RoomId;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::counters::MissedCause;
use super::link::Link;
use super::side::Current;
use super::table::{Epoch, Errand, News, Step, Topic, Wish};
use crate::BusError;

/// How long a follower waits for the confirmation.
const CONFIRMATION_LIMIT: Duration = Duration::from_millis(500);
/// How long Redis may take to confirm before it is asked again.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(2);
/// Following a cluster's redirection counts as an attempt.
const ATTEMPTS_MAX: u32 = 3;
/// Topics that are being subscribed or unsubscribed.
const ON_THEIR_WAY_MAX: usize = 256;
const TICK: Duration = Duration::from_millis(500);

impl Link {
    /// Subscribes the room's channels.
    pub(super) async fn follow(&self, room: RoomId) -> Result<(), BusError> {
        let topic = Topic::Room(room);
        let wish = self.table().want(topic);
        if self.subscriber.current().is_none() {
            // The round on the next connection subscribes it.
            self.table().owe(topic);
            return Err(BusError::Unavailable);
        }
        let Wish::Waiting(confirmed) = wish else { return Ok(()) };
        self.table_changed.notify_one();
        match tokio::time::timeout(CONFIRMATION_LIMIT, confirmed).await {
            Ok(Ok(())) => Ok(()),
            _ => self.owe(topic),
        }
    }

    fn owe(&self, topic: Topic) -> Result<(), BusError> {
        if self.table().owe(topic) { Err(BusError::Unavailable) } else { Ok(()) }
    }

    /// Lets go of the room's channels in a while.
    pub(super) fn unfollow(&self, room: RoomId) {
        self.table().unwant(Topic::Room(room), Instant::now());
        self.table_changed.notify_one();
    }

    fn tell(&self, news: &News) {
        if news.again {
            self.counters.resubscribed.increment();
        }
        if let Some(room) = news.confirmed_late {
            self.missed(Some(room), MissedCause::Unconfirmed);
        }
        if let Some(cause) = news.round {
            self.missed(None, cause);
            // A round on a new connection is complete, and whether it hears can be told.
            self.to_be_looked_at.notify_one();
        }
    }
}

/// Subscribes on `current`, the connection that the table knows as `epoch`, until it is broken.
pub(super) async fn run(link: Arc<Link>, current: Current<SubscriberClient>, epoch: Epoch, round_every: Duration) {
    let Current { client, broken, .. } = current;
    let mut slots_moved = client.cluster_change_rx();
    let mut on_their_way = FuturesUnordered::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut timer = interval_at(Instant::now() + round_every, round_every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Whether something in the table may not be as it is wanted. A node at rest is not woken.
    let mut is_restless = true;
    loop {
        while on_their_way.len() < ON_THEIR_WAY_MAX {
            let Some(errand) = link.table().next(epoch) else { break };
            on_their_way.push(carry_out(&link, &client, errand));
        }
        let mut ticked = None;
        tokio::select! {
            biased;
            () = broken.cancelled() => return,
            Some((errand, outcome)) = on_their_way.next(), if !on_their_way.is_empty() => {
                if let Err(error) = &outcome {
                    tracing::debug!(?errand, %error, "a subscription was not confirmed");
                    if *error.kind() == ErrorKind::Timeout {
                        // Messages may still arrive where nothing that is asked does.
                        link.to_be_looked_at.notify_one();
                    }
                }
                let news = link.table().done(errand, outcome.is_ok());
                link.tell(&news);
            }
            change = slots_moved.recv() => {
                // Several changes are one reason to look.
                while slots_moved.try_recv().is_ok() {}
                if matches!(change, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
                    return;
                }
                link.table().ask_round(MissedCause::SlotsMoved);
            }
            () = link.table_changed.notified() => {}
            _ = tick.tick(), if is_restless => ticked = Some(link.table().tick(Instant::now())),
            _ = timer.tick() => link.table().ask_round(MissedCause::Timer),
        }
        is_restless = ticked.unwrap_or(true);
    }
}

async fn carry_out(link: &Link, client: &SubscriberClient, errand: Errand) -> (Errand, Result<(), Error>) {
    let limited = Options {
        timeout: Some(SUBSCRIBE_LIMIT),
        max_attempts: Some(ATTEMPTS_MAX),
        fail_fast: true,
        ..Options::default()
    };
    // Without these options fred would keep a list of channels of its own.
    let client = client.with_options(&limited);
    let channels = match errand.topic {
        Topic::Everyone => (link.names.everyone(), None),
        Topic::Probe => (link.names.probe(link.node), None),
        Topic::Room(room) => (link.names.news(room), Some(link.names.fleeting(room))),
    };
    let outcome = match (errand.step, channels) {
        (Step::Subscribe, (one, None)) => client.ssubscribe(one).await,
        (Step::Subscribe, (one, Some(other))) => {
            try_join(client.ssubscribe(one), client.ssubscribe(other)).await.map(|_| ())
        }
        (Step::Unsubscribe, (one, None)) => client.sunsubscribe(one).await,
        (Step::Unsubscribe, (one, Some(other))) => {
            try_join(client.sunsubscribe(one), client.sunsubscribe(other)).await.map(|_| ())
        }
    };
    (errand, outcome)
}
