//! The writing end of a socket, which its session shares with those who have something for it.
//!
//! A room writes to its followers itself: to wake a session so that it makes the same system call costs more than what is saved by nothing
//! else. So the stream is behind a lock, which is held for one flush at most, and nearly always free.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use snug_protocol::Seq;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outgoing::Outgoing;
use super::{Broken, Entries, Stream};

/// The stream and what waits to be written to it. In this order: what a room's write looks at lies together, and next to the lock, since
/// memory that has not been looked at since the last message costs more than what is done with it.
#[repr(C)]
pub(super) struct Outlet {
    stream: Stream,
    is_flushed: bool,
    outgoing: Outgoing,
}

impl Outlet {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }

    pub(super) fn push(&mut self, messages: Bytes) {
        self.outgoing.push(messages);
    }

    pub(super) fn answer(&mut self, pong: Bytes) {
        self.outgoing.answer(pong);
    }

    pub(super) const fn owes_pong(&self) -> bool {
        self.outgoing.owes_pong()
    }

    pub(super) const fn waiting_bytes(&self) -> usize {
        self.outgoing.len()
    }

    pub(super) const fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.outgoing.push_pong();
        while self.outgoing.len() > 0 {
            self.is_flushed = false;
            let stream = Pin::new(&mut self.stream);
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
            ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|_| Broken::Gone)?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes this behind what waits, as far as the system takes it now.
    fn write_now(&mut self, bytes: &Bytes) -> Passed {
        let mut taken = 0;
        if let Stream::Left(tcp) = &self.stream
            && self.outgoing.len() == 0
        {
            // What tokio knows of the socket lies elsewhere in memory. It can only be too hopeful, since what it wrote last was taken whole;
            // if this is not, it tries itself below, and so comes to know. Rust's programs ignore the signal that a closed pipe sends.
            taken = SockRef::from(tcp).send(bytes).unwrap_or(0);
            if taken == bytes.len() {
                return Passed::Written;
            }
        }
        self.push(bytes.slice(taken..));
        // Nobody waits: if the system does not take all of it, the session does, with a waker of its own.
        match self.poll_flush(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Passed::Written,
            Poll::Ready(Err(_)) | Poll::Pending => Passed::Kept,
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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
    /// The system has yet to take what is before them, or they do not begin where the follower is, or its session is at it: they were not
    /// taken.
    NotTaken,
}

/// A socket's writing end. Cheap to clone.
#[derive(Clone)]
pub struct Lane(Arc<Mutex<Outlet>>);

impl Lane {
    pub(super) fn over(stream: Stream) -> Self {
        let outlet = Outlet { stream, is_flushed: true, outgoing: Outgoing::default() };
        Self(Arc::new(Mutex::new(outlet)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Outlet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether rooms may write to it: nobody has panicked in the middle of that.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.0.is_poisoned()
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
        // Whoever holds the lock is about to look at the log, or at least will be told to. Where somebody has panicked with it, nobody writes
        // any more, and the session ends.
        let Ok(mut outlet) = self.0.try_lock() else { return Passed::NotTaken };
        if !outlet.is_flushed || !mark.advance(from, entries.last) {
            return Passed::NotTaken;
        }
        outlet.write_now(&entries.bytes)
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
    use tokio::net::{TcpListener, TcpStream};

    use super::super::{boxed, tcp};
    use super::*;

    fn entries(seqs: std::ops::RangeInclusive<u64>) -> Entries {
        let frames: Vec<_> = seqs.map(|seq| EntryFrame::new(Seq(seq), seq, &[7; 76])).collect();
        Entries::encode(frames.iter()).expect("some")
    }

    fn open(stream: Stream) -> (Lane, Mark) {
        let (lane, mark) = (Lane::over(stream), Mark::closed());
        lane.open(&mark, Seq(0));
        (lane, mark)
    }

    fn lane(buffer: usize) -> (Lane, Mark, DuplexStream) {
        let (near, far) = duplex(buffer);
        let (lane, mark) = open(boxed(near));
        (lane, mark, far)
    }

    /// Of which the system takes some hundred KiB.
    async fn tcp_lane() -> (Lane, Mark, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().expect("bound")), listener.accept());
        let (near, (far, _)) = (near.expect("connected"), far.expect("connected"));
        SockRef::from(&near).set_send_buffer_size(4_096).expect("set");
        let (lane, mark) = open(tcp(near));
        (lane, mark, far)
    }

    async fn flush(lane: &Lane) -> Result<(), Broken> {
        std::future::poll_fn(|cx| lane.lock().poll_flush(cx)).await
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
        let mut came = vec![0; sent.bytes.len()];
        let (flushed, read) = tokio::join!(flush(&lane), far.read_exact(&mut came));
        flushed.expect("whole");
        read.expect("bytes");
        assert_eq!(came, sent.bytes);
    }

    #[tokio::test]
    async fn over_tcp_nothing_is_lost_doubled_or_overtaken_whatever_the_system_takes() {
        let (lane, mark, mut far) = tcp_lane().await;
        lane.lock().push(Bytes::from_static(b"a reply"));
        let mut expected = b"a reply".to_vec();
        let mut seq = 0;
        let mut next = || {
            seq += 1;
            (Seq(seq - 1), entries(seq..=seq))
        };
        let passed = loop {
            let (from, sent) = next();
            expected.extend_from_slice(&sent.bytes);
            match lane.write(&mark, from, &sent) {
                Passed::Written => assert!(expected.len() < 10_000_000, "the system takes everything"),
                passed => break passed,
            }
        };
        assert_eq!(passed, Passed::Kept);
        assert!(!lane.lock().is_flushed() && lane.lock().waiting_bytes() > 0);
        let (from, late) = next();
        assert_eq!(lane.write(&mark, from, &late), Passed::NotTaken);
        assert!(lane.push(&mark, from, &late));
        expected.extend_from_slice(&late.bytes);
        let mut came = vec![0; expected.len()];
        let (flushed, read) = tokio::join!(flush(&lane), far.read_exact(&mut came));
        flushed.expect("whole");
        read.expect("bytes");
        assert!(came == expected, "something else came");
        let (from, after) = next();
        assert_ne!(lane.write(&mark, from, &after), Passed::NotTaken, "there is room again");
        let mut came = vec![0; after.bytes.len()];
        let (flushed, read) = tokio::join!(flush(&lane), far.read_exact(&mut came));
        flushed.expect("whole");
        read.expect("bytes");
        assert_eq!(came, after.bytes);
    }

    #[tokio::test]
    async fn over_tcp_what_the_system_takes_half_of_goes_on_where_it_ended() {
        let (lane, mark, mut far) = tcp_lane().await;
        let bytes: Bytes = (0..4_000_000u32).map(|place| place.to_be_bytes()[3] ^ place.to_be_bytes()[1]).collect();
        let sent = Entries { bytes: bytes.clone(), ..entries(1..=1) };
        assert_eq!(lane.write(&mark, Seq(0), &sent), Passed::Kept);
        let waiting = lane.lock().waiting_bytes();
        assert!((1..bytes.len()).contains(&waiting), "{waiting}");
        let mut came = vec![0; bytes.len()];
        let (flushed, read) = tokio::join!(flush(&lane), far.read_exact(&mut came));
        flushed.expect("whole");
        read.expect("bytes");
        assert!(came == bytes, "something else came");
    }

    #[tokio::test]
    async fn over_tcp_a_pong_that_is_owed_goes_with_what_is_written() {
        let (lane, mark, mut far) = tcp_lane().await;
        lane.lock().answer(Bytes::from_static(b"an old pong"));
        lane.lock().answer(Bytes::from_static(b"a pong"));
        assert!(lane.lock().owes_pong());
        assert_eq!(lane.write(&mark, Seq(0), &entries(1..=1)), Passed::Written);
        assert!(!lane.lock().owes_pong() && lane.lock().waiting_bytes() == 0);
        let expected = [entries(1..=1).bytes.as_ref(), b"a pong"].concat();
        let mut came = vec![0; expected.len()];
        far.read_exact(&mut came).await.expect("bytes");
        assert_eq!(came, expected);
    }

    #[tokio::test]
    async fn over_tcp_a_connection_that_is_gone_is_the_sessions_to_find() {
        let (lane, mark, far) = tcp_lane().await;
        SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO)).expect("set");
        drop(far);
        // The system may take something before it hears of it.
        let mut passed = (1..1_000).map(|seq| lane.write(&mark, Seq(seq - 1), &entries(seq..=seq)));
        assert_eq!(passed.find(|passed| *passed != Passed::Written), Some(Passed::Kept));
        assert_eq!(flush(&lane).await, Err(Broken::Gone));
    }

    #[tokio::test]
    async fn where_somebody_has_panicked_no_room_writes_and_the_session_ends() {
        let (near, _far) = duplex(1_000);
        let mut socket = super::super::Socket::over(near);
        let (lane, mark) = (socket.lane().clone(), Mark::closed());
        lane.open(&mark, Seq(0));
        socket.flush().await.expect("well so far");
        let panics = std::panic::AssertUnwindSafe(|| {
            let _outlet = lane.lock();
            panic!("in the middle of a write");
        });
        std::panic::catch_unwind(panics).expect_err("panics");
        assert!(!lane.is_whole());
        assert_eq!(lane.write(&mark, Seq(0), &entries(1..=1)), Passed::NotTaken);
        assert_eq!(socket.flush().await, Err(Broken::Gone));
    }

    #[tokio::test]
    async fn a_connection_that_is_gone_is_the_sessions_to_find() {
        let (lane, mark, far) = lane(50);
        drop(far);
        assert_eq!(lane.write(&mark, Seq(0), &entries(1..=1)), Passed::Kept);
        assert_eq!(flush(&lane).await, Err(Broken::Gone));
    }
}
