//! The room, session and resume logic under a deterministic simulation: real nodes (HTTP, WebSocket, session, rooms, chat, presence, the
//! store in memory) over a simulated bus, network and clock, with clients by the protocol's rules. A seed decides everything.
//!
//! `SNUG_SIM_SEED=n` plays one seed and prints all that happens; `SNUG_SIM_SEEDS=n` plays so many. What is not covered: see
//! ARCHITECTURE.md, "The simulation".

mod cable;
mod checker;
mod dice;
mod fabric;
mod gate;
mod journal;
mod ledger;
mod nemesis;
mod node;
mod person;
mod roster;
mod scenario;
mod scene;
mod stage;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use journal::{Outcome, Promise, Tally};
use scene::Plant;

const SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn play(seed: u64, plant: Plant) -> Outcome {
    let run = Plant::ALL.iter().position(|known| *known == plant).expect("all are listed");
    // Read before the seeded thread draws anything.
    node::settings();
    stage::play(seed, u32::try_from(run).expect("four"), || scenario::play(seed, plant))
}

#[test]
fn every_promise_is_kept_in_every_scenario() {
    let one = number("SNUG_SIM_SEED");
    let seeds = one.map_or(0..number("SNUG_SIM_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    journal::ECHO.store(one.is_some(), Ordering::Relaxed);
    let (mut tally, mut failed) = (Tally::new(), Vec::new());
    for seed in seeds {
        let outcome = play(seed, Plant::Nothing);
        if one.is_some() {
            println!("hash of the log: {}", outcome.hash());
        }
        for (kind, count) in &outcome.tally {
            *tally.entry(kind).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            println!("seed {seed} failed; to see all that happened in it:");
            println!(
                "    SNUG_SIM_SEED={seed} cargo test --all-features -p snug-tests --test simulation every_promise -- --nocapture"
            );
            for violation in &outcome.violations {
                println!("    {:?}: {}", violation.promise, violation.what);
            }
            failed.push(seed);
        }
    }
    println!("{tally:#?}");
    assert!(failed.is_empty(), "seeds {failed:?} broke a promise; the commands to replay them are above");
    let _ = (Promise::Kept, BTreeMap::<u8, u8>::new());
}
