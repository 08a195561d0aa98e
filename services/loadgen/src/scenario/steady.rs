//! The big room or the small ones at one rate, and the floor at the same: for looking at a node with a profiler, or at one change of it.

use super::{Scene, climb};
use crate::floor::parent::Floor;
use crate::floor::{Gathering, Shape};
use crate::people::Room;
use crate::report::{Result, Step};

/// So many messages a second for as long as is held.
///
/// # Errors
/// Something could not be played.
pub fn run(scene: &mut Scene, rooms: &[Room], writers: usize) -> anyhow::Result<Result> {
    let sizes = scene.sizes.clone();
    let label = format!("{} msg/s", sizes.rate);
    let members = rooms[0].members.len();
    let mut result = Result::new("steady", format!("{} rooms of {members} at {label}", rooms.len()));
    let floor = floor(scene, rooms, &mut result)?;
    let specs = scene.specs(rooms, writers);
    let (mut field, _) = scene.field(rooms, specs)?;
    scene.observer.label("waiting until nodes are at rest");
    result.fact("CPU at rest", scene.rest() * 100.0, "% of a core");
    scene.observer.label(label.clone());
    let played = scene.play(&mut field, rooms, writers, (sizes.rate, sizes.hold_seconds), |_, _| Ok(()))?;
    let step = Step::of(label, &played, climb::objection(&played));
    result.fact_over("CPU a delivery, over one message a write", step.cpu_us, "µs", floor);
    result.steps.push(step);
    Ok(result)
}

/// Microseconds of CPU for a delivery of a process that writes each message by itself, at the same rate.
fn floor(scene: &Scene, rooms: &[Room], result: &mut Result) -> anyhow::Result<f64> {
    let sizes = &scene.sizes;
    let envelope_bytes = super::envelope_bytes(&rooms[0], sizes.text_chars)?;
    let shape = Shape { rooms: rooms.len(), members: rooms[0].members.len(), envelope_bytes };
    let mut floor = Floor::start(shape, scene.threads)?;
    let label = "floor, one message a write";
    let (played, _) = floor.play(label, sizes.rate, sizes.hold_seconds, Gathering::Each(1))?;
    let step = Step::of(label, &played, climb::objection(&played));
    let cpu_us = step.cpu_us;
    result.steps.push(step);
    Ok(cpu_us)
}
