//! The first promise: nothing acknowledged is lost, each message is seen once and in one order, however often the node is killed.
//!
//! Clients of the SDK send without pause, and one of them replaces the room's key again and again, while the process is killed with -9 and
//! started again; a checker then compares what was acknowledged with what is stored and with what everyone saw. `SNUG_CRASH_SECONDS` makes it longer (`make crash`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use snug_client::crypto::Device;
use snug_client::{Client, ClientConfig, Event, Rekey, RekeyCause, Room};
use snug_tests::process::{Process, free_port};
use snug_tests::{PATIENCE, in_time};
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

/// What one member was told and saw.
#[derive(Default)]
struct Story {
    /// Text by the seq it was acknowledged at.
    acknowledged: BTreeMap<u64, String>,
    /// Text by the seq it was seen at, in the order of arrival.
    seen: Vec<(u64, String)>,
}

/// Sends until told to stop; every message is awaited until it is acknowledged.
async fn send(
    room: Room,
    member: usize,
    stop: Arc<AtomicBool>,
    acknowledged_in_all: Arc<AtomicUsize>,
) -> BTreeMap<u64, String> {
    let mut acknowledged = BTreeMap::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let text = format!("member {member}, message {number}");
        let sent =
            in_time("a message is acknowledged across crashes", room.send(&text)).await.expect("an acknowledgement");
        assert!(acknowledged.insert(sent.seq.0, text).is_none(), "two messages were acknowledged at one place");
        acknowledged_in_all.fetch_add(1, Ordering::Relaxed);
        number += 1;
    }
    acknowledged
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

/// Listens until `last` has been seen, or for ever.
async fn listen(room: Room, mut last: tokio::sync::watch::Receiver<Option<u64>>) -> Vec<(u64, String)> {
    let mut events = room.events().await.expect("the room is open");
    let mut seen = Vec::new();
    loop {
        let until = *last.borrow_and_update();
        if let Some(until) = until
            && seen.last().is_some_and(|(seq, _)| *seq >= until)
        {
            return seen;
        }
        tokio::select! {
            event = events.next() => match event.expect("the room stays open") {
                Event::Message { seq, text, .. } => seen.push((seq.0, text)),
                Event::Violation(violation) => panic!("a violation: {violation:?}"),
                Event::Unreadable { .. } | Event::Hole { .. } | Event::Resync { .. } => panic!("nothing of this may happen here"),
                _ => {}
            },
            _ = last.changed() => {}
        }
    }
}

fn check(stories: &[Story], stored: &[(u64, String)]) {
    let truth: HashMap<u64, &String> = stored.iter().map(|(seq, text)| (*seq, text)).collect();
    for story in stories {
        for (seq, text) in &story.acknowledged {
            assert_eq!(truth.get(seq), Some(&text), "an acknowledged message is not where it was acknowledged");
        }
        for (seq, text) in &story.seen {
            assert_eq!(truth.get(seq), Some(&text), "someone saw what is not stored");
        }
        assert!(story.seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "someone saw a message twice or out of order");
        let from = story.seen.first().map_or(0, |(seq, _)| *seq);
        let should = stored.iter().filter(|(seq, _)| *seq >= from).count();
        assert_eq!(story.seen.len(), should, "someone missed a message");
    }
    let mut texts: Vec<&String> = stored.iter().map(|(_, text)| text).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), stored.len(), "a message is stored twice");
    for member in 0..MEMBERS {
        let prefix = format!("member {member}, ");
        let numbers = stored
            .iter()
            .filter_map(|(_, text)| text.strip_prefix(&prefix)?.strip_prefix("message ")?.parse::<u64>().ok());
        assert!(numbers.enumerate().all(|(index, number)| index as u64 == number), "a sender's order was not kept");
    }
}

/// Everything stored up to `newest` and beyond, as a newcomer reads it.
async fn read_all(room: &Room, newest: u64) -> Vec<(u64, String)> {
    let text = |event: Event| match event {
        Event::Message { seq, text, .. } => Some((seq.0, text)),
        _ => None,
    };
    let mut stored: Vec<_> = snug_tests::eventually("the latest page arrives", async || {
        let loaded: Vec<_> = room.loaded().await.expect("the room is open").into_iter().filter_map(text).collect();
        loaded.last().is_some_and(|(seq, _)| *seq >= newest).then_some(loaded)
    })
    .await;
    loop {
        let page = in_time("a page of history", room.load_older()).await.expect("a page");
        let is_beginning = page.is_beginning();
        stored.splice(0..0, page.events.into_iter().filter_map(text));
        if is_beginning {
            return stored;
        }
    }
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
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (last, told) = tokio::sync::watch::channel(None);
    let (mut senders, mut listeners) = (JoinSet::new(), JoinSet::new());
    for (member, room) in rooms.iter().enumerate() {
        let (room, stop, count) = (room.clone(), Arc::clone(&stop), Arc::clone(&count));
        listeners.spawn({
            let (room, told) = (room.clone(), told.clone());
            async move { (member, listen(room, told).await) }
        });
        senders.spawn(async move { (member, send(room, member, stop, count).await) });
    }
    let mut rotator = JoinSet::new();
    rotator.spawn(rotate(rooms[0].clone(), Arc::clone(&stop)));
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(seconds) || kills < KILLS_MIN {
        // The nemesis strikes in the middle of traffic: once more messages have been acknowledged in this life.
        let target = count.load(Ordering::Relaxed) + 40 + kills * 7 % 60;
        snug_tests::eventually("messages flow again after a crash", async || {
            (count.load(Ordering::Relaxed) >= target).then_some(())
        })
        .await;
        process.kill().await;
        kills += 1;
        process = Process::start(&args).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (epochs, lost) = timeout(PATIENCE, rotator.join_all()).await.expect("it ends")[0];
    let mut stories: Vec<Story> = (0..MEMBERS).map(|_| Story::default()).collect();
    for (member, acknowledged) in timeout(PATIENCE, senders.join_all()).await.expect("senders end") {
        stories[member].acknowledged = acknowledged;
    }
    let newest = stories.iter().filter_map(|story| story.acknowledged.keys().last().copied()).max();
    last.send(newest).expect("listeners are there");
    for (member, seen) in timeout(PATIENCE, listeners.join_all()).await.expect("everyone catches up") {
        stories[member].seen = seen;
    }
    let late = Client::connect(config(&process.url), Device::generate()).expect("a client");
    let (link, _) = rooms[0].create_invite(None, None).await.expect("an invite");
    let late_room = late.join_by_link(&link, "late").await.expect("in");
    let stored = read_all(&late_room, newest.expect("something was acknowledged")).await;
    check(&stories, &stored);
    let acknowledged = count.load(Ordering::Relaxed);
    println!("{acknowledged} messages acknowledged over {kills} kills; {epochs} epochs, {lost} tries without answer");
    assert!(stored.len() >= acknowledged && kills >= KILLS_MIN && epochs > 0);
}

/// The checker itself: what it is there to find, it finds.
mod checker {
    use super::{MEMBERS, Story, check};

    fn log(texts: &[&str]) -> Vec<(u64, String)> {
        texts.iter().enumerate().map(|(index, text)| (index as u64 + 2, (*text).to_owned())).collect()
    }

    fn judge(stored: &[&str], acknowledged: &[(u64, &str)], seen: Vec<(u64, String)>) {
        let mut stories: Vec<Story> = (0..MEMBERS).map(|_| Story { seen: log(stored), ..Story::default() }).collect();
        stories[0] =
            Story { acknowledged: acknowledged.iter().map(|(seq, text)| (*seq, (*text).to_owned())).collect(), seen };
        check(&stories, &log(stored));
    }

    const GOOD: [&str; 3] = ["member 0, message 0", "member 1, message 0", "member 0, message 1"];

    #[test]
    fn accepts_a_good_story() {
        judge(&GOOD, &[(2, GOOD[0]), (4, GOOD[2])], log(&GOOD));
    }

    #[test]
    #[should_panic(expected = "not where it was acknowledged")]
    fn finds_a_lost_message() {
        judge(&GOOD[..2], &[(2, GOOD[0]), (4, GOOD[2])], log(&GOOD[..2]));
    }

    #[test]
    #[should_panic(expected = "stored twice")]
    fn finds_a_doubled_message() {
        let stored = [GOOD[0], GOOD[0], GOOD[1]];
        judge(&stored, &[], log(&stored));
    }

    #[test]
    #[should_panic(expected = "order was not kept")]
    fn finds_a_senders_messages_out_of_order() {
        let stored = [GOOD[2], GOOD[1], GOOD[0]];
        judge(&stored, &[], log(&stored));
    }

    #[test]
    #[should_panic(expected = "missed a message")]
    fn finds_a_reader_who_missed_one() {
        let mut seen = log(&GOOD);
        seen.remove(1);
        judge(&GOOD, &[], seen);
    }

    #[test]
    #[should_panic(expected = "twice or out of order")]
    fn finds_a_reader_who_saw_one_twice() {
        let mut seen = log(&GOOD);
        let again = seen[1].clone();
        seen.insert(1, again);
        judge(&GOOD, &[], seen);
    }
}
