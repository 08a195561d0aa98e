//! One stream of decisions. Each part of the world has its own, so that one part's draws do not move another's.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use snug_tests::rng::Rng;

pub struct Dice(Mutex<Rng>);

impl Dice {
    /// The dice of one part of the world of `seed`.
    pub fn of(seed: u64, part: &str) -> Self {
        // FNV-1a: the standard library's hashes are not the same for ever.
        let part = part
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        // Mixed first: the streams of neighbouring seeds would overlap.
        Self(Mutex::new(Rng::new(Rng::new(seed).draw() ^ part)))
    }

    fn rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        self.rng(|rng| rng.below(end))
    }

    /// True once in `n` times; never for 0.
    pub fn one_in(&self, n: usize) -> bool {
        n > 0 && self.below(n) == 0
    }

    /// Whole milliseconds from `from` up to `to`, which is not reached.
    pub fn ms(&self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }

    /// One of them; `None` if there is none.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())) }
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.rng(Rng::draw).to_le_bytes()[..chunk.len()]);
        }
        bytes
    }
}
