//! One seed's story: a world is founded, goes wrong for a while, is healed, and is held to its promises.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use snug_protocol::InstanceId;
use snug_protocol::limits::BACKLOG_MAX;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::cable::Fate;
use crate::checker::Checker;
use crate::dice::Dice;
use crate::fabric::Reach;
use crate::gate::Weather;
use crate::journal::Outcome;
use crate::nemesis::Nemesis;
use crate::node::Life;
use crate::person::{self, Person};
use crate::scene::{Plant, Scene};

/// Nobody says anything new so long before all is well.
const SILENCE: Duration = Duration::from_secs(1);
/// Presence is true so long after.
const PRESENCE_LIMIT: Duration = Duration::from_secs(30);

/// What is drawn before it begins.
struct Plan {
    rooms: usize,
    people: usize,
    nodes: usize,
    length: Duration,
    pause_ms_max: usize,
    /// Messages that are there before anybody comes.
    filled: usize,
    /// So many come at once in the middle, more than a client can be sent on return.
    flood: bool,
    rewinds: bool,
    /// Until presence must be true again, which takes longer than all the rest.
    waits: bool,
}

impl Plan {
    fn draw(dice: &Dice) -> Self {
        Self {
            rooms: 1 + dice.below(2),
            people: 2 + dice.below(3),
            nodes: 1 + dice.below(3),
            length: dice.ms(7_000, 18_000),
            pause_ms_max: 1000 + dice.below(4000),
            filled: if dice.one_in(4) { 20 + dice.below(300) } else { 0 },
            flood: dice.one_in(40),
            rewinds: dice.one_in(8),
            waits: dice.one_in(4),
        }
    }
}

/// Plays `seed` with a bug in it, or none.
pub async fn play(seed: u64, plant: Plant) -> Outcome {
    let dice = Dice::of(seed, "plan");
    let plan = Plan::draw(&dice);
    let scene = Scene::found(seed, plant, plan.rooms, plan.pause_ms_max).await;
    let people: Vec<Arc<Person>> = (1..=plan.people).map(|no| Person::new(&scene, no, &scene.rooms)).collect();
    for person in &people {
        scene.enter(person).await;
    }
    if plan.filled > 0 {
        scene.fill(scene.rooms[0], InstanceId(dice.bytes()), plan.filled as u64).await;
    }
    for _ in 0..plan.nodes {
        scene.start_node().await;
    }
    let stop = CancellationToken::new();
    for person in &people {
        scene.tasks.spawn(person::run(Arc::clone(&scene), Arc::clone(person), stop.clone()));
    }
    let end = Instant::now() + plan.length;
    if plan.flood {
        flood_later(&scene, InstanceId(dice.bytes()), plan.length / 2);
    }
    Nemesis::new(Arc::clone(&scene), people.clone(), plan.rewinds).run(end).await;
    scene.talking.store(false, Ordering::Relaxed);
    sleep(SILENCE).await;
    heal(&scene).await;
    let (healed, checker) = (Instant::now(), Checker { scene: Arc::clone(&scene), people });
    checker.settle(healed).await;
    if plan.waits {
        sleep((healed + PRESENCE_LIMIT).saturating_duration_since(Instant::now())).await;
        checker.check_presence().await;
    }
    checker.check_all().await;
    stop.cancel();
    scene.journal.outcome()
}

fn flood_later(scene: &Arc<Scene>, instance: InstanceId, wait: Duration) {
    let scene = Arc::clone(scene);
    scene.tasks.clone().spawn(async move {
        sleep(wait).await;
        scene.fill(scene.rooms[0], instance, BACKLOG_MAX + 50).await;
    });
}

/// All is well from now on.
async fn heal(scene: &Arc<Scene>) {
    scene.journal.note(format_args!("all is well"));
    let weather = &scene.fabric.weather;
    weather.lost_one_in.store(if scene.plant == Plant::HeadCheckOff { 3 } else { 0 }, Ordering::Relaxed);
    weather.twice_one_in.store(0, Ordering::Relaxed);
    weather.way_ms_max.store(20, Ordering::Relaxed);
    for node in scene.nodes().iter().filter(|node| node.life() != Life::Dead) {
        node.gate.set(Weather::Fine);
        if scene.fabric.reach(node.no) != Some(Reach::Connected) {
            scene.fabric.set_reach(node.no, Reach::Connected);
        }
        node.cut_dead_lines();
    }
    if scene.nodes_up().is_empty() {
        scene.start_node().await;
    }
}

impl crate::node::Node {
    /// Whoever waits at an end that nobody answers is told; what is slow is slow no more.
    fn cut_dead_lines(&self) {
        for cable in self.cables() {
            if cable.fate() == Fate::Whole {
                cable.drag(Duration::ZERO);
            } else {
                cable.meet(Fate::Cut);
            }
        }
    }
}
