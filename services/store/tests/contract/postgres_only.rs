//! What Postgres promises besides: any number of nodes are one store, whatever happens to their connections.

mod faults;
mod opening;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use snug_protocol::{GrantId, RoomId, Seq};
use snug_store::{AppendError, CreateRoomError, EnterError, OfferOutcome, PostgresOptions, Quotas, Store, StoreError};
use tokio_util::task::TaskTracker;

use crate::fixture::{
    ANY, Instance, PostgresDatabase, device, envelope, id, log, new_room, postgres_options, room_of, together,
};

/// Three nodes on one database.
async fn nodes(database: &PostgresDatabase) -> [Store; 3] {
    [database.open().await, database.open().await, database.open().await]
}

async fn close(stores: &[Store]) {
    for store in stores {
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_envelope_sent_through_three_nodes_at_once_gets_one_place() {
    let database = PostgresDatabase::create().await;
    let nodes = nodes(&database).await;
    let room = room_of(&nodes[0], 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    for turn in 0..20 {
        let message = instance.message();
        let sends = (0..9).map(|at| nodes[at % 3].append(message.clone()));
        let answers: Vec<_> = together(sends).await.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|appended| appended.seq == Seq(turn + 2)), "{answers:?}");
        let news = answers.iter().filter(|appended| appended.frame.is_some()).count();
        assert_eq!(news, 1, "one of them appended it, the others found it");
    }
    assert_eq!(log(&nodes[1], room).await.len(), 21);
    close(&nodes).await;
}

/// Follows a room as a node does: reads on after its cursor, and holds each read to the head that was there before it.
async fn follow(store: Store, room: RoomId, is_over: Arc<AtomicBool>) -> usize {
    let (mut cursor, mut reads) = (Seq::ZERO, 0);
    loop {
        let last_round = is_over.load(Ordering::Acquire);
        let head = store.heads(&[room]).await.unwrap()[0].head;
        // A hole would be an error here.
        let entries = store.read_after(room, cursor, ANY, ANY).await.unwrap();
        cursor = entries.last().map_or(cursor, |entry| entry.seq());
        assert!(cursor >= head, "everything up to a head that was seen can be read");
        reads += usize::from(!entries.is_empty());
        if last_round {
            return reads;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_on_three_nodes_make_one_log_that_nobody_ever_sees_a_hole_in() {
    let database = PostgresDatabase::create().await;
    let nodes = nodes(&database).await;
    let members: Vec<_> = (1..=8).map(device).collect();
    let room = room_of(&nodes[0], 1, &members).await;
    let (tasks, is_over) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)));
    let followers: Vec<_> = nodes.iter().map(|node| tasks.spawn(follow(node.clone(), room, is_over.clone()))).collect();
    let senders = members.iter().zip(0u32..).map(|(member, at)| {
        let (node, mut instance) = (nodes[at as usize % 3].clone(), Instance::new(room, *member, at));
        async move {
            let mut seqs = Vec::new();
            for _ in 0..40 {
                seqs.push(instance.say(&node).await.seq);
            }
            seqs
        }
    });
    let seqs = together(senders).await;
    is_over.store(true, Ordering::Release);
    for follower in followers {
        assert!(follower.await.unwrap() > 1, "it followed the log while it grew");
    }
    assert!(seqs.iter().all(|seqs| seqs.is_sorted()), "each sender's order is kept");
    let all: BTreeSet<Seq> = seqs.concat().into_iter().collect();
    assert!(all.into_iter().eq((2..322).map(Seq)), "seqs are gapless and nobody's twice");
    assert_eq!(log(&nodes[2], room).await.len(), 321);
    close(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_write_to_many_rooms_at_once_do_not_block_each_other() {
    let database = PostgresDatabase::create().await;
    let nodes = nodes(&database).await;
    let mut rooms = Vec::new();
    for number in 0..12 {
        rooms.push(room_of(&nodes[0], number, &[device(1)]).await);
    }
    let senders = (0..36u32).map(|at| {
        let (node, room) = (&nodes[at as usize % 3], rooms[at as usize % 12]);
        let mut instance = Instance::new(room, device(1), at);
        async move {
            let sends: Vec<_> = (0..30).map(|_| node.append(instance.message())).collect();
            for answer in together(sends).await {
                answer.unwrap();
            }
        }
    });
    together(senders).await;
    for room in rooms {
        assert_eq!(log(&nodes[1], room).await.len(), 91);
    }
    close(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_somebody_holds_keeps_nobody_waiting_but_its_own_senders() {
    use sqlx::Connection as _;
    let database = PostgresDatabase::create().await;
    let tasks = TaskTracker::new();
    // One writer, so that both rooms are in one batch.
    let options = PostgresOptions { writers: 1, ..postgres_options() };
    let store = Store::open_postgres(&database.url, options, &tasks).await.unwrap();
    let held = room_of(&store, 1, &[device(1)]).await;
    let free = room_of(&store, 2, &[device(1)]).await;
    let mut holder = sqlx::PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("begin; select 1 from room where name = 'Room 001' for update").execute(&mut holder).await.unwrap();
    let (mut to_held, mut to_free) = (Instance::new(held, device(1), 1), Instance::new(free, device(1), 2));
    let stuck = to_held.message();
    let refused = async { store.append(stuck.clone()).await };
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let started = Instant::now();
            to_free.say(&store).await;
            slowest = slowest.max(started.elapsed());
        }
        slowest
    };
    let (refused, slowest) = tokio::join!(refused, others);
    assert!(matches!(refused, Err(AppendError::Store(StoreError::Unavailable(_)))), "{refused:?}");
    assert!(slowest < Duration::from_millis(1_500), "each may have waited a moment: {slowest:?}");
    sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
    assert_eq!(store.append(stuck).await.unwrap().seq, Seq(2), "sending it again is enough");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_changes_between_look_and_write_loses_neither_messages_nor_what_changed() {
    use sqlx::Connection as _;
    let database = PostgresDatabase::create().await;
    let store = database.open().await;
    let room = room_of(&store, 1, &[device(1)]).await;
    let before = store.heads(&[room]).await.unwrap()[0].access_version;
    let (tasks, is_over) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)));
    let mut other = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let until = Arc::clone(&is_over);
    // What decisions depend on, and what they do not: the one is never written over, the other makes a newer row all the same.
    let changing = tasks.spawn(async move {
        let mut raised = 0;
        while !until.load(Ordering::Acquire) {
            sqlx::raw_sql("update room set retained_seq = retained_seq").execute(&mut other).await.unwrap();
            if raised < 100 {
                sqlx::raw_sql("update room set access_version = access_version + 1").execute(&mut other).await.unwrap();
                raised += 1;
            }
        }
        raised
    });
    let mut instance = Instance::new(room, device(1), 1);
    for seq in 2..=400 {
        assert_eq!(instance.say(&store).await.seq, Seq(seq));
    }
    is_over.store(true, Ordering::Release);
    let raised = changing.await.unwrap();
    let head = store.heads(&[room]).await.unwrap()[0];
    assert_eq!((head.head, head.access_version), (Seq(400), before + raised));
    assert_eq!(log(&store, room).await.len(), 400);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_rooms_with_one_name_or_one_id_made_on_three_nodes_at_once_one_is_made() {
    let database = PostgresDatabase::create().await;
    let nodes = nodes(&database).await;
    for turn in 0..5 {
        let named = (0..9u32).map(|at| {
            let mut new = new_room(100 * turn + at, device(at));
            new.likeness = format!("the same {turn}");
            nodes[at as usize % 3].create_room(new)
        });
        let answers = together(named).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        let is_taken = |answer: &_| matches!(answer, Ok(_) | Err(CreateRoomError::NameTaken));
        assert!(answers.iter().all(is_taken), "{answers:?}");
        let identified = (0..9u32).map(|at| {
            let mut new = new_room(1000 + turn, device(at));
            new.likeness = format!("another {turn} {at}");
            nodes[at as usize % 3].create_room(new)
        });
        let answers = together(identified).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        let is_taken = |answer: &_| matches!(answer, Ok(_) | Err(CreateRoomError::IdTaken));
        assert!(answers.iter().all(is_taken), "{answers:?}");
    }
    close(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_hold_across_nodes() {
    let database = PostgresDatabase::create().await;
    let quotas = Quotas { rooms_per_device_max: 3, members_per_room_max: 4, ..Quotas::default() };
    let nodes = nodes(&database).await.map(|node| node.with_quotas(quotas));
    for number in 0..9 {
        room_of(&nodes[0], number, &[device(100 + number)]).await;
    }
    // Known from one room, so that there is somebody to count the rooms of.
    nodes[0].enter(RoomId(id(0)), GrantId(id(0)), device(1)).await.unwrap();
    let entering =
        (1..9u32).map(|number| nodes[number as usize % 3].enter(RoomId(id(number)), GrantId(id(number)), device(1)));
    let answers = together(entering).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(EnterError::TooManyRooms))), "{answers:?}");
    assert_eq!(nodes[1].rooms_of(device(1).device).await.unwrap().len(), 3);

    let room = RoomId(id(8));
    let here = nodes[0].members(room, None, ANY >> 1).await.unwrap().len();
    let entering = (2..12u32).map(|number| nodes[number as usize % 3].enter(room, GrantId(id(8)), device(number)));
    let answers = together(entering).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 4 - here, "{answers:?}");
    close(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_takes_one_of_the_offers_that_come_at_once() {
    let database = PostgresDatabase::create().await;
    let nodes = nodes(&database).await;
    for mailbox in 0..10 {
        let offers = (0..6u8).map(|at| {
            let node = &nodes[usize::from(at % 3)];
            async move { node.put_offer(id(mailbox), &[at; 96]).await.unwrap() }
        });
        let answers = together(offers).await;
        assert_eq!(answers.iter().filter(|answer| **answer == OfferOutcome::Stored).count(), 1, "{answers:?}");
    }
    close(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeps_on_three_nodes_at_once_remove_everything_once() {
    let database = PostgresDatabase::create().await;
    let nodes = nodes(&database).await;
    let room = room_of(&nodes[0], 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let sends: Vec<_> = (0..1200).map(|_| nodes[0].append(instance.message())).collect();
    together(sends).await;
    for number in 0..3u8 {
        nodes[0].issue_token([number; 32], device(1).device, Duration::ZERO, Duration::ZERO).await.unwrap();
    }
    database
        .run("insert into erasure select room from room; delete from room; update token set expires_at_ms = 0")
        .await;
    let swept = together(nodes.iter().map(Store::sweep)).await;
    let swept: Vec<_> = swept.into_iter().map(Result::unwrap).collect();
    assert_eq!(swept.iter().map(|swept| swept.tokens).sum::<u64>(), 3, "{swept:?}");
    for table in ["entry", "epoch_key", "erasure", "token"] {
        assert_eq!(database.number(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
    close(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_acknowledged_another_reads_at_once() {
    let database = PostgresDatabase::create().await;
    let nodes = nodes(&database).await;
    let room = room_of(&nodes[0], 1, &[device(1)]).await;
    let instance = Instance::new(room, device(1), 1);
    for counter in 0..50 {
        let writer = &nodes[usize::try_from(counter % 3).unwrap()];
        let message = envelope(&instance.header(snug_protocol::EntryKind::Message, counter, 0));
        let seq = writer.append(message.clone()).await.unwrap().seq;
        let reader = &nodes[usize::try_from((counter + 1) % 3).unwrap()];
        let read = reader.read_after(room, seq.back(1), 1, ANY).await.unwrap();
        assert_eq!(read[0].envelope_bytes(), message.bytes());
    }
    close(&nodes).await;
}

/// Polls `work` so many times at most, and gives it up then.
async fn give_up_after<T>(polls: usize, work: impl Future<Output = T>) {
    let (mut work, mut left) = (std::pin::pin!(work), polls);
    std::future::poll_fn(|cx| {
        let is_over = work.as_mut().poll(cx).is_ready();
        left -= 1;
        if is_over || left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// It was told that it is no member of a room that had just been made: a connection that was given up in the middle of reading a page was
/// left in that moment, and lent to others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_while_a_page_is_read_leaves_nobody_with_a_view_of_the_past() {
    let database = PostgresDatabase::create().await;
    let store = database.open().await;
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    for turn in 0..60 {
        let polls = turn % 6 + 1;
        together((0..4).map(|_| give_up_after(polls, store.read_page(room, None, 10, ANY)))).await;
        together((0..4).map(|_| give_up_after(polls, store.chain(room, None, 10)))).await;
        let seq = instance.say(&store).await.seq;
        let looks = (0..8).map(|_| async { store.heads(&[room]).await.unwrap()[0].head });
        let heads = together(looks).await;
        assert!(heads.iter().all(|head| *head == seq), "{seq} was acknowledged, and then some see {heads:?}");
    }
    store.close().await;
}
