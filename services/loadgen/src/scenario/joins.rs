//! A storm of joins while others talk.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{Scene, climb};
use crate::field::Field;
use crate::people::{Registrar, Room, Way};
use crate::report::{Result, Step};

/// Messages a second of those who talk.
const RATE: f64 = 20.0;
/// When the storm begins, nanoseconds from the start.
const STORM_AT_NS: u64 = 2_000_000_000;

/// The talk alone, then with joins by an invite (no hashing), then with joins by the password (one hash each).
///
/// # Errors
/// Something could not be played, or a join failed.
pub fn run(scene: &mut Scene, rooms: &[Room]) -> anyhow::Result<Result> {
    let joins = scene.sizes.joins;
    let mut result =
        Result::new("joins", format!("Join storm: {joins} joins arrive at once in a room where others talk"));
    let (room, target) = (&rooms[..1], &rooms[0]);
    let specs = scene.specs(room, 1);
    let followers = specs.len() as f64;
    let (mut field, _) = scene.field(room, specs)?;
    let seconds = scene.sizes.hold_seconds;
    let quiet = talk(scene, &mut field, room, seconds, |_| Ok(()))?;
    let quiet_p99 = quiet.window.latency_of_all().percentile_ms(99.0);
    let cpu_of = |played: &crate::field::Played| played.cpu.nodes_ns() as f64 / 1e6 / played.cpu.seconds;
    let quiet_cpu = cpu_of(&quiet);
    result.steps.push(Step::of("no joins", &quiet, climb::objection(&quiet, followers)));
    let origin = scene.registrar.origin().to_owned();
    for (name, way) in [("by invite", target.invite), ("by password", target.password)] {
        scene.observer.label(format!("{joins} joins {name}"));
        let (sender, outcome) = std::sync::mpsc::channel();
        let (origin, id) = (origin.clone(), target.id);
        let mut storm = Some(move || {
            let begun = Instant::now();
            // Whoever asked is there until the step's end.
            let _ = sender.send(storm(&origin, id, way, joins).map(|failed| (begun.elapsed(), failed)));
        });
        let played = talk(scene, &mut field, room, seconds.max(8.0), move |now_ns| {
            if now_ns > STORM_AT_NS
                && let Some(storm) = storm.take()
            {
                std::thread::Builder::new().name("joins".to_owned()).spawn(storm)?;
            }
            Ok(())
        })?;
        let (took, failed) = outcome.recv_timeout(Duration::from_secs(120))??;
        result.fact(format!("{joins} joins {name} took"), took.as_secs_f64(), "s");
        result.fact(format!("joins {name} that failed"), failed as f64, "");
        let cpu_ms = (cpu_of(&played) - quiet_cpu) * played.cpu.seconds / joins as f64;
        result.fact(format!("the nodes' CPU of a join {name}"), cpu_ms, "ms");
        let p99 = played.window.latency_of_all().percentile_ms(99.0);
        result.fact_over(format!("p99 of the talk, joins {name}, over the quiet one's"), p99, "ms", quiet_p99);
        result.steps.push(Step::of(format!("joins {name}"), &played, climb::objection(&played, followers)));
    }
    Ok(result)
}

fn talk(
    scene: &mut Scene,
    field: &mut Field,
    room: &[Room],
    seconds: f64,
    mut meanwhile: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<crate::field::Played> {
    scene.play(field, room, 1, (RATE, seconds), |_, now_ns| meanwhile(now_ns))
}

/// All at once; how many failed.
fn storm(origin: &str, room: snug_protocol::RoomId, way: Way, joins: usize) -> anyhow::Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let registrar = Registrar::new(origin)?;
    let outcomes = runtime.block_on(join_all((0..joins).map(|_| registrar.join(room, way))));
    let failed: Vec<_> = outcomes.into_iter().filter_map(std::result::Result::err).collect();
    if let Some(error) = failed.first() {
        eprintln!("  a join failed: {error:#}");
    }
    Ok(failed.len())
}
