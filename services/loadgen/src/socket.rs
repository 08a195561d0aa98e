//! One open socket: the way to its room, and what it has been sent.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use snug_protocol::frame::{ClientFrame, Cursor};
use snug_protocol::{RoomId, SUBPROTOCOL};

use crate::frame;

/// A socket to be opened.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Where.
    pub address: SocketAddr,
    /// What opens it; `None`: it is the floor's, is told the room's place, and sends entries from seq 1 on.
    pub token: Option<Arc<str>>,
    /// The room it follows, by place and id.
    pub room: (usize, RoomId),
    /// From where; `None`: the latest page.
    pub cursor: Option<Cursor>,
    /// Sends this line of the scripts.
    pub writer: Option<u32>,
    /// Which group its latencies count for.
    pub group: usize,
    /// The size of the kernel's buffer for what is not read, in bytes; `None`: the system's own.
    pub receive_buffer: Option<usize>,
}

/// How far a socket has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not yet connected.
    Connecting,
    /// The upgrade was asked for.
    Upgrading,
    /// The room was asked for.
    Entering,
    /// It follows its room.
    Live,
}

/// How a socket stands to an entry's seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The next one, or one after so many that did not come.
    New {
        /// How many those are.
        skipped: u64,
    },
    /// One that was skipped before.
    Late,
    /// It had come.
    Duplicate,
}

/// A socket.
#[derive(Debug)]
pub struct Socket {
    /// What was asked for.
    pub spec: Spec,
    /// The connection.
    pub stream: TcpStream,
    /// How far it is.
    pub state: State,
    /// When it was begun.
    pub begun_ns: u64,
    /// It is not read at present.
    pub deaf: bool,
    /// The next seq.
    pub next: u64,
    /// Skipped seqs.
    holes: Vec<(u64, u64)>,
    /// The beginning of a frame whose rest has not come.
    rest: Vec<u8>,
    /// Written, but not taken by the kernel.
    unsent: Vec<u8>,
}

fn connect(spec: &Spec) -> std::io::Result<TcpStream> {
    let domain = socket2::Domain::for_address(spec.address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = spec.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    match socket.connect(&spec.address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// What asks a node to upgrade a connection.
#[must_use]
pub fn upgrade(node: SocketAddr, token: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {node}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
}

impl Socket {
    /// Begins to open it.
    ///
    /// # Errors
    /// The system's.
    pub fn open(spec: Spec, now_ns: u64) -> std::io::Result<Self> {
        let stream = connect(&spec)?;
        let (holes, rest, unsent) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { spec, stream, state: State::Connecting, begun_ns: now_ns, deaf: false, next: 1, holes, rest, unsent })
    }

    /// Connected: asks for the upgrade.
    ///
    /// # Errors
    /// It could not be connected.
    pub fn connected(&mut self) -> std::io::Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        let Some(token) = &self.spec.token else {
            self.state = State::Live;
            let room = u32::try_from(self.spec.room.0).expect("fewer rooms than that");
            return self.write(&room.to_be_bytes());
        };
        let request = upgrade(self.spec.address, token);
        self.state = State::Upgrading;
        self.write(request.as_bytes())
    }

    /// Upgraded: says hello and asks for the room, in one write.
    ///
    /// # Errors
    /// The connection's.
    pub fn enter(&mut self) -> std::io::Result<()> {
        let hello = ClientFrame::Hello { client: "snug-load".to_owned() };
        let follow = ClientFrame::Follow { id: 1, room: self.spec.room.1, cursor: self.spec.cursor.clone() };
        let mut bytes = Vec::new();
        for frame in [hello, follow] {
            let text = serde_json::to_vec(&frame).expect("a frame is plain data");
            frame::push_masked(frame::TEXT, &text, &mut bytes);
        }
        self.state = State::Entering;
        self.write(&bytes)
    }

    /// Writes; what the kernel does not take is written when it does.
    ///
    /// # Errors
    /// The connection's.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let taken = take(&mut self.stream, bytes)?;
        self.unsent.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The connection's.
    pub fn write_on(&mut self) -> std::io::Result<()> {
        if !self.unsent.is_empty() {
            let taken = take(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..taken);
            if self.unsent.is_empty() {
                self.unsent = Vec::new();
            }
        }
        Ok(())
    }

    /// Reads into `buffer` behind what was left of an incomplete frame; how many bytes are there in all, and how many came. `None`: it
    /// is over. Nothing came: there is nothing to read now.
    pub fn read(&mut self, buffer: &mut [u8]) -> Option<(usize, usize)> {
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        match self.stream.read(&mut buffer[kept..]) {
            Ok(0) => None,
            Ok(came) => Some((kept + came, came)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Some((kept, 0)),
            Err(_) => None,
        }
    }

    /// Keeps the beginning of a frame for the next read.
    pub fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            // An idle socket shall have no buffer.
            self.rest = Vec::new();
        } else {
            self.rest.clear();
            self.rest.extend_from_slice(rest);
        }
    }

    /// Entries from `seq` on come next.
    pub fn starts_at(&mut self, seq: u64) {
        self.next = seq;
        self.holes.clear();
    }

    /// Takes note of an entry.
    pub fn place(&mut self, seq: u64) -> Place {
        if seq >= self.next {
            let skipped = seq - self.next;
            if skipped > 0 {
                self.holes.push((self.next, seq));
            }
            self.next = seq + 1;
            return Place::New { skipped };
        }
        let Some(at) = self.holes.iter().position(|(from, to)| (*from..*to).contains(&seq)) else {
            return Place::Duplicate;
        };
        let (from, to) = self.holes.swap_remove(at);
        self.holes.extend([(from, seq), (seq + 1, to)].into_iter().filter(|(from, to)| from < to));
        Place::Late
    }
}

fn take(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<usize> {
    match stream.write(bytes) {
        Ok(taken) => Ok(taken),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> Socket {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let spec = Spec {
            address: listener.local_addr().expect("bound"),
            token: None,
            room: (0, RoomId::default()),
            cursor: None,
            writer: None,
            group: 0,
            receive_buffer: None,
        };
        Socket::open(spec, 0).expect("a socket")
    }

    #[test]
    fn what_is_skipped_comes_twice_or_comes_late_is_noticed() {
        let mut socket = socket();
        socket.starts_at(5);
        assert_eq!(socket.place(5), Place::New { skipped: 0 });
        assert_eq!(socket.place(5), Place::Duplicate);
        assert_eq!(socket.place(9), Place::New { skipped: 3 });
        assert_eq!(socket.place(7), Place::Late);
        assert_eq!(socket.place(7), Place::Duplicate);
        assert_eq!(socket.place(6), Place::Late);
        assert_eq!(socket.place(8), Place::Late);
        assert_eq!(socket.place(8), Place::Duplicate);
        assert_eq!(socket.place(10), Place::New { skipped: 0 });
    }
}
