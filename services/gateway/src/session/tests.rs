//! A session over a stream of which every write is counted, without a network, on tokio's paused clock.

use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use snug_bus::{Backplane, Bus, BusEvent, Listener, NodeId};
use snug_protocol::frame::{ClientFrame, SendFrame};
use snug_protocol::{DeviceId, EntryKind, Envelope, Header};
use snug_store::{Gate, LogRead, MemoryStore, Passage, Store};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::Cli;
use crate::events;
use crate::limit::Rate;
use crate::room::testing::{ANA, ROOM, envelope, found_room, store_with_room};

/// More than a test has a client not read.
const UNREAD_BYTES_MAX: usize = 1 << 20;

const TOKEN: [u8; 32] = [1; 32];
const DAY: Duration = Duration::from_secs(86_400);

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
        Pin::new(&mut self.inner).poll_read(cx, buf)
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
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
    [&[0x80 | opcode, 0x80 | 126, length[0], length[1], 0, 0, 0, 0], payload].concat()
}

fn text(frame: &ClientFrame) -> Vec<u8> {
    masked(1, &serde_json::to_vec(frame).expect("plain"))
}

fn message(id: u32, envelope: &Envelope) -> Vec<u8> {
    masked(2, &SendFrame::encode(id, envelope.bytes()))
}

/// The client's end of a session of ours, and how often the session has written.
struct Client {
    bus: Arc<dyn Bus>,
    rooms: Rooms,
    stream: DuplexStream,
    writes: Writes,
    came: Vec<u8>,
    _stop: tokio_util::sync::DropGuard,
}

impl Client {
    /// It follows the room, and has read all that there was. The session may be ahead of it by so many bytes.
    async fn that_follows(store: &Store, device: DeviceId, unread_bytes_max: usize) -> Self {
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

    async fn of(store: &Store, device: DeviceId, unread_bytes_max: usize) -> Self {
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

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the session is there");
    }

    /// Reads until `what` has come so often.
    async fn until(&mut self, what: &[u8], times: usize) {
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
    fn place_of(&self, what: &[u8]) -> Option<usize> {
        self.came.windows(what.len()).position(|window| window == what)
    }

    fn take_writes(&self) -> Vec<usize> {
        std::mem::take(&mut *self.writes.0.lock().expect("no panic"))
    }
}

/// Everybody does what there is to do, and no time passes.
async fn others_have_their_turns() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A greeting, and what to follow in the same breath.
fn hello_and_follow() -> Vec<u8> {
    let follow = ClientFrame::Follow { id: 1, room: ROOM, cursor: None };
    [text(&ClientFrame::Hello { client: "test".into() }), text(&follow)].concat()
}

#[tokio::test(start_paused = true)]
async fn who_greets_and_names_its_room_in_one_breath_is_answered_in_one() {
    let store = store_with_room().await;
    let mut client = Client::of(&store, ANA, UNREAD_BYTES_MAX).await;
    client.say(&hello_and_follow()).await;
    client.until(br#""type":"followed""#, 1).await;
    let (welcome, followed) = (client.place_of(br#""type":"welcome""#), client.place_of(br#""type":"followed""#));
    assert!(welcome.is_some() && welcome < followed);
    assert!(followed < client.take_writes().first().copied(), "both in the first write");
}

#[tokio::test(start_paused = true)]
async fn who_only_greets_is_answered_at_once() {
    let store = store_with_room().await;
    let mut client = Client::of(&store, ANA, UNREAD_BYTES_MAX).await;
    let began = Instant::now();
    client.say(&text(&ClientFrame::Hello { client: "test".into() })).await;
    client.until(br#""type":"welcome""#, 1).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Lets calls of the store pass while it is open.
struct Valve(tokio::sync::watch::Sender<bool>);

impl Gate for Valve {
    fn arrive(&self, _call: &'static str) -> Passage {
        let mut open = self.0.subscribe();
        Box::pin(async move { open.wait_for(|open| *open).await.is_ok() })
    }

    fn leave(&self, _call: &'static str) -> Passage {
        Box::pin(std::future::ready(true))
    }

    fn reads(&self, _read: LogRead) {}
}

#[tokio::test(start_paused = true)]
async fn a_welcome_does_not_wait_for_a_slow_store() {
    let valve = Arc::new(Valve(tokio::sync::watch::channel(true).0));
    let store = MemoryStore::default().behind(Arc::clone(&valve) as Arc<dyn Gate>);
    found_room(&store).await;
    let mut client = Client::of(&store, ANA, UNREAD_BYTES_MAX).await;
    valve.0.send_replace(false);
    let began = Instant::now();
    client.say(&hello_and_follow()).await;
    client.until(br#""type":"welcome""#, 1).await;
    assert!(began.elapsed() <= WELCOME_HELD_MAX * 2, "{:?}", began.elapsed());
    valve.0.send_replace(true);
    client.until(br#""type":"followed""#, 1).await;
}

#[tokio::test(start_paused = true)]
async fn whose_token_ended_before_the_greeting_is_sent_nothing_of_a_room() {
    let store = store_with_room().await;
    let mut client = Client::of(&store, ANA, UNREAD_BYTES_MAX).await;
    let _other = client.rooms.follow(ROOM, ANA, Seq::ZERO, Arc::default()).await.expect("memory").expect("a room");
    others_have_their_turns().await;
    store.revoke_token(TOKEN).await.expect("memory");
    client.bus.publish(BusEvent::Token { device: ANA }).expect("local");
    others_have_their_turns().await;
    client.say(&hello_and_follow()).await;
    client.until(br#""token_invalid""#, 1).await;
    let record = envelope(EntryKind::EpochRecord, 0, 0);
    assert!(client.place_of(record.bytes()).is_none(), "{}", String::from_utf8_lossy(&client.came));
}

#[tokio::test(start_paused = true)]
async fn what_a_quick_writer_is_acknowledged_goes_out_with_what_its_room_has_to_tell_it() {
    const MESSAGES: u32 = 20;
    let store = store_with_room().await;
    let mut client = Client::that_follows(&store, ANA, UNREAD_BYTES_MAX).await;
    // One after the other, and all at one moment: the clock stands still until nobody has anything to do.
    let messages: Vec<Envelope> = (0..MESSAGES).map(|number| envelope(EntryKind::Message, number.into(), 0)).collect();
    for (id, envelope) in (1..).zip(&messages) {
        client.say(&message(id, envelope)).await;
        others_have_their_turns().await;
    }
    client.until(br#""type":"sent""#, MESSAGES as usize).await;
    for message in &messages {
        client.until(message.bytes(), 1).await;
    }
    // The first goes at once, and so may what is committed while it does.
    let writes = client.take_writes().len();
    assert!(writes <= 6, "{writes} writes for {MESSAGES} messages and as many acknowledgements");
}

const STRAIN: Duration = Duration::from_millis(200);
/// How many milliseconds its sockets gather then.
const GATHERS: u32 = 50;

impl Client {
    /// So many milliseconds pass on a node that stays strained.
    async fn endure(&self, milliseconds: u32) {
        for _ in 0..milliseconds {
            self.rooms.pretend_strain(STRAIN);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        others_have_their_turns().await;
    }

    async fn head_after(&self, milliseconds: u32) -> u64 {
        self.endure(milliseconds).await;
        self.rooms.follow(ROOM, ANA, Seq::ZERO, Arc::default()).await.expect("memory").expect("a room").1.room.head.0
    }

    async fn says(&mut self, number: u32) {
        self.say(&message(number + 1, &envelope(EntryKind::Message, number.into(), 0))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_strained_node_messages_that_follow_each_other_are_read_together_and_the_first_at_once() {
    let store = store_with_room().await;
    let mut client = Client::that_follows(&store, ANA, UNREAD_BYTES_MAX).await;
    let before = client.head_after(GATHERS * 3).await;
    client.says(0).await;
    assert_eq!(client.head_after(1).await, before + 1, "after a pause: at once");
    client.says(1).await;
    assert_eq!(client.head_after(1).await, before + 2, "and the next");
    for number in 2..5 {
        client.says(number).await;
        assert_eq!(client.head_after(10).await, before + 2, "these wait for each other");
    }
    assert_eq!(client.head_after(GATHERS - 28).await, before + 5, "no longer than sockets gather");
    client.says(5).await;
    assert_eq!(client.head_after(20).await, before + 5, "and what follows them waits again");
    assert_eq!(client.head_after(GATHERS - 18).await, before + 6);
    client.endure(GATHERS * 3).await;
    client.says(6).await;
    assert_eq!(client.head_after(1).await, before + 7, "after a pause again at once");
    client.says(7).await;
    assert_eq!(client.head_after(1).await, before + 8, "since that was the first");
    client.until(br#""type":"sent""#, 8).await;
}

#[tokio::test(start_paused = true)]
async fn who_says_goodbye_on_a_strained_node_right_after_a_message_is_heard_with_it() {
    let store = store_with_room().await;
    let mut client = Client::that_follows(&store, ANA, UNREAD_BYTES_MAX).await;
    let before = client.head_after(GATHERS * 3).await;
    for number in 0..3 {
        client.says(number).await;
        client.endure(1).await;
    }
    client.say(&masked(8, &close::NORMAL.to_be_bytes())).await;
    assert_eq!(client.head_after(1).await, before + 2, "reading pauses");
    assert_eq!(client.head_after(GATHERS).await, before + 3);
    let ends = async { while client.stream.read_buf(&mut client.came).await.expect("the session is there") > 0 {} };
    timeout(Duration::from_secs(1), ends).await.expect("the session ends");
}

/// Lets all calls of the store pass but the first append, for a room where no other follows it.
#[derive(Default)]
struct HoldsFirstAppend(AtomicBool);

impl Gate for HoldsFirstAppend {
    fn arrive(&self, call: &'static str) -> Passage {
        if call == "append" && !self.0.swap(true, Ordering::Relaxed) {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(true))
    }

    fn leave(&self, _call: &'static str) -> Passage {
        Box::pin(std::future::ready(true))
    }

    fn reads(&self, _read: LogRead) {}
}

#[tokio::test(start_paused = true)]
async fn who_sends_to_two_rooms_and_waits_in_one_is_heard_in_the_other() {
    let store = MemoryStore::default().behind(Arc::new(HoldsFirstAppend::default()));
    found_room(&store).await;
    let other = RoomId([66; 16]);
    let mut client = Client::that_follows(&store, ANA, UNREAD_BYTES_MAX).await;
    // The first is to a room that is not there, and its answer does not come.
    let header = Header { room: other, ..*envelope(EntryKind::Message, 0, 0).header() };
    let held: Vec<u8> = [&header.encode()[..], &[0; 256 + 16]].concat();
    client.say(&message(1, &Envelope::parse(held.into()).expect("the smallest envelope"))).await;
    others_have_their_turns().await;
    let sent = [0, 1].map(|counter| envelope(EntryKind::Message, counter, 0));
    for (id, envelope) in (2..).zip(&sent) {
        client.say(&message(id, envelope)).await;
    }
    for message in &sent {
        client.until(message.bytes(), 1).await;
    }
    assert!(client.place_of(br#""type":"sent""#).is_none(), "acknowledgements come in the order of what they answer");
}

/// The frames of each hint.
#[derive(Default)]
struct Hints(Mutex<Vec<usize>>);

impl Listener for Hints {
    fn hear(&self, event: &BusEvent) {
        if let BusEvent::Hint { frames, .. } = event {
            self.0.lock().expect("nobody panics with it").push(frames.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_sender_said_is_told_of_at_once_when_it_is_answered_at_once_even_to_who_has_left() {
    for leaves in [false, true] {
        let valve = Arc::new(Valve(tokio::sync::watch::channel(true).0));
        let store = MemoryStore::default().behind(Arc::clone(&valve) as Arc<dyn Gate>);
        found_room(&store).await;
        let mut client = Client::that_follows(&store, ANA, UNREAD_BYTES_MAX).await;
        let hints = Arc::new(Hints::default());
        let _listening = client.bus.listen(Arc::clone(&hints) as Arc<dyn Listener>);
        valve.0.send_replace(false);
        let messages = (0..3).map(|number| envelope(EntryKind::Message, number, 0));
        client.say(&(1..).zip(messages).flat_map(|(id, envelope)| message(id, &envelope)).collect::<Vec<u8>>()).await;
        others_have_their_turns().await;
        if leaves {
            client.say(&masked(8, &close::NORMAL.to_be_bytes())).await;
            others_have_their_turns().await;
        }
        valve.0.send_replace(true);
        if leaves {
            others_have_their_turns().await;
        } else {
            client.until(br#""type":"sent""#, 3).await;
        }
        assert_eq!(*hints.0.lock().expect("nobody panics with it"), [3], "leaves: {leaves}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_waits_for_its_room_does_not_keep_an_answer_waiting() {
    let store = store_with_room().await;
    let mut client = Client::that_follows(&store, ANA, UNREAD_BYTES_MAX).await;
    let began = Instant::now();
    let messages = (0..3).map(|number| envelope(EntryKind::Message, number, 0));
    let frames = (1..).zip(messages).flat_map(|(id, envelope)| message(id, &envelope));
    client.say(&[frames.collect(), masked(9, b"are you there")].concat()).await;
    client.until(b"are you there", 1).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "while the room has yet to tell of the last of them");
    client.until(br#""type":"sent""#, 3).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "and what waits goes with it");
}

#[tokio::test(start_paused = true)]
async fn a_room_does_not_fall_silent_when_a_right_is_questioned_while_a_slow_reader_takes_its_acknowledgements() {
    /// One entry and its acknowledgement, and not another acknowledgement.
    const UNREAD_BYTES_MAX: usize = 540;
    let store = store_with_room().await;
    let mut client = Client::that_follows(&store, ANA, UNREAD_BYTES_MAX).await;
    let messages: Vec<Envelope> = (0..2).map(|number| envelope(EntryKind::Message, number, 0)).collect();
    for (id, message) in (1..).zip(&messages) {
        client.say(&self::message(id, message)).await;
        others_have_their_turns().await;
    }
    // The room has yet to tell of the second one.
    client.say(&masked(9, b"are you there")).await;
    others_have_their_turns().await;
    client.bus.publish(BusEvent::Access { room: ROOM, device: Some(ANA) }).expect("local");
    tokio::time::sleep(Duration::from_millis(50)).await;
    for message in &messages {
        client.until(message.bytes(), 1).await;
    }
}
