//! What happened, in order: the lines that a replay prints, a count of each kind of event, and the promises that were broken.
//!
//! Nothing that differs from one run of a seed to the next may be in a line: no wall clock, no random name of a node or of a history.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// Lines are printed as they come: a replay that hangs must tell where.
pub static ECHO: AtomicBool = AtomicBool::new(false);

/// How often each kind of event took place.
pub type Tally = BTreeMap<&'static str, u64>;

/// The promises, one name each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// An acknowledged message is in the log, where it was acknowledged, once.
    Kept,
    /// Whatever is in a log was sealed by somebody, and is there once.
    NoPhantom,
    /// What one person said stands in the log in the order in which it was said.
    SenderOrder,
    /// What a client has seen is what the log holds.
    OneOrder,
    /// No client misses an entry without having been told that it does.
    NoSilentHole,
    /// Everybody is at the head soon after all is well again.
    AtTheHead,
    /// Everything said is answered soon after all is well again.
    Answered,
    /// A removed member is sent nothing that came after, once the news had time to spread.
    Removed,
    /// What was erased is not sent to who follows after the erasure was acknowledged.
    Erased,
    /// Who is told to be here is here.
    Presence,
    /// A gap is read from the store once a room and node.
    OneRead,
    /// A room that exists is not said to be gone.
    RoomStays,
}

/// A promise that was not kept, and how.
#[derive(Clone, Debug)]
pub struct Violation {
    pub promise: Promise,
    pub what: String,
}

struct Pages {
    lines: Vec<String>,
    violations: Vec<Violation>,
    tally: Tally,
}

pub struct Journal {
    start: Instant,
    pages: Mutex<Pages>,
}

/// All that a run leaves behind.
pub struct Outcome {
    pub lines: Vec<String>,
    pub violations: Vec<Violation>,
    pub tally: Tally,
}

impl Journal {
    /// Begins now.
    pub fn begin() -> Self {
        let pages = Pages { lines: Vec::new(), violations: Vec::new(), tally: Tally::new() };
        Self { start: Instant::now(), pages: Mutex::new(pages) }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> std::time::Duration {
        self.start.elapsed()
    }

    pub fn note(&self, what: fmt::Arguments<'_>) {
        let at = self.start.elapsed();
        let line = format!("{:>4}.{:03} {what}", at.as_secs(), at.subsec_millis());
        if ECHO.load(Ordering::Relaxed) {
            println!("{line}");
        }
        self.pages().lines.push(line);
    }

    /// Notes an event, and counts it.
    pub fn count(&self, kind: &'static str, what: fmt::Arguments<'_>) {
        self.note(format_args!("{kind}: {what}"));
        self.tally(kind);
    }

    pub fn tally(&self, kind: &'static str) {
        *self.pages().tally.entry(kind).or_default() += 1;
    }

    pub fn violation(&self, promise: Promise, what: fmt::Arguments<'_>) {
        self.note(format_args!("VIOLATION of {promise:?}: {what}"));
        self.pages().violations.push(Violation { promise, what: what.to_string() });
    }

    pub fn outcome(&self) -> Outcome {
        let mut pages = self.pages();
        Outcome {
            lines: std::mem::take(&mut pages.lines),
            violations: std::mem::take(&mut pages.violations),
            tally: std::mem::take(&mut pages.tally),
        }
    }
}

impl Outcome {
    /// Of all lines.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for line in &self.lines {
            hash.update(line);
            hash.update("\n");
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}
