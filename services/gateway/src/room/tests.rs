//! Following over buses that lose things: what must not hang on hints, and what their loss may cost.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use snug_bus::{Bus, BusError, BusEvent, BusHealth, Listener, Listening, LocalBus};
use snug_protocol::frame::{PresenceState, ServerFrame};
use snug_protocol::{DeviceId, EntryKind, RoomId, Seq};
use snug_store::{Gate, LogRead, MemoryStore, Passage, Store};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::testing::{ANA, ROOM, envelope, found_room, store_with_room};
use super::{Due, Following, News, Rooms, Wake};
use crate::clock::Clock;
use crate::events;
use crate::wire::{Broken, Socket};

#[tokio::test]
async fn who_follows_before_the_news_of_a_deletion_reads_from_the_store() {
    let store = store_with_room().await;
    let message = store.append(envelope(EntryKind::Message, 0, 0)).await.expect("a message").seq;
    // Nobody publishes on this bus.
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
    let rooms = start(&store, bus).await;
    let follow = async || {
        rooms.follow(ROOM, ANA, Seq::ZERO, Arc::<Wake>::default()).await.expect("memory").expect("it exists").0
    };
    let earlier = follow().await;
    until("what there is may be sent", || earlier.room().told() == message).await;
    let kept = earlier.due(Seq(1));
    // After the header of a longer frame comes what kind of entry it is; a tombstone's frame would be a short one.
    assert!(matches!(&kept, Due::Entries(entries) if entries.bytes[1] == 126 && entries.bytes[4] == 1), "{kept:?}");
    let deletion = store.append(envelope(EntryKind::Deletion, 1, message.0)).await.expect("a deletion").seq;
    // The tail still holds the text here; the repair that following starts has had no chance to run.
    let later = follow().await;
    assert_eq!(later.due(Seq(1)), Due::Behind);
    let frames = store.read_after(ROOM, Seq(1), 10, usize::MAX).await.expect("memory");
    assert!(frames[0].is_tombstone() && frames[1].seq() == deletion, "and the store has the truth");
}

async fn clock(store: &Store) -> Clock {
    Clock::set_by(store).await.expect("memory")
}

async fn start(store: &Store, bus: Arc<dyn Bus>) -> Rooms {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let rooms = Rooms::start(store.clone(), Arc::clone(&bus), clock(store).await, tasks.clone(), stop.clone());
    events::listen(&*bus, vec![Arc::new(rooms.clone())], &tasks, stop);
    rooms
}

async fn rooms_over(store: &Store) -> (Rooms, Arc<LocalBus>) {
    let bus = Arc::new(LocalBus::new());
    let rooms = start(store, bus.clone()).await;
    (rooms, bus)
}

async fn follow(rooms: &Rooms, device: DeviceId, wake: &Arc<Wake>) -> Following {
    rooms.follow(ROOM, device, Seq::ZERO, Arc::clone(wake)).await.expect("memory").expect("it exists").0
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("did not happen in time: {what}"));
}

/// A follower with a socket of its own, up to date, and the other end of the socket.
async fn follow_with_socket(
    rooms: &Rooms,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> (Following, Socket, Arc<Wake>) {
    let (wake, socket) = (Arc::<Wake>::default(), Socket::over(stream));
    let following = follow(rooms, ANA, &wake).await;
    until("what there is may be sent", || following.room().told() == Seq(1)).await;
    following.open(&socket, Seq(1));
    wake.take();
    (following, socket, wake)
}

async fn say(store: &Store, bus: &LocalBus, counter: u64) {
    let seq = store.append(envelope(EntryKind::Message, counter, 0)).await.expect("a message").seq;
    let frames = store.read_after(ROOM, seq.back(1), 1, usize::MAX).await.expect("memory");
    bus.publish(BusEvent::Hint { room: ROOM, seq, frames, trace: None }).expect("local");
}

/// The clock stands still, so that nothing but what a task may do with sockets at one time could end its turn.
#[tokio::test(start_paused = true)]
async fn a_room_writes_itself_to_all_who_are_ready_however_many_they_are() {
    let store = store_with_room().await;
    let (rooms, bus) = rooms_over(&store).await;
    let mut all = Vec::new();
    for _ in 0..300 {
        let (near, far) = duplex(4_096);
        all.push((follow_with_socket(&rooms, near).await, far));
    }
    say(&store, &bus, 0).await;
    until("all are sent it", || all.iter().all(|((following, ..), _)| following.cursor() == Seq(2))).await;
    let told = all.iter().filter(|((.., wake), _)| wake.take() != News::NONE).count();
    assert_eq!(told, 0, "sessions had to write themselves");
}

/// A stream that panics when it is written to.
struct Panics;

impl AsyncRead for Panics {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Panics {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        panic!("in the middle of a write")
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_panic_while_one_is_written_to_keeps_nothing_from_the_others() {
    let store = store_with_room().await;
    let (rooms, bus) = rooms_over(&store).await;
    let (_one, mut socket, _) = follow_with_socket(&rooms, Panics).await;
    let (near, _far) = duplex(4_096);
    let (other, _socket, wake) = follow_with_socket(&rooms, near).await;
    for counter in 0..2 {
        say(&store, &bus, counter).await;
        until("the other is told", || wake.take().has(News::LOGS)).await;
        assert!(matches!(other.due(Seq(1)), Due::Entries(_)));
    }
    assert_eq!(socket.flush().await, Err(Broken::Gone), "and the one comes again");
}

#[tokio::test]
async fn a_gap_costs_one_read_however_many_follow_and_however_many_hints_tell_of_it() {
    let store = store_with_room().await;
    let (rooms, bus) = rooms_over(&store).await;
    let wake = Arc::<Wake>::default();
    let mut followings = Vec::new();
    for _ in 0..50 {
        followings.push(follow(&rooms, ANA, &wake).await);
    }
    for counter in 0..20 {
        store.append(envelope(EntryKind::Message, counter, 0)).await.expect("a message");
    }
    let newest = store.read_after(ROOM, Seq(20), 1, usize::MAX).await.expect("memory");
    for _ in 0..10 {
        let hint = BusEvent::Hint { room: ROOM, seq: Seq(21), frames: newest.clone(), trace: None };
        bus.publish(hint).expect("local");
    }
    until("the gap is filled", || followings[0].room().told() == Seq(21)).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(rooms.counters().fill_reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_missing_between_frames_of_one_hint_is_lost_and_what_is_too_large_for_it_is_not() {
    for (travel, losses) in [([2, 3], 0), ([2, 4], 1)] {
        let store = store_with_room().await;
        let (rooms, bus) = rooms_over(&store).await;
        let following = follow(&rooms, ANA, &Arc::default()).await;
        for counter in 0..3 {
            store.append(envelope(EntryKind::Message, counter, 0)).await.expect("a message");
        }
        let mut frames = store.read_after(ROOM, Seq(1), 3, usize::MAX).await.expect("memory");
        frames.retain(|frame| travel.contains(&frame.seq().0));
        bus.publish(BusEvent::Hint { room: ROOM, seq: Seq(4), frames, trace: None }).expect("local");
        until("all is there", || following.room().told() == Seq(4)).await;
        let counters = rooms.counters();
        let found: u64 = counters.losses.read().map(|(_, count)| count).sum();
        assert_eq!((counters.fill_reads.load(Ordering::Relaxed), found), (1, losses), "{travel:?}");
    }
}

#[tokio::test]
async fn heads_are_asked_for_once_however_often_it_is_said_that_some_may_be_missing() {
    let store = store_with_room().await;
    let (rooms, bus) = rooms_over(&store).await;
    let queries = || rooms.counters().head_queries.load(Ordering::Relaxed);
    bus.publish(BusEvent::Missed { room: None }).expect("local");
    bus.publish(BusEvent::Missed { room: Some(ROOM) }).expect("local");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(queries(), 0, "nobody follows anything");
    let following = follow(&rooms, ANA, &Arc::default()).await;
    for counter in 0..2 {
        store.append(envelope(EntryKind::Message, counter, 0)).await.expect("a message");
        for _ in 0..1_000 {
            // As the bus's news would, but without giving way in between.
            rooms.shared.head_checks.ask((counter == 0).then_some(ROOM));
        }
        until("the message is found", || following.room().told() == Seq(counter + 2)).await;
    }
    sleep(Duration::from_millis(100)).await;
    // One for each round, and perhaps one whose time had come.
    assert!((2..=3).contains(&queries()), "{} queries", queries());
}

#[tokio::test]
async fn news_that_are_on_their_way_while_heads_are_compared_are_not_lost() {
    let store = store_with_room().await;
    let (rooms, bus) = rooms_over(&store).await;
    let following = follow(&rooms, ANA, &Arc::default()).await;
    let room = rooms.get(ROOM).expect("it is followed");
    store.append(envelope(EntryKind::Message, 0, 0)).await.expect("a message");
    rooms.shared.head_checks.ask(Some(ROOM));
    until("the store's head is known", || super::lock(&room.tail).tail().is_behind()).await;
    let frames = store.read_after(ROOM, Seq(1), 1, usize::MAX).await.expect("memory");
    sleep(Duration::from_millis(100)).await; // So long they take.
    bus.publish(BusEvent::Hint { room: ROOM, seq: Seq(2), frames, trace: None }).expect("local");
    until("the news come", || following.room().told() == Seq(2)).await;
    until("nobody waits for them any more", || !room.repairing.load(Ordering::Acquire)).await;
    let counters = rooms.counters();
    let losses: u64 = counters.losses.read().map(|(_, count)| count).sum();
    assert_eq!((counters.fill_reads.load(Ordering::Relaxed), losses), (0, 0));
}

#[tokio::test]
async fn a_crowd_is_told_its_number_and_how_many_type_and_nobody_hears_of_themselves() {
    let store = store_with_room().await;
    let (rooms, bus) = rooms_over(&store).await;
    let (anas, bens) = (Arc::<Wake>::default(), Arc::<Wake>::default());
    let ben = DeviceId([4; 16]);
    let _followings = [follow(&rooms, ANA, &anas).await, follow(&rooms, ben, &bens).await];
    let publish = |frame: ServerFrame| {
        let (frame, from) = (serde_json::to_vec(&frame).expect("plain").into(), DeviceId([9; 16]));
        bus.publish(BusEvent::Ephemeral { room: ROOM, frame, from }).expect("local");
    };
    for here_count in 101..=150 {
        let device = DeviceId([u8::try_from(here_count).expect("small"); 16]);
        publish(ServerFrame::Presence { room: ROOM, device, state: PresenceState::Here, here_count });
    }
    publish(ServerFrame::Typing { room: ROOM, device: ben });
    let mut heard = [Vec::new(), Vec::new()];
    until("both are told", || {
        for (wake, heard) in [&anas, &bens].into_iter().zip(&mut heard) {
            let frames = wake.take_ephemerals();
            // A short text's header has two bytes.
            let texts = frames.iter().map(|(_, message)| &message[2..]);
            heard.extend(texts.map(|text| serde_json::from_slice::<ServerFrame>(text).expect("a frame")));
        }
        heard.iter().all(|heard| !heard.is_empty())
    })
    .await;
    let number = ServerFrame::Here { room: ROOM, here: None, here_count: 150 };
    assert_eq!(heard, [vec![number.clone(), ServerFrame::TypingCount { room: ROOM, count: 1 }], vec![number]]);
}

/// Takes its time to unfollow.
#[derive(Default)]
struct SlowBus {
    followed: Mutex<HashSet<RoomId>>,
    unfollowing: Notify,
    go_on: Notify,
    inner: LocalBus,
}

#[async_trait]
impl Bus for SlowBus {
    fn publish(&self, event: BusEvent) -> Result<(), BusError> {
        self.inner.publish(event)
    }

    async fn follow(&self, room: RoomId) -> Result<(), BusError> {
        self.followed.lock().expect("no panic").insert(room);
        Ok(())
    }

    async fn unfollow(&self, room: RoomId) {
        self.unfollowing.notify_one();
        self.go_on.notified().await;
        self.followed.lock().expect("no panic").remove(&room);
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Listening {
        self.inner.listen(listener)
    }

    fn name(&self) -> &'static str {
        "slow"
    }

    fn health(&self) -> BusHealth {
        BusHealth::Connected
    }
}

#[tokio::test]
async fn a_room_that_is_entered_while_it_is_being_left_is_not_deaf() {
    let store = store_with_room().await;
    let bus = Arc::new(SlowBus::default());
    let rooms = start(&store, bus.clone()).await;
    drop(follow(&rooms, ANA, &Arc::default()).await);
    bus.unfollowing.notified().await;
    let entering = {
        let rooms = rooms.clone();
        TaskTracker::new().spawn(async move { follow(&rooms, ANA, &Arc::default()).await })
    };
    sleep(Duration::from_millis(50)).await;
    bus.go_on.notify_one();
    let _following = entering.await.expect("no panic");
    sleep(Duration::from_millis(50)).await;
    assert!(bus.followed.lock().expect("no panic").contains(&ROOM));
}

/// Counts readings of the log, and holds calls back.
struct Counting {
    reads: AtomicUsize,
    open: tokio::sync::watch::Sender<bool>,
}

impl Gate for Counting {
    fn arrive(&self, _call: &'static str) -> Passage {
        let mut open = self.open.subscribe();
        Box::pin(async move { open.wait_for(|open| *open).await.is_ok() })
    }

    fn reads(&self, _read: LogRead) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }
}

/// A room with five messages, over a store that counts and can be held back.
async fn counted_rooms() -> (Rooms, Arc<Counting>) {
    let (memory, open) = (MemoryStore::default(), tokio::sync::watch::channel(true).0);
    let counting = Arc::new(Counting { reads: AtomicUsize::new(0), open });
    let store = memory.behind(Arc::clone(&counting) as Arc<dyn Gate>);
    found_room(&store).await;
    for counter in 0..5 {
        store.append(envelope(EntryKind::Message, counter, 0)).await.expect("a message");
    }
    (rooms_over(&store).await.0, counting)
}

#[tokio::test]
async fn all_who_are_behind_at_one_place_cost_one_read() {
    let (rooms, counting) = counted_rooms().await;
    let mut followings = Vec::new();
    for _ in 0..50 {
        followings.push(follow(&rooms, ANA, &Arc::default()).await);
    }
    until("all is told", || followings[0].room().told() == Seq(6)).await;
    let before = counting.reads.load(Ordering::Relaxed);
    counting.open.send_replace(false);
    let (began, tasks) = (Arc::<AtomicUsize>::default(), TaskTracker::new());
    let readers = followings.into_iter().map(|following| {
        let began = Arc::clone(&began);
        tasks.spawn(async move {
            began.fetch_add(1, Ordering::Relaxed);
            following.backlog(Seq(2)).await.map(|entries| entries.last)
        })
    });
    let readers: Vec<_> = readers.collect();
    until("all ask", || began.load(Ordering::Relaxed) == 50).await;
    counting.open.send_replace(true);
    for reader in readers {
        assert_eq!(reader.await.expect("no panic"), Some(Seq(6)));
    }
    assert_eq!(counting.reads.load(Ordering::Relaxed) - before, 1);
}

#[tokio::test]
async fn who_has_heard_of_an_erasure_is_not_given_what_was_read_before_it() {
    let (rooms, counting) = counted_rooms().await;
    let (first, second) = (follow(&rooms, ANA, &Arc::default()).await, follow(&rooms, ANA, &Arc::default()).await);
    until("all is told", || first.room().told() == Seq(6)).await;
    let before = counting.reads.load(Ordering::Relaxed);
    counting.open.send_replace(false);
    // Asked in this order; neither gets further than the gate.
    let reading = first.backlog(Seq(2));
    tokio::pin!(reading);
    assert!((&mut reading).now_or_never().is_none());
    rooms.forget_old(u64::MAX);
    let later = second.backlog(Seq(2));
    tokio::pin!(later);
    assert!((&mut later).now_or_never().is_none());
    counting.open.send_replace(true);
    let (one, other) = tokio::join!(reading, later);
    assert!(one.is_some() && other.is_some());
    assert_eq!(counting.reads.load(Ordering::Relaxed) - before, 2);
}

#[tokio::test]
async fn a_follower_whose_right_to_be_there_is_in_question_is_sent_nothing_until_that_is_answered() {
    let store = store_with_room().await;
    let (rooms, bus) = rooms_over(&store).await;
    let following = follow(&rooms, ANA, &Arc::default()).await;
    let ask = || bus.publish(BusEvent::Access { room: ROOM, device: Some(ANA) }).expect("local");
    ask();
    let message = store.append(envelope(EntryKind::Message, 0, 0)).await.expect("a message");
    let hint =
        BusEvent::Hint { room: ROOM, seq: message.seq, frames: message.frame.into_iter().collect(), trace: None };
    bus.publish(hint).expect("local");
    until("the message may be sent", || following.room().told() == message.seq).await;
    let first = following.follower().question().expect("it was asked");
    assert_eq!(following.due(Seq(1)), Due::Nothing);
    ask();
    until("it is asked once more", || following.follower().question() != Some(first)).await;
    following.follower().may_stay(first);
    assert_eq!(following.due(Seq(1)), Due::Nothing, "that was the answer to the first question");
    following.follower().may_stay(following.follower().question().expect("one is open"));
    assert!(matches!(following.due(Seq(1)), Due::Entries(_)));
}
