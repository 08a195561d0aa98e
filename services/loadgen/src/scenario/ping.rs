//! One message at a time, from one node to the other; and what that is made of.

use super::{Scene, climb, parts};
use crate::people::Room;
use crate::report::{Result, Step};

/// Messages a second.
const RATE: f64 = 100.0;

/// A writer on the first node, a reader on the last; only the reader's deliveries count as the ping.
///
/// # Errors
/// Something could not be played.
pub fn run(scene: &mut Scene, rooms: &[Room]) -> anyhow::Result<Result> {
    let nodes = scene.nodes.len();
    let mut result =
        Result::new("ping", format!("Ping: {RATE:.0} messages a second from one node to another, of {nodes}"));
    let room = &rooms[..1];
    let mut specs = scene.specs(room, 1);
    let mut typers = specs.split_off(2);
    typers.truncate(parts::TYPERS);
    typers.iter_mut().for_each(|typer| typer.address = scene.nodes[0]);
    specs[0].address = scene.nodes[0];
    specs[1].address = scene.nodes[nodes - 1];
    specs[1].group = 1;
    let reader = specs[1].clone();
    let (mut field, _) = scene.field(room, specs)?;
    scene.observer.label("ping");
    let seconds = scene.sizes.hold_seconds;
    let played = scene.play(&mut field, room, 1, (RATE, seconds), |_, _| Ok(()))?;
    scene.observer.label("ping, its parts");
    let parts = parts::measure(&typers, &reader, seconds)?;
    let objection = climb::objection(&played);
    let ping = &played.window.latency[1];
    for percent in [50.0, 90.0, 99.0, 99.9] {
        result.fact(format!("delivered on the other node, p{percent}"), ping.percentile_ms(percent), "ms");
    }
    result.fact("delivered to the sender, p50", played.window.latency[0].percentile_ms(50.0), "ms");
    result.fact("acknowledged, p50", played.window.acknowledging.percentile_ms(50.0), "ms");
    result.fact("acknowledged, p99", played.window.acknowledging.percentile_ms(99.0), "ms");
    result.fact("written after its time by the tool, p50", played.window.sending.percentile_ms(50.0), "ms");
    let [acknowledged, notice, in_and_out] =
        [&played.window.acknowledging, &parts.notices, &parts.pings].map(|part| part.percentile_ms(50.0));
    let sum = acknowledged + notice - in_and_out;
    result.fact("a typing notice on the other node, p50", notice, "ms");
    result.fact("a WebSocket ping's way in and out, p50", in_and_out, "ms");
    result.fact("sum of the parts: acknowledgement and notice, less a ping", sum, "ms");
    result.fact("delivered on the other node, p50, over the sum", ping.percentile_ms(50.0) / sum, "×");
    result.fact("delivered on the other node, p99, over the sum", ping.percentile_ms(99.0) / sum, "×");
    result.steps.push(Step::of("ping", &played, objection));
    if nodes == 1 {
        result.notes.push("There is one node, so both are on it.".to_owned());
    }
    Ok(result)
}
