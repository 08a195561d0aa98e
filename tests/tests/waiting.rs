//! A database that does not answer some calls: what must go on all the same.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use snug_protocol::Seq;
use snug_store::{Gate, MemoryStore, Passage};
use snug_tests::guest::Guest;
use snug_tests::in_time;
use snug_tests::node::Node;
use tokio::sync::watch;

/// Holds back calls of some names.
struct Held {
    names: Mutex<HashSet<&'static str>>,
    /// How many have come to be held.
    came: watch::Sender<usize>,
    /// Whether they may go on.
    released: watch::Sender<bool>,
}

impl Held {
    fn new() -> Arc<Self> {
        Arc::new(Self { names: Mutex::default(), came: watch::channel(0).0, released: watch::channel(false).0 })
    }

    fn hold(&self, name: &'static str) {
        self.names.lock().expect("no panic").insert(name);
    }

    async fn has_come(&self) {
        let mut came = self.came.subscribe();
        in_time("the call is made", came.wait_for(|came| *came > 0)).await.expect("it is there");
    }

    fn release(&self) {
        self.names.lock().expect("no panic").clear();
        self.released.send_replace(true);
    }
}

impl Gate for Held {
    fn arrive(&self, call: &'static str) -> Passage {
        if !self.names.lock().expect("no panic").contains(call) {
            return Box::pin(std::future::ready(true));
        }
        self.came.send_modify(|came| *came += 1);
        let mut released = self.released.subscribe();
        Box::pin(async move { released.wait_for(|released| *released).await.is_ok() })
    }
}

#[tokio::test]
async fn a_message_is_heard_although_its_sender_waits_for_the_database() {
    let (memory, held) = (MemoryStore::default(), Held::new());
    let node = Node::over(memory.behind(Arc::clone(&held) as Arc<dyn Gate>), &[]).await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut room = ana.create("Waiting").await;
    ben.join(&room).await;
    let (mut anas, mut bens) = (ana.socket().await, ben.socket().await);
    anas.follow(room.room, None).await;
    bens.follow(room.room, None).await;
    held.hold("follow_state");
    // Her socket has both before it is read: the message must not wait for the room.
    let message = ana.message(&mut room, "hello");
    anas.send(1, &message).await;
    anas.say(&snug_protocol::frame::ClientFrame::Follow { id: 2, room: room.room, cursor: None }).await;
    held.has_come().await;
    loop {
        let entry = bens.entry().await;
        if entry.hash() == message.hash() {
            break;
        }
    }
    held.release();
    let (seq, duplicate) = anas.sent(1).await;
    assert!(seq > Seq(1) && !duplicate);
}

#[tokio::test]
async fn what_was_committed_without_a_word_is_heard_when_its_sender_sends_it_again() {
    let (memory, held) = (MemoryStore::default(), Held::new());
    // No head check finds it either.
    held.hold("heads");
    let node = Node::over(memory.behind(Arc::clone(&held) as Arc<dyn Gate>), &[]).await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut room = ana.create("Unheard").await;
    ben.join(&room).await;
    let (mut anas, mut bens) = (ana.socket().await, ben.socket().await);
    bens.follow(room.room, None).await;
    let message = ana.message(&mut room, "hello");
    // As a node does that dies between the commit and the hint.
    memory.store().append(message.clone()).await.expect("it is appended");
    anas.send(1, &message).await;
    assert!(anas.sent(1).await.1, "it was there");
    loop {
        if bens.entry().await.hash() == message.hash() {
            break;
        }
    }
    held.release();
}
