//! Who reads the node's numbers: Prometheus on the admin port, and a collector. Until the very end of a drain.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{self, Connections, Places};
use super::{StartError, listen};
use crate::config::Settings;
use crate::telemetry::{self, Collector, Sources};

/// Connections of the admin port; whoever reads metrics needs one.
const CONNECTIONS_MAX: usize = 32;

/// The node's numbers, and the port for them if there is one.
pub(super) struct Watching {
    pub(super) admin: Option<TcpListener>,
    pub(super) sources: Sources,
}

/// Listens on the admin port and finds the collector, where the settings have them.
pub(super) fn begin(
    settings: &Settings,
    node: snug_bus::NodeId,
) -> Result<(Option<TcpListener>, Option<Collector>), StartError> {
    telemetry::name_node(node);
    let admin = settings.watching.admin_listen.map(|address| listen(address, "SNUG_ADMIN_LISTEN")).transpose()?;
    Ok((admin, telemetry::collector(settings)?))
}

impl Watching {
    /// Serves and sends the numbers until `stop`.
    pub(super) fn run(self, tasks: &TaskTracker, stop: &CancellationToken) {
        if let Some(collector) = self.sources.collector.clone() {
            tasks.spawn(telemetry::push_metrics(self.sources.clone(), collector, stop.clone()));
        }
        if let Some(listener) = self.admin {
            let connections = Connections {
                tls: None,
                router: telemetry::router(self.sources),
                stop: stop.clone(),
                tasks: tasks.clone(),
                places: Places::with(CONNECTIONS_MAX, CONNECTIONS_MAX, Arc::default()),
            };
            tasks.spawn(accept::run(listener, connections));
        }
    }
}
