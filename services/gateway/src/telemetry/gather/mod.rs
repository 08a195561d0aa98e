//! Every number of the node, read where it is kept when somebody asks. The names are the operator's: deploy/README.md lists them.

mod gateway;
mod shared;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use snug_bus::NodeId;
use snug_metrics::{Counter, Counters, Decisions, Histogram, Label};

use super::collector::Collector;
use super::counts::RosterCounters;
use super::family::{Family, Kind, Series, Value};
use super::process;
use crate::http::Handles;
use crate::server::Places;

/// Where the numbers are. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    /// The node's parts.
    pub(crate) handles: Handles,
    /// Its connections.
    pub(crate) places: Arc<Places>,
    /// Its calls to the roster.
    pub(crate) roster: Arc<RosterCounters>,
    /// Sweeps that the database failed.
    pub(crate) failed_sweeps: Arc<Counter>,
    /// Its name.
    pub(crate) node: NodeId,
    /// When it started.
    pub(crate) started: SystemTime,
    /// Where its numbers and traces are sent.
    pub(crate) collector: Option<Collector>,
}

impl Sources {
    /// Reads them all. Asks the database whether it is there, for two seconds at most.
    pub async fn gather(&self) -> Vec<Family> {
        let mut families = Families::default();
        families.put(
            "snug_build_info",
            "Always 1; which version this is, and what the node calls itself until it ends.",
            Kind::Gauge,
            vec![Series {
                labels: vec![("version", env!("CARGO_PKG_VERSION").into()), ("node", self.node.to_string().into())],
                value: Value::Level(1.0),
            }],
        );
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        families.put(
            "process_start_time_seconds",
            "When the node started, Unix time.",
            Kind::Gauge,
            vec![Series { labels: Vec::new(), value: Value::Level(started) }],
        );
        gateway::sessions(self, &mut families);
        gateway::messages(self, &mut families);
        gateway::rooms(self, &mut families);
        gateway::limits(self, &mut families);
        gateway::door(self, &mut families);
        gateway::http(self, &mut families);
        shared::database(self, &mut families).await;
        shared::bus(self, &mut families);
        shared::presence(self, &mut families);
        shared::collector(self, &mut families);
        families.0.extend(tokio::task::spawn_blocking(process::read).await.unwrap_or_default());
        families.0
    }
}

/// Families being put together.
#[derive(Default)]
pub(super) struct Families(pub(super) Vec<Family>);

/// A gauge's number.
pub(super) trait Level {
    fn level(self) -> f64;
}

impl Level for f64 {
    fn level(self) -> f64 {
        self
    }
}

impl Level for bool {
    fn level(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl Level for u64 {
    fn level(self) -> f64 {
        self as f64
    }
}

impl Level for usize {
    fn level(self) -> f64 {
        self as f64
    }
}

impl Families {
    fn put(&mut self, name: &'static str, help: &'static str, kind: Kind, series: Vec<Series>) {
        self.0.push(Family { name, help, kind, series });
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, level: impl Level) {
        let series = Series { labels: Vec::new(), value: Value::Level(level.level()) };
        self.put(name, help, Kind::Gauge, vec![series]);
    }

    fn counter(&mut self, name: &'static str, help: &'static str, count: u64) {
        let series = Series { labels: Vec::new(), value: Value::Count(count) };
        self.put(name, help, Kind::Counter, vec![series]);
    }

    pub(super) fn seconds_total(&mut self, name: &'static str, help: &'static str, seconds: f64) {
        let series = Series { labels: Vec::new(), value: Value::Level(seconds) };
        self.put(name, help, Kind::Counter, vec![series]);
    }

    fn counters<L: Label>(&mut self, name: &'static str, help: &'static str, counters: &Counters<L>) {
        let series = counters
            .read()
            .map(|(text, count)| Series { labels: vec![(L::NAME, Cow::Borrowed(text))], value: Value::Count(count) });
        self.put(name, help, Kind::Counter, series.collect());
    }

    fn histogram(&mut self, name: &'static str, help: &'static str, histogram: &Histogram) {
        let series = Series { labels: Vec::new(), value: Value::Spread(histogram.read()) };
        self.put(name, help, Kind::Histogram, vec![series]);
    }
}

/// Both outcomes of one limit.
fn decided(limit: &'static str, allowed: u64, refused: u64) -> [Series; 2] {
    [("allowed", allowed), ("refused", refused)].map(|(decision, count)| Series {
        labels: vec![("limit", limit.into()), ("decision", decision.into())],
        value: Value::Count(count),
    })
}

fn decisions(limit: &'static str, decisions: &Decisions) -> [Series; 2] {
    decided(limit, decisions.allowed.get(), decisions.refused.get())
}
