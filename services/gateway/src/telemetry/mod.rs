//! What a node tells its operator: logs, traces, metrics. Bodies, tokens, names, passwords and whole addresses are in none of them.
//!
//! # Layout
//! - `trace`: the spans of one message's path. `spans`: how they leave. `collector`: where to, by OTLP over HTTP.
//! - `gather`: every number of the node as a `family`. `admin`: as Prometheus reads them. `push`: as OTLP.
//!
//! What is absent: anything that the node waits for. Without a collector's address no span is made, and all queues are bounded.

mod admin;
mod collector;
mod counts;
mod family;
mod gather;
mod process;
mod push;
mod spans;
pub mod trace;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use snug_bus::NodeId;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, Settings};

pub use collector::{Collector, CollectorError};
pub use counts::{CountedRoster, HttpCounters, RosterCounters, StatusClass};
pub use family::{Family, Kind, Series, Value, text};
pub use gather::Sources;

pub(crate) use admin::router;
pub(crate) use push::run as push_metrics;

/// How long a stop waits for the last spans to leave, if the collector has taken the ones before.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// This process's node, as the collector is to know it.
static NODE: OnceLock<String> = OnceLock::new();

/// Where this process's traces go.
static COLLECTOR: OnceLock<Collector> = OnceLock::new();

/// The first node of a process gives its name to the process's traces.
pub(crate) fn name_node(node: NodeId) {
    let _ = NODE.set(node.to_string());
}

/// Why telemetry does not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter of the logs is not one.
    #[error("SNUG_LOG is {filter}: {reason}")]
    Filter {
        /// What was given.
        filter: String,
        /// Why not.
        reason: String,
    },
    /// The collector's address is not one.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// Another part of the process logs already.
    #[error(transparent)]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// Logs and traces that have begun.
#[derive(Default)]
pub struct Telemetry {
    traces: Option<(SdkTracerProvider, Collector)>,
}

/// What is logged.
///
/// # Errors
/// `SNUG_LOG` is no filter.
pub(crate) fn filter(settings: &Settings) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(&settings.log)
        .map_err(|error| TelemetryError::Filter { filter: settings.log.clone(), reason: error.to_string() })
}

/// Begins to log to standard error, and to trace if there is a collector. Once a process, from within its runtime.
///
/// # Errors
/// A setting makes no sense.
pub fn init(settings: &Settings) -> Result<Telemetry, TelemetryError> {
    let filter = filter(settings)?;
    let Some(collector) = settings.watching.collector()? else {
        let registry = tracing_subscriber::registry().with(filter).with(filter_fn(is_no_frame));
        match settings.log_format {
            LogFormat::Pretty => registry.with(lines().compact()).try_init()?,
            LogFormat::Json => registry.with(lines().json().flatten_event(true)).try_init()?,
        }
        return Ok(Telemetry::default());
    };
    let _ = COLLECTOR.set(collector.clone());
    let provider = spans::provider(collector.clone());
    // Only spans of ours, whose fields are chosen; what libraries say may hold anything.
    let traced = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("snug"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(trace::is_ours).with_max_level_hint(trace::LEVEL));
    // With them a line names the trace that it belongs to, whatever the level of the logs.
    let shown = filter.and(filter_fn(is_no_frame)).or(filter_fn(trace::is_ours).with_max_level_hint(trace::LEVEL));
    let registry = tracing_subscriber::registry().with(traced);
    match settings.log_format {
        LogFormat::Pretty => registry.with(lines().compact().with_filter(shown)).try_init()?,
        LogFormat::Json => registry.with(lines().json().flatten_event(true).with_filter(shown)).try_init()?,
    }
    trace::begin(settings.watching.trace_share);
    Ok(Telemetry { traces: Some((provider, collector)) })
}

/// The library of sockets writes whole frames at its lowest level. They are nobody's to read, whatever the filter says.
fn is_no_frame(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || !metadata.target().starts_with("tungstenite")
}

fn lines<S>() -> tracing_subscriber::fmt::Layer<S, DefaultFields, Format, fn() -> std::io::Stderr> {
    tracing_subscriber::fmt::layer().with_writer(std::io::stderr as fn() -> std::io::Stderr).with_target(false)
}

/// The collector of the process's traces, or else what these settings name: one handle knows whether it answers.
pub(crate) fn collector(settings: &Settings) -> Result<Option<Collector>, CollectorError> {
    if let Some(collector) = COLLECTOR.get() {
        return Ok(Some(collector.clone()));
    }
    settings.watching.collector()
}

impl Telemetry {
    /// Sends the last spans, within a second. Those of a collector that does not answer are lost.
    pub async fn end(self) {
        let Some((provider, collector)) = self.traces else { return };
        if !collector.answers() {
            return;
        }
        // It waits for a thread of the library.
        let flushing = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_LIMIT));
        if !matches!(flushing.await, Ok(Ok(()))) {
            tracing::debug!("the last spans were not sent");
        }
    }
}
