//! The writing end of a socket, which its session shares with those who have something for it.
//!
//! A room writes to its followers itself: to wake a session so that it makes the same system call costs more than what is saved by nothing
//! else. So the stream is behind a lock, which is held for one flush at most, and nearly always free.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use snug_protocol::Seq;
use tokio::io::ReadBuf;

use super::outgoing::Outgoing;
use super::{Broken, Entries, Stream};

/// The stream and what waits to be written to it.
pub(super) struct Outlet {
    stream: Box<dyn Stream>,
    outgoing: Outgoing,
    /// The answer to the newest ping, all that need be answered.
    pong: Bytes,
    is_flushed: bool,
}

impl Outlet {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(cx, buf)
    }

    pub(super) fn push(&mut self, messages: Bytes) {
        self.outgoing.push(messages);
    }

    pub(super) fn answer(&mut self, pong: Bytes) {
        self.pong = pong;
    }

    pub(super) const fn owes_pong(&self) -> bool {
        !self.pong.is_empty()
    }

    pub(super) const fn waiting_bytes(&self) -> usize {
        self.outgoing.len()
    }

    pub(super) const fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if !self.pong.is_empty() {
            self.outgoing.push(std::mem::take(&mut self.pong));
        }
        while self.outgoing.len() > 0 {
            self.is_flushed = false;
            let stream = Pin::new(&mut *self.stream);
            let outcome: Poll<io::Result<usize>> = self.outgoing.write(|slices| match slices {
                [one] => stream.poll_write(cx, one),
                many => stream.poll_write_vectored(cx, many),
            });
            match ready!(outcome) {
                Ok(count) if count > 0 => self.outgoing.advance(count),
                Ok(_) | Err(_) => return Poll::Ready(Err(Broken::Gone)),
            }
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut *self.stream).poll_flush(cx)).map_err(|_| Broken::Gone)?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

/// Up to where a follower of a log has been sent it. It moves only together with the entries, so that whoever sends them, session or room,
/// sends each once.
#[derive(Debug, Default)]
pub struct Mark(AtomicU64);

impl Mark {
    /// Nothing is sent until [`Lane::open`].
    const CLOSED: u64 = u64::MAX;

    /// Of a follower to whom nothing is to be sent yet.
    #[must_use]
    pub const fn closed() -> Self {
        Self(AtomicU64::new(Self::CLOSED))
    }

    /// The last seq that was sent.
    #[must_use]
    pub fn seq(&self) -> Seq {
        Seq(self.0.load(Ordering::Acquire))
    }

    fn advance(&self, from: Seq, to: Seq) -> bool {
        self.0.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// What became of entries for a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The system has taken them.
    Written,
    /// The socket has them, but the system has not taken them all, or has failed: its session must flush.
    Kept,
    /// The system has yet to take what is before them, or they do not begin where the follower is: they were not taken.
    NotTaken,
}

/// A socket's writing end. Cheap to clone.
#[derive(Clone)]
pub struct Lane(Arc<Mutex<Outlet>>);

impl Lane {
    pub(super) fn over(stream: Box<dyn Stream>) -> Self {
        let outlet = Outlet { stream, outgoing: Outgoing::default(), pong: Bytes::new(), is_flushed: true };
        Self(Arc::new(Mutex::new(outlet)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Outlet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on what lies after `seq` is sent to the follower at `mark`.
    pub fn open(&self, mark: &Mark, seq: Seq) {
        let _outlet = self.lock();
        mark.0.store(seq.0, Ordering::Release);
    }

    /// From now on nothing is.
    pub fn close(&self, mark: &Mark) {
        self.open(mark, Seq(Mark::CLOSED));
    }

    /// Writes entries that lie after `from` to a follower who is there, behind what its session has left lying for that, if it can be done
    /// without waiting.
    #[must_use]
    pub fn write(&self, mark: &Mark, from: Seq, entries: &Entries) -> Passed {
        // Whoever holds the lock is about to look at the log, or at least will be told to.
        let mut outlet = match self.0.try_lock() {
            Ok(outlet) => outlet,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Passed::NotTaken,
        };
        if !outlet.is_flushed || !mark.advance(from, entries.last) {
            return Passed::NotTaken;
        }
        outlet.push(entries.bytes.clone());
        // Nobody waits: if the system does not take all of it, the session does, with a waker of its own.
        match outlet.poll_flush(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Passed::Written,
            Poll::Ready(Err(_)) | Poll::Pending => Passed::Kept,
        }
    }

    /// Puts entries that lie after `from` behind what waits to be written, if the follower is there; else they are not taken.
    #[must_use]
    pub fn push(&self, mark: &Mark, from: Seq, entries: &Entries) -> bool {
        let mut outlet = self.lock();
        let is_there = mark.advance(from, entries.last);
        if is_there {
            outlet.push(entries.bytes.clone());
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::frame::EntryFrame;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;

    fn entries(seqs: std::ops::RangeInclusive<u64>) -> Entries {
        let frames: Vec<_> = seqs.map(|seq| EntryFrame::new(Seq(seq), seq, &[7; 76])).collect();
        Entries::encode(frames.iter()).expect("some")
    }

    fn lane(buffer: usize) -> (Lane, Mark, DuplexStream) {
        let (near, far) = duplex(buffer);
        let (lane, mark) = (Lane::over(Box::new(near)), Mark::closed());
        lane.open(&mark, Seq(0));
        (lane, mark, far)
    }

    #[tokio::test]
    async fn what_a_room_writes_arrives_and_goes_on_where_it_ended() {
        let (lane, mark, mut far) = lane(10_000);
        assert_eq!(lane.write(&mark, Seq(0), &entries(1..=2)), Passed::Written);
        assert_eq!(lane.write(&mark, Seq(2), &entries(3..=3)), Passed::Written);
        assert_eq!(mark.seq(), Seq(3));
        let expected = [entries(1..=2).bytes, entries(3..=3).bytes].concat();
        let mut came = vec![0; expected.len()];
        far.read_exact(&mut came).await.expect("bytes");
        assert_eq!(came, expected);
    }

    #[tokio::test]
    async fn entries_for_another_place_or_after_the_end_are_not_taken() {
        let (lane, mark, _far) = lane(10_000);
        assert_eq!(lane.write(&mark, Seq(1), &entries(2..=2)), Passed::NotTaken);
        assert!(!lane.push(&mark, Seq(1), &entries(2..=2)));
        lane.close(&mark);
        assert_eq!(lane.write(&mark, Seq(0), &entries(1..=1)), Passed::NotTaken);
        assert_eq!(lane.lock().waiting_bytes(), 0);
    }

    #[tokio::test]
    async fn nothing_overtakes_what_waits() {
        let (lane, mark, mut far) = lane(1_000);
        lane.lock().push(Bytes::from_static(b"a reply"));
        assert_eq!(lane.write(&mark, Seq(0), &entries(1..=1)), Passed::Written, "with it, in one write");
        let expected = [b"a reply".as_slice(), &entries(1..=1).bytes].concat();
        let mut came = vec![0; expected.len()];
        far.read_exact(&mut came).await.expect("bytes");
        assert_eq!(came, expected);
        let held = lane.lock();
        assert_eq!(lane.clone().write(&mark, Seq(1), &entries(2..=2)), Passed::NotTaken, "nor what is being written");
        drop(held);
        lane.lock().push(vec![7; 1_001].into());
        assert_eq!(lane.write(&mark, Seq(1), &entries(2..=2)), Passed::Kept);
        assert_eq!(lane.write(&mark, Seq(2), &entries(3..=3)), Passed::NotTaken, "nor what the system does not take");
        assert!(lane.push(&mark, Seq(2), &entries(3..=3)), "behind it they may go");
        assert_eq!(mark.seq(), Seq(3));
    }

    #[tokio::test]
    async fn what_the_system_does_not_take_is_kept_for_the_session() {
        let (lane, mark, mut far) = lane(50);
        let sent = entries(1..=1);
        assert_eq!(lane.write(&mark, Seq(0), &sent), Passed::Kept);
        assert_eq!((mark.seq(), lane.lock().waiting_bytes()), (Seq(1), sent.bytes.len() - 50));
        let flushing = std::future::poll_fn(|cx| lane.lock().poll_flush(cx));
        let mut came = vec![0; sent.bytes.len()];
        let (flushed, read) = tokio::join!(flushing, far.read_exact(&mut came));
        flushed.expect("whole");
        read.expect("bytes");
        assert_eq!(came, sent.bytes);
    }

    #[tokio::test]
    async fn a_connection_that_is_gone_is_the_sessions_to_find() {
        let (lane, mark, far) = lane(50);
        drop(far);
        assert_eq!(lane.write(&mark, Seq(0), &entries(1..=1)), Passed::Kept);
        assert_eq!(std::future::poll_fn(|cx| lane.lock().poll_flush(cx)).await, Err(Broken::Gone));
    }
}
