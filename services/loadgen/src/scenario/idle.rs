//! Connections that do nothing: what they cost in memory, how fast they come, and how much they keep a node from sleeping.

use std::time::Duration;

use super::Scene;
use crate::field::Field;
use crate::people::Room;
use crate::report::Result;
use crate::socket::Spec;

/// After opening, until memory is read.
const SETTLE: Duration = Duration::from_secs(2);
/// The parts of the most sockets at which memory is read.
const PARTS: [f64; 3] = [0.1, 0.4, 1.0];

/// Opens sockets that follow a room each, in three lots, and looks at the nodes; then as many that only say hello, to tell what coming costs
/// without a room. Members have several sockets each; what is measured is the socket.
///
/// # Errors
/// Not all can be opened.
pub fn run(scene: &mut Scene, rooms: &[Room]) -> anyhow::Result<Result> {
    let wanted = scene.sizes.idle;
    let mut result = Result::new("idle", format!("Idle: up to {wanted} sockets that follow a room and say nothing"));
    let members = scene.specs(rooms, 0);
    let mut field = Field::new(scene.threads, rooms.iter().map(|room| room.id).collect())?;
    let nodes: Vec<bool> = scene.observer.watched().iter().map(|process| process.is_node).collect();
    let memory = |scene: &mut Scene| -> f64 {
        let usage = scene.observer.usage();
        usage.iter().zip(&nodes).filter(|(_, is_node)| **is_node).map(|(usage, _)| usage.memory as f64).sum()
    };
    let (empty, mut open) = (memory(scene), 0);
    let mut before = (0usize, empty);
    for part in PARTS {
        let lot = (wanted as f64 * part) as usize - open;
        scene.observer.label(format!("opening {lot} more idle sockets"));
        let specs = members.iter().cycle().skip(open).take(lot).enumerate().map(|(place, spec)| {
            let address = scene.nodes[(open + place) % scene.nodes.len()];
            Spec { address, ..spec.clone() }
        });
        let opened = field.open(specs.collect(), super::OPENING_LIMIT)?;
        open += lot;
        std::thread::sleep(SETTLE);
        let now = memory(scene);
        result.fact(format!("opened, up to {open}"), lot as f64 / opened.took.as_secs_f64(), "sockets/s");
        result.fact(format!("opening one, p99, up to {open}"), opened.spans.percentile_ms(99.0), "ms");
        result.fact(format!("memory a socket, of all {open}"), (now - empty) / open as f64 / 1024.0, "KiB");
        let slope = (now - before.1) / (open - before.0) as f64 / 1024.0;
        result.fact(format!("memory a socket, from {} to {open}", before.0), slope, "KiB");
        before = (open, now);
    }
    scene.observer.label("watching them do nothing");
    let seconds = scene.sizes.hold_seconds.max(5.0) * 3.0;
    let then: Vec<u64> = scene.observer.usage().iter().map(|usage| usage.cpu_ns).collect();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let usage = scene.observer.usage();
    let used = usage.iter().zip(then).zip(&nodes).filter(|(_, is_node)| **is_node);
    let cpu_ns: f64 = used.map(|((usage, then), _)| usage.cpu_ns.saturating_sub(then) as f64).sum();
    result.fact("CPU of an idle socket", cpu_ns / 1_000.0 / open as f64 / seconds * 60.0, "µs a minute");
    let lost = open - field.open_now();
    result.fact("sockets lost meanwhile", lost as f64, "");
    // Who is gone is told of after a grace of ten seconds; by then all of these are open.
    field.drop_sockets(None)?;
    std::thread::sleep(SETTLE);
    scene.observer.label(format!("opening {wanted} sockets that only say hello"));
    let hello = members.iter().cycle().take(wanted).enumerate().map(|(place, spec)| Spec {
        address: scene.nodes[place % scene.nodes.len()],
        follows: Vec::new(),
        ..spec.clone()
    });
    let opened = field.open(hello.collect(), super::OPENING_LIMIT)?;
    result.fact("opened that follow nothing", wanted as f64 / opened.took.as_secs_f64(), "sockets/s");
    Ok(result)
}
