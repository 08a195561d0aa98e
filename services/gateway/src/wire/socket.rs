//! A WebSocket over a stream.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::ReadBuf;

use super::frame::{CONTROL_BYTES_MAX, Opcode, framed};
use super::incoming::Incoming;
use super::{Broken, Lane, Message, Stream};

/// Read at one time, by all sockets of a thread into the same place: a socket with nothing to read needs no buffer.
const READ_BYTES: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// One socket, the server's side.
pub struct Socket {
    lane: Lane,
    incoming: Incoming,
}

impl Socket {
    /// Over an upgraded stream of which `unread` has been read already. Messages have at most `message_max` bytes.
    pub(super) fn new(stream: Stream, unread: &[u8], message_max: usize) -> Self {
        Self { lane: Lane::over(stream), incoming: Incoming::new(message_max, BytesMut::from(unread)) }
    }

    /// Over a test's stream.
    #[cfg(test)]
    pub fn over(stream: impl super::stream::Duplex + 'static) -> Self {
        Self::new(super::boxed(stream), &[], snug_protocol::limits::FRAME_BYTES_MAX)
    }

    /// Its writing end, for others.
    #[must_use]
    pub const fn lane(&self) -> &Lane {
        &self.lane
    }

    /// The next message. Pings are answered with the next [`Socket::poll_flush`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Broken>> {
        loop {
            if let Some(message) = self.recv_more()? {
                return Poll::Ready(Ok(message));
            }
            ready!(self.poll_read(cx))?;
        }
    }

    /// The next message, if it came together with the last one.
    ///
    /// # Errors
    /// As [`Socket::poll_recv`].
    pub fn recv_more(&mut self) -> Result<Option<Message>, Broken> {
        let message = self.incoming.next_message()?;
        if let Some(Message::Ping(payload)) = &message {
            self.lane.lock().answer(framed(Opcode::Pong, payload));
        }
        Ok(message)
    }

    /// The next message, if it came together with the last one and is binary.
    pub fn recv_more_binary(&mut self) -> Option<Result<Message, Broken>> {
        if self.incoming.begins_binary() == Some(true) { self.recv_more().transpose() } else { None }
    }

    /// The next message, if it has come and is binary. The task is not woken for what comes later.
    pub fn recv_binary_now(&mut self) -> Option<Result<Message, Broken>> {
        loop {
            if let Some(message) = self.recv_more_binary() {
                return Some(message);
            }
            if self.incoming.begins_binary() == Some(false) {
                return None;
            }
            match self.poll_read(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Some(Err(error)),
                Poll::Pending => return None,
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            match ready!(self.lane.lock().poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => self.incoming.take_in(read.filled()),
                Ok(()) | Err(_) => return Poll::Ready(Err(Broken::Gone)),
            }
            Poll::Ready(Ok(()))
        })
    }

    /// The next message. Cancel-safe.
    pub async fn recv(&mut self) -> Result<Message, Broken> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Puts encoded messages behind what waits to be written.
    pub fn push(&mut self, messages: Bytes) {
        self.lane.lock().push(messages);
    }

    /// Puts a closing frame behind what waits to be written. A reason that is too long is left out.
    pub fn push_close(&mut self, code: u16, reason: &str) {
        let mut payload = code.to_be_bytes().to_vec();
        if payload.len() + reason.len() <= CONTROL_BYTES_MAX {
            payload.extend_from_slice(reason.as_bytes());
        }
        self.push(framed(Opcode::Close, &payload));
    }

    /// How many bytes wait to be written.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.lane.lock().waiting_bytes()
    }

    /// Whether the system has taken all that it was given; more may wait to be given to it.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.lane.lock().is_flushed()
    }

    /// Whether a ping has come that is not answered yet.
    #[must_use]
    pub fn owes_pong(&self) -> bool {
        self.lane.lock().owes_pong()
    }

    /// Writes what waits; ready when the system has taken all of it. Whoever gives up waiting may go on later.
    ///
    /// # Errors
    /// The connection is gone, or something has panicked in the middle of a write, so that nobody knows what it was given.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if !self.lane.is_whole() {
            return Poll::Ready(Err(Broken::Gone));
        }
        self.lane.lock().poll_flush(cx)
    }

    /// Writes what waits. Cancel-safe.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn flush(&mut self) -> Result<(), Broken> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Closes the connection below.
    pub async fn shutdown(&mut self) {
        let _ = std::future::poll_fn(|cx| self.lane.lock().poll_shutdown(cx)).await;
    }
}
