//! Readers that stop reading, among others that go on.

use std::time::Duration;

use super::{Scene, climb};
use crate::people::Room;
use crate::report::{Result, Step};

/// One in so many stops reading.
const ONE_IN: usize = 10;
/// Messages a second.
const RATE: f64 = 50.0;
/// What the kernel keeps for one that does not read.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024;
/// A server has so long to close those who take nothing, beside the protocol's ten seconds.
const CLOSING_LIMIT: Duration = Duration::from_secs(20);

/// The fast ones' latency with and without the slow ones, and what becomes of these.
///
/// # Errors
/// Something could not be played.
pub fn run(scene: &mut Scene, rooms: &[Room]) -> anyhow::Result<Result> {
    let room = &rooms[..1];
    let mut specs = scene.specs(room, scene.sizes.writers);
    for (place, spec) in specs.iter_mut().enumerate() {
        if place % ONE_IN == ONE_IN - 1 && spec.writer.is_none() {
            (spec.group, spec.receive_buffer) = (1, Some(RECEIVE_BUFFER_BYTES));
        }
    }
    let slow = specs.iter().filter(|spec| spec.group == 1).count();
    let title = format!("Slow readers: {slow} of {} sockets stop reading, {RATE:.0} messages a second", specs.len());
    let mut result = Result::new("slow", title);
    let writers = scene.sizes.writers;
    let (mut field, _) = scene.field(room, specs)?;
    scene.observer.label("everyone reads");
    let seconds = scene.sizes.hold_seconds;
    let all = scene.play(&mut field, room, writers, (RATE, seconds), |_, _| Ok(()))?;
    let objection = climb::objection(&all, field.specs().len() as f64);
    result.steps.push(Step::of("everyone reads", &all, objection));
    let memory =
        |scene: &mut Scene| scene.observer.usage().iter().map(|usage| usage.memory).sum::<u64>() as f64 / 1_048_576.0;
    let memory_before = memory(scene);
    scene.observer.label("some stop reading");
    field.deafen(1, true)?;
    // From here on they are not expected to have anything.
    field.retain_specs(|spec| spec.group != 1);
    let some =
        scene.play(&mut field, room, writers, (RATE, seconds.max(CLOSING_LIMIT.as_secs_f64())), |_, _| Ok(()))?;
    let objection = climb::objection(&some, field.specs().len() as f64);
    result.steps.push(Step::of("some stop reading", &some, objection));
    let memory_after = memory(scene);
    field.deafen(1, false)?;
    std::thread::sleep(Duration::from_secs(1));
    let left = field.open_now() - field.specs().len();
    result.fact_over(
        "p99 of those who read",
        some.window.latency[0].percentile_ms(99.0),
        "ms",
        all.window.latency[0].percentile_ms(99.0),
    );
    result.fact("slow ones that were closed", (slow - left) as f64, "sockets");
    result.fact("memory of all watched processes, before and after", memory_after - memory_before, "MiB more");
    Ok(result)
}
