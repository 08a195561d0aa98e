//! One open socket: the way to its rooms, and what it has been sent.

use std::io::{ErrorKind, IoSliceMut, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use snug_protocol::frame::{ClientFrame, Cursor};
use snug_protocol::{RoomId, SUBPROTOCOL};

use crate::clock::{now_ns, of_stamp, wall};
use crate::frame;

/// Enough for the largest frame and then some.
const BUFFER_BYTES: usize = 256 * 1024;

/// A room that a socket follows.
#[derive(Debug, Clone)]
pub struct Follow {
    /// Its place among the rooms.
    pub place: usize,
    /// Its id.
    pub room: RoomId,
    /// From where; `None`: the latest page.
    pub cursor: Option<Cursor>,
}

/// A socket to be opened.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Where.
    pub address: SocketAddr,
    /// What opens it; `None`: it is the floor's, is told the room's place, and sends entries from seq 1 on.
    pub token: Option<Arc<str>>,
    /// What it follows; of a socket of the floor one room. None: it only says hello.
    pub follows: Vec<Follow>,
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
    /// The rooms were asked for.
    Entering,
    /// It follows its rooms.
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

/// How far a socket has come in a room that it follows.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The next seq.
    pub next: u64,
    /// Skipped seqs.
    holes: Vec<(u64, u64)>,
    /// The node has said from where on it sends.
    is_followed: bool,
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
    /// How far it has come in each of its rooms.
    pub progress: Vec<Progress>,
    /// The beginning of a frame whose rest has not come.
    rest: Vec<u8>,
    /// Written, but not taken by the kernel.
    unsent: Vec<u8>,
}

/// What sockets are read into, one after the other.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// The kernel's word on when they came.
    control: Vec<u8>,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes: vec![0; BUFFER_BYTES], control: nix::cmsg_space!(TimeSpec) }
    }
}

impl Buffer {
    /// The first of them.
    #[must_use]
    pub fn filled(&self, length: usize) -> &[u8] {
        &self.bytes[..length]
    }
}

/// What one call has read.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    /// Bytes that came; none: there is nothing to read now.
    pub bytes: usize,
    /// Bytes in the buffer, with what was left of an incomplete frame.
    pub filled: usize,
    /// The buffer had no room for more, and more may have come.
    pub is_full: bool,
    /// When the kernel had the last of them, or of what came right behind it; when they were read, if it does not say.
    pub at_ns: u64,
    /// When they were read.
    pub read_ns: u64,
}

fn connect(spec: &Spec) -> std::io::Result<TcpStream> {
    let domain = socket2::Domain::for_address(spec.address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
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
        let progress = vec![Progress { next: 1, holes: Vec::new(), is_followed: false }; spec.follows.len()];
        let (rest, unsent) = (Vec::new(), Vec::new());
        Ok(Self { spec, stream, state: State::Connecting, begun_ns: now_ns, deaf: false, progress, rest, unsent })
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
            let room = u32::try_from(self.spec.follows[0].place).expect("fewer rooms than that");
            return self.write(&room.to_be_bytes());
        };
        let request = upgrade(self.spec.address, token);
        self.state = State::Upgrading;
        self.write(request.as_bytes())
    }

    /// Upgraded: says hello and asks for the rooms, in one write.
    ///
    /// # Errors
    /// The connection's.
    pub fn enter(&mut self) -> std::io::Result<()> {
        let hello = ClientFrame::Hello { client: "snug-load".to_owned() };
        let follows = (0..).zip(&self.spec.follows).map(|(id, follow)| ClientFrame::Follow {
            id,
            room: follow.room,
            cursor: follow.cursor.clone(),
        });
        let mut bytes = Vec::new();
        for frame in std::iter::once(hello).chain(follows) {
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

    /// Reads into `buffer` behind what was left of an incomplete frame. `None`: it is over.
    pub fn read(&mut self, buffer: &mut Buffer) -> Option<Came> {
        let kept = self.rest.len();
        buffer.bytes[..kept].copy_from_slice(&self.rest);
        let mut into = [IoSliceMut::new(&mut buffer.bytes[kept..])];
        let read = recvmsg::<()>(self.stream.as_raw_fd(), &mut into, Some(&mut buffer.control), MsgFlags::empty());
        let (wall, read_ns) = (wall(), now_ns());
        match read {
            Ok(read) if read.bytes == 0 => None,
            Ok(read) => {
                let stamp = read.cmsgs().ok().into_iter().flatten().find_map(|message| match message {
                    ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                    _ => None,
                });
                let filled = kept + read.bytes;
                let at_ns = stamp.map_or(read_ns, |stamp| of_stamp(stamp, wall, read_ns));
                Some(Came { bytes: read.bytes, filled, is_full: filled == BUFFER_BYTES, at_ns, read_ns })
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {
                Some(Came { bytes: 0, filled: kept, is_full: false, at_ns: read_ns, read_ns })
            }
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

    /// The node sends entries of this room, which was asked for by this id, from `seq` on; the room's place. `None`: nobody waits for
    /// that answer.
    pub fn starts_at(&mut self, (id, room): (u32, RoomId), seq: u64) -> Option<usize> {
        let at = usize::try_from(id).ok()?;
        let place = self.spec.follows.get(at).filter(|follow| follow.room == room)?.place;
        *self.progress.get_mut(at).filter(|progress| !progress.is_followed)? =
            Progress { next: seq, holes: Vec::new(), is_followed: true };
        if self.progress.iter().all(|progress| progress.is_followed) {
            self.state = State::Live;
        }
        Some(place)
    }

    /// Which of its rooms this one is.
    #[must_use]
    pub fn place_of(&self, room: &[u8]) -> Option<usize> {
        self.spec.follows.iter().position(|follow| follow.room.0 == room)
    }
}

impl Progress {
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

    fn listener() -> std::net::TcpListener {
        std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port")
    }

    fn socket(listener: &std::net::TcpListener, follows: Vec<Follow>) -> Socket {
        let spec = Spec {
            address: listener.local_addr().expect("bound"),
            token: None,
            follows,
            writer: None,
            group: 0,
            receive_buffer: None,
        };
        Socket::open(spec, 0).expect("a socket")
    }

    #[test]
    fn what_is_read_late_has_come_when_the_kernel_had_it() {
        const LATE: Duration = Duration::from_millis(50);
        let listener = listener();
        let mut socket = socket(&listener, Vec::new());
        let (mut server, _) = listener.accept().expect("connected");
        let mut buffer = Buffer::default();
        // Stamping begins some time after the machine's first socket has asked for it.
        let stamped = (0..100).find_map(|_| {
            let written_ns = now_ns();
            server.write_all(b"12345").expect("written");
            // Time itself is what is tested.
            std::thread::sleep(LATE);
            let came = socket.read(&mut buffer).expect("open");
            assert_eq!((buffer.filled(came.filled), came.bytes), (&b"12345"[..], 5));
            (came.at_ns < came.read_ns).then_some((came, written_ns))
        });
        let (came, written_ns) = stamped.expect("stamped within five seconds");
        // Between the looks at the two clocks lies a moment.
        let moment_ns = 10_000_000;
        assert!(came.at_ns + LATE.as_nanos() as u64 <= came.read_ns + moment_ns, "{came:?}");
        assert!(came.at_ns + moment_ns >= written_ns, "{came:?} {written_ns}");
    }

    #[test]
    fn a_socket_is_live_when_all_its_rooms_are_followed() {
        let follows = (0..2).map(|place| Follow { place: place + 5, room: RoomId([place as u8; 16]), cursor: None });
        let mut socket = socket(&listener(), follows.collect());
        let room = |place| RoomId([place; 16]);
        assert!(socket.starts_at((2, room(1)), 9).is_none(), "it asked for no such room");
        assert!(socket.starts_at((0, room(1)), 9).is_none(), "it asked for another by that id");
        assert_eq!(socket.starts_at((1, room(1)), 9), Some(6));
        assert!(socket.starts_at((1, room(1)), 9).is_none(), "it was told already");
        assert_ne!(socket.state, State::Live);
        assert_eq!(socket.starts_at((0, room(0)), 4), Some(5));
        assert_eq!(socket.state, State::Live);
        assert_eq!((socket.progress[0].next, socket.progress[1].next), (4, 9));
        assert_eq!((socket.place_of(&[1; 16]), socket.place_of(&[2; 16])), (Some(1), None));
    }

    #[test]
    fn what_is_skipped_comes_twice_or_comes_late_is_noticed() {
        let mut progress = Progress { next: 5, holes: Vec::new(), is_followed: true };
        assert_eq!(progress.place(5), Place::New { skipped: 0 });
        assert_eq!(progress.place(5), Place::Duplicate);
        assert_eq!(progress.place(9), Place::New { skipped: 3 });
        assert_eq!(progress.place(7), Place::Late);
        assert_eq!(progress.place(7), Place::Duplicate);
        assert_eq!(progress.place(6), Place::Late);
        assert_eq!(progress.place(8), Place::Late);
        assert_eq!(progress.place(8), Place::Duplicate);
        assert_eq!(progress.place(10), Place::New { skipped: 0 });
    }
}
