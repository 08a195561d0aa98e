//! A scene for lies: Ana speaks to a node, the victim speaks to it through a server that lies.

use std::collections::HashMap;
use std::time::Duration;

use snug_client::crypto::Device;
use snug_client::log::Violation;
use snug_client::{Client, ClientConfig, ClientError, Event, Events, Room};
use snug_protocol::Seq;
use snug_protocol::frame::EntryFrame;

use super::HostileServer;
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
