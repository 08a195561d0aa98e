//! `/livez`: the process answers. `/readyz`: whether to send traffic here, and what it depends on.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use snug_bus::{Bus, BusHealth};
use snug_store::Store;

/// How long a dependency may take to answer.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// Whether this node takes new clients. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness {
    draining_since: Arc<OnceLock<Instant>>,
}

impl Readiness {
    /// From now on: no new clients.
    pub fn drain(&self) {
        let _ = self.draining_since.set(Instant::now());
    }

    /// Whether the node is on its way out.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining_since.get().is_some()
    }

    /// How long it has been on its way out.
    #[must_use]
    pub fn draining_for(&self) -> Option<Duration> {
        self.draining_since.get().map(Instant::elapsed)
    }
}

#[derive(Serialize)]
pub struct Report {
    ready: bool,
    degraded: bool,
    draining: bool,
    dependencies: Dependencies,
}

#[derive(Serialize)]
struct Dependencies {
    database: Database,
    bus: BusReport,
}

#[derive(Serialize)]
struct Database {
    kind: &'static str,
    ok: bool,
    durability: &'static str,
}

#[derive(Serialize)]
struct BusReport {
    kind: &'static str,
    ok: bool,
    /// Whether news reach other nodes by it at once; else they find them in the database within seconds.
    shared: bool,
}

pub async fn live() -> &'static str {
    "ok"
}

pub async fn ready(
    State(readiness): State<Readiness>,
    State(store): State<Store>,
    State(bus): State<Arc<dyn Bus>>,
) -> (StatusCode, Json<Report>) {
    let database_ok = matches!(tokio::time::timeout(CHECK_LIMIT, store.check()).await, Ok(Ok(())));
    let draining = readiness.is_draining();
    let ready = database_ok && !draining;
    // Without its bus a node serves everybody, only some news come later: no reason to send them elsewhere.
    let bus_ok = bus.health() == BusHealth::Connected;
    let report = Report {
        ready,
        degraded: !bus_ok,
        draining,
        dependencies: Dependencies {
            database: Database { kind: store.kind(), ok: database_ok, durability: store.durability().as_str() },
            bus: BusReport { kind: bus.name(), ok: bus_ok, shared: bus.name() != "local" },
        },
    };
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(report))
}
