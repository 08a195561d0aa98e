//! What goes wrong: one fault after the other, each of its own length, several at a time; and what people do that is rare.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use snug_protocol::{DeviceId, EntryKind, Header, InstanceId, RoomId, Seq, recipients_hash};
use snug_store::{MemoryCopy, NewEpoch, Standing};
use tokio::time::{Instant, sleep, timeout};

use crate::cable::Fate;
use crate::dice::Dice;
use crate::fabric::Reach;
use crate::gate::Weather;
use crate::node::Node;
use crate::person::{Following, Line, Person};
use crate::scene::{Scene, secret};

/// Nodes that a scenario starts at most.
const NODES_MAX: usize = 9;
/// How long a removal is waited for before somebody looks whether it has taken place.
const REMOVAL_ANSWER_LIMIT: Duration = Duration::from_secs(8);

pub struct Nemesis {
    pub scene: Arc<Scene>,
    pub people: Vec<Arc<Person>>,
    pub dice: Dice,
    /// The store goes back to a copy; then nobody is removed, and the bus loses nothing: an order lost twice over is nobody's promise.
    pub rewinds: bool,
    copy: Option<MemoryCopy>,
    strikes: usize,
}

impl Nemesis {
    pub fn new(scene: Arc<Scene>, people: Vec<Arc<Person>>, rewinds: bool) -> Self {
        let dice = Dice::of(scene.seed, "nemesis");
        if rewinds {
            scene.fabric.weather.unconfirmed_one_in.store(0, Ordering::Relaxed);
        }
        Self { scene, people, dice, rewinds, copy: None, strikes: 0 }
    }

    /// Strikes until `end`.
    pub async fn run(&mut self, end: Instant) {
        loop {
            sleep(self.dice.ms(100, 2000)).await;
            if Instant::now() >= end {
                return;
            }
            self.strike().await;
            if self.scene.nodes_up().is_empty() || self.dice.one_in(4) && self.scene.nodes_up().len() < 2 {
                self.start_node().await;
            }
        }
    }

    async fn strike(&mut self) {
        self.strikes += 1;
        if self.rewinds && matches!(self.strikes, 3 | 5) {
            return self.rewind().await;
        }
        match self.dice.below(20) {
            0 | 1 => self.on_a_node(Node::kill),
            2 | 3 => self.on_a_node(Node::drain),
            4 => self.start_node().await,
            5..=8 if self.rewinds => {}
            5 => self.bus_reach("bus away", Reach::Away),
            6 => self.bus_reach("bus deaf", Reach::Deaf),
            7 | 8 => self.bus_weather(),
            9 => self.store_weather("store slow", Weather::Slow),
            10 => self.store_weather("store flaky", Weather::Flaky),
            11 => self.store_weather("store away", Weather::Away),
            12 => self.line("line cut", |line| line.cable.meet(Fate::Cut)),
            13 => self.line("half open at the node", |line| line.cable.meet(Fate::HalfOpenAtNode)),
            14 => self.line("half open at the client", |line| line.cable.meet(Fate::HalfOpenAtClient)),
            15 => self.line("line silent", |line| line.cable.meet(Fate::Silent)),
            16 => self.slow_line(),
            17 => self.delete(),
            18 if !self.rewinds => self.remove(),
            18 => {}
            _ => {
                self.scene.journal.count("roster flushed", format_args!("all of it"));
                self.scene.roster.flush();
            }
        }
    }

    fn on_a_node(&self, act: impl FnOnce(&Node, &Scene)) {
        if let Some(node) = self.scene.pick_node(&self.dice, None) {
            act(&node, &self.scene);
        }
    }

    async fn start_node(&self) {
        if self.scene.nodes().len() < NODES_MAX {
            self.scene.start_node().await;
        }
    }

    /// Does `undo` after a while.
    fn later(&self, wait: Duration, undo: impl FnOnce(&Scene) + Send + 'static) {
        let scene = Arc::clone(&self.scene);
        self.scene.tasks.spawn(async move {
            sleep(wait).await;
            undo(&scene);
        });
    }

    fn bus_reach(&self, what: &'static str, reach: Reach) {
        let Some(node) = self.scene.pick_node(&self.dice, None) else { return };
        // A deaf subscription is found by a probe, within seconds.
        let wait = if reach == Reach::Deaf { self.dice.ms(1000, 8000) } else { self.dice.ms(500, 15_000) };
        self.scene.journal.count(what, format_args!("{} for {wait:?}", node.name));
        self.scene.fabric.set_reach(node.no, reach);
        self.later(wait, move |scene| scene.fabric.set_reach(node.no, Reach::Connected));
    }

    fn bus_weather(&self) {
        let weather = &self.scene.fabric.weather;
        let lost = [0, 2, 4, 10][self.dice.below(4)];
        let twice = [0, 3, 10][self.dice.below(3)];
        let way_ms = [5, 20, 100, 700][self.dice.below(4)];
        let what = format_args!("one in {lost} lost, one in {twice} twice, up to {way_ms} ms");
        self.scene.journal.count("bus weather", what);
        weather.lost_one_in.store(lost, Ordering::Relaxed);
        weather.twice_one_in.store(twice, Ordering::Relaxed);
        weather.way_ms_max.store(way_ms, Ordering::Relaxed);
    }

    fn store_weather(&self, what: &'static str, weather: Weather) {
        // Now and then it is so for all nodes.
        let nodes = if self.dice.one_in(3) {
            self.scene.nodes_up()
        } else {
            self.scene.pick_node(&self.dice, None).into_iter().collect()
        };
        let wait = self.dice.ms(300, 9000);
        for node in nodes {
            self.scene.journal.count(what, format_args!("{} for {wait:?}", node.name));
            node.gate.set(weather);
            node.fault_begins();
            self.later(wait, move |_| {
                node.gate.set(Weather::Fine);
                node.fault_ends();
            });
        }
    }

    fn line(&self, what: &'static str, meet: impl FnOnce(Line)) {
        let Some(person) = self.dice.pick(&self.people) else { return };
        if let Some(line) = person.line().filter(|line| line.cable.fate() == Fate::Whole) {
            self.scene.journal.count(what, format_args!("{} to {}", person.name, line.node.name));
            meet(line);
        }
    }

    fn slow_line(&self) {
        let (drag, wait) = (self.dice.ms(50, 2500), self.dice.ms(1000, 15_000));
        self.line("line slow", |line| {
            line.cable.drag(drag);
            self.later(wait, move |_| line.cable.drag(Duration::ZERO));
        });
    }

    /// Somebody erases something that it said.
    fn delete(&self) {
        let Some(person) = self.dice.pick(&self.people) else { return };
        let own: Vec<(RoomId, Seq)> = {
            let ledger = self.scene.ledger();
            let own = ledger.said.values().filter(|said| said.by == person.device && said.kind == EntryKind::Message);
            let places = own.filter_map(|said| Some((said.room, said.acked?.seq)));
            places.filter(|place| !ledger.erased.contains_key(place)).collect()
        };
        if let Some((room, seq)) = self.dice.pick(&own) {
            self.scene.journal.count("deletion", format_args!("{} of {seq}", person.name));
            person.say(&self.scene, *room, EntryKind::Deletion, *seq);
        }
    }

    /// The store goes back to where it was, under the nodes' feet.
    async fn rewind(&mut self) {
        let Some(copy) = &self.copy else {
            self.copy = Some(self.scene.memory.copy());
            return self.scene.journal.note(format_args!("the store is copied"));
        };
        if self.scene.ledger().rewind.is_some() {
            return;
        }
        let new_life = self.dice.one_in(2);
        self.scene.memory.restore(copy, new_life);
        let heads = self.scene.store.heads(&self.scene.rooms).await.expect("memory");
        let heads: BTreeMap<RoomId, Seq> = heads.into_iter().map(|head| (head.room, head.head)).collect();
        self.scene.journal.count("store restored", format_args!("to {heads:?}, new life: {new_life}"));
        self.scene.ledger().go_back(heads);
        self.scene.nodes().iter().for_each(|node| node.gate.forget_reads());
    }

    /// The admin ends somebody's membership, by some node.
    fn remove(&self) {
        let (Some(person), Some(room)) = (self.dice.pick(&self.people), self.dice.pick(&self.scene.rooms)) else {
            return;
        };
        let Some(node) = self.scene.pick_node(&self.dice, None) else { return };
        let is_in = person.books().get(room).is_some_and(|book| !matches!(book.following, Following::Closed(_)));
        if !is_in {
            return;
        }
        let (scene, person, room) = (Arc::clone(&self.scene), Arc::clone(person), *room);
        let instance = InstanceId(self.dice.bytes());
        self.scene.tasks.spawn(async move {
            remove(&scene, &node, room, &person, instance).await;
        });
    }
}

async fn remove(scene: &Scene, node: &Node, room: RoomId, person: &Person, instance: InstanceId) -> Option<()> {
    let row = scene.store.room(room).await.ok()??;
    let members = scene.store.members(room, None, 100).await.ok()?;
    let remain = members.iter().filter(|member| member.state == snug_protocol::http::MemberState::Member);
    let remain = remain.map(|member| member.keys.device).filter(|device| *device != person.device);
    let remain: Vec<DeviceId> = remain.chain([scene.recovery]).collect();
    let header = scene.admin_header(room, EntryKind::EpochRecord, instance, 0);
    let record = scene.sealed(&Header { epoch: row.epoch + 1, target: row.chain, ..header });
    let keys = remain.iter().map(|device| (*device, [9; 80])).collect();
    scene.store.stage_epoch_keys(room, scene.admin, row.epoch + 1, record.hash(), keys).await.ok()?;
    let grant = snug_protocol::GrantId(instance.0);
    let hash = record.hash();
    let (remove, recipients, secret) = (vec![person.device], recipients_hash(remain), secret());
    let new = NewEpoch { record, remove, ban: false, recipients, sent_at_ms: 0, recovery: None, grant, kdf: 1, secret };
    scene.journal.note(format_args!(
        "{} is to be removed from {} by {}",
        person.name,
        scene.room_name(room),
        node.name
    ));
    scene.ledger().removing.insert((room, person.device));
    let _ = timeout(REMOVAL_ANSWER_LIMIT, node.chat.begin_epoch(new)).await;
    // Whether it was answered or not, the store tells.
    let (row, standing) = (scene.store.room(room).await.ok()??, scene.store.standing(room, person.device).await.ok()?);
    let is_ours = scene.store.entry_hash(room, row.chain).await.ok()? == Some(hash);
    if standing == Some(Standing::Removed) && is_ours {
        scene.journal.count("removal", format_args!("{} from {}", person.name, scene.room_name(room)));
        scene.ledger().removed.insert((room, person.device), (row.chain, Instant::now()));
    }
    Some(())
}
