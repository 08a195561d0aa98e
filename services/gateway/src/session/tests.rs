//! A session over a stream of which every write is counted, without a network, on tokio's paused clock.

mod client;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use snug_bus::{BusEvent, Listener};
use snug_protocol::frame::ClientFrame;
use snug_protocol::{DeviceId, EntryKind, Envelope, Header};
use snug_store::{BeforeBatch, Called, Callers, Gate, MemoryStore, Passage, callers};
use tokio::io::AsyncReadExt;

use self::client::{Client, GATHERS, TOKEN, masked, message, others_have_their_turns, text};
use super::*;
use crate::room::testing::{ANA, ROOM, envelope, found_room, store_with_room};
use futures_util::FutureExt as _;

/// More than a test has a client not read.
const UNREAD_BYTES_MAX: usize = 1 << 20;

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

/// Has batches that begin when a test says so; appends wait for none.
struct Batches(Callers);

impl Gate for Batches {
    fn arrive(&self, _call: &'static str) -> Passage {
        Box::pin(std::future::ready(true))
    }

    fn before_batch(&self, room: RoomId) -> Option<BeforeBatch> {
        (room == ROOM).then(|| self.0.before_batch()).flatten()
    }
}

/// A client that has been silent for long, on a strained node, and what calls before each batch.
async fn strained() -> (Client, Called, u64) {
    strained_reader(UNREAD_BYTES_MAX).await
}

async fn strained_reader(unread_bytes_max: usize) -> (Client, Called, u64) {
    let (callers, called) = callers();
    let store = MemoryStore::default().behind(Arc::new(Batches(callers)));
    found_room(&store).await;
    let client = Client::that_follows(&store, ANA, unread_bytes_max).await;
    let before = client.head_after(GATHERS * 3).await;
    (client, called, before)
}

#[tokio::test(start_paused = true)]
async fn on_a_strained_node_messages_that_follow_each_other_are_read_with_the_batch_and_the_first_at_once() {
    let (mut client, mut batch, before) = strained().await;
    client.says(0).await;
    assert_eq!(client.head_after(1).await, before + 1, "after a pause: at once");
    client.says(1).await;
    assert_eq!(client.head_after(1).await, before + 2, "and the next");
    for number in 2..5 {
        client.says(number).await;
        assert_eq!(client.head_after(10).await, before + 2, "these wait for each other");
    }
    client.called_by(&mut batch).await;
    assert_eq!(client.head().await, before + 5, "when the batch begins, all are there");
    client.says(5).await;
    assert_eq!(client.head_after(GATHERS - 1).await, before + 5, "and what follows them waits again");
    client.called_by(&mut batch).await;
    assert_eq!(client.head().await, before + 6);
    client.endure(GATHERS * 3).await;
    client.says(6).await;
    assert_eq!(client.head_after(1).await, before + 7, "after a pause again at once");
    client.says(7).await;
    assert_eq!(client.head_after(1).await, before + 8, "since that was the first");
    client.until(br#""type":"sent""#, 8).await;
}

/// Holds all calls of the store from the second question on after somebody's standing.
#[derive(Default)]
struct HoldsSecondQuestion(AtomicUsize);

impl Gate for HoldsSecondQuestion {
    fn arrive(&self, call: &'static str) -> Passage {
        let questions = self.0.fetch_add(usize::from(call == "standing"), Ordering::Relaxed);
        if questions + usize::from(call == "standing") > 1 {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(true))
    }
}

#[tokio::test(start_paused = true)]
async fn who_names_two_rooms_in_one_breath_is_in_the_first_before_the_second_is_looked_up() {
    let store = MemoryStore::default().behind(Arc::new(HoldsSecondQuestion::default()));
    found_room(&store).await;
    let mut client = Client::of(&store, ANA, UNREAD_BYTES_MAX).await;
    client.say(&text(&ClientFrame::Hello { client: "test".into() })).await;
    client.until(br#""type":"welcome""#, 1).await;
    let follow = |id, room| text(&ClientFrame::Follow { id, room, cursor: None });
    client.say(&[follow(1, ROOM), follow(2, RoomId([66; 16]))].concat()).await;
    client.until(br#""type":"followed""#, 1).await;
    client.until(envelope(EntryKind::EpochRecord, 0, 0).bytes(), 1).await;
}

#[tokio::test(start_paused = true)]
async fn on_a_strained_node_messages_that_are_refused_are_read_with_the_batch_too() {
    const REFUSED: &[u8] = br#""type":"error""#;
    let (mut client, mut batch, _) = strained().await;
    let header = Header { device: DeviceId([99; 16]), ..*envelope(EntryKind::Message, 0, 0).header() };
    let bytes: Vec<u8> = [&header.encode()[..], &[0; 256 + 16]].concat();
    let others = Envelope::parse(bytes.into()).expect("the smallest envelope");
    for id in 1..=3 {
        client.say(&message(id, &others)).await;
        client.endure(1).await;
    }
    client.until(REFUSED, 2).await;
    let third = timeout(Duration::from_millis(100), client.until(REFUSED, 3)).await;
    assert!(third.is_err(), "reading pauses");
    client.called_by(&mut batch).await;
    client.until(REFUSED, 3).await;
}

#[tokio::test(start_paused = true)]
async fn who_breaks_the_protocol_after_a_message_that_a_batch_waits_for_has_it_committed() {
    let (mut client, mut batch, before) = strained().await;
    for number in 0..3 {
        client.says(number).await;
        client.endure(1).await;
    }
    // An opcode that there is not.
    client.say(&masked(3, b"")).await;
    client.called_by(&mut batch).await;
    assert_eq!(client.head().await, before + 3);
}

#[tokio::test(start_paused = true)]
async fn where_no_batch_begins_reading_goes_on() {
    let (mut client, _batch, before) = strained().await;
    for number in 0..3 {
        client.says(number).await;
        client.endure(1).await;
    }
    assert_eq!(client.head_after(GATHERS * 3 / 2 - 5).await, before + 2);
    assert_eq!(client.head_after(5).await, before + 3);
}

#[tokio::test(start_paused = true)]
async fn a_batch_does_not_wait_for_who_has_nothing_to_say_or_does_not_listen() {
    /// Less than an entry and its acknowledgement.
    const FEW_BYTES: usize = 400;
    let (mut client, mut batch, _) = strained().await;
    for number in 0..2 {
        client.says(number).await;
        client.endure(1).await;
    }
    let now = Instant::now();
    assert_eq!(batch.some_wait().now_or_never(), Some(true));
    client.called_by(&mut batch).await;
    assert_eq!(now.elapsed(), Duration::ZERO, "nothing more was said");
    let (mut client, mut batch, _) = strained_reader(FEW_BYTES).await;
    client.says(0).await;
    client.until(br#""type":"sent""#, 1).await;
    client.says(1).await;
    client.endure(1).await;
    assert_eq!(batch.some_wait().now_or_never(), Some(true));
    let now = Instant::now();
    client.called_by(&mut batch).await;
    assert_eq!(now.elapsed(), Duration::ZERO, "the session waits for a slow reader");
}

#[tokio::test(start_paused = true)]
async fn who_says_goodbye_on_a_strained_node_right_after_a_message_is_heard_with_it() {
    let (mut client, mut batch, before) = strained().await;
    for number in 0..3 {
        client.says(number).await;
        client.endure(1).await;
    }
    client.say(&masked(8, &close::NORMAL.to_be_bytes())).await;
    assert_eq!(client.head_after(1).await, before + 2, "reading pauses");
    client.called_by(&mut batch).await;
    assert_eq!(client.head_after(1).await, before + 3);
    let ends = async { while client.stream.read_buf(&mut client.came).await.expect("the session is there") > 0 {} };
    timeout(Duration::from_secs(1), ends).await.expect("the session ends");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_due_while_reading_pauses_is_sent_and_reading_goes_on_with_the_batch() {
    const LEAD: u32 = 20;
    let began = Instant::now();
    let (mut client, mut batch, _) = strained().await;
    let ms = |ms: u32| Duration::from_millis(ms.into());
    tokio::time::sleep_until(began + HEARTBEAT_PERIOD - ms(LEAD + GATHERS * 3)).await;
    let before = client.head_after(GATHERS * 3).await;
    for number in 0..3 {
        client.says(number).await;
        client.endure(1).await;
    }
    client.endure(LEAD).await;
    client.until(br#""type":"heartbeat""#, 1).await;
    assert!(began.elapsed() < HEARTBEAT_PERIOD + ms(10), "{:?}", began.elapsed());
    assert_eq!(client.head_after(1).await, before + 2, "reading pauses");
    client.called_by(&mut batch).await;
    assert_eq!(client.head().await, before + 3);
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
