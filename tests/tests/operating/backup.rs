//! A backup taken while everyone talks, put back elsewhere: whole, and nobody silently ahead of it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use snug_backing::free_port;
use snug_client::crypto::Device;
use snug_client::{Client, ClientConfig, Event, Events, LostMessage, Room};
use snug_protocol::RoomId;
use snug_tests::history::read_all;
use snug_tests::hostile::scene::until;
use snug_tests::process::Process;
use snug_tests::{eventually, in_time};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::commands::{does, fails};

pub const PASSWORD: &str = "orbit velvet canyon seven";
const ROOMS: usize = 2;
const MEMBERS: usize = 3;
/// Messages acknowledged before the backup is begun, and after it is done.
const BEFORE: usize = 60;
const AFTER: usize = 60;
/// Between an acknowledgement and a member's next message: nobody reads along, and what waits to be read is bounded.
const PACE: Duration = Duration::from_millis(20);
/// Rates that the load does not run into.
pub const FAST: [&str; 4] =
    ["--sends-per-second=100000", "--sends-burst=100000", "--sign-ins-per-minute=100000", "--creates-per-minute=1000"];

/// Places and texts, as acknowledged.
type Acknowledged = Arc<Mutex<Vec<(u64, String)>>>;

/// A member who talks, writes down what was acknowledged, and is told what becomes of the log.
pub struct Member {
    client: Client,
    pub room: Room,
    events: Events,
    acknowledged: Acknowledged,
}

/// Rooms full of people who talk until they are told to stop.
pub struct Talk {
    pub url: String,
    pub rooms: Vec<Vec<Member>>,
    stop: Arc<AtomicBool>,
    talking: JoinSet<()>,
}

pub fn client(url: &str) -> Client {
    let mut config = ClientConfig::new(url);
    config.timing.backoff_first = Duration::from_millis(50);
    config.timing.backoff_max = Duration::from_millis(500);
    Client::connect(config, Device::generate()).expect("an address")
}

impl Talk {
    pub async fn begin(url: &str, rooms: usize, members: usize) -> Self {
        let mut talk = Self { url: url.to_owned(), rooms: Vec::new(), stop: Arc::default(), talking: JoinSet::new() };
        for number in 0..rooms {
            let name = format!("Backup {number}");
            let mut inside = Vec::new();
            for member in 0..members {
                let client = client(url);
                let me = format!("member {member}");
                let room = if member == 0 {
                    in_time("a room is made", client.create_room(&name, PASSWORD, &me)).await.expect("a room").0
                } else {
                    in_time("a member is in", client.join(&name, PASSWORD, &me)).await.expect("in")
                };
                let events = room.events().await.expect("the room is open");
                inside.push(Member { client, room, events, acknowledged: Arc::default() });
            }
            for (member, one) in inside.iter().enumerate() {
                let (room, acknowledged, stop) =
                    (one.room.clone(), Arc::clone(&one.acknowledged), Arc::clone(&talk.stop));
                talk.talking.spawn(async move {
                    for number in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let text = format!("member {member}, message {number}");
                        let sent = in_time("a message is acknowledged", room.send(text.as_str())).await.expect("sent");
                        acknowledged.lock().await.push((sent.seq.0, text));
                        tokio::time::sleep(PACE).await;
                    }
                });
            }
            talk.rooms.push(inside);
        }
        talk
    }

    /// What was acknowledged so far, by room.
    pub async fn acknowledged(&self) -> HashMap<RoomId, Vec<(u64, String)>> {
        let mut all: HashMap<RoomId, Vec<(u64, String)>> = HashMap::new();
        for member in self.rooms.iter().flatten() {
            all.entry(member.room.id()).or_default().extend(member.acknowledged.lock().await.iter().cloned());
        }
        all
    }

    /// Waits until this many more messages were acknowledged.
    pub async fn goes_on(&self, more: usize) {
        let count = async || self.acknowledged().await.values().map(Vec::len).sum::<usize>();
        let before = count().await;
        eventually("everyone talks", async || (count().await >= before + more).then_some(())).await;
    }

    /// Ends it, when all that was begun is acknowledged.
    pub async fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        in_time("everyone has finished", std::mem::take(&mut self.talking).join_all()).await;
    }

    /// Holds the log that was put back, which everyone has come back to by now or will, against what was acknowledged before: `at_least` is
    /// in it, everyone is told what of their own is not, and then everyone has the same log and goes on with it.
    pub async fn hears_what_is_missing(mut self, at_least: &HashMap<RoomId, Vec<(u64, String)>>) {
        let acknowledged = self.acknowledged().await;
        let mut missing = 0;
        for (number, members) in self.rooms.iter_mut().enumerate() {
            let (late, id) = (client(&self.url), members[0].room.id());
            let room = in_time("a newcomer is in", late.join(&format!("Backup {number}"), PASSWORD, "late")).await;
            let room = room.expect("the password and the pepper are the old ones");
            // Its own profile is the newest entry, so the log is there when that is.
            let mut events = room.events().await.expect("the room is open");
            until(&mut events, |event| matches!(event, Event::Joined { name, .. } if name == "late")).await;
            let stored = read_all(&room, 0).await;
            let stored: HashMap<u64, String> = stored.into_iter().collect();
            for (seq, text) in &at_least[&id] {
                assert_eq!(stored.get(seq), Some(text), "acknowledged before the backup was begun");
            }
            for (seq, text) in &acknowledged[&id] {
                // A place that the backup has is as it was; what lies behind its end is missing, and nothing else.
                assert!(stored.get(seq).is_none_or(|there| there == text), "{seq}: {text}, and {stored:?}");
            }
            for member in members.iter_mut() {
                let lost = told(&mut member.events).await;
                let own = member.acknowledged.lock().await;
                let mut expected: Vec<_> = own.iter().filter(|(seq, _)| !stored.contains_key(seq)).cloned().collect();
                let mut lost: Vec<_> = lost.into_iter().map(|message| (message.seq.0, message.text)).collect();
                expected.sort_unstable();
                lost.sort_unstable();
                assert_eq!(lost, expected, "it is told just what of its own is missing");
                missing += lost.len();
            }
            let mut newest = 0;
            for member in members.iter() {
                let sent = in_time("it goes on", member.room.send("after")).await.expect("sent");
                newest = newest.max(sent.seq.0);
            }
            let all = read_all(&room, newest).await;
            assert_eq!(all.iter().filter(|(_, text)| text == "after").count(), members.len());
            for member in members.iter() {
                assert_eq!(read_all(&member.room, newest).await, all, "everyone has the same log");
                assert_eq!(member.room.violations().await.expect("open"), [], "a restored backup is no lie");
            }
            late.close().await;
        }
        assert!(missing > 0, "nothing was missing, so nothing was shown");
        for member in self.rooms.into_iter().flatten() {
            member.client.close().await;
        }
    }
}

/// Waits until a member is told that the log has begun anew; returns what is missing of its own.
async fn told(events: &mut Events) -> Vec<LostMessage> {
    in_time("it is told", async {
        loop {
            match events.next().await.expect("the room is open") {
                Event::Resync { lost } => return lost,
                Event::Violation(violation) => panic!("{violation:?}"),
                Event::Closed { code } => panic!("the room closed: {code}"),
                _ => {}
            }
        }
    })
    .await
}

fn data(folder: &Path) -> String {
    format!("--data-dir={}", folder.display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_is_whole_and_whoever_is_ahead_of_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new, file) = (folder.path().join("old"), folder.path().join("new"), folder.path().join("copy.db"));
    let (listen, old_data, new_data) = (format!("--listen=127.0.0.1:{}", free_port()), data(&old), data(&new));
    let mut process = Process::start(&[&[listen.as_str(), &old_data], &FAST[..]].concat()).await;
    let mut talk = Talk::begin(&process.url, ROOMS, MEMBERS).await;
    talk.goes_on(BEFORE).await;
    let before = talk.acknowledged().await;
    let said = does(&["backup", &file.display().to_string(), &old_data]).await;
    assert!(said.contains(&format!("{ROOMS} rooms")) && said.contains("pepper"), "{said}");
    talk.goes_on(AFTER).await;
    talk.end().await;
    process.kill().await;

    let said = does(&["restore", &file.display().to_string(), &new_data]).await;
    assert!(said.contains("Before a start: the pepper file"), "{said}");
    std::fs::copy(old.join("pepper"), new.join("pepper")).expect("the pepper was kept");
    let mut process = Process::start(&[&[listen.as_str(), &new_data], &FAST[..]].concat()).await;
    talk.hears_what_is_missing(&before).await;
    assert!(process.terminate().await);
}

#[tokio::test]
async fn a_backup_is_for_its_owner_alone_and_replaces_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("copy.db");
    let (data, name) = (data(&folder.path().join("data")), file.display().to_string());
    let mut process = Process::start(&["--listen=127.0.0.1:0", &data]).await;
    does(&["backup", &name, &data]).await;
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let refused = fails(&["backup", &name, &data]).await;
    assert!(refused.contains("exists already"), "{refused}");
    let refused = fails(&["restore", &name, &data]).await;
    assert!(refused.contains("in use by another process"), "a node runs: {refused}");
    assert!(process.terminate().await);
    let refused = fails(&["restore", &name, &data]).await;
    assert!(refused.contains("--replace"), "{refused}");
    let said = does(&["restore", &name, "--replace", &data]).await;
    assert!(said.contains("is now") && said.contains(".replaced-"), "{said}");
    let names = std::fs::read_dir(folder.path().join("data")).expect("a folder").flatten();
    let names: Vec<String> = names.map(|entry| entry.file_name().into_string().expect("text")).collect();
    assert!(names.iter().any(|name| name.starts_with("snug.db.replaced-")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("restoring")), "{names:?}");
    // The old pepper is still there, so a start is all it takes.
    let mut process = Process::start(&["--listen=127.0.0.1:0", &data]).await;
    assert!(process.terminate().await);
}

#[tokio::test]
async fn a_damaged_or_foreign_file_is_not_put_back_and_what_was_there_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, file) = (data(&folder.path().join("data")), folder.path().join("copy.db"));
    let name = file.display().to_string();
    let mut process = Process::start(&["--listen=127.0.0.1:0", &data]).await;
    does(&["backup", &name, &data]).await;
    assert!(process.terminate().await);
    let database = folder.path().join("data/snug.db");
    let (before, good) = (std::fs::read(&database).expect("a file"), std::fs::read(&file).expect("a file"));
    let mut damaged = good.clone();
    // The middle of the file is no header, but somebody's page.
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4096].fill(0xAA);
    for (what, bytes) in [
        ("damaged", damaged),
        ("cut short", good[..good.len() - 8192].to_vec()),
        ("a letter", b"this is a letter, not a database. ".repeat(200)),
        ("nothing", Vec::new()),
    ] {
        std::fs::write(&file, bytes).expect("a file");
        let refused = fails(&["restore", &name, "--replace", &data]).await;
        assert!(refused.contains("copy.db"), "{what}: {refused}");
        assert_eq!(std::fs::read(&database).expect("a file"), before, "{what}");
    }
    let refused = fails(&["restore", "/nowhere.db", &data]).await;
    assert!(refused.contains("/nowhere.db"), "{refused}");
}
