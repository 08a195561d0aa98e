//! Messages that are committed together.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use snug_protocol::Seq;
use snug_store::Store;
use tokio_util::task::TaskTracker;

use crate::fixture::{Behind, Instance, behind, device, log, new_room, room_of, together};

behind![
    on_a_strained_node_messages_that_follow_others_go_together_and_nothing_else_waits,
    who_leaves_messages_where_they_are_is_called_before_the_batch_that_is_to_take_them,
    who_only_waits_for_a_batch_is_called_no_more_often_than_batches_begin,
    of_a_batch_that_the_database_refuses_nothing_stays,
    however_many_messages_wait_each_sender_s_are_appended_in_the_order_they_were_sent,
];

/// Long enough for all that the test does meanwhile, which takes milliseconds.
const GATHERS: Duration = Duration::from_secs(3);
const MESSAGES: u32 = 5;

async fn on_a_strained_node_messages_that_follow_others_go_together_and_nothing_else_waits(store: Store, _: Behind) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let batches = || store.metrics().batches.read().count();
    store.gather(GATHERS);
    Instance::new(room, device(1), 0).say(&store).await;
    assert_eq!(batches(), 1, "the first waits for nobody");
    let (tasks, are_committed) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)));
    for instance in 1..=MESSAGES {
        let (sends, are_committed) = (store.clone(), Arc::clone(&are_committed));
        let message = Instance::new(room, device(1), instance).message();
        tasks.spawn(async move {
            sends.append(message).await.expect("it is appended");
            are_committed.store(true, Ordering::Relaxed);
        });
        // Apart from each other: without gathering each would be committed by itself.
        store.enter(room, new_room(1, device(1)).grant, device(1 + instance)).await.expect("it enters");
    }
    assert!(!are_committed.load(Ordering::Relaxed), "others enter while the messages wait");
    tasks.close();
    tasks.wait().await;
    assert_eq!(batches(), 2);
    store.gather(Duration::ZERO);
    Instance::new(room, device(1), MESSAGES + 1).say(&store).await;
}

async fn who_leaves_messages_where_they_are_is_called_before_the_batch_that_is_to_take_them(store: Store, _: Behind) {
    /// A batch does not wait for who gets no core for long.
    const TRIES: u32 = 10;
    let room = room_of(&store, 1, &[device(1)]).await;
    let batches = || store.metrics().batches.read().count();
    store.gather(Duration::from_millis(200));
    Instance::new(room, device(1), 0).say(&store).await;
    let mut are_together = false;
    for number in (1..=TRIES).map(|number| number * 2) {
        let before = batches();
        let called = store.before_batch(room).expect("there is a batch to wait for");
        let [early, late] = [number, number + 1].map(|instance| Instance::new(room, device(1), instance).message());
        let when_called = async {
            let held = called.await.expect("it is called");
            let mut late = pin!(store.append(late));
            assert!((&mut late).now_or_never().is_none(), "it is handed over");
            drop(held);
            late.await
        };
        let (early, late) = tokio::join!(store.append(early), when_called);
        assert!(early.is_ok() && late.is_ok(), "{early:?} {late:?}");
        are_together |= batches() == before + 1;
        if are_together {
            break;
        }
    }
    assert!(are_together, "no batch has waited");
    let called = store.before_batch(room).expect("there is a batch to wait for");
    assert!(called.await.is_some(), "though nobody else sends anything");
    let called = store.before_batch(room).expect("there is a batch to wait for");
    store.close().await;
    let _held = called.await;
    assert!(store.before_batch(room).is_none(), "there is none to wait for");
}

async fn who_only_waits_for_a_batch_is_called_no_more_often_than_batches_begin(store: Store, _: Behind) {
    const GATHERS: Duration = Duration::from_millis(200);
    let room = room_of(&store, 1, &[device(1)]).await;
    store.gather(GATHERS);
    let call = async || store.before_batch(room).expect("there is a batch to wait for").await.expect("it is called");
    call().await;
    let began = Instant::now();
    for _ in 0..3 {
        call().await;
    }
    assert!(began.elapsed() > GATHERS * 2, "three calls in {:?}", began.elapsed());
}

async fn of_a_batch_that_the_database_refuses_nothing_stays(store: Store, behind: Behind) {
    let rooms = [room_of(&store, 1, &[device(1)]).await, room_of(&store, 2, &[device(1)]).await];
    let [mut ana, mut ben] = rooms.map(|room| Instance::new(room, device(1), 1));
    let mut before = Instance::new(room_of(&store, 3, &[device(1)]).await, device(1), 1);
    let messages = [ana.message(), ben.message(), ben.message()];
    let send = async || together(messages.iter().map(|message| store.append(message.clone()))).await;
    behind.run("create unique index one_message on entry (room) where kind = 3").await;
    before.say(&store).await;
    // So that what follows goes together, if the same task writes to all of it.
    store.gather(Duration::from_millis(200));
    let answers = send().await;
    assert!(answers[2].is_err(), "a room takes one message: {answers:?}");
    let in_logs = async || [log(&store, rooms[0]).await.len() - 1, log(&store, rooms[1]).await.len() - 1];
    let acknowledged = [0, 1].map(|at: usize| usize::from(answers[at].is_ok()));
    assert_eq!(in_logs().await, acknowledged);
    behind.run("drop index one_message").await;
    for answer in send().await {
        answer.expect("it is appended, if it was not before");
    }
    assert_eq!(in_logs().await, [1, 2]);
}

async fn however_many_messages_wait_each_sender_s_are_appended_in_the_order_they_were_sent(store: Store, _: Behind) {
    const ROOMS: u32 = 8;
    const MESSAGES_EACH: usize = 800;
    let mut senders = Vec::new();
    for number in 0..ROOMS {
        let room = room_of(&store, number, &[device(1)]).await;
        senders.push(Instance::new(room, device(1), 1));
    }
    let mut sends = Vec::new();
    for _ in 0..MESSAGES_EACH {
        sends.extend(senders.iter_mut().map(|sender| store.append(sender.message())));
    }
    for (at, answer) in together(sends).await.into_iter().enumerate() {
        let place = answer.unwrap_or_else(|error| panic!("message {at}: {error:?}")).seq;
        assert_eq!(place, Seq(2 + (at / senders.len()) as u64));
    }
}
