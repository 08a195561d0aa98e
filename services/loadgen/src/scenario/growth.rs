//! How the cost of a delivery grows with what is there: members of a room, nodes, rooms. Light load, so that nothing is gathered.

use super::{Scene, climb};
use crate::floor::parent::Floor;
use crate::floor::{Gathering, Shape};
use crate::people::Room;
use crate::report::{Plot, Result, Step};

/// Deliveries a second, at most.
const DELIVERIES: f64 = 5_000.0;
/// Messages a second in one room, at most: more would be gathered.
const RATE_MAX: f64 = 50.0;
/// From one size to the next.
const FACTOR: usize = 4;
/// Members of each room while rooms grow in number; and of how many rooms each of them is one: people are in several.
const CIRCLE: usize = 5;

/// Sizes from `first` to `last`, a factor apart.
fn sizes(first: usize, last: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> =
        std::iter::successors(Some(first), |size| Some(size * FACTOR)).take_while(|size| *size < last).collect();
    sizes.push(last.max(1));
    sizes
}

/// One room of more and more members; the big room over more and more nodes; more and more rooms. Each beside the floor's cost of the same
/// writes.
///
/// # Errors
/// Something could not be played.
pub fn run(scene: &mut Scene) -> anyhow::Result<Result> {
    let mut result = Result::new("growth", "How the cost of a delivery grows, at light load");
    let (members, rooms, nodes) = (scene.sizes.members_most, scene.sizes.rooms_most, scene.nodes.clone());
    let mut costs = Vec::new();
    for count in sizes(10, members) {
        let rooms = scene.rooms(1, count)?;
        let cost = measure(scene, &rooms, 1, &format!("a room of {count}"), &mut result)?;
        costs.push((count, cost));
    }
    result.plots.push(plot("CPU a delivery, µs, by members of a room", "members", &costs));
    costs.clear();
    let big = scene.rooms(1, scene.sizes.members)?;
    for count in 1..=nodes.len() {
        scene.nodes.truncate(count);
        let label = format!("a room of {} over {count} nodes", scene.sizes.members);
        let measured = measure(scene, &big, 1, &label, &mut result);
        scene.nodes.clone_from(&nodes);
        costs.push((count, measured?));
    }
    result.plots.push(plot("CPU a delivery, µs, by nodes", "nodes", &costs));
    costs.clear();
    // Last, because so many who leave keep nodes busy for a while. The same rooms and more of them each time: making one is the slowest part.
    let mut made = Vec::new();
    for count in sizes(10, rooms) {
        let circles = count.saturating_sub(made.len()).div_ceil(CIRCLE);
        made.append(&mut scene.circles(circles, CIRCLE)?);
        let label = format!("{} rooms of {CIRCLE}, each in {CIRCLE} of them", made.len());
        let cost = measure(scene, &made, CIRCLE, &label, &mut result)?;
        costs.push((made.len(), cost));
    }
    result.plots.push(plot("CPU a delivery, µs, by rooms", "rooms", &costs));
    Ok(result)
}

/// What a delivery in these rooms costs nodes and floor, in microseconds, beyond what the nodes use at rest. Each socket follows so many of
/// the rooms; the floor has as many sockets, and writes as often to each.
fn measure(
    scene: &mut Scene,
    rooms: &[Room],
    follows: usize,
    label: &str,
    result: &mut Result,
) -> anyhow::Result<(f64, f64)> {
    let (members, seconds) = (rooms[0].members.len(), scene.sizes.hold_seconds);
    let rate = (DELIVERIES / members as f64).min(RATE_MAX * rooms.len() as f64);
    let envelope_bytes = super::envelope_bytes(&rooms[0], scene.sizes.text_chars)?;
    let mut floor = Floor::start(Shape { rooms: rooms.len() / follows, members, envelope_bytes }, scene.threads)?;
    let (played, _) = floor.play(&format!("floor, {label}"), rate, seconds, Gathering::Each(1))?;
    drop(floor);
    let floor = Step::of(format!("floor, {label}"), &played, climb::objection(&played));
    let specs = if follows == 1 { scene.specs(rooms, 1) } else { scene.specs_of_circles(rooms, follows) };
    let (mut field, _) = scene.field(rooms, specs)?;
    scene.observer.label(format!("{label}, saying nothing"));
    let at_rest = scene.rest();
    scene.observer.label(label);
    let played = scene.play(&mut field, rooms, 1, (rate, seconds), |_, _| Ok(()))?;
    let step = Step::of(label, &played, climb::objection(&played));
    let for_nothing = at_rest * played.cpu.seconds * 1e6 / played.window.counts.delivered.max(1) as f64;
    let cost = ((step.cpu_us - for_nothing).max(0.0), floor.cpu_us);
    result.fact(format!("CPU at rest, {label}"), at_rest * 100.0, "% of a core");
    result.fact_over(format!("CPU a delivery, {label}"), cost.0, "µs", cost.1);
    result.steps.extend([floor, step]);
    Ok(cost)
}

fn plot(title: &str, x_name: &'static str, costs: &[(usize, (f64, f64))]) -> Plot {
    let series =
        |of: &dyn Fn((f64, f64)) -> f64| costs.iter().map(|(count, cost)| (*count as f64, of(*cost))).collect();
    let lines =
        vec![("nodes".to_owned(), series(&|(nodes, _)| nodes)), ("floor".to_owned(), series(&|(_, floor)| floor))];
    Plot { title: title.to_owned(), x_name, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_by_a_factor_and_end_at_the_last() {
        assert_eq!(sizes(10, 1_000), [10, 40, 160, 640, 1_000]);
        assert_eq!(sizes(10, 10), [10]);
        assert_eq!(sizes(10, 3), [3]);
    }
}
