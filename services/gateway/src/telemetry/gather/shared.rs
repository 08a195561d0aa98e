//! What the node shares with others: the database, the bus, the roster; and the collector.

use std::time::Duration;

use snug_bus::{BusCounters, BusHealth};
use tokio::time::timeout;

use super::super::collector::Export;
use super::{Families, Kind, Series, Sources, Value};

/// How long the database may take to say that it is there.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn database(sources: &Sources, to: &mut Families) {
    let store = &sources.handles.store;
    let metrics = store.metrics();
    let is_up = matches!(timeout(CHECK_LIMIT, store.check()).await, Ok(Ok(())));
    to.gauge("snug_database_up", "1 if the database answers.", is_up);
    to.put(
        "snug_database_info",
        "Always 1; which database it is, and what a commit survives.",
        Kind::Gauge,
        vec![Series {
            labels: vec![("database", store.kind().into()), ("durability", store.durability().as_str().into())],
            value: Value::Level(1.0),
        }],
    );
    to.histogram("snug_store_call_seconds", "How long calls to the store took, answers and refusals.", &metrics.calls);
    to.counters("snug_store_failures_total", "Calls that the database failed, by how.", &metrics.failures);
    to.histogram("snug_append_batch_entries", "Entries that were committed together.", &metrics.batches);
    to.histogram("snug_commit_seconds", "How long their transactions took.", &metrics.commits);
    to.counter(
        "snug_appends_remembered_total",
        "Entries that were committed without a look at the database before.",
        metrics.remembered.get(),
    );
    to.gauge("snug_writes_waiting", "Work that waits for one of the store's writers.", store.writes_waiting());
    to.counter("snug_sweep_failures_total", "Sweeps of expired rows that failed.", sources.failed_sweeps.get());
    let ahead = Duration::from_millis(sources.handles.door.clock.ahead_ms().unsigned_abs());
    to.gauge("snug_clock_skew_seconds", "How far this machine's clock is off the database's.", ahead.as_secs_f64());
}

pub(super) fn bus(sources: &Sources, to: &mut Families) {
    let bus = &sources.handles.bus;
    // A bus within the process loses nothing and counts nothing; its numbers are there all the same, or rules about them would be silent.
    let none = BusCounters::default();
    let counters = bus.counters().unwrap_or(&none);
    to.put(
        "snug_bus_connected",
        "1 if news reach other nodes at once; the label says by what.",
        Kind::Gauge,
        vec![Series {
            labels: vec![("bus", bus.name().into())],
            value: Value::Level(f64::from(u8::from(bus.health() == BusHealth::Connected))),
        }],
    );
    to.counter("snug_bus_published_total", "Events that Redis took.", counters.published.get());
    to.counter(
        "snug_bus_publish_failures_total",
        "Events that other nodes did not get: Redis away, too slow, or the queue full.",
        counters.publish_failed.get(),
    );
    to.counter("snug_bus_received_total", "Events that arrived, this node's own included.", counters.received.get());
    to.counter(
        "snug_bus_shed_total",
        "Ephemeral events dropped because more important ones waited.",
        counters.shed.get(),
    );
    to.counter("snug_bus_undecodable_total", "Events of no version that this node knows.", counters.undecodable.get());
    to.counter("snug_bus_resubscriptions_total", "Subscriptions that were made again.", counters.resubscribed.get());
    to.counter("snug_bus_probes_total", "Probes of this node to itself.", counters.probes_sent.get());
    to.counter("snug_bus_probes_lost_total", "Those that did not come back in time.", counters.probes_lost.get());
    to.counters(
        "snug_bus_missed_total",
        "Times that all heads were checked because events may be lost, by why.",
        &counters.missed,
    );
}

pub(super) fn presence(sources: &Sources, to: &mut Families) {
    let counters = &sources.roster;
    let outcomes = [("answered", &counters.answered), ("failed", &counters.failed)];
    let series = outcomes.into_iter().flat_map(|(outcome, calls)| {
        calls.read().map(move |(call, count)| Series {
            labels: vec![("call", call.into()), ("outcome", outcome.into())],
            value: Value::Count(count),
        })
    });
    to.put(
        "snug_roster_calls_total",
        "Calls to the roster of who is where, by call and outcome.",
        Kind::Counter,
        series.collect(),
    );
    to.histogram("snug_roster_call_seconds", "How long its answers took.", &counters.seconds);
    to.gauge(
        "snug_roster_away",
        "1 while it does not answer and presence is this node's own.",
        sources.handles.session.presence.is_away(),
    );
}

pub(super) fn collector(sources: &Sources, to: &mut Families) {
    let (name, help) = ("snug_telemetry_batches_total", "Batches for the collector, by what became of them.");
    match &sources.collector {
        Some(collector) => to.counters(name, help, collector.exports()),
        None => to.counters(name, help, &snug_metrics::Counters::<Export>::default()),
    }
}
