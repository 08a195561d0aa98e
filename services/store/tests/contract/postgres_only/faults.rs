//! Connections that are cut at the worst moment, servers that fall silent or go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use snug_protocol::{EntryKind, Envelope, Seq};
use snug_store::{AppendError, Appended, Store, StoreError};
use tokio_util::task::TaskTracker;

use super::{close, nodes};
use crate::fixture::{Instance, PostgresDatabase, device, log, postgres_options, room_of, together};
use crate::proxy::Proxy;

/// In this time everything works again, once what was wrong is over.
const RECOVERY_LIMIT: Duration = Duration::from_secs(10);
/// In this time every call is answered, whatever is wrong.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

fn is_unavailable<T, E: Into<AppendError>>(answer: Result<T, E>) -> bool {
    matches!(answer.map_err(Into::into), Err(AppendError::Store(StoreError::Unavailable(_))))
}

/// Connections that must have been cut for a test to prove anything.
const CUTS_MIN: usize = 10;

/// Sends until it is acknowledged, as a client does. Counts what was not known in between.
async fn send(store: &Store, message: Envelope, unknown: &AtomicUsize) -> Appended {
    let started = Instant::now();
    loop {
        match store.append(message.clone()).await {
            Ok(appended) => return appended,
            Err(AppendError::Store(StoreError::Unavailable(_))) if started.elapsed() < Duration::from_secs(60) => {
                unknown.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_around_commits_lose_nothing_and_double_nothing() {
    let database = PostgresDatabase::create().await;
    let nodes = nodes(&database).await;
    let room = room_of(&nodes[0], 1, &[device(1)]).await;
    let (is_over, unknown) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (admin, name) = (crate::server::postgres_server().await, database.name.clone());
    let tasks = TaskTracker::new();
    let cut = Arc::<AtomicUsize>::default();
    let killing = tasks.spawn(cut_connections(admin, name, is_over.clone(), cut.clone()));
    let senders = (0..6u32).map(|at| {
        let (node, unknown, mut instance) = (&nodes[at as usize % 3], &unknown, Instance::new(room, device(1), at));
        let cut = &cut;
        async move {
            let mut sent = Vec::new();
            // Until there was something to lose by; on a fast machine that takes more than a few messages.
            while sent.len() < 60 || (cut.load(Ordering::Acquire) <= CUTS_MIN && sent.len() < 2_000) {
                let message = instance.message();
                let appended = send(node, message.clone(), unknown).await;
                sent.push((appended.seq, message));
            }
            sent
        }
    });
    let sent = together(senders).await;
    is_over.store(true, Ordering::Release);
    killing.await.unwrap();
    let cut = cut.load(Ordering::Acquire);
    assert!(cut > CUTS_MIN, "connections were cut: {cut}");
    assert!(unknown.load(Ordering::Relaxed) > 0, "and some answers were lost with them");
    // By connections that nobody has cut.
    let looking = database.open().await;
    let stored = log(&looking, room).await;
    assert_eq!(stored.len(), 1 + sent.iter().map(Vec::len).sum::<usize>(), "nothing is there twice");
    for (seq, message) in sent.iter().flatten() {
        assert_eq!(stored[usize::try_from(seq.0).unwrap() - 1], message.bytes());
    }
    assert!(sent.iter().all(|sent| sent.is_sorted_by_key(|(seq, _)| *seq)), "each sender's order is kept");
    looking.close().await;
    close(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_while_connections_are_cut_is_erased_when_that_is_acknowledged() {
    let database = PostgresDatabase::create().await;
    let nodes = nodes(&database).await;
    let (is_over, unknown) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (admin, name) = (crate::server::postgres_server().await, database.name.clone());
    let (tasks, cut) = (TaskTracker::new(), Arc::<AtomicUsize>::default());
    let mut senders = Vec::new();
    for number in 0..6 {
        let room = room_of(&nodes[0], number, &[device(1)]).await;
        senders.push((&nodes[number as usize % 3], Instance::new(room, device(1), 1)));
    }
    let killing = tasks.spawn(cut_connections(admin, name, is_over.clone(), cut.clone()));
    let deleting = senders.into_iter().map(|(node, mut sender)| {
        let (cut, unknown) = (&cut, &unknown);
        async move {
            let mut turns = 0;
            while turns < 60 || (cut.load(Ordering::Acquire) <= CUTS_MIN && turns < 2_000) {
                let message = send(node, sender.message(), unknown).await;
                send(node, sender.next(EntryKind::Deletion, message.seq.0), unknown).await;
                let profile = send(node, sender.next(EntryKind::Profile, 0), unknown).await;
                assert_eq!(newest_profile(node, &sender).await, Some(profile.seq));
                turns += 1;
            }
            sender
        }
    });
    let senders = together(deleting).await;
    is_over.store(true, Ordering::Release);
    killing.await.unwrap();
    assert!(cut.load(Ordering::Acquire) > CUTS_MIN && unknown.load(Ordering::Relaxed) > 0);
    let looking = database.open().await;
    for sender in senders {
        let entries = looking.read_after(sender.room, Seq(1), usize::MAX, usize::MAX).await.unwrap();
        assert_eq!(entries.len() as u64, sender.counter, "nothing is there twice");
        let mut messages = entries.iter().filter(|entry| entry.header().unwrap().kind == EntryKind::Message);
        assert!(messages.all(|entry| entry.is_tombstone()), "all were deleted");
    }
    looking.close().await;
    close(&nodes).await;
}

/// Where the profile is that is shown of a sender, as soon as anybody may ask.
async fn newest_profile(node: &Store, sender: &Instance) -> Option<Seq> {
    let started = Instant::now();
    loop {
        match node.member(sender.room, sender.device).await {
            Ok(member) => return member.unwrap().profile.map(|profile| profile.seq()),
            Err(error) if started.elapsed() > RECOVERY_LIMIT => panic!("{error:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Cuts the writers' connections, preferring those in the middle of a commit or between growth and what it brings, and counts them.
async fn cut_connections(admin: String, name: String, is_over: Arc<AtomicBool>, cut: Arc<AtomicUsize>) {
    use sqlx::Connection as _;
    const CUT: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where datname = $1 and application_name = 'snug' 
             and (query = 'commit' or query ~ 'update (entry|member)' or random() < 0.05)";
    let mut connection = sqlx::PgConnection::connect(&admin).await.unwrap();
    while !is_over.load(Ordering::Acquire) {
        let now = sqlx::query_scalar::<_, i64>(CUT).bind(&name).fetch_one(&mut connection).await.unwrap();
        cut.fetch_add(usize::try_from(now).unwrap(), Ordering::AcqRel);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// A store that reaches its server through a proxy, and a room with one member.
async fn behind_a_proxy(database: &PostgresDatabase) -> (Proxy, Store, Instance) {
    let (proxy, url) = Proxy::before(&database.url).await;
    let store = Store::open_postgres(&url, postgres_options(), &TaskTracker::new()).await.expect("it opens");
    let room = room_of(&store, 1, &[device(1)]).await;
    (proxy, store, Instance::new(room, device(1), 1))
}

/// Waits until a message gets through and reading works.
async fn recovers(store: &Store, message: &Envelope) -> Appended {
    let started = Instant::now();
    loop {
        let answers = (store.append(message.clone()).await, store.check().await);
        match answers {
            (Ok(appended), Ok(())) => return appended,
            _ if started.elapsed() < RECOVERY_LIMIT => tokio::time::sleep(Duration::from_millis(20)).await,
            answers => panic!("it does not work again: {answers:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_is_unavailable_in_bounded_time_and_used_again_when_it_speaks() {
    let database = PostgresDatabase::create().await;
    let (proxy, store, mut instance) = behind_a_proxy(&database).await;
    instance.say(&store).await;
    proxy.pause();
    let started = Instant::now();
    let message = instance.message();
    let (first, second, read, check) = tokio::join!(
        store.append(message.clone()),
        store.create_room(crate::fixture::new_room(2, device(2))),
        store.read_after(instance.room, Seq::ZERO, 10, 10_000),
        store.check(),
    );
    assert!(is_unavailable(first) && is_unavailable(read) && is_unavailable(check));
    assert!(matches!(second, Err(snug_store::CreateRoomError::Store(StoreError::Unavailable(_)))), "{second:?}");
    assert!(is_unavailable(store.append(message.clone()).await), "new connections do not get through either");
    assert!(started.elapsed() < 2 * ANSWER_LIMIT, "{:?}", started.elapsed());
    proxy.open();
    assert_eq!(recovers(&store, &message).await.seq, Seq(3));
    assert_eq!(log(&store, instance.room).await.len(), 3);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_is_unavailable_at_once_and_used_again_when_it_is_back() {
    let database = PostgresDatabase::create().await;
    let (proxy, store, mut instance) = behind_a_proxy(&database).await;
    instance.say(&store).await;
    proxy.down();
    let message = instance.message();
    let started = Instant::now();
    for _ in 0..5 {
        assert!(is_unavailable(store.append(message.clone()).await));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "senders are not kept waiting: {:?}", started.elapsed());
    let read = store.read_after(instance.room, Seq::ZERO, 10, 10_000).await;
    assert!(is_unavailable(read) && started.elapsed() < ANSWER_LIMIT, "{:?}", started.elapsed());
    proxy.open();
    assert_eq!(recovers(&store, &message).await.seq, Seq(3));
    for _ in 0..20 {
        instance.say(&store).await;
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_while_nothing_was_written_is_not_noticed() {
    let database = PostgresDatabase::create().await;
    let (proxy, store, mut instance) = behind_a_proxy(&database).await;
    for _ in 0..3 {
        instance.say(&store).await;
        // As long as a connection counts as fresh.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        proxy.restart().await;
        instance.say(&store).await;
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_whose_node_has_fallen_silent_is_ended_by_the_server() {
    use sqlx::Connection as _;
    let database = PostgresDatabase::create().await;
    let store = database.open().await;
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut silent = sqlx::PgConnection::connect(&database.url).await.unwrap();
    // As a node's session is set.
    let hold = "set idle_in_transaction_session_timeout = '5s'; begin; select 1 from room for update";
    sqlx::raw_sql(hold).execute(&mut silent).await.unwrap();
    let mut instance = Instance::new(room, device(1), 1);
    assert_eq!(instance.say(&store).await.seq, Seq(2), "the sender only waits");
    store.close().await;
}
