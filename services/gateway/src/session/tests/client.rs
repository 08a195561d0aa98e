//! A client of a session over a stream, whose writes are counted.

use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::task::Context;

use snug_bus::{Backplane, Bus, NodeId};
use snug_protocol::frame::{ClientFrame, SendFrame};
use snug_protocol::{DeviceId, EntryKind, Envelope};
use snug_store::{Called, Store};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio_util::task::TaskTracker;

use super::super::*;
use crate::config::Cli;
use crate::events;
use crate::limit::Rate;
use crate::room::testing::{ANA, ROOM, envelope};

pub(super) const TOKEN: [u8; 32] = [1; 32];
const DAY: Duration = Duration::from_secs(86_400);

/// How many milliseconds commits gather on a strained node.
pub(super) const GATHERS: u32 = 200;
const STRAIN: Duration = Duration::from_millis(GATHERS as u64);

/// A session's read gives no more, as TLS gives one record: a message, and some of the next.
const READ_BYTES_MAX: usize = 512;

struct Counting {
    inner: DuplexStream,
    writes: Writes,
}

/// How many bytes each write had.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<usize>>>);

impl Writes {
    fn note(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.0.lock().expect("no panic").push(bytes);
        }
        outcome
    }
}

impl AsyncRead for Counting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ_BYTES_MAX];
        let mut part = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut self.inner).poll_read(cx, &mut part);
        buf.put_slice(part.filled());
        read
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.writes.note(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.writes.note(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A frame as a client sends it, masked with zeros.
pub(super) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
    [&[0x80 | opcode, 0x80 | 126, length[0], length[1], 0, 0, 0, 0], payload].concat()
}

pub(super) fn text(frame: &ClientFrame) -> Vec<u8> {
    masked(1, &serde_json::to_vec(frame).expect("plain"))
}

pub(super) fn message(id: u32, envelope: &Envelope) -> Vec<u8> {
    masked(2, &SendFrame::encode(id, envelope.bytes()))
}

/// The client's end of a session of ours, and how often the session has written.
pub(super) struct Client {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) rooms: Rooms,
    pub(super) stream: DuplexStream,
    writes: Writes,
    pub(super) came: Vec<u8>,
    _stop: tokio_util::sync::DropGuard,
}

impl Client {
    /// It follows the room, and has read all that there was. The session may be ahead of it by so many bytes.
    pub(super) async fn that_follows(store: &Store, device: DeviceId, unread_bytes_max: usize) -> Self {
        let mut client = Self::of(store, device, unread_bytes_max).await;
        client.say(&text(&ClientFrame::Hello { client: "test".into() })).await;
        client.say(&text(&ClientFrame::Follow { id: 1, room: ROOM, cursor: None })).await;
        client.until(br#""type":"followed""#, 1).await;
        // And what comes with that, until nothing more does.
        while let Ok(read) = timeout(Duration::from_secs(1), client.stream.read_buf(&mut client.came)).await {
            assert!(read.expect("the session is there") > 0, "the session has ended");
        }
        client.take_writes();
        client
    }

    pub(super) async fn of(store: &Store, device: DeviceId, unread_bytes_max: usize) -> Self {
        let (tasks, stop, backplane) = (TaskTracker::new(), CancellationToken::new(), Backplane::local());
        let bus: Arc<dyn Bus> = Arc::clone(&backplane.bus);
        let presence = Presence::start(NodeId([1; 8]), &backplane, &tasks, &stop);
        store.issue_token(TOKEN, device, DAY, DAY).await.expect("memory");
        let clock = Clock::set_by(store).await.expect("memory");
        let limits = clap::Parser::parse_from(["snug"]);
        let Cli { settings, .. } = limits;
        let table = SessionTable::start(settings.limits, tasks.clone(), stop.clone());
        let rooms = Rooms::start(store.clone(), Arc::clone(&bus), clock.clone(), tasks.clone(), stop.clone());
        events::listen(&*bus, vec![Arc::new(rooms.clone()), Arc::new(table.clone())], &tasks, stop.clone());
        let admission = table.admit(device, IpAddr::from([10, 0, 0, 1])).expect("a place");
        let parts = SessionParts {
            chat: Chat::new(store.clone(), Arc::clone(&bus), presence.clone(), Rate::per_second(1_000, 1_000)),
            rooms: rooms.clone(),
            presence,
            tokens: Tokens::new(store.clone()),
            store: store.clone(),
            table,
            node: "one".into(),
            follows: FollowRates::default(),
            clock,
            stop: stop.clone(),
        };
        let (far, stream) = duplex(unread_bytes_max);
        let writes = Writes::default();
        let socket = Socket::over(Counting { inner: far, writes: writes.clone() });
        tasks.spawn(run(socket, Arc::new(parts), Authenticated::of(device, TOKEN), admission));
        Self { bus, rooms, stream, writes, came: Vec::new(), _stop: stop.drop_guard() }
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the session is there");
    }

    /// Reads until `what` has come so often.
    pub(super) async fn until(&mut self, what: &[u8], times: usize) {
        let came = |bytes: &[u8]| bytes.windows(what.len()).filter(|window| *window == what).count();
        let reading = async {
            while came(&self.came) < times {
                let read = self.stream.read_buf(&mut self.came).await.expect("the session is there");
                assert!(read > 0, "the session has ended");
            }
        };
        timeout(Duration::from_secs(60), reading).await.expect("it comes in time");
    }

    /// Where it begins in what has come.
    pub(super) fn place_of(&self, what: &[u8]) -> Option<usize> {
        self.came.windows(what.len()).position(|window| window == what)
    }

    pub(super) fn take_writes(&self) -> Vec<usize> {
        std::mem::take(&mut *self.writes.0.lock().expect("no panic"))
    }
}

impl Client {
    /// So many milliseconds pass on a node that stays strained.
    pub(super) async fn endure(&self, milliseconds: u32) {
        for _ in 0..milliseconds {
            self.rooms.pretend_strain(STRAIN);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        others_have_their_turns().await;
    }

    /// A batch begins on a node that is strained.
    pub(super) async fn called_by(&self, batch: &mut Called) {
        self.rooms.pretend_strain(STRAIN);
        batch.call().end().await;
    }

    pub(super) async fn head_after(&self, milliseconds: u32) -> u64 {
        self.endure(milliseconds).await;
        self.head().await
    }

    pub(super) async fn head(&self) -> u64 {
        self.rooms.follow(ROOM, ANA, Seq::ZERO, Arc::default()).await.expect("memory").expect("a room").1.room.head.0
    }

    pub(super) async fn says(&mut self, number: u32) {
        self.say(&message(number + 1, &envelope(EntryKind::Message, number.into(), 0))).await;
    }
}

/// Everybody does what there is to do, and no time passes.
pub(super) async fn others_have_their_turns() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
