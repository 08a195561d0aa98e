//! WebSockets (RFC 6455) as a room's fan-out needs them.
//!
//! A library's socket encodes, copies and buffers each message once for each reader. A room has a thousand readers of the same bytes, so
//! here frames are encoded once ([`text`], [`Entries`]) and shared, and a socket writes what it is given straight to its stream: one system
//! call however many messages are due. An idle socket owns no buffer.
//!
//! # Layout
//! - `frame`: one frame's header and mask. `incoming`: from bytes to messages. `outgoing`: what waits to be written. All pure.
//! - `outlet`: a stream and what waits to be written to it, shared by a socket and the rooms it follows, which write to plain TCP without
//!   asking tokio. `socket`: all three together. `upgrade`: from an HTTP request to a socket. `stream`: the connection
//!   below both.
//!
//! What is absent: extensions (compression would undo the sharing, and ciphertext does not compress), anything of the product's protocol.

use snug_protocol::frame::close;

mod frame;
mod incoming;
mod outgoing;
mod outlet;
mod socket;
mod stream;
mod upgrade;

pub use frame::{Entries, binary, put_text, text};
pub use incoming::{Incoming, Message};
pub use outlet::{Lane, Mark, Passed};
pub use socket::Socket;
pub use stream::{Connection, Stream, boxed, tcp};
pub use upgrade::{NotAnUpgrade, Upgrade};

/// Why a socket cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The connection is gone.
    Gone,
    /// What came is no WebSocket.
    Protocol,
    /// A text is not UTF-8.
    NotUtf8,
    /// A message is larger than allowed.
    TooLarge,
}

impl Broken {
    /// The close code that says so; `None` when nobody is there to be told.
    #[must_use]
    pub const fn close_code(self) -> Option<u16> {
        match self {
            Self::Gone => None,
            Self::Protocol => Some(close::WEBSOCKET),
            Self::NotUtf8 => Some(close::NOT_UTF8),
            Self::TooLarge => Some(close::TOO_LARGE),
        }
    }
}
