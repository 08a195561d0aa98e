//! Who takes part: Ana, who creates the room and owns it, and Ben and Cleo, who are members.

use std::time::Duration;

use snug_client::crypto::{Device, DeviceSecrets, InviteLink, RecoveryKey};
use snug_client::{Client, ClientConfig, ClientError, Event, Events, Rekey, RekeyCause, Rekeyed, Room, Sending, Sent};
use snug_protocol::{DeviceId, Seq};
use snug_tests::node::Node;
use snug_tests::{eventually, in_time};

pub const NAME: &str = "Garden";
pub const PASSWORD: &str = "correct horse battery";

/// A client of the node that is reached at `url`, quick to come back.
pub fn client_of(node: &Node, url: &str, device: Device) -> Client {
    let mut config = ClientConfig::new(url);
    config.origin = Some(node.url.clone());
    config.timing.backoff_first = Duration::from_millis(20);
    config.timing.backoff_max = Duration::from_millis(100);
    Client::connect(config, device).expect("an address")
}

/// A client of the node with a device of its own.
pub fn client(node: &Node) -> Client {
    client_of(node, &node.url, Device::generate())
}

/// The error's code.
pub fn code<T>(answer: Result<T, ClientError>) -> Result<(), &'static str> {
    answer.map(|_| ()).map_err(|error| error.code())
}

/// Somebody in the room.
pub struct Person {
    pub client: Client,
    pub room: Room,
    pub events: Events,
}

impl Person {
    pub async fn of(client: Client, room: Room) -> Self {
        let events = room.events().await.expect("open");
        Self { client, room, events }
    }

    pub fn id(&self) -> DeviceId {
        self.client.device().id()
    }

    /// What a program keeps of the device.
    pub fn device(&self) -> DeviceSecrets {
        self.client.device().export()
    }

    /// The first event that is wanted. Nothing here is against the rules, so a violation is a failure.
    pub async fn hears(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        in_time("the event comes", async {
            loop {
                match self.events.next().await.expect("the room is open") {
                    event if wanted(&event) => return event,
                    Event::Violation(violation) => panic!("{violation:?}"),
                    _ => {}
                }
            }
        })
        .await
    }

    pub async fn hears_text(&mut self, wanted: &str) -> Seq {
        let heard = self.hears(|event| matches!(event, Event::Message { text, .. } if text == wanted)).await;
        heard.seq().expect("a message has a place")
    }

    pub async fn says(&self, text: &str) -> Seq {
        done(self.room.send(text)).await.seq
    }

    /// The texts that the room shows now, oldest first, as far as they are loaded.
    pub async fn texts(&self) -> Vec<String> {
        texts(self.room.loaded().await.expect("open"))
    }

    /// The message at `seq` as it stands now.
    pub async fn shown(&self, seq: Seq) -> Event {
        let found = self.room.loaded().await.expect("open").into_iter().find(|event| event.seq() == Some(seq));
        found.unwrap_or_else(|| panic!("nothing is shown at {seq}"))
    }

    /// Waits until this one knows of the epoch.
    pub async fn reaches(&self, epoch: u32) {
        eventually("the epoch is known", async || (self.room.epoch() == epoch).then_some(())).await;
    }

    /// Gives the room another key.
    pub async fn rekeys(&self, cause: RekeyCause, password: &str) -> Result<Rekeyed, ClientError> {
        let rekey = Rekey { cause: &cause, password };
        in_time("another key", self.room.rekey(rekey, |_| {})).await
    }

    /// Removes a device; the new password is `password`.
    pub async fn removes(&self, device: DeviceId, ban: bool, password: &str) -> Rekeyed {
        let cause = RekeyCause::Remove { devices: vec![device], ban };
        self.rekeys(cause, password).await.expect("an admin may")
    }

    /// Nothing was against the rules, as far as this one sees.
    pub async fn is_content(&self) {
        assert_eq!(self.room.violations().await.expect("open"), []);
    }
}

/// The texts among events, in their order.
pub fn texts(events: impl IntoIterator<Item = Event>) -> Vec<String> {
    let text = |event| match event {
        Event::Message { text, .. } => Some(text),
        _ => None,
    };
    events.into_iter().filter_map(text).collect()
}

/// Waits until it is sent, which it must be.
pub async fn done(sending: Sending) -> Sent {
    in_time("it is sent", sending).await.expect("it is sent")
}

/// The reason why it is not sent.
pub async fn refused(sending: Sending) -> &'static str {
    in_time("an answer", sending).await.expect_err("it is refused").code()
}

/// A node, a room on it, and three people in the room.
pub struct Cast {
    pub node: Node,
    pub ana: Person,
    pub ben: Person,
    pub cleo: Person,
    pub recovery: RecoveryKey,
}

impl Cast {
    pub async fn gather() -> Self {
        Self::at(Node::start().await).await
    }

    pub async fn at(node: Node) -> Self {
        let ana = client(&node);
        let (room, recovery) = in_time("a room", ana.create_room(NAME, PASSWORD, "Ana")).await.expect("a room");
        let mut ana = Person::of(ana, room).await;
        let (ben, cleo) = (joins(&node, &ana, "Ben").await, joins(&node, &ana, "Cleo").await);
        for name in ["Ben", "Cleo"] {
            ana.hears(|event| matches!(event, Event::Joined { name: joined, .. } if joined == name)).await;
        }
        Self { node, ana, ben, cleo, recovery }
    }

    /// Everyone sees the same state of the room, by the same steps.
    pub async fn agree(&self) {
        let (state, audit) = (self.ana.room.state(), self.ana.room.audit());
        for person in [&self.ben, &self.cleo] {
            // Not every step changes the state, so the state alone does not say that the newest step has come.
            let has_come = || person.room.audit().last() == audit.last() && person.room.state() == state;
            eventually("everyone sees who governs", async || has_come().then_some(())).await;
            assert_eq!(person.room.audit(), audit);
        }
    }

    /// Everyone writes, and everyone reads it.
    pub async fn all_talk(&mut self, word: &str) {
        let [a, b, c] = ["Ana", "Ben", "Cleo"].map(|name| format!("{name} says {word}"));
        self.ana.says(&a).await;
        self.ben.says(&b).await;
        self.cleo.says(&c).await;
        for person in [&mut self.ana, &mut self.ben, &mut self.cleo] {
            // Each by its place: what was heard before is passed over.
            person.hears_text(&c).await;
            let texts = person.texts().await;
            assert!([&a, &b, &c].iter().all(|text| texts.contains(text)), "{texts:?}");
            person.is_content().await;
        }
    }
}

/// Somebody who joins by an invite.
pub async fn joins(node: &Node, host: &Person, name: &str) -> Person {
    let (link, _) = in_time("an invite", host.room.create_invite(None, Some(1))).await.expect("an invite");
    joins_by(node, &link, name).await
}

/// Somebody who joins by this invite.
pub async fn joins_by(node: &Node, link: &InviteLink, name: &str) -> Person {
    let newcomer = client(node);
    let room = in_time("joined", newcomer.join_by_link(link, name)).await.expect("joined");
    let mut person = Person::of(newcomer, room).await;
    let own = person.id();
    person.hears(|event| matches!(event, Event::Joined { device, .. } if *device == own)).await;
    person
}

/// Everything the room shows, oldest first, page by page from the newest.
pub async fn whole(person: &Person) -> Vec<Event> {
    // Paging begins anew with the reader.
    let mut events = Vec::new();
    let mut before = None;
    loop {
        let page = match before {
            Some(before) => in_time("a page", person.room.history_before(before, 200)).await,
            None => in_time("a page", person.room.history_before(Seq((1 << 53) - 1), 200)).await,
        }
        .expect("a page");
        before = Some(page.from);
        let is_beginning = page.is_beginning();
        events.splice(0..0, page.events);
        if is_beginning {
            return events;
        }
    }
}
