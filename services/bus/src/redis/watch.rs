//! Watching: pings, so that a connection without answers is noticed, and probes to ourselves when nothing arrives, since a subscription
//! can be deaf on a connection that answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::error::ErrorKind;
use fred::interfaces::{ClientLike, ClusterInterface, PubsubInterface};
use fred::types::Value;
use fred::types::config::{Options, Server};
use futures_util::future::{join, try_join_all};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::counters::MissedCause;
use super::encoding::encode_probe;
use super::link::{Link, fail_fast};
use super::side::{Current, Side};
use super::table::Topic;

/// From a sign of life, an answer or a message, to a ping.
const PING_AFTER: Duration = Duration::from_secs(1);
/// For the answer. A dead peer is noticed within three seconds.
const PING_LIMIT: Duration = Duration::from_secs(2);
/// So many pings in a row stay unanswered before a connection is given up by which messages come all the same: on a busy node fred takes in
/// what has come before it asks anything.
const UNANSWERED_MAX: u32 = 5;
/// After such a silence a probe is sent.
const SILENCE: Duration = Duration::from_secs(5);
/// For a probe to come back.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Watches both connections until `stop`, each by itself: one that hangs does not keep the other from being asked.
pub(super) async fn run(link: Arc<Link>, stop: CancellationToken) {
    let watching = join(watch_publisher(&link), watch_subscriber(&link));
    stop.run_until_cancelled(watching).await;
}

async fn watch_publisher(link: &Link) -> Infallible {
    let mut unanswered = 0;
    loop {
        sleep_until(due(&link.publisher)).await;
        if due(&link.publisher) <= Instant::now() {
            ping("publishing", &link.publisher, &mut unanswered).await;
        }
    }
}

async fn watch_subscriber(link: &Link) -> Infallible {
    let (mut unanswered, mut number) = (0, 0);
    loop {
        let is_asked_for = tokio::select! {
            () = sleep_until(due(&link.subscriber)) => false,
            () = link.to_be_looked_at.notified() => true,
        };
        if is_asked_for || due(&link.subscriber) <= Instant::now() {
            ping("subscribing", &link.subscriber, &mut unanswered).await;
        }
        let (Some(publisher), Some(subscriber)) = (link.publisher.current(), link.subscriber.current()) else {
            continue;
        };
        if link.table().is_confirmed(Topic::Probe) && (link.silence() >= SILENCE || !link.hears()) {
            number += 1;
            probe(link, &publisher, &subscriber, number).await;
        }
    }
}

/// When the side is to be asked whether it lives.
fn due<C: ClientLike>(side: &Side<C>) -> Instant {
    side.current().map_or_else(Instant::now, |current| current.lived.get()) + PING_AFTER
}

/// Gives the side's client up unless all its connections answer, or messages have come by it meanwhile and it did not answer a few times only.
async fn ping<C: ClusterInterface>(what: &'static str, side: &Side<C>, unanswered: &mut u32) {
    let (Some(current), asked_at) = (side.current(), Instant::now()) else { return };
    let client = &current.client;
    let servers = if client.is_clustered() { servers(client) } else { vec![None] };
    let pings = servers.into_iter().map(|server| {
        let options =
            Options { timeout: Some(PING_LIMIT), fail_fast: true, cluster_node: server, ..Options::default() };
        let client = client.with_options(&options);
        async move { client.ping::<Value>(None).await }
    });
    match current.unless_broken(try_join_all(pings)).await {
        Ok(_) => {
            *unanswered = 0;
            current.lived.note();
        }
        Err(_) if current.broken.is_cancelled() => {}
        Err(error) => {
            let is_heard = *error.kind() == ErrorKind::Timeout && current.lived.get() > asked_at;
            if is_heard && *unanswered < UNANSWERED_MAX {
                *unanswered += 1;
                tracing::debug!(what, unanswered, "Redis does not answer, but messages come");
                return;
            }
            *unanswered = 0;
            tracing::warn!(what, %error, "Redis does not answer; connecting anew");
            current.broken.cancel();
        }
    }
}

/// The cluster's servers.
fn servers<C: ClusterInterface>(client: &C) -> Vec<Option<Server>> {
    let mut servers = client.active_connections();
    if servers.is_empty() {
        // Listed are those who have told their connection's id, which they may not be allowed to.
        servers = client.cached_cluster_state().map(|known| known.unique_primary_nodes()).unwrap_or_default();
    }
    servers.into_iter().map(Some).collect()
}

async fn probe(link: &Link, publisher: &Current<Client>, subscriber: &Current<SubscriberClient>, number: u64) {
    let mut heard = link.probe_heard.subscribe();
    let client = publisher.client.with_options(&fail_fast());
    let sent =
        client.spublish::<i64, _, _>(link.names.probe(link.node), Value::Bytes(encode_probe(link.node, number))).await;
    if let Err(error) = sent {
        // It is the publishing side that fails, and pings tell what becomes of it.
        tracing::debug!(%error, "a probe could not be sent");
        return;
    }
    link.counters.probes_sent.increment();
    let came_back = tokio::time::timeout(PROBE_LIMIT, heard.wait_for(|heard| *heard == number)).await;
    if matches!(came_back, Ok(Ok(_))) {
        if link.set_hears(true) {
            tracing::info!("what is published arrives");
        }
        return;
    }
    link.counters.probes_lost.increment();
    if link.set_hears(false) {
        tracing::warn!("a probe did not come back; connecting anew");
        link.missed(None, MissedCause::Deaf);
    }
    // Either may be attached to a server that is not the right one any more.
    publisher.broken.cancel();
    subscriber.broken.cancel();
}
