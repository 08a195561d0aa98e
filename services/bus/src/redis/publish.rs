//! Publishing: a bounded queue that nobody waits for, and one task that keeps several calls of Redis on their way.
//!
//! A driver's call costs more than what Redis does for it, and a commit makes many hints at one moment. So those that are queued go
//! together, in one script, but in a cluster, where channels of different slots are different servers' business.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, LuaInterface, PubsubInterface};
use fred::types::Value;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::encoding;
use super::link::{Link, fail_fast};
use crate::{BusError, BusEvent};

/// Events that wait to be published, ephemeral ones apart.
pub(super) const HINTS_QUEUED_MAX: usize = 4_096;
/// Ephemeral events that wait to be published.
pub(super) const EPHEMERALS_QUEUED_MAX: usize = 512;
/// Calls without an answer as yet, in a cluster; each publishes one event there.
const HINTS_IN_FLIGHT_MAX: usize = 512;
/// The same where calls publish several: few, so that what comes meanwhile goes together.
const BATCHES_IN_FLIGHT_MAX: usize = 16;
/// Few, so that a hint waits behind few.
const EPHEMERALS_IN_FLIGHT_MAX: usize = 32;
const EPHEMERAL_BATCHES_IN_FLIGHT_MAX: usize = 1;
/// Events that are published by one call, and about the most bytes of them, so that Redis is never busy with one for long.
const BATCH_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 128 * 1024;
/// How long what is queued may still be published when the node stops.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Publishes events: a channel and a payload each. Sent whole each time, which is short: one that Redis has forgotten would come again behind
/// what was to follow it.
const PUBLISH: &str = "for at = 1, #ARGV, 2 do redis.call('SPUBLISH', ARGV[at], ARGV[at + 1]) end return #ARGV / 2";

/// An event that is ready to be published.
pub(super) struct Parcel {
    channel: String,
    payload: Bytes,
}

impl Link {
    /// Tells this node's listeners of `event` and queues it for the others.
    pub(super) fn publish(&self, event: &BusEvent) -> Result<(), BusError> {
        let Some(payload) = encoding::encode(self.node, event) else { return Ok(()) };
        let (channel, queue) = match event {
            BusEvent::Hint { room, .. } | BusEvent::Access { room, .. } => (self.names.news(*room), &self.hints),
            BusEvent::Ephemeral { room, .. } => (self.names.fleeting(*room), &self.ephemerals),
            BusEvent::Token { .. } | BusEvent::Missed { .. } | BusEvent::Checked => {
                (self.names.everyone(), &self.hints)
            }
        };
        self.listeners.tell(event);
        // What is queued now could only be sent when it is old.
        if self.publisher.current().is_none() || queue.try_send(Parcel { channel, payload }).is_err() {
            self.counters.publish_failed.increment();
            return Err(BusError::Unavailable);
        }
        Ok(())
    }
}

/// How many events go in one call, and how many calls of hints and of ephemeral events may be on their way.
struct Bounds {
    together: usize,
    hints_max: usize,
    ephemerals_max: usize,
}

impl Bounds {
    const fn of(is_clustered: bool) -> Self {
        if is_clustered {
            Self { together: 1, hints_max: HINTS_IN_FLIGHT_MAX, ephemerals_max: EPHEMERALS_IN_FLIGHT_MAX }
        } else {
            let (hints_max, ephemerals_max) = (BATCHES_IN_FLIGHT_MAX, EPHEMERAL_BATCHES_IN_FLIGHT_MAX);
            Self { together: BATCH_MAX, hints_max, ephemerals_max }
        }
    }
}

/// Publishes what is queued, in its order, until `stop`; then what is left, for [`FLUSH_LIMIT`]. Dropping `closing` afterwards ends the
/// connections.
pub(super) async fn run(
    link: Arc<Link>,
    mut hints: mpsc::Receiver<Parcel>,
    mut ephemerals: mpsc::Receiver<Parcel>,
    is_clustered: bool,
    stop: CancellationToken,
    closing: DropGuard,
) {
    let Bounds { together, hints_max, ephemerals_max } = Bounds::of(is_clustered);
    let (mut hints_flying, mut ephemerals_flying) = (FuturesUnordered::new(), FuturesUnordered::new());
    loop {
        tokio::select! {
            biased;
            Some(()) = hints_flying.next(), if !hints_flying.is_empty() => {}
            Some(()) = ephemerals_flying.next(), if !ephemerals_flying.is_empty() => {}
            Some(parcel) = hints.recv(), if hints_flying.len() < hints_max => {
                // Futures are polled first, and so put on the connection, in the order of being pushed.
                hints_flying.push(link.send(batch(parcel, &mut hints, together)));
            }
            Some(parcel) = ephemerals.recv(), if ephemerals_flying.len() < ephemerals_max => {
                ephemerals_flying.push(link.send(batch(parcel, &mut ephemerals, together)));
            }
            () = stop.cancelled() => break,
        }
    }
    hints.close();
    let flush = async {
        while let Some(parcel) = hints.recv().await {
            hints_flying.push(link.send(batch(parcel, &mut hints, together)));
            if hints_flying.len() >= hints_max {
                hints_flying.next().await;
            }
        }
        while let Some(()) = hints_flying.next().await {}
    };
    if tokio::time::timeout(FLUSH_LIMIT, flush).await.is_err() {
        tracing::warn!("stopped before everything was published");
    }
    drop(closing);
}

/// This event and what is queued behind it, as much as goes together.
fn batch(first: Parcel, queue: &mut mpsc::Receiver<Parcel>, together: usize) -> Vec<Parcel> {
    let mut bytes = first.payload.len();
    let mut batch = vec![first];
    while batch.len() < together && bytes < BATCH_BYTES_MAX {
        let Ok(parcel) = queue.try_recv() else { break };
        bytes += parcel.payload.len();
        batch.push(parcel);
    }
    batch
}

impl Link {
    async fn send(&self, batch: Vec<Parcel>) {
        let count = batch.len() as u64;
        match self.try_send(batch).await {
            Ok(()) => self.counters.published.add(count),
            Err(error) => {
                self.counters.publish_failed.add(count);
                tracing::debug!(%error, count, "events were not published");
            }
        }
    }

    async fn try_send(&self, batch: Vec<Parcel>) -> Result<(), Error> {
        let current = self.publisher.current().ok_or_else(Error::new_canceled)?;
        let sent = async {
            match <[Parcel; 1]>::try_from(batch) {
                Ok([Parcel { channel, payload }]) => {
                    let client = current.client.with_options(&fail_fast());
                    client.spublish::<i64, _, _>(channel, Value::Bytes(payload)).await
                }
                Err(batch) => publish_together(&current.client, batch).await,
            }
        };
        current.unless_broken(sent).await.map(drop)
    }
}

/// Publishes these in one call, in their order; how many they were.
async fn publish_together(client: &Client, batch: Vec<Parcel>) -> Result<i64, Error> {
    let arguments = batch.into_iter().flat_map(|parcel| [parcel.channel.into(), Value::Bytes(parcel.payload)]);
    client.with_options(&fail_fast()).eval(PUBLISH, (), arguments.collect::<Vec<Value>>()).await
}

/// Publishes one event as several are, for who wants to know whether that is allowed. Not in a cluster.
pub(super) async fn publish_as_several(client: &Client, channel: String, payload: Bytes) -> Result<(), Error> {
    publish_together(client, vec![Parcel { channel, payload }]).await.map(drop)
}
