//! Any interleaving of joins, sends, lost answers, reconnects, rotations, removals and crashes leaves the room whole: thousands of seeds
//! over the Memory store, with the SDK's cryptography and fold, without sockets and clocks.
//!
//! A failing seed is named in the panic; `SNUG_SEED=<it>` runs it alone, `SNUG_SEEDS=<n>` runs more.

mod person;
mod rekey;
mod world;

use snug_tests::rng::Rng;
use world::World;

const SEEDS: u64 = 2_000;
const ACTS: usize = 30;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64) -> world::Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut rng = Rng::new(seed);
        let mut world = World::found(&mut rng).await;
        for _ in 0..ACTS {
            world.act(&mut rng).await;
        }
        world.settle().await;
        world.check_those_who_remain().await;
        world.check_those_who_are_gone().await;
        world.check_recovery_devices().await;
        world.tally
    })
}

#[test]
fn any_interleaving_ends_with_everyone_reading_what_they_may_and_no_more() {
    let seeds: Vec<u64> = match number("SNUG_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SNUG_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let next = std::sync::atomic::AtomicUsize::new(0);
    let total = std::sync::Mutex::new(world::Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    match std::panic::catch_unwind(|| run(seed)) {
                        Ok(tally) => total.lock().expect("no panic while held").add(tally),
                        Err(why) => {
                            eprintln!("seed {seed} failed: SNUG_SEED={seed}");
                            std::panic::resume_unwind(why);
                        }
                    }
                }
            });
        }
    });
    let total = total.into_inner().expect("no panic while held");
    println!("{total:?}");
    // What did not happen proves nothing.
    if seeds.len() >= 100 {
        assert!(total.sent > 0 && total.epochs > 0 && total.removed > 0 && total.late_joins > 0, "{total:?}");
        assert!(total.lost_races > 0 && total.overtaken > 0 && total.excluded > 0 && total.cut > 0, "{total:?}");
        assert!(total.renewed > 0, "{total:?}");
    }
}
