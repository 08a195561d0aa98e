//! A scene for lies: Ana speaks to a node, the victim speaks to it through a server that lies.

use std::collections::HashMap;
use std::time::Duration;

use snug_client::crypto::{ChainPlace, Device, Prev};
use snug_client::log::Violation;
use snug_client::{Client, ClientConfig, ClientError, Event, Events, Rekey, RekeyCause, Rekeyed, Room};
use snug_protocol::frame::{EntryFrame, ServerFrame};
use snug_protocol::{EntryKind, Envelope, EnvelopeHash, Seq};

use super::HostileServer;
use super::accomplice::Accomplice;
use crate::in_time;
use crate::node::Node;

/// The room's name.
pub const NAME: &str = "Garden";
/// Its password.
pub const PASSWORD: &str = "correct horse battery";

/// A node, a room on it, its honest creator, and a victim who has not joined yet.
pub struct Scene {
    /// The node behind the lies.
    pub node: Node,
    /// The lying server before it.
    pub server: HostileServer,
    /// Ana's client, which speaks to the node.
    pub ana: Client,
    /// Her room.
    pub garden: Room,
    /// The victim's client, which speaks to the lying server.
    pub victim: Client,
}

/// A client of the node, reached at `url`, that is quick to come back and to miss what does not arrive.
///
/// # Panics
/// When `url` is no address.
#[must_use]
pub fn client(url: &str, node: &Node) -> Client {
    let mut config = ClientConfig::new(url);
    config.origin = Some(node.url.clone());
    config.timing.arrival_limit = Duration::from_millis(300);
    config.timing.backoff_first = Duration::from_millis(20);
    config.timing.backoff_max = Duration::from_millis(100);
    Client::connect(config, Device::generate()).expect("an address")
}

impl Scene {
    /// Sets it.
    pub async fn set() -> Self {
        let node = Node::start().await;
        let server = HostileServer::before(&node.url).await;
        let (ana, victim) = (client(&node.url, &node), client(&server.url, &node));
        let (garden, _recovery) = in_time("a room", ana.create_room(NAME, PASSWORD, "Ana")).await.expect("a room");
        Self { node, server, ana, garden, victim }
    }

    /// The victim joins.
    ///
    /// # Errors
    /// As the SDK says.
    pub async fn join(&self) -> Result<Room, ClientError> {
        in_time("the victim joins", self.victim.join(NAME, PASSWORD, "Bob")).await
    }

    /// The victim in the room, having seen everything up to its own profile.
    pub async fn joined(&self) -> (Room, Events) {
        let room = self.join().await.expect("nothing is wrong yet");
        let mut events = room.events().await.expect("the room is open");
        until(&mut events, |event| matches!(event, Event::Joined { name, .. } if name == "Bob")).await;
        (room, events)
    }

    /// Somebody who joins and will help the server. Ana has seen it.
    pub async fn accomplice(&self) -> Accomplice {
        let mallory = client(&self.node.url, &self.node);
        let room = in_time("joined", mallory.join(NAME, PASSWORD, "Mallory")).await.expect("joined");
        let accomplice = Accomplice::of(&mallory, &room);
        // Its profile is committed, so that it counts as one who has the key.
        say(&room, "hello").await;
        mallory.close().await;
        accomplice
    }

    /// The room's newest chain entry, which is a record, as long as nobody took a step after it.
    ///
    /// # Panics
    /// When Ana sees no chain.
    #[must_use]
    pub fn newest_record(&self) -> ChainPlace {
        let newest = self.garden.audit().pop().expect("a chain begins with a record");
        ChainPlace { seq: newest.seq, hash: self.garden.secrets().record_hash }
    }

    /// The hash of the entry at a place, as the node has it.
    ///
    /// # Panics
    /// When there is none.
    pub async fn node_hash(&self, at: Seq) -> EnvelopeHash {
        self.node.store.entry_hash(self.garden.id(), at).await.expect("the store answers").expect("an entry")
    }

    /// Ana gives the room another key.
    pub async fn rekey(&self, cause: RekeyCause) -> Rekeyed {
        let rekey = Rekey { cause: &cause, password: "the password after that" };
        in_time("another key", self.garden.rekey(rekey, |_| {})).await.expect("an owner may")
    }

    /// Ana says something, and after it the victim is sent what `forge` makes for those who have seen that. Returns the place of
    /// what was forged.
    pub async fn say_and_forge(&self, text: &str, forge: impl Fn(Prev) -> Envelope + Send + 'static) -> Seq {
        let mut done = false;
        self.server.on_entry(move |entry| {
            if entry.kind() != Some(EntryKind::Message) || std::mem::replace(&mut done, true) {
                return vec![entry];
            }
            let forged = forge(Prev { seq: entry.seq(), hash: entry.hash() });
            let forged = EntryFrame::new(entry.seq().next(), entry.at_ms(), forged.bytes());
            vec![entry, forged]
        });
        say(&self.garden, text).await.next()
    }

    /// Ana says something; its place.
    pub async fn say(&self, text: &str) -> Seq {
        say(&self.garden, text).await
    }
}

/// Sends a message; its place.
///
/// # Panics
/// When it is not sent.
pub async fn say(room: &Room, text: &str) -> Seq {
    in_time("a message is sent", room.send(text)).await.expect("it is sent").seq
}

/// The first event that is wanted; those before it are passed over.
///
/// # Panics
/// When it does not come.
pub async fn until(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    in_time("the event comes", async {
        loop {
            let event = events.next().await.expect("the room is open");
            if wanted(&event) {
                return event;
            }
        }
    })
    .await
}

/// The first violation that is told.
pub async fn violation(events: &mut Events) -> Violation {
    match until(events, |event| matches!(event, Event::Violation(_))).await {
        Event::Violation(violation) => violation,
        _ => unreachable!("only violations are wanted"),
    }
}

/// All that the room tells until the server, on the same socket, says that Ana is writing: whatever was sent before is told by then.
pub async fn all_until_now(scene: &Scene, events: &mut Events) -> Vec<Event> {
    let device = scene.ana.device().id();
    scene.server.tell(&ServerFrame::Typing { room: scene.garden.id(), device });
    let mut told = Vec::new();
    in_time("the server is heard", async {
        loop {
            match events.next().await.expect("the room is open") {
                Event::Typing { device: by } if by == device => return,
                event => told.push(event),
            }
        }
    })
    .await;
    told
}

/// Whether the event is this message.
#[must_use]
pub fn is_text(event: &Event, wanted: &str) -> bool {
    matches!(event, Event::Message { text, .. } if text == wanted)
}

/// The error's code.
///
/// # Errors
/// The code.
pub fn code<T>(answer: Result<T, ClientError>) -> Result<(), &'static str> {
    answer.map(|_| ()).map_err(|error| error.code())
}

/// From place `at` on, the victim is sent what `lie` makes of each entry and those before it.
pub fn lie_at(
    server: &HostileServer,
    at: Seq,
    lie: impl Fn(EntryFrame, &HashMap<Seq, EntryFrame>) -> Vec<EntryFrame> + Send + 'static,
) {
    let mut seen = HashMap::new();
    server.on_entry(move |entry| {
        seen.insert(entry.seq(), entry.clone());
        if entry.seq() < at { vec![entry] } else { lie(entry, &seen) }
    });
}
