//! The big room or the small ones at one rate: for looking at a node with a profiler, or at one change of it.

use super::{Scene, climb};
use crate::people::Room;
use crate::report::{Result, Step};

/// So many messages a second for as long as is held.
///
/// # Errors
/// Something could not be played.
pub fn run(scene: &mut Scene, rooms: &[Room], writers: usize) -> anyhow::Result<Result> {
    let sizes = scene.sizes.clone();
    let label = format!("{} msg/s", sizes.rate);
    let mut result = Result::new("steady", format!("{} rooms of {} at {label}", rooms.len(), rooms[0].members.len()));
    let specs = scene.specs(rooms, writers);
    let (mut field, _) = scene.field(rooms, specs)?;
    scene.observer.label(label.clone());
    let played = scene.play(&mut field, rooms, writers, (sizes.rate, sizes.hold_seconds), |_, _| Ok(()))?;
    result.steps.push(Step::of(label, &played, climb::objection(&played)));
    Ok(result)
}
