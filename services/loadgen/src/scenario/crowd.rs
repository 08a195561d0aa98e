//! Rooms of one size: light load, the highest sustained rate, half of it; the same of the floor; and how they compare.

use std::time::Duration;

use super::Scene;
use super::climb::{climb, objection};
use crate::field::Field;
use crate::floor::parent::Floor;
use crate::floor::{Gathering, Shape};
use crate::people::Room;
use crate::report::{Result, Step};

/// The loads of the sweep over messages a write: writes of a socket a second.
const SWEEP_WRITES: f64 = 40.0;
/// Messages a write.
const SWEEP: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// How long the logs must stand still after a step that was too much, and after one that was given up with messages on their way.
const STILL: Duration = Duration::from_millis(1_500);
const STILL_GIVEN_UP: Duration = Duration::from_secs(6);
/// How long that is waited for.
const STILL_LIMIT: Duration = Duration::from_secs(30);

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its short name.
    pub name: &'static str,
    /// In words.
    pub title: String,
    /// How many rooms, and sockets in each.
    pub rooms: (usize, usize),
    /// Writers in each.
    pub writers: usize,
    /// Light load: messages a second over all rooms.
    pub light: f64,
}

struct Measured {
    light: Step,
    half: Step,
    most: Step,
}

/// Nodes and floor, and the ratios.
///
/// # Errors
/// Something could not be played.
pub fn run(scene: &mut Scene, plan: &Plan, rooms: &[Room]) -> anyhow::Result<Result> {
    let mut result = Result::new(plan.name, plan.title.clone());
    let envelope_bytes = super::envelope_bytes(&rooms[0], scene.sizes.text_chars)?;
    let shape = Shape { rooms: plan.rooms.0, members: plan.rooms.1, envelope_bytes };
    result
        .notes
        .push(format!("Entry frames of {} bytes.", crate::floor::entry(shape, (0, Default::default()), 1, 0).len()));
    let raw = floor(scene, plan, shape, Gathering::Each(1), "floor, one message a write", &mut result)?;
    let gathered = floor(scene, plan, shape, Gathering::Due, "floor, all due in one write", &mut result)?;
    sweep(scene, shape, &mut result)?;
    let nodes = nodes(scene, plan, rooms, &mut result)?;
    if let (Some(nodes), Some(raw)) = (&nodes, &raw) {
        compare("one message a write", nodes, raw, &mut result);
        if let Some(gathered) = &gathered {
            compare("all due in one write", nodes, gathered, &mut result);
        }
    }
    Ok(result)
}

fn compare(floor_name: &str, nodes: &Measured, floor: &Measured, result: &mut Result) {
    let mut cpu = |name: &str, nodes: &Step, floor: &Step| {
        result.fact_over(format!("CPU a delivery, {name}, over {floor_name}"), nodes.cpu_us, "µs", floor.cpu_us);
    };
    cpu("light load", &nodes.light, &floor.light);
    cpu("half of the maximum", &nodes.half, &floor.half);
    cpu("at the maximum", &nodes.most, &floor.most);
    let (own, theirs) = (nodes.most.deliveries_per_second, floor.most.deliveries_per_second);
    result.fact_over(format!("highest sustained rate, over {floor_name}"), own, "deliveries/s", theirs);
    result.fact_over(
        format!("p99 at half of it, over {floor_name}"),
        nodes.half.latency_ms[2],
        "ms",
        floor.half.latency_ms[2],
    );
}

fn floor(
    scene: &mut Scene,
    plan: &Plan,
    shape: Shape,
    gathering: Gathering,
    name: &str,
    result: &mut Result,
) -> anyhow::Result<Option<Measured>> {
    let (members, sizes) = (plan.rooms.1 as f64, scene.sizes.clone());
    let mut floor = Floor::start(shape, scene.threads)?;
    let mut play = |label: String, rate: f64, seconds: f64| {
        let (played, _) = floor.play(&label, rate, seconds, gathering)?;
        let objection = objection(&played);
        anyhow::Ok(Step::of(label, &played, objection))
    };
    let light = play(format!("{name}, light"), plan.light, sizes.hold_seconds)?;
    result.steps.push(light.clone());
    let found = climb(sizes.first_deliveries / members, |rate| {
        let step = play(format!("{name}, {rate:.0} msg/s"), rate, sizes.step_seconds)?;
        result.steps.push(step.clone());
        let objection = step.objection.clone();
        Ok((step, objection))
    })?;
    let Some((rate, most)) = found else {
        result.notes.push(format!("{name}: no rate was sustained."));
        return Ok(None);
    };
    let half = play(format!("{name}, half of the maximum"), rate / 2.0, sizes.hold_seconds)?;
    result.steps.push(half.clone());
    Ok(Some(Measured { light, half, most }))
}

/// What a delivery costs by how many messages go into a write, at the same number of writes.
fn sweep(scene: &mut Scene, shape: Shape, result: &mut Result) -> anyhow::Result<()> {
    let mut floor = Floor::start(shape, scene.threads)?;
    // So that all sockets together are written no more often than those of one big room.
    let writes = SWEEP_WRITES * (1_000.0 / (shape.rooms * shape.members) as f64).min(1.0);
    for each in SWEEP {
        let label = format!("floor, {each} a write");
        let rate = writes * (each * shape.rooms) as f64;
        let (played, done) = floor.play(&label, rate, scene.sizes.step_seconds, Gathering::Each(each))?;
        let step = Step::of(label, &played, None);
        result.fact(format!("floor, {each} messages a write"), step.cpu_us, "µs CPU a delivery");
        if done.full > 0 {
            result.notes.push(format!("floor, {each} a write: sockets were full {} times.", done.full));
        }
    }
    Ok(())
}

/// After a step that was too much: everyone leaves and comes again, until nothing happens any more.
fn settle(field: &mut Field, still: Duration) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    field.open_again()?;
    let mut heads = field.heads()?;
    loop {
        std::thread::sleep(still);
        let now = field.heads()?;
        if now == heads || began.elapsed() > STILL_LIMIT {
            return Ok(());
        }
        heads = now;
    }
}

fn nodes(scene: &mut Scene, plan: &Plan, rooms: &[Room], result: &mut Result) -> anyhow::Result<Option<Measured>> {
    let (members, sizes) = (plan.rooms.1 as f64, scene.sizes.clone());
    let specs = scene.specs(rooms, plan.writers);
    let (mut field, opened) = scene.field(rooms, specs)?;
    let sockets = plan.rooms.0 * plan.rooms.1;
    result.fact(
        format!("opening {sockets} sockets that follow"),
        sockets as f64 / opened.took.as_secs_f64(),
        "sockets/s",
    );
    scene.observer.label("waiting until nodes are at rest");
    // What there is to tell of so many arrivals is not what a message costs.
    result.fact("CPU at rest", scene.rest() * 100.0, "% of a core");
    let mut play = |field: &mut Field, label: String, rate: f64, seconds: f64| {
        scene.observer.label(label.clone());
        let played = scene.play(field, rooms, plan.writers, (rate, seconds), |_, _| Ok(()))?;
        let objection = objection(&played);
        if let Some(objection) = &objection {
            scene.observer.tell(&format!("  not sustained: {objection}"));
            settle(field, if played.unanswered > 0 { STILL_GIVEN_UP } else { STILL })?;
        }
        anyhow::Ok(Step::of(label, &played, objection))
    };
    let light = play(&mut field, "light".to_owned(), plan.light, sizes.hold_seconds)?;
    result.steps.push(light.clone());
    let found = climb(sizes.first_deliveries / members, |rate| {
        let step = play(&mut field, format!("{rate:.0} msg/s"), rate, sizes.step_seconds)?;
        result.steps.push(step.clone());
        let objection = step.objection.clone();
        Ok((step, objection))
    })?;
    let Some((rate, most)) = found else {
        result.notes.push("No rate was sustained.".to_owned());
        return Ok(None);
    };
    let half = play(&mut field, "half of the maximum".to_owned(), rate / 2.0, sizes.hold_seconds * 2.0)?;
    result.steps.push(half.clone());
    result.fact("highest sustained rate", most.deliveries_per_second, "deliveries/s");
    result.fact("messages a second at that rate", most.offered_per_second, "msg/s");
    let still_open = field.open_now();
    if still_open != sockets {
        let specs = field.specs().len();
        result.notes.push(format!("{still_open} of {specs} sockets were open at the end."));
    }
    Ok(Some(Measured { light, half, most }))
}
