//! Watching: pings, so that a connection without answers is noticed, and probes to ourselves when nothing arrives, since a subscription
//! can be deaf on a connection that answers.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike, ClusterInterface, PubsubInterface};
use fred::types::Value;
use fred::types::config::{Options, Server};
use futures_util::future::{join, try_join_all};
use tokio::time::Instant;
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
/// After such a silence a probe is sent.
const SILENCE: Duration = Duration::from_secs(5);
/// For a probe to come back.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Watches both connections until `stop`.
pub(super) async fn run(link: Arc<Link>, stop: CancellationToken) {
    let mut number = 0;
    loop {
        let due = due(&link.publisher).min(due(&link.subscriber));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(due) => {}
            () = link.to_be_looked_at.notified() => {}
        }
        // Both, whichever is due: else the other might be only when this one has not answered for long.
        let (publishes, subscribes) =
            join(ping("publishing", &link.publisher), ping("subscribing", &link.subscriber)).await;
        let (Some(publisher), Some(subscriber)) = (publishes, subscribes) else { continue };
        if link.table().is_confirmed(Topic::Probe) && (link.silence() >= SILENCE || !link.hears()) {
            number += 1;
            probe(&link, &publisher, &subscriber, number).await;
        }
    }
}

/// When the side is to be asked whether it lives.
fn due<C: ClientLike>(side: &Side<C>) -> Instant {
    side.current().map_or_else(Instant::now, |current| current.lived.get()) + PING_AFTER
}

/// The side's client if all its connections answer.
async fn ping<C: ClusterInterface>(what: &'static str, side: &Side<C>) -> Option<Current<C>> {
    let current = side.current()?;
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
            current.lived.note();
            Some(current)
        }
        Err(_) if current.broken.is_cancelled() => None,
        Err(error) => {
            tracing::warn!(what, %error, "Redis does not answer; connecting anew");
            current.broken.cancel();
            None
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
