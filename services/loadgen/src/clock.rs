//! One clock for all threads, and for the floor's process: nanoseconds of `CLOCK_MONOTONIC`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// Nanoseconds since the machine started.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).expect("after the start") * SECOND + u64::try_from(now.tv_nsec).expect("a fraction")
}

/// The time on the wall's clock, by which the kernel stamps what comes in.
#[must_use]
pub fn wall() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Realtime)).unwrap_or_default()
}

/// When, on this clock, it was `stamp` on the wall's, if it was `wall` there just before it was `now_ns` here: what lies between the two
/// looks makes it later, never earlier. Nobody sets the wall's clock meanwhile, or that one span is wrong.
#[must_use]
pub fn of_stamp(stamp: Duration, wall: Duration, now_ns: u64) -> u64 {
    let age = wall.saturating_sub(stamp);
    now_ns.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
}

/// A timer that makes a file descriptor readable; `epoll`'s own time-outs are of whole milliseconds.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?))
    }

    /// To be watched for reading.
    #[must_use]
    pub const fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Readable from `at_ns` on; at once if that is over.
    ///
    /// # Errors
    /// The system's.
    pub fn set(&self, at_ns: u64) -> std::io::Result<()> {
        // Zero would unset it.
        let at_ns = at_ns.max(1);
        let at = Timespec {
            tv_sec: i64::try_from(at_ns / SECOND).expect("fewer seconds than that"),
            tv_nsec: i64::try_from(at_ns % SECOND).expect("a fraction"),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }
}
