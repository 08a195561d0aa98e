//! From the bus to all parts of this node that take note of its events: one task, so that an event wakes one.

use std::sync::Arc;

use snug_bus::{Bus, BusEvent};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Somebody who takes note of events.
pub trait Listener: Send + Sync {
    /// An event came. Takes no time: all others wait for it.
    fn hear(&self, event: &BusEvent);

    /// So many came faster than they were taken, and nobody knows what they said.
    fn overrun(&self, lost: u64);
}

/// Hands what comes from now on to all of `listeners`, in order, until `stop`.
pub fn listen(bus: &dyn Bus, listeners: Vec<Arc<dyn Listener>>, tasks: &TaskTracker, stop: CancellationToken) {
    let mut events = bus.events();
    tasks.spawn(async move {
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                Ok(event) => listeners.iter().for_each(|listener| listener.hear(&event)),
                Err(RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "fell behind the bus");
                    listeners.iter().for_each(|listener| listener.overrun(lost));
                }
                Err(RecvError::Closed) => return,
            }
        }
    });
}
