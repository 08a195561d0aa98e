//! Sessions of a node that is gone come back to another, all at once, while the others talk on.

use std::time::Instant;

use super::{OPENING_LIMIT, Scene, climb};
use crate::people::Room;
use crate::report::{Result, Step};
use crate::socket::Spec;

/// Messages a second over all rooms.
const RATE: f64 = 20.0;
/// When the sessions are lost and when they come back, nanoseconds from the start.
const LOST_AT_NS: u64 = 2_000_000_000;
const BACK_AT_NS: u64 = 4_000_000_000;

/// Half of the sockets are lost without goodbye, and resume at the last node with the cursors they had.
///
/// # Errors
/// Something could not be played, or a socket could not be opened.
pub fn run(scene: &mut Scene, rooms: &[Room]) -> anyhow::Result<Result> {
    let wanted = scene.sizes.resuming;
    let title = format!("Resume storm: up to {wanted} sessions come back at once with their cursors, others talk on");
    let mut result = Result::new("resume", title);
    let mut specs = scene.specs(rooms, 1);
    let last = scene.nodes.len() - 1;
    let mut returning = 0;
    for spec in &mut specs {
        // Whoever writes stays, and so do those of the last node.
        if spec.writer.is_none() && returning < wanted && (last == 0 || spec.address != scene.nodes[last]) {
            spec.group = 1;
            returning += 1;
        } else {
            spec.address = scene.nodes[last];
        }
    }
    let (mut field, _) = scene.field(rooms, specs)?;
    scene.observer.label(format!("{returning} sessions are lost and come back"));
    let seconds = scene.sizes.hold_seconds.max(10.0);
    let (mut lost_ones, mut opened) = (Vec::new(), None);
    let (mut lost, mut back) = (false, false);
    let address = scene.nodes[last];
    let began = Instant::now();
    let played = scene.play(&mut field, rooms, 1, (RATE, seconds), |field, now_ns| {
        if !lost && now_ns > LOST_AT_NS {
            lost = true;
            lost_ones = field.drop_sockets(Some(1))?;
            field.retain_specs(|spec| spec.group != 1);
        }
        if !back && now_ns > BACK_AT_NS {
            back = true;
            let returning = lost_ones.drain(..).map(|spec| Spec { address, ..spec }).collect();
            opened = Some(field.open(returning, OPENING_LIMIT)?);
        }
        Ok(())
    })?;
    let opened = opened.unwrap_or_default();
    result.fact("sessions that came back", returning as f64, "");
    result.fact("all follow again after", opened.took.as_secs_f64(), "s");
    result.fact("a session follows again, p99", opened.spans.percentile_ms(99.0), "ms");
    result.fact("p99 of those who stayed", played.window.latency[0].percentile_ms(99.0), "ms");
    result.fact("longest wait of those who came back for a message", played.window.latency[1].max_ms(), "ms");
    result.fact("the whole took", began.elapsed().as_secs_f64(), "s");
    // What was missed while away arrives late by the time that they were away, which is no fault.
    let objection = climb::objection(&played, 0.0).filter(|why| !why.starts_with("p99") && !why.contains("in time"));
    result.steps.push(Step::of("sessions come back", &played, objection));
    Ok(result)
}
