//! What a run says of itself, in lines that go into ARCHITECTURE.md, and the goals.

use std::time::Duration;

use snug_tests::history::Breach;
use snug_tests::history::figures::Spans;

use super::faults::{Fault, Strike};
use super::scene::Figures;

/// What is measured, and the most it may be.
fn goals(figures: &Figures) -> [(&'static str, &Spans, usize, Duration); 8] {
    let seconds = Duration::from_secs;
    [
        ("a node's death to the next message by another", &figures.resume, 99, seconds(3)),
        ("delivery while Redis is away", &figures.without_redis, 100, seconds(6)),
        ("delivery while Redis is paused", &figures.redis_paused, 100, seconds(6)),
        ("a last hint lost to its reader", &figures.last_hint_lost, 100, seconds(6)),
        ("kill -9 to those gone being seen so", &figures.presence, 100, seconds(30)),
        ("removal to silence", &figures.removal, 100, seconds(1)),
        ("removal to silence without Redis", &figures.removal_without_redis, 100, seconds(6)),
        ("reconnect storm to the last one back", &figures.storm, 100, seconds(30)),
    ]
}

/// A table of faults, and one of figures.
pub fn print(strikes: &[Strike], figures: &Figures) {
    println!("\n| fault | times | everyone at the head after | the last one's proof |\n| --- | --- | --- | --- |");
    for fault in Fault::ALL {
        let all: Vec<&Strike> = strikes.iter().filter(|strike| strike.fault == fault).collect();
        let heads: Vec<Duration> = all.iter().filter_map(|strike| strike.at_head).collect();
        let head = heads.iter().max().map_or("-".to_owned(), |most| format!("at most {:.1} s", most.as_secs_f64()));
        let proof = all.last().map_or("none", |strike| &strike.proof);
        println!("| {fault} | {} | {head} | {proof} |", all.len());
    }
    println!("\n| from | measured | goal |\n| --- | --- | --- |");
    for (name, spans, percent, goal) in goals(figures) {
        let which = if percent == 100 { "max".to_owned() } else { format!("p{percent}") };
        println!("| {name} | {spans} | {which} {} s |", goal.as_secs());
    }
    let (stolen, filled) = figures.stolen_and_filled;
    println!("| hints stolen under load | {stolen} | |\n| reads of the store to fill gaps meanwhile | {filled} | |\n");
}

/// Goals that were not reached.
pub fn missed_goals(figures: &Figures) -> Vec<Breach> {
    let missed = goals(figures).into_iter().filter_map(|(name, spans, percent, goal)| {
        let measured = spans.percentile(percent)?;
        (measured > goal).then(|| Breach::Late(format!("{name}: {measured:.1?} and not {goal:?}")))
    });
    missed.collect()
}
