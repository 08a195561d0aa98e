//! Rooms under continuous load, and what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use snug_client::crypto::{Device, InviteLink};
use snug_client::{Client, ClientConfig};
use snug_protocol::RoomId;
use snug_tests::history::{Breach, History, Pace, Recorder, Stored, read_all};
use snug_tests::{PATIENCE, in_time};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How soon after healing everyone must be at the head.
pub const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How a member sends: enough for a message in each room at any time, and little enough for two cores.
const PACE: Pace = Pace { burst: 2, pause: Duration::from_millis(800) };
/// How long somebody who comes and goes stays.
const VISIT: Duration = Duration::from_millis(60);
const VISIT_PAUSE: Duration = Duration::from_secs(2);

/// As a program of the SDK would have it, but for a shorter back-off: nobody waits for half a minute here.
pub fn config(url: &str) -> ClientConfig {
    let mut config = ClientConfig::new(url);
    config.timing.backoff_max = Duration::from_secs(2);
    config
}

/// One room with members who stay, who all send and listen.
pub struct LoadRoom {
    pub id: RoomId,
    pub link: InviteLink,
    pub members: Vec<Arc<Recorder>>,
}

/// What became of a room.
pub struct Story {
    pub id: RoomId,
    pub histories: Vec<History>,
    /// The room's messages as a newcomer reads them.
    pub stored: Vec<Stored>,
}

/// All of it.
pub struct Load {
    url: String,
    pub rooms: Vec<LoadRoom>,
    last: Vec<watch::Sender<Option<u64>>>,
    senders: JoinSet<()>,
    listeners: JoinSet<()>,
    visitors: JoinSet<Vec<Arc<Recorder>>>,
    leave: Arc<AtomicBool>,
    visits: Arc<AtomicUsize>,
}

impl Load {
    /// `rooms` rooms of `members` members each, all through the load balancer at `url`; in the first, others come and go besides.
    pub async fn start(url: &str, rooms: usize, members: usize) -> Self {
        let mut load = Self {
            url: url.to_owned(),
            rooms: Vec::new(),
            last: Vec::new(),
            senders: JoinSet::new(),
            listeners: JoinSet::new(),
            visitors: JoinSet::new(),
            leave: Arc::default(),
            visits: Arc::default(),
        };
        for number in 0..rooms {
            let room = enter(url, number, members).await;
            let (last, told) = watch::channel(None);
            for member in &room.members {
                let (sender, listener, told) = (Arc::clone(member), Arc::clone(member), told.clone());
                load.senders.spawn(async move { sender.send(PACE).await });
                load.listeners.spawn(async move { listener.listen(told).await });
            }
            load.last.push(last);
            load.rooms.push(room);
        }
        let (leave, visits, link) = (Arc::clone(&load.leave), Arc::clone(&load.visits), load.rooms[0].link.clone());
        load.visitors.spawn(come_and_go(url.to_owned(), link, leave, visits));
        load
    }

    /// All members who stay.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Recorder>> {
        self.rooms.iter().flat_map(|room| &room.members)
    }

    /// How many messages were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.members().map(|member| member.acknowledged_count()).sum()
    }

    /// How many came, and went in the middle of sending.
    pub fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }

    /// Waits until messages flow to everyone: in each room one that was sent after `healed` has been acknowledged, and everyone has seen
    /// it. Returns how long after `healed` that was, and who was not there within [`HEAD_LIMIT`].
    pub async fn at_head(&self, healed: Instant) -> (Duration, Vec<Breach>) {
        let mut breaches = Vec::new();
        for (number, room) in self.rooms.iter().enumerate() {
            let head = snug_tests::eventually("a message is acknowledged again", async || {
                room.members.iter().filter_map(|member| member.first_answer_after(healed)).map(|one| one.seq).min()
            })
            .await;
            for member in &room.members {
                let there = async || (member.seen() >= head).then_some(());
                snug_tests::eventually("everyone is at the head", there).await;
                if healed.elapsed() > HEAD_LIMIT {
                    let late = format!("{} at {head} in room {number}, {:?} late", member.name(), healed.elapsed());
                    breaches.push(Breach::Late(late));
                }
            }
        }
        (healed.elapsed(), breaches)
    }

    /// Ends the load, waits until everyone has seen the end, and reads all rooms as a newcomer.
    pub async fn finish(mut self) -> Vec<Story> {
        self.leave.store(true, Ordering::Relaxed);
        let visitors = std::mem::take(&mut self.visitors);
        let visitors = timeout(PATIENCE, visitors.join_all()).await.expect("visitors end");
        // What a visitor left on its way is stored by now or never, so that what members say last is the end.
        self.at_head(Instant::now()).await;
        self.members().for_each(|member| member.stop());
        timeout(PATIENCE, self.senders.join_all()).await.expect("senders end");
        for (room, last) in self.rooms.iter().zip(&self.last) {
            last.send_replace(room.members.iter().map(|member| member.acknowledged()).max());
        }
        timeout(PATIENCE, self.listeners.join_all()).await.expect("everyone sees the end");
        let mut stories = Vec::new();
        for room in &self.rooms {
            let newest = room.members.iter().map(|member| member.acknowledged()).max().expect("there are members");
            let late = Client::connect(config(&self.url), Device::generate()).expect("a client");
            let late_room = in_time("a newcomer is in", late.join_by_link(&room.link, "late")).await.expect("in");
            let stored = read_all(&late_room, newest).await;
            late.close().await;
            let histories = room.members.iter().map(|member| member.history()).collect();
            stories.push(Story { id: room.id, histories, stored });
        }
        stories[0].histories.extend(visitors.iter().flatten().map(|visitor| visitor.history()));
        stories
    }
}

async fn enter(url: &str, number: usize, members: usize) -> LoadRoom {
    let first = Client::connect(config(url), Device::generate()).expect("a client");
    let (name, me) = (format!("Load {number}"), format!("room {number}, member 0"));
    let created = first.create_room(&name, "orbit velvet canyon seven", &me);
    let (room, _recovery) = in_time("a room is made", created).await.expect("a room");
    let (link, _) = in_time("an invite", room.create_invite(None, None)).await.expect("an invite");
    let id = room.id();
    let mut recorders = vec![Arc::new(Recorder::new(room, &me, Some(0)))];
    for member in 1..members {
        let client = Client::connect(config(url), Device::generate()).expect("a client");
        let me = format!("room {number}, member {member}");
        let room = in_time("a member is in", client.join_by_link(&link, &me)).await.expect("in");
        recorders.push(Arc::new(Recorder::new(room, &me, Some(0))));
    }
    LoadRoom { id, link, members: recorders }
}

/// One device after the other joins, sends, and is gone before it is answered, or soon after.
async fn come_and_go(
    url: String,
    link: InviteLink,
    leave: Arc<AtomicBool>,
    visits: Arc<AtomicUsize>,
) -> Vec<Arc<Recorder>> {
    let mut visitors = Vec::new();
    while !leave.load(Ordering::Relaxed) {
        let client = Client::connect(config(&url), Device::generate()).expect("a client");
        let me = format!("visitor {}", visitors.len());
        // Whoever comes while a server dies is told so, and comes again.
        if let Ok(Ok(room)) = timeout(PATIENCE, client.join_by_link(&link, &me)).await {
            let visitor = Arc::new(Recorder::new(room, &me, None));
            visitor.send_and_go(3, VISIT).await;
            visits.fetch_add(1, Ordering::Relaxed);
            visitors.push(visitor);
        }
        client.close().await;
        sleep(VISIT_PAUSE).await;
    }
    visitors
}
