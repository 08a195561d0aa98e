//! Publishing: a bounded queue that nobody waits for, and one task that keeps many publications on their way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::error::Error;
use fred::interfaces::{ClientLike, PubsubInterface};
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
/// Publications without an answer as yet.
const HINTS_IN_FLIGHT_MAX: usize = 512;
/// Few, so that a hint waits behind few.
const EPHEMERALS_IN_FLIGHT_MAX: usize = 32;
/// How long what is queued may still be published when the node stops.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// An event that is ready to be published.
pub(super) struct Parcel {
    channel: String,
    payload: Bytes,
}

impl Link {
    /// Hands `event` to this node's receivers and queues it for the others.
    pub(super) fn publish(&self, event: BusEvent) -> Result<(), BusError> {
        let Some(payload) = encoding::encode(self.node, &event) else { return Ok(()) };
        let (channel, queue) = match &event {
            BusEvent::Hint { room, .. } | BusEvent::Access { room, .. } => (self.names.news(*room), &self.hints),
            BusEvent::Ephemeral { room, .. } => (self.names.fleeting(*room), &self.ephemerals),
            BusEvent::Token { .. } | BusEvent::Missed { .. } | BusEvent::Checked => {
                (self.names.everyone(), &self.hints)
            }
        };
        self.deliver(event);
        // What is queued now could only be sent when it is old.
        if self.publisher.current().is_none() || queue.try_send(Parcel { channel, payload }).is_err() {
            self.counters.publish_failed.increment();
            return Err(BusError::Unavailable);
        }
        Ok(())
    }
}

/// Publishes what is queued, in its order, until `stop`; then what is left, for [`FLUSH_LIMIT`]. Dropping `closing` afterwards ends the
/// connections.
pub(super) async fn run(
    link: Arc<Link>,
    mut hints: mpsc::Receiver<Parcel>,
    mut ephemerals: mpsc::Receiver<Parcel>,
    stop: CancellationToken,
    closing: DropGuard,
) {
    let (mut hints_flying, mut ephemerals_flying) = (FuturesUnordered::new(), FuturesUnordered::new());
    loop {
        tokio::select! {
            biased;
            Some(done) = hints_flying.next(), if !hints_flying.is_empty() => link.count(done),
            Some(done) = ephemerals_flying.next(), if !ephemerals_flying.is_empty() => link.count(done),
            Some(parcel) = hints.recv(), if hints_flying.len() < HINTS_IN_FLIGHT_MAX => {
                // Futures are polled first, and so put on the connection, in the order of being pushed.
                hints_flying.push(send(&link, parcel));
            }
            Some(parcel) = ephemerals.recv(), if ephemerals_flying.len() < EPHEMERALS_IN_FLIGHT_MAX => {
                ephemerals_flying.push(send(&link, parcel));
            }
            () = stop.cancelled() => break,
        }
    }
    hints.close();
    let flush = async {
        while let Some(parcel) = hints.recv().await {
            hints_flying.push(send(&link, parcel));
            if hints_flying.len() >= HINTS_IN_FLIGHT_MAX
                && let Some(done) = hints_flying.next().await
            {
                link.count(done);
            }
        }
        while let Some(done) = hints_flying.next().await {
            link.count(done);
        }
    };
    if tokio::time::timeout(FLUSH_LIMIT, flush).await.is_err() {
        tracing::warn!("stopped before everything was published");
    }
    drop(closing);
}

async fn send(link: &Link, parcel: Parcel) -> Result<(), Error> {
    let current = link.publisher.current().ok_or_else(Error::new_canceled)?;
    let client = current.client.with_options(&fail_fast());
    let sent = client.spublish(parcel.channel, Value::Bytes(parcel.payload));
    let _heard_by: i64 = current.unless_broken(sent).await?;
    Ok(())
}

impl Link {
    fn count(&self, done: Result<(), Error>) {
        match done {
            Ok(()) => self.counters.published.increment(),
            Err(error) => {
                self.counters.publish_failed.increment();
                tracing::debug!(%error, "an event was not published");
            }
        }
    }
}
