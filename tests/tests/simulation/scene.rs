//! Everything a seed's world is made of, and how it begins.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snug_protocol::{DeviceId, EntryKind, Envelope, GrantId, Header, InstanceId, RoomId, Seq};
use snug_store::{DeviceKeys, GrantSecret, MemoryStore, NewRoom, Store};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::dice::Dice;
use crate::fabric::Fabric;
use crate::gate::Weather;
use crate::journal::Journal;
use crate::ledger::{Acked, Ledger, identity, seal};
use crate::node::{Life, Node};
use crate::person::Person;
use crate::roster::SharedRoster;

/// A bug that is put into the world, outside the product's code, to see that the checker finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    #[default]
    Nothing,
    /// The head check gets no answer, and hints are lost: also the last.
    HeadCheckOff,
    /// As if a tail took a frame across a gap: followers are not sent what was missing.
    GapAccepted,
    /// As if duplicates were not known again: what is sent again is another message.
    DuplicatesForgotten,
}

impl std::str::FromStr for Plant {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "head-check-off" => Ok(Self::HeadCheckOff),
            "gap-accepted" => Ok(Self::GapAccepted),
            "duplicates-forgotten" => Ok(Self::DuplicatesForgotten),
            _ => Err(()),
        }
    }
}

pub struct Scene {
    pub seed: u64,
    pub plant: Plant,
    pub journal: Arc<Journal>,
    pub net: Arc<Dice>,
    pub fabric: Arc<Fabric>,
    pub roster: Arc<SharedRoster>,
    pub memory: MemoryStore,
    /// The store as it is, through no gate.
    pub store: Store,
    pub tasks: TaskTracker,
    pub rooms: Vec<RoomId>,
    /// Owner of every room; has no socket.
    pub admin: DeviceId,
    /// May look into every room without being seen.
    pub recovery: DeviceId,
    pub recovery_secret: [u8; 32],
    /// People say things.
    pub talking: AtomicBool,
    /// The longest pause between two things that one person says, milliseconds.
    pub pause_ms_max: usize,
    ledger: Mutex<Ledger>,
    nodes: Mutex<Vec<Arc<Node>>>,
}

const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

fn grant_of(room: RoomId) -> GrantId {
    GrantId(room.0)
}

const fn keys(device: DeviceId) -> DeviceKeys {
    DeviceKeys { device, sign_key: [3; 32], agree_key: [4; 32] }
}

pub fn secret() -> GrantSecret {
    GrantSecret { verifier: vec![1; 32], sealed_blob: vec![1; 157], pepper: 1 }
}

impl Scene {
    /// A world with `rooms` empty rooms.
    pub async fn found(seed: u64, plant: Plant, rooms: usize, pause_ms_max: usize) -> Arc<Self> {
        let (journal, tasks, dice) = (Arc::new(Journal::begin()), TaskTracker::new(), Dice::of(seed, "scene"));
        let memory = MemoryStore::default();
        let scene = Arc::new(Self {
            seed,
            plant,
            net: Arc::new(Dice::of(seed, "net")),
            fabric: Arc::new(Fabric::new(seed, Arc::clone(&journal), tasks.clone())),
            roster: Arc::default(),
            store: memory.store(),
            memory,
            journal,
            tasks,
            rooms: (0..rooms).map(|_| RoomId(dice.bytes())).collect(),
            admin: DeviceId(dice.bytes()),
            recovery: DeviceId(dice.bytes()),
            recovery_secret: dice.bytes(),
            talking: AtomicBool::new(true),
            pause_ms_max,
            ledger: Mutex::default(),
            nodes: Mutex::default(),
        });
        for room in &scene.rooms {
            scene.create(*room).await;
        }
        scene.admit(scene.recovery, super::person::hash_of(&scene.recovery_secret)).await;
        scene
    }

    async fn create(&self, room: RoomId) {
        let header = self.admin_header(room, EntryKind::EpochRecord, InstanceId(room.0), 0);
        let new = NewRoom {
            room,
            name: self.room_name(room),
            likeness: self.room_name(room),
            owner: keys(self.admin),
            recovery: keys(self.recovery),
            recovery_key: [6; 80],
            grant: grant_of(room),
            kdf: 1,
            secret: secret(),
            epoch_record: self.sealed(&header),
        };
        self.store.create_room(new).await.expect("a new room");
    }

    async fn admit(&self, device: DeviceId, token_hash: [u8; 32]) {
        self.store.issue_token(token_hash, device, TOKEN_LIFE, TOKEN_LIFE).await.expect("memory");
    }

    /// Makes a person a member of the rooms it is to follow, and signs it in.
    pub async fn enter(&self, person: &Person) {
        let rooms: Vec<RoomId> = person.books().keys().copied().collect();
        for room in rooms {
            self.store.enter(room, grant_of(room), keys(person.device)).await.expect("an open room");
        }
        self.admit(person.device, person.token_hash()).await;
    }

    pub const fn admin_header(&self, room: RoomId, kind: EntryKind, instance: InstanceId, counter: u64) -> Header {
        Header { kind, room, epoch: 0, device: self.admin, instance, counter, target: Seq::ZERO }
    }

    /// The admin's envelope with this header, noted as said.
    pub fn sealed(&self, header: &Header) -> Envelope {
        let mut ledger = self.ledger();
        let number = ledger.say(header.room, header.device, header.kind);
        ledger.sealed.insert(identity(header), number);
        Envelope::parse(seal(header, number).into()).expect("the smallest envelope")
    }

    /// Appends so many messages of the admin to a room, past all nodes.
    pub async fn fill(&self, room: RoomId, instance: InstanceId, count: u64) {
        let epoch = self.store.room(room).await.expect("memory").map_or(0, |row| row.epoch);
        for counter in 0..count {
            let header = Header { epoch, ..self.admin_header(room, EntryKind::Message, instance, counter) };
            let envelope = self.sealed(&header);
            let (hash, number) = (envelope.hash(), self.ledger().sealed[&identity(&header)]);
            let appended = self.store.append(envelope).await.expect("the owner may write");
            self.ledger().ack(number, Acked { seq: appended.seq, hash, at: Instant::now() });
        }
        self.journal.count("filled", format_args!("{} with {count} messages", self.room_name(room)));
    }

    pub fn room_name(&self, room: RoomId) -> String {
        match self.rooms.iter().position(|known| *known == room) {
            Some(at) => format!("r{at}"),
            None => "no room".into(),
        }
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All nodes that ever were.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn nodes_up(&self) -> Vec<Arc<Node>> {
        self.nodes().into_iter().filter(|node| node.is_up()).collect()
    }

    /// Starts one more node.
    pub async fn start_node(self: &Arc<Self>) -> Option<Arc<Node>> {
        let no = self.nodes().len() + 1;
        let node = Node::start(self, no).await?;
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&node));
        Some(node)
    }

    /// The node that the load balancer picks for a client which would rather not have one of them.
    pub fn pick_node(&self, dice: &Dice, avoided: Option<usize>) -> Option<Arc<Node>> {
        let up = self.nodes_up();
        let wanted: Vec<_> = up.iter().filter(|node| Some(node.no) != avoided).cloned().collect();
        dice.pick(if wanted.is_empty() { &up } else { &wanted }).cloned()
    }

    /// Since when every node that lives reaches its store as it should; `None`: one does not.
    pub fn calm_since(&self) -> Option<Instant> {
        let nodes = self.nodes().into_iter().filter(|node| node.life() != Life::Dead);
        nodes
            .map(|node| node.calm_since().filter(|_| node.gate.weather() == Weather::Fine))
            .try_fold(Instant::now() - self.journal.elapsed(), |latest, since| since.map(|since| since.max(latest)))
    }
}
