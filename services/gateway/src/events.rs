//! From the bus to all parts of this node that take note of its events.

use std::sync::Arc;

use snug_bus::{Bus, Listener, Listening};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Has all of `listeners` hear what comes from now on, each event in this order, until `stop`.
pub fn listen(bus: &dyn Bus, listeners: Vec<Arc<dyn Listener>>, tasks: &TaskTracker, stop: CancellationToken) {
    let listening: Vec<Listening> = listeners.into_iter().map(|listener| bus.listen(listener)).collect();
    tasks.spawn(async move {
        // Not for longer: those who listen know the bus, and neither would end.
        stop.cancelled().await;
        drop(listening);
    });
}
