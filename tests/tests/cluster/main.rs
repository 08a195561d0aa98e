//! Several nodes behave as one: each over the same store and backplane, in this process, with raw sockets and the SDK as clients.

mod draining;
mod joining;
mod lost_hints;
mod ordering;
mod presence;
mod readiness;
mod removal;
mod resuming;

use std::time::Duration;

use snug_client::crypto::Device;
use snug_client::wire::Incoming;
use snug_client::{Client, ClientConfig, Event, Events};
use snug_protocol::frame::{EntryFrame, ServerFrame};
use snug_protocol::{DeviceId, Seq};
use snug_tests::cluster::ClusterNode;
use snug_tests::guest::{Guest, GuestRoom, Socket};
use snug_tests::in_time;

const PASSWORD: &str = "correct horse battery";

/// A client that knows these nodes and is quick to come back.
fn client(nodes: &[&ClusterNode]) -> Client {
    let mut config = ClientConfig::with_nodes(nodes.iter().map(|node| node.url.clone()));
    config.timing.backoff_first = Duration::from_millis(20);
    config.timing.backoff_max = Duration::from_millis(200);
    Client::connect(config, Device::generate()).expect("addresses")
}

/// A socket that follows the room from the latest page.
async fn following(guest: &Guest, room: &GuestRoom) -> Socket {
    let mut socket = guest.socket().await;
    let answer = socket.follow(room.room, None).await;
    assert!(matches!(answer, ServerFrame::Followed { .. }), "{answer:?}");
    socket
}

/// The same device, with its token, at another node.
fn at(guest: &Guest, node: &ClusterNode) -> Guest {
    let mut there = Guest::of(&node.url, Device::import(&guest.device.export()));
    there.token.clone_from(&guest.token);
    there
}

/// Entries as they come, until the one at `last`.
async fn entries_until(socket: &mut Socket, last: Seq) -> Vec<EntryFrame> {
    let mut entries = Vec::new();
    while entries.last().is_none_or(|entry: &EntryFrame| entry.seq() < last) {
        entries.push(socket.entry().await);
    }
    entries
}

/// Texts in the order they come, up to and with `last`; a lost connection fails the test if `steady`.
async fn texts_until(events: &mut Events, last: &str, steady: bool) -> Vec<String> {
    let mut texts = Vec::new();
    in_time("the last text comes", async {
        while texts.last().is_none_or(|text| text != last) {
            match events.next().await.expect("the room is open") {
                Event::Message { text, .. } => texts.push(text),
                Event::Violation(violation) => panic!("{violation:?}"),
                Event::Hole { .. } | Event::Unreadable { .. } => panic!("something is missing"),
                Event::ConnectionLost if steady => panic!("the connection was to be there all the time"),
                _ => {}
            }
        }
    })
    .await;
    texts
}

/// The next frame about who is here, other than those about `except`.
async fn presence(socket: &mut Socket, except: DeviceId) -> ServerFrame {
    loop {
        match socket.next().await {
            Incoming::Frame(ServerFrame::Presence { device, .. }) if device == except => {}
            Incoming::Frame(frame @ (ServerFrame::Presence { .. } | ServerFrame::Here { .. })) => return frame,
            Incoming::Closed { code } => panic!("closed: {code:?}"),
            _ => {}
        }
    }
}
