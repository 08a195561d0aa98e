//! When a session reads its socket on a strained node.
//!
//! There commits gather, and a message that is read by itself takes a read and a wake-up of its session only to wait for the next one. So
//! where a message follows another, reading pauses until the store calls for what is to be in that commit; then all that has come is read and
//! handed over, and the commit begins.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use snug_store::{BatchHeld, BeforeBatch};
use tokio::time::Instant;

/// A message of more bytes is worth a read of its own.
const READ_TOGETHER_BYTES_MAX: usize = 4 * 1024;
/// Reading pauses where commits gather for no less: to be called takes as much as some reads.
const PAUSE_MIN: Duration = Duration::from_millis(8);
/// A message follows another if there are no more than so many times what commits gather between them.
const FOLLOWS_WITHIN: u32 = 2;

struct Pause {
    until: Instant,
    call: BeforeBatch,
}

/// Whether a session reads.
pub(super) struct Reading {
    pause: Option<Pause>,
    /// What holds the commit that is waiting for what is being read.
    held: Option<BatchHeld>,
    /// When a message was last read that might have begun a pause.
    heard_at: Instant,
}

impl Reading {
    pub fn new(now: Instant) -> Self {
        Self { pause: None, held: None, heard_at: now }
    }

    /// A message of so many bytes was read on a node whose commits gather for so long: has what follows wait for the next commit, if that
    /// is worth it. `call` asks for that.
    pub fn after_message(&mut self, bytes: usize, gathers: Duration, call: impl FnOnce() -> Option<BeforeBatch>) {
        if bytes > READ_TOGETHER_BYTES_MAX || gathers < PAUSE_MIN || self.pause.is_some() {
            return;
        }
        let now = Instant::now();
        if now - std::mem::replace(&mut self.heard_at, now) < gathers * FOLLOWS_WITHIN {
            // Not for ever: what is no message, or for another room, must not wait for a batch that does not come.
            self.pause = call().map(|call| Pause { until: now + gathers + gathers / 2, call });
        }
    }

    /// Whether the socket may be read; if not now, the task is woken then.
    pub fn poll_reads(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(pause) = &mut self.pause {
            let Poll::Ready(held) = Pin::new(&mut pause.call).poll(cx) else { return false };
            (self.pause, self.held) = (None, held);
        }
        true
    }

    /// When reading goes on at the latest.
    pub fn pauses_until(&self) -> Option<Instant> {
        self.pause.as_ref().map(|pause| pause.until)
    }

    /// Reading goes on if it is time.
    pub fn look(&mut self, now: Instant) {
        self.pause.take_if(|pause| pause.until <= now);
    }

    /// Whether a commit waits for what is being read.
    pub const fn is_awaited(&self) -> bool {
        self.held.is_some()
    }

    /// All that had come is handed over.
    pub fn release(&mut self) {
        self.held = None;
    }

    /// The session does something else for a while: no commit is to wait for it, and then it reads.
    pub fn end_pause(&mut self) {
        (self.pause, self.held) = (None, None);
    }
}
