//! The connection below HTTP and WebSockets, whichever kind it is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_util::either::Either;

/// A connection whose peer takes nothing of an answer for this long is closed. Sockets have a shorter limit of their own.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// TLS over TCP, or a test's.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// TCP (on the left), which is written to a thousand times for a message and so stands where it is used, or another.
pub type Stream = Either<TcpStream, Box<dyn Duplex>>;

/// Plain TCP.
#[must_use]
pub const fn tcp(stream: TcpStream) -> Stream {
    Either::Left(stream)
}

/// Any other stream.
#[must_use]
pub fn boxed(stream: impl Duplex + 'static) -> Stream {
    Either::Right(Box::new(stream))
}

/// A stream while HTTP is spoken on it.
pub struct Connection {
    stream: Stream,
    /// Since when the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Over a stream.
    #[must_use]
    pub const fn new(stream: Stream) -> Self {
        Self { stream, stalled: None }
    }

    /// The stream, for another protocol.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(outcome) = write(Pin::new(&mut self.stream), cx) {
            self.stalled = None;
            return Poll::Ready(outcome);
        }
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_LIMIT))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx, |stream, cx| stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
