//! The room, session and resume logic under a deterministic simulation: real nodes (HTTP, WebSocket, session, rooms, chat, presence, the
//! store in memory) over a simulated bus, network and clock, with clients by the protocol's rules. A seed decides everything.
//!
//! `SNUG_SIM_SEED=n` plays one seed and prints all that happens, `SNUG_SIM_FROM=n` and `SNUG_SIM_SEEDS=n` say how many from which one,
//! `SNUG_SIM_PLANT=name` puts one of `Plant`'s bugs into the world.
//!
//! It plays a cluster in simulated time: one thread, tokio's paused clock, a minute in some hundredths of a second. Real are the whole node
//! (`Server`: accept loop, hyper, axum's routes, WebSockets, sessions, rooms, chat, presence, drain), the store's rules and its Memory
//! backend, and tungstenite on the client's side. Simulated are the network (`cable`: latency, slow, cut, half open at either end), the bus
//! (`fabric`: keeps a publisher's order in a room; delays, drops, repeats; a node away, or deaf), the database's moods (`gate`: slow,
//! failing, answers lost, absent, per node), death (whatever the node was about to do never happens), a store that goes back to an older
//! copy, and the clients, which follow PROTOCOL.md without keys. A nemesis draws faults; then all is well, and `checker` holds everybody to
//! the promises of `journal::Promise`. `SNUG_SIM_SEED=n` replays a seed and prints all that happens; the same seed gives the same log in
//! every process.
//!
//! That a seed decides everything needs no seam in the product. What is random in a process (ids, jitter, masks, the order of hash maps)
//! comes from the C library's `getrandom`, which `tests/entropy` stands before, in the seed's thread only; `select!` draws from a generator
//! whose seed `stage` fixes. Not simulated: wall-clock time (log times, token expiry, rates and retention go by the real clock, and nothing
//! in a scenario comes near them), SQL, Redis, TLS, real sockets, passwords and joins by HTTP, the SDK's and the page's own code, more than
//! one runtime thread. On other systems than Linux a replay is only likely to be the same. Not promised, and so not played: a store that
//! goes back while hints are lost too. The node may then go on with the other log; a client notices by the `prev` of the next message.

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

use std::process::Command;
use std::sync::atomic::Ordering;

use journal::{Outcome, Promise, Tally};
use scene::Plant;

/// Played by `make test`.
const SEEDS: u64 = 1_000;
/// Played at most until a planted bug is found.
const PLANTED_SEEDS: u64 = 100;
/// What must have happened when all seeds have been played: what did not happen proves nothing.
const EXPECTED: [&str; 34] = [
    "acknowledged",
    "acknowledged again",
    "bus away",
    "bus deaf",
    "bus weather",
    "deletion",
    "event lost",
    "event not heard",
    "event twice",
    "node overrun",
    "filled",
    "following unconfirmed",
    "gap filled",
    "half open at the client",
    "half open at the node",
    "line cut",
    "line silent",
    "line slow",
    "moved",
    "node drains",
    "node killed",
    "node started",
    "presence checked",
    "refused",
    "removal",
    "resync",
    "room closed",
    "roster flushed",
    "skipped",
    "stale epoch",
    "store away",
    "store flaky",
    "store restored",
    "store slow",
];

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn play(seed: u64, plant: Plant) -> Outcome {
    // Read before the seeded thread draws anything.
    node::settings();
    stage::play(seed, || scenario::play(seed, plant))
}

fn report(seed: u64, outcome: &Outcome) {
    println!("seed {seed} failed; to see all that happened in it:");
    println!(
        "    SNUG_SIM_SEED={seed} cargo test --all-features -p snug-tests --test simulation every_promise -- --nocapture"
    );
    for violation in &outcome.violations {
        println!("    {:?}: {}", violation.promise, violation.what);
    }
}

#[test]
fn every_promise_is_kept_whatever_goes_wrong() {
    let (one, plant): (Option<u64>, _) = (variable("SNUG_SIM_SEED"), variable("SNUG_SIM_PLANT").unwrap_or_default());
    let from = one.or_else(|| variable("SNUG_SIM_FROM")).unwrap_or(0);
    let count = one.map_or_else(|| variable("SNUG_SIM_SEEDS").unwrap_or(SEEDS), |_| 1);
    journal::ECHO.store(one.is_some(), Ordering::Relaxed);
    let (mut tally, mut failed) = (Tally::new(), Vec::new());
    for seed in from..from + count {
        let outcome = play(seed, plant);
        if count < SEEDS {
            println!("the log of seed {seed} has the hash {}", outcome.hash());
        }
        for (kind, count) in &outcome.tally {
            *tally.entry(kind).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            report(seed, &outcome);
            failed.push(seed);
            if plant != Plant::Nothing {
                break;
            }
        }
    }
    println!("{tally:#?}");
    assert!(failed.is_empty(), "seeds {failed:?} broke a promise; the commands to replay them are above");
    if count >= SEEDS {
        let missing: Vec<_> = EXPECTED.iter().filter(|kind| !tally.contains_key(*kind)).collect();
        assert!(missing.is_empty(), "this never happened: {missing:?}");
    }
}

/// Plays in another process, where each seed has the place that it has here; whether all promises were kept, and what was printed.
fn play_apart(variables: &[(&str, String)]) -> (bool, String) {
    let mut child = Command::new(std::env::current_exe().expect("this binary"));
    for name in ["SNUG_SIM_SEED", "SNUG_SIM_SEEDS", "SNUG_SIM_FROM", "SNUG_SIM_PLANT"] {
        child.env_remove(name);
    }
    child.args(["--exact", "every_promise_is_kept_whatever_goes_wrong", "--nocapture"]);
    child.env("RUST_BACKTRACE", "0").envs(variables.iter().map(|(name, value)| (name, value)));
    let output = child.output().expect("this binary runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_seed_tells_the_same_story_in_every_process_and_another_seed_another_one() {
    let hashes = |variables: &[(&str, String)]| -> Vec<String> {
        let (_, printed) = play_apart(variables);
        printed.lines().filter(|line| line.starts_with("the log of seed")).map(str::to_owned).collect()
    };
    let together = hashes(&[("SNUG_SIM_FROM", "3".into()), ("SNUG_SIM_SEEDS", "6".into())]);
    let alone = hashes(&[("SNUG_SIM_SEED", "7".into())]);
    assert!(together.len() == 6 && alone.len() == 1, "{together:?} {alone:?}");
    if snug_entropy::IS_EXACT {
        assert_eq!(alone[0], together[4]);
    }
    let hash = |line: &String| line.rsplit(' ').next().map(str::to_owned);
    assert!(together.windows(2).all(|pair| hash(&pair[0]) != hash(&pair[1])), "{together:?}");
}

/// Some seed must break this promise, and none before it.
fn check_planted(plant: &str, broken: Promise) {
    let (kept, printed) =
        play_apart(&[("SNUG_SIM_PLANT", plant.into()), ("SNUG_SIM_SEEDS", PLANTED_SEEDS.to_string())]);
    assert!(!kept, "nobody noticed the planted bug in {PLANTED_SEEDS} seeds");
    assert!(printed.contains(&format!("    {broken:?}: ")), "{printed}");
}

#[test]
fn a_lost_last_hint_is_found_when_the_head_check_is_off() {
    check_planted("head-check-off", Promise::AtTheHead);
}

#[test]
fn a_tail_that_goes_on_across_a_gap_is_found() {
    check_planted("gap-accepted", Promise::NoSilentHole);
}

#[test]
fn a_duplicate_that_is_not_known_again_is_found() {
    check_planted("duplicates-forgotten", Promise::NoPhantom);
}
