//! The first promise: nothing acknowledged is lost, each message is seen once and in one order, however often the node is killed.
//!
//! Clients of the SDK send without pause, and one of them replaces the room's key again and again, while the process is killed with -9 and
//! started again; the checker (`snug_tests::history`) then compares what was acknowledged with what is stored and with what everyone saw.
//! `SNUG_CRASH_SECONDS` makes it longer (`make crash`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use snug_backing::free_port;
use snug_client::crypto::Device;
use snug_client::{Client, ClientConfig, Rekey, RekeyCause, Room};
use snug_tests::history::{Pace, Recorder, assert_sound, read_all};
use snug_tests::process::Process;
use snug_tests::{PATIENCE, in_time};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const MEMBERS: usize = 4;
const KILLS_MIN: usize = 5;

fn config(url: &str) -> ClientConfig {
    let mut config = ClientConfig::new(url);
    config.timing.backoff_first = Duration::from_millis(20);
    config.timing.backoff_max = Duration::from_millis(200);
    config
}

/// Replaces the room's key until told to stop. Where the node was killed, whether it is done is the chain's word. Returns how many epochs
/// began, and in how many tries no answer was had.
async fn rotate(room: Room, stop: Arc<AtomicBool>) -> (u32, usize) {
    let (mut lost, mut number) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let password = format!("orbit velvet canyon {number}");
        let rekey = Rekey { cause: &RekeyCause::Rotate, password: &password };
        match in_time("another key across crashes", room.rekey(rekey, |_| {})).await {
            Ok(rekeyed) => assert_eq!(rekeyed.excluded, [], "nobody is put out"),
            Err(error) => {
                // The second where the first was done without an answer, and the chain had not told of it.
                assert!(["network", "chain_moved"].contains(&error.code()), "{error:?}");
                lost += 1;
            }
        }
    }
    (room.epoch(), lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_however_often_the_node_is_killed() {
    let seconds = std::env::var("SNUG_CRASH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let folder = tempfile::tempdir().expect("a folder");
    let (listen_on, data) =
        (format!("--listen=127.0.0.1:{}", free_port()), format!("--data-dir={}", folder.path().display()));
    let args = [
        listen_on.as_str(),
        &data,
        "--sends-per-second=100000",
        "--sends-burst=100000",
        "--http-per-second=10000",
        "--http-burst=10000",
        "--joins-per-minute=100000",
        "--joins-burst=100000",
        "--joins-per-address-per-minute=100000",
    ];
    let mut process = Process::start(&args).await;
    let first = Client::connect(config(&process.url), Device::generate()).expect("a client");
    let (room, _recovery) = first.create_room("Crash", "orbit velvet canyon seven", "member 0").await.expect("a room");
    let mut clients = vec![first];
    let mut rooms = vec![room];
    for member in 1..MEMBERS {
        let client = Client::connect(config(&process.url), Device::generate()).expect("a client");
        rooms.push(client.join("Crash", "orbit velvet canyon seven", &format!("member {member}")).await.expect("in"));
        clients.push(client);
    }
    let (last, told) = watch::channel(None);
    let recorders: Vec<Arc<Recorder>> = (0..MEMBERS)
        .map(|member| Arc::new(Recorder::new(rooms[member].clone(), &format!("member {member}"), Some(0))))
        .collect();
    let (mut senders, mut listeners) = (JoinSet::new(), JoinSet::new());
    for recorder in &recorders {
        let (listener, sender, told) = (Arc::clone(recorder), Arc::clone(recorder), told.clone());
        listeners.spawn(async move { listener.listen(told).await });
        senders.spawn(async move { sender.send(Pace { burst: 1, pause: Duration::ZERO }).await });
    }
    let count = || recorders.iter().map(|recorder| recorder.acknowledged_count()).sum::<usize>();
    let stop = Arc::new(AtomicBool::new(false));
    let mut rotator = JoinSet::new();
    rotator.spawn(rotate(rooms[0].clone(), Arc::clone(&stop)));
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(seconds) || kills < KILLS_MIN {
        // The nemesis strikes in the middle of traffic: once more messages have been acknowledged in this life.
        let target = count() + 40 + kills * 7 % 60;
        snug_tests::eventually("messages flow again after a crash", async || (count() >= target).then_some(())).await;
        process.kill().await;
        kills += 1;
        process = Process::start(&args).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (epochs, lost) = timeout(PATIENCE, rotator.join_all()).await.expect("it ends")[0];
    recorders.iter().for_each(|recorder| recorder.stop());
    timeout(PATIENCE, senders.join_all()).await.expect("senders end");
    let newest = recorders.iter().map(|recorder| recorder.acknowledged()).max().expect("there are members");
    last.send(Some(newest)).expect("listeners are there");
    timeout(PATIENCE, listeners.join_all()).await.expect("everyone catches up");
    let late = Client::connect(config(&process.url), Device::generate()).expect("a client");
    let (link, _) = rooms[0].create_invite(None, None).await.expect("an invite");
    let late_room = late.join_by_link(&link, "late").await.expect("in");
    let stored = read_all(&late_room, newest).await;
    let histories: Vec<_> = recorders.iter().map(|recorder| recorder.history()).collect();
    assert_sound(&histories, &stored);
    let acknowledged = count();
    println!("{acknowledged} messages acknowledged over {kills} kills; {epochs} epochs, {lost} tries without answer");
    assert!(stored.len() >= acknowledged && kills >= KILLS_MIN && epochs > 0);
}
