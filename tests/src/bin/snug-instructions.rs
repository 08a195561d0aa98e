//! Plays a fixed number of messages to a fixed number of sockets, for a tool that counts instructions: `make instructions`.
//!
//! Takes who delivers (`node`: a real node over a store in memory; `floor`: plain writes of the same bytes), how many sockets, how many
//! messages, and how many of them go out together. One thread. Only what [`measured`] does is to be counted; the difference between two
//! runs that differ in one number is the cost of one. Receivers are in it, in both.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, bail, ensure};
use snug_loadgen::frame;
use snug_loadgen::people::{Registrar, Room};
use snug_loadgen::script::{Line, Shot, Talk};
use snug_loadgen::socket::upgrade;
use snug_protocol::Seq;
use snug_protocol::frame::{ClientFrame, EntryFrame, SendFrame, ServerFrame};
use snug_tests::node::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

const TALK: Talk<'_> = Talk {
    reaction_every: 0,
    text: "Two hundred characters are what a message of a busy room has at most, more or less, if people are in a mood to talk \
    about something at length, and do not only say that they agree with whoever said something.",
};
const READ_BYTES: usize = 64 * 1024;

/// How much of it all.
#[derive(Clone, Copy)]
struct Sizes {
    sockets: usize,
    messages: usize,
    together: usize,
}

/// Entries that have come to all sockets.
#[derive(Default)]
struct Came {
    entries: Cell<usize>,
    changed: Notify,
}

impl Came {
    async fn reaches(&self, entries: usize) {
        while self.entries.get() < entries {
            self.changed.notified().await;
        }
    }
}

/// The end of a socket that is read: whole frames, of which the beginning of the next is kept.
struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
    kept: usize,
}

impl Reader {
    fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: vec![0; READ_BYTES], kept: 0 }
    }

    /// Reads once; calls `see` for each whole frame.
    async fn read(&mut self, mut see: impl FnMut(u8, &[u8])) -> anyhow::Result<()> {
        let came = self.stream.read(&mut self.buffer[self.kept..]).await?;
        ensure!(came > 0, "the connection has ended");
        let (mut at, end) = (0, self.kept + came);
        while let Some(head) = frame::head(&self.buffer[at..end])? {
            let next = at + head.header + head.payload;
            if next > end {
                break;
            }
            see(head.opcode, &self.buffer[at + head.header..next]);
            at = next;
        }
        self.buffer.copy_within(at..end, 0);
        self.kept = end - at;
        Ok(())
    }

    /// Reads until such a frame has come.
    async fn hears(&mut self, is_it: fn(&ServerFrame) -> bool) -> anyhow::Result<()> {
        let mut heard = false;
        while !heard {
            let is_it = |payload: &[u8]| serde_json::from_slice(payload).is_ok_and(|frame| is_it(&frame));
            self.read(|opcode, payload| heard |= opcode == frame::TEXT && is_it(payload)).await?;
        }
        Ok(())
    }

    fn count(mut self, came: Rc<Came>) {
        spawn_local(async move {
            loop {
                let mut entries = 0;
                let outcome = self.read(|opcode, _| entries += usize::from(opcode == frame::BINARY)).await;
                came.entries.set(came.entries.get() + entries);
                came.changed.notify_one();
                if outcome.is_err() {
                    return;
                }
            }
        });
    }
}

/// A socket of a member that was welcomed; it follows the room if it is to.
async fn open(node: SocketAddr, room: &Room, follows: bool) -> anyhow::Result<Reader> {
    let mut stream = TcpStream::connect(node).await?;
    stream.set_nodelay(true)?;
    stream.write_all(upgrade(node, &room.members[0].token).as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    let mut reader = Reader::new(stream);
    say(&mut reader.stream, &ClientFrame::Hello { client: "instructions".to_owned() }).await?;
    reader.hears(|frame| matches!(frame, ServerFrame::Welcome { .. })).await?;
    if follows {
        say(&mut reader.stream, &ClientFrame::Follow { id: 1, room: room.id, cursor: None }).await?;
        reader.hears(|frame| matches!(frame, ServerFrame::Followed { .. })).await?;
    }
    Ok(reader)
}

async fn say(stream: &mut TcpStream, said: &ClientFrame) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame::push_masked(frame::TEXT, &serde_json::to_vec(said)?, &mut bytes);
    stream.write_all(&bytes).await
}

/// What is counted.
#[inline(never)]
fn measured<T>(runtime: &Runtime, local: &LocalSet, work: impl Future<Output = T>) -> T {
    local.block_on(runtime, work)
}

/// Bytes of messages that go out together, as they are sent.
fn bursts(shots: &[Shot], together: usize) -> Vec<Vec<u8>> {
    shots.chunks(together).map(|shots| shots.iter().flat_map(|shot| shot.frame.to_vec()).collect()).collect()
}

fn node(sizes: Sizes) -> anyhow::Result<()> {
    let (runtime, local) = (Builder::new_current_thread().enable_all().build()?, LocalSet::new());
    let came = Rc::<Came>::default();
    let (node, mut sender, shots) = local.block_on(&runtime, async {
        let node = Node::start_with(&["--sockets-per-device=100000", "--sends-burst=1000000"]).await;
        let room = Registrar::new(&node.url)?.found().await?;
        let address = node.url.strip_prefix("http://").context("a URL")?.parse()?;
        for _ in 0..sizes.sockets {
            open(address, &room, true).await?.count(Rc::clone(&came));
        }
        let sender = open(address, &room, false).await?;
        let due = std::iter::repeat_n(0, sizes.messages);
        let line = Line::seal((0, 0), (&room.members[0].device, &room.key), (TALK, 0), due)?;
        anyhow::Ok((node, sender, line.shots))
    })?;
    let bursts = bursts(&shots, sizes.together);
    let before = came.entries.get();
    measured(&runtime, &local, async {
        let mut sent = 0;
        for burst in &bursts {
            sender.stream.write_all(burst).await?;
            sent += sizes.together;
            came.reaches(before + sent * sizes.sockets).await;
        }
        anyhow::Ok(())
    })?;
    local.block_on(&runtime, node.stop());
    Ok(())
}

fn floor(sizes: Sizes) -> anyhow::Result<()> {
    let (runtime, local) = (Builder::new_current_thread().enable_all().build()?, LocalSet::new());
    let came = Rc::<Came>::default();
    let room = local.block_on(&runtime, async {
        let node = Node::start().await;
        let room = Registrar::new(&node.url)?.found().await?;
        node.stop().await;
        anyhow::Ok(room)
    })?;
    let due = std::iter::repeat_n(0, sizes.together);
    let line = Line::seal((0, 0), (&room.members[0].device, &room.key), (TALK, 0), due)?;
    let mut bytes = Vec::new();
    for shot in &line.shots {
        let sent = &shot.frame[frame::head(&unmasked(&shot.frame))?.context("whole")?.header + 4..];
        let envelope = SendFrame::parse(&sent.to_vec().into()).ok().context("a send frame")?.envelope;
        frame::push_plain(frame::BINARY, EntryFrame::new(Seq(1), 0, envelope.bytes()).bytes(), &mut bytes);
    }
    let sockets = local.block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut sockets = Vec::new();
        for _ in 0..sizes.sockets {
            Reader::new(TcpStream::connect(listener.local_addr()?).await?).count(Rc::clone(&came));
            sockets.push(listener.accept().await?.0);
        }
        anyhow::Ok(sockets)
    })?;
    measured(&runtime, &local, async {
        for burst in 1..=sizes.messages / sizes.together {
            for socket in &sockets {
                let taken = socket.try_write(&bytes)?;
                ensure!(taken == bytes.len(), "a socket was full");
            }
            came.reaches(burst * sizes.together * sizes.sockets).await;
        }
        anyhow::Ok(())
    })
}

/// The head of a client's frame as a server's would be.
fn unmasked(frame: &[u8]) -> Vec<u8> {
    let mut head = frame[..10.min(frame.len())].to_vec();
    head[1] &= 0x7f;
    head
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [who, numbers @ ..] = &arguments[..] else { bail!("node or floor, sockets, messages, and how many together") };
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse()).collect::<Result<_, _>>()?;
    let [sockets, messages, together] = numbers[..] else { bail!("sockets, messages, and how many together") };
    ensure!(together > 0 && messages % together == 0, "messages are a multiple of those that go together");
    let sizes = Sizes { sockets, messages, together };
    match who.as_str() {
        "node" => node(sizes),
        "floor" => floor(sizes),
        other => bail!("{other} is neither node nor floor"),
    }
}
