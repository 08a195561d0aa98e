//! What telemetry costs a message and a delivery, in nanoseconds: `cargo run --release -p snug-gateway --example telemetry_cost`.
//!
//! First without a collector, then with one that is dead and a hundredth of all messages traced. One thread; ratios matter, not figures.

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use snug_gateway::config::Cli;
use snug_gateway::telemetry::{self, trace};
use snug_metrics::{Counter, Histogram};
use snug_protocol::{EntryKind, RoomId, Seq};

const ROUNDS: u32 = 1_000_000;

fn measure(what: &str, mut work: impl FnMut(u32)) {
    (0..ROUNDS / 10).for_each(&mut work);
    let began = Instant::now();
    (0..ROUNDS).for_each(&mut work);
    println!("{what:45} {:8.1} ns", began.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
}

fn path_of_a_message(which: &str) {
    let room = RoomId([7; 16]);
    measure(&format!("{which}: a message's three spans"), |_| {
        let message = trace::message(room, EntryKind::Message, 200);
        let _entered = message.enter();
        let append = trace::append(room);
        trace::committed(&append, Some(Seq(1)));
        let publish = trace::publish();
        black_box(trace::parent(&publish));
    });
    let (entries, mut spans) = (trace::TracedEntries::default(), Vec::new());
    measure(&format!("{which}: a delivery's look for a trace"), |round| {
        entries.deliveries(Seq(u64::from(round)), Seq(u64::from(round) + 1), &mut spans);
    });
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (counter, histogram) = (Counter::new(), Histogram::of_seconds());
    measure("a counter", |_| counter.increment());
    measure("an observation", |round| histogram.observe(Duration::from_micros(u64::from(round % 100_000))));
    path_of_a_message("no collector");
    let cli = Cli::parse_from(["snug", "--otlp-url=http://127.0.0.1:9", "--log=error"]);
    let telemetry = telemetry::init(&cli.settings)?;
    path_of_a_message("a collector, one in a hundred");
    telemetry.end().await;
    black_box((counter.get(), histogram.read()));
    Ok(())
}
