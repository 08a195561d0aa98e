//! A client by the rules of PROTOCOL.md, without cryptography: it follows its rooms with cursors, says things, sends again what is not
//! answered on whichever node it reaches, answers heartbeats, and gives up a socket that is silent.

mod book;
mod outbox;
mod probe;
mod session;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use snug_protocol::{DeviceId, EntryKind, ErrorCode, InstanceId, RoomId, Seq};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use book::{Book, Following};
pub use probe::who_is_here;
pub use session::run;

use crate::cable::Cable;
use crate::dice::Dice;
use crate::journal::Promise;
use crate::node::Node;
use crate::scene::{Plant, Scene};
use outbox::Outbox;

/// What waits to be said at most; a person who sees that nothing goes out stops writing.
const WAITING_MAX: usize = 24;

/// A client's connection, as the nemesis finds it.
#[derive(Clone)]
pub struct Line {
    pub cable: Cable,
    pub node: Arc<Node>,
}

pub struct Person {
    pub name: String,
    pub device: DeviceId,
    peer: SocketAddr,
    secret: [u8; 32],
    books: Mutex<BTreeMap<RoomId, Book>>,
    line: Mutex<Option<Line>>,
    dice: Dice,
    /// There is something new to send.
    nudge: Notify,
}

/// As the store keeps the token made of `secret`.
pub fn hash_of(secret: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl Person {
    /// Number `no`, who is to follow these rooms.
    pub fn new(scene: &Scene, no: usize, rooms: &[RoomId]) -> Arc<Self> {
        let name = format!("p{no}");
        let dice = Dice::of(scene.seed, &name);
        let device = DeviceId(dice.bytes());
        let books = rooms.iter().map(|room| {
            let outbox =
                Outbox::new(*room, device, InstanceId(dice.bytes()), scene.plant == Plant::DuplicatesForgotten);
            (*room, Book::new(*room, device, name.clone(), outbox))
        });
        let books = Mutex::new(books.collect());
        let port = u16::try_from(no).expect("few people");
        let peer = SocketAddr::from(([10, 0, 0, 1], port));
        let secret = dice.bytes();
        Arc::new(Self { name, device, peer, secret, books, line: Mutex::default(), dice, nudge: Notify::new() })
    }

    pub fn token_hash(&self) -> [u8; 32] {
        hash_of(&self.secret)
    }

    pub fn books(&self) -> MutexGuard<'_, BTreeMap<RoomId, Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_line(&self, line: Option<Line>) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }

    /// The connection, if there is one.
    pub fn line(&self) -> Option<Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says something new in a room, unless too much waits already or there is no room for it any more.
    pub fn say(&self, scene: &Scene, room: RoomId, kind: EntryKind, target: Seq) {
        let mut books = self.books();
        let Some(book) = books.get_mut(&room) else { return };
        if book.outbox.len() < WAITING_MAX && !matches!(book.following, Following::Closed(_)) {
            let number = scene.ledger().say(room, self.device, kind);
            book.outbox.put(number, kind, target);
            self.nudge.notify_one();
        }
    }

    /// Says a few things somewhere.
    fn talk(&self, scene: &Scene) {
        let rooms: Vec<RoomId> = self.books().keys().copied().collect();
        let Some(room) = self.dice.pick(&rooms) else { return };
        let count = if self.dice.one_in(8) { 2 + self.dice.below(10) } else { 1 };
        for _ in 0..count {
            self.say(scene, *room, EntryKind::Message, Seq::ZERO);
        }
    }

    /// The server says that the room is followed no longer.
    fn room_closed(&self, scene: &Scene, room: RoomId, code: ErrorCode) {
        let (is_removed, is_rewound) = {
            let ledger = scene.ledger();
            (ledger.removing.contains(&(room, self.device)), ledger.rewind.is_some())
        };
        scene.journal.count("room closed", format_args!("{} in {}: {code:?}", self.name, scene.room_name(room)));
        if code != ErrorCode::Removed || !(is_removed || is_rewound) {
            let (name, room) = (&self.name, scene.room_name(room));
            scene.journal.violation(Promise::RoomStays, format_args!("{name} was told of {room}: {code:?}"));
        }
        if let Some(book) = self.books().get_mut(&room) {
            book.following = Following::Closed(code);
        }
    }

    /// When this person is to do something by itself.
    fn due(&self) -> Option<Instant> {
        let books = self.books();
        let due = |book: &Book| match book.following {
            Following::No(at) => Some(at),
            Following::Yes { .. } => book.outbox.due(),
            Following::Asked { .. } | Following::Closed(_) => None,
        };
        books.values().filter_map(due).min()
    }
}
