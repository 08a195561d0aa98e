//! Where a scenario is played: one thread and one runtime for each, simulated time, and nothing random but what the seed decides.
//!
//! The parts are the real ones, and they draw from four sources: the operating system (node ids, jitter, masks of WebSocket frames), the
//! order of hash maps, the order in which `tokio::select!` looks at its branches, and the scheduler. The first two follow from the
//! seed by `snug_entropy`. A current-thread runtime is a queue. `select!` draws from a generator that tokio seeds with a count of the
//! generators made in the process so far, hashed by the thread's hash keys; so each seed has a place in that count.

use std::sync::{Mutex, PoisonError};

use snug_entropy::seeded;
use tokio::runtime::Builder;

/// Generators that a run makes: the runtime's, and its thread's.
const PER_RUN: u32 = 2;

/// Generators made so far.
static MADE: Mutex<u32> = Mutex::new(0);

/// Plays a scenario and returns what it leaves. In one process a seed can be played once, and after those that are smaller.
///
/// # Panics
/// The seed's place is taken.
pub fn play<T: Send, F: Future<Output = T>>(seed: u64, scenario: impl FnOnce() -> F + Send) -> T {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = PER_RUN * u32::try_from(seed).expect("a small seed");
    assert!(*made <= place, "seeds are played in ascending order, each once a process");
    while *made < place {
        drop(Builder::new_current_thread());
        *made += 1;
    }
    *made += PER_RUN;
    seeded(seed, || {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async { scenario().await })
    })
}
