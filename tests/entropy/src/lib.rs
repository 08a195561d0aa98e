//! Randomness that a seed decides: in a thread that [`seeded`] starts, every random byte of the operating system follows from the seed,
//! and with it the order of hash maps, the jitter of timers, the keys that libraries draw, whoever asks.
//!
//! On Linux it stands before the C library's `getrandom`, which is where the standard library and the `getrandom` crate ask. All other
//! threads get what the system gives. Elsewhere nothing is changed and [`IS_EXACT`] says so. For tests only: a program that links this
//! crate has it in the way.

use std::panic::resume_unwind;

/// Unoptimised futures are deep.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Whether the seed decides everything on this operating system.
pub const IS_EXACT: bool = cfg!(target_os = "linux");

/// Runs `work` in a thread of its own, whose randomness follows from `seed` alone. A panic of `work` goes on here.
pub fn seeded<T: Send>(seed: u64, work: impl FnOnce() -> T + Send) -> T {
    let outcome = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, move || {
            source::begin(seed);
            work()
        });
        thread.expect("the system gives a thread").join()
    });
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(target_os = "linux")]
mod source {
    use std::cell::Cell;

    thread_local! {
        /// Of a seeded thread; `None`: the thread is like any other. Needs no destructor, so it can be read at any time.
        static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    }

    pub fn begin(seed: u64) {
        STATE.set(Some(seed));
    }

    /// SplitMix64 (Steele et al. 2014).
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Stands in place of the C library's function of this name in every program that links this crate.
    ///
    /// # Safety
    /// The C library's contract: `buffer` points to `length` bytes that may be written.
    #[expect(unsafe_code, reason = "the C library's interface")]
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn getrandom(buffer: *mut libc::c_void, length: usize, flags: libc::c_uint) -> libc::ssize_t {
        let Some(mut state) = STATE.get() else {
            // SAFETY: the arguments are the caller's, passed on as they came; the system call checks them.
            let filled = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
            return libc::ssize_t::try_from(filled).unwrap_or(-1);
        };
        if length > 0 {
            // SAFETY: the caller promises `length` writable bytes at `buffer`, which is not null then.
            let bytes = unsafe {
                std::ptr::write_bytes(buffer.cast::<u8>(), 0, length);
                std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length)
            };
            for chunk in bytes.chunks_mut(8) {
                chunk.copy_from_slice(&next(&mut state).to_le_bytes()[..chunk.len()]);
            }
        }
        STATE.set(Some(state));
        libc::ssize_t::try_from(length).unwrap_or(-1)
    }
}

#[cfg(not(target_os = "linux"))]
mod source {
    pub fn begin(_seed: u64) {}
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_randomness_and_other_threads_keep_theirs() {
        let draw = || RandomState::new().hash_one(1);
        let (first, again, other) = (seeded(7, draw), seeded(7, draw), seeded(8, draw));
        assert_eq!(first == again, IS_EXACT);
        assert_ne!(first, other);
        let unseeded = |()| std::thread::spawn(draw).join().expect("no panic");
        assert_ne!(unseeded(()), unseeded(()));
    }
}
