//! Everyone loses the connection at one time and comes back at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use snug_client::wire::{Incoming, RawSocket};
use snug_protocol::frame::{ClientFrame, Cursor, ServerFrame};
use snug_protocol::{RoomId, Seq};
use snug_tests::guest::Guest;
use snug_tests::{PATIENCE, eventually, in_time};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::faults::{Fault, Strike};
use super::scene::Scene;

/// Rooms, and devices in each, that the sockets are spread over.
const ROOMS: usize = 4;
const DEVICES: usize = 6;
/// Connections that are made at one time before the storm, so that it is one storm and not two.
const OPENED_AT_ONCE: usize = 50;
/// How long a light client waits after a failure before it tries again, times its tries, at most this often.
const AGAIN: Duration = Duration::from_millis(200);
const TRIES_MAX: u32 = 100;
/// How long it waits before it asks again to follow a room.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);
/// How long one attempt may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);

/// What a light client needs to come back: a token, and its place.
#[derive(Clone)]
pub struct Light {
    url: Arc<str>,
    token: Arc<str>,
    room: RoomId,
    cursor: Cursor,
}

impl Scene {
    /// `SNUG_CHAOS_STORM` sockets.
    pub async fn storm(&mut self) -> Strike {
        let count = super::setting("SNUG_CHAOS_STORM").unwrap_or(super::STORM) as usize;
        let (gate, opened) = (Arc::new(Semaphore::new(OPENED_AT_ONCE)), Arc::new(AtomicUsize::new(0)));
        let (failures, mut returns) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        for client in self.light_clients(count).await {
            let (gate, opened, failures) = (Arc::clone(&gate), Arc::clone(&opened), Arc::clone(&failures));
            returns.spawn(async move {
                let turn = gate.acquire().await.expect("it is never closed");
                let socket = client.come_back(&AtomicUsize::new(0)).await;
                drop(turn);
                opened.fetch_add(1, Ordering::Relaxed);
                stay(socket).await;
                client.come_back(&failures).await
            });
        }
        eventually("all light clients are there", async || (opened.load(Ordering::Relaxed) == count).then_some(()))
            .await;
        let cut_before: u64 = self.fleet.nodes.iter().map(|node| node.front.counts().cut).sum();
        let began = Instant::now();
        self.fleet.nodes.iter().for_each(|node| node.front.cut());
        let back = in_time("everyone comes back", returns.join_all()).await;
        let healed = Instant::now();
        self.figures.storm.push(healed - began);
        let cut = self.fleet.nodes.iter().map(|node| node.front.counts().cut).sum::<u64>() - cut_before;
        assert!(cut >= count as u64, "only {cut} connections were cut");
        let failures = failures.load(Ordering::Relaxed);
        let proof =
            format!("{cut} connections cut, {} back in {:.1?}, {failures} tries in vain", back.len(), healed - began);
        let strike = self.healed(Fault::Storm, healed, proof).await;
        futures_util::future::join_all(back.into_iter().map(RawSocket::close)).await;
        strike
    }

    /// So many of them, in rooms of their own.
    pub async fn light_clients(&self, count: usize) -> Vec<Light> {
        let mut devices = Vec::new();
        for number in 0..ROOMS {
            let mut guest = Guest::new(&self.fleet.url);
            let room = guest.create_in_time(&format!("Storm {number} {}", self.strikes.len())).await;
            let record = guest.page(&format!("/api/rooms/{}/history?limit=1", room.room)).await.1.remove(0);
            let history = room.entered.room.history;
            let cursor = Cursor { history, seq: Seq(1), hash: record.hash().short().into() };
            for device in 0..DEVICES {
                let mut other = Guest::new(&self.fleet.url);
                if device > 0 {
                    other.join_in_time(&room).await;
                }
                let guest = if device > 0 { &other } else { &guest };
                let token = guest.token.as_deref().expect("it is in").into();
                let url = self.fleet.url.as_str().into();
                devices.push(Light { url, token, room: room.room, cursor: cursor.clone() });
            }
        }
        devices.into_iter().cycle().take(count).collect()
    }
}

/// Answers heartbeats until the connection breaks.
pub async fn stay(mut socket: RawSocket) {
    loop {
        match socket.next().await {
            Incoming::Closed { .. } => return,
            Incoming::Frame(ServerFrame::Heartbeat { .. }) => drop(socket.send(&ClientFrame::Heartbeat {}).await),
            _ => {}
        }
    }
}

impl Light {
    /// Tries until it follows its room again.
    pub async fn come_back(&self, failures: &AtomicUsize) -> RawSocket {
        for attempt in 1..=TRIES_MAX {
            if let Ok(Some(socket)) = timeout(ATTEMPT_LIMIT, self.attempt(failures)).await {
                return socket;
            }
            failures.fetch_add(1, Ordering::Relaxed);
            sleep(AGAIN * attempt.min(5)).await;
        }
        panic!("a light client did not come back within {PATIENCE:?}");
    }

    async fn attempt(&self, failures: &AtomicUsize) -> Option<RawSocket> {
        let mut socket = RawSocket::connect(&self.url, Some(&self.token), None).await.ok()?;
        socket.send(&ClientFrame::Hello { client: "light".into() }).await.ok()?;
        let follow = ClientFrame::Follow { id: 1, room: self.room, cursor: Some(self.cursor.clone()) };
        socket.send(&follow).await.ok()?;
        loop {
            match socket.next().await {
                Incoming::Frame(ServerFrame::Followed { .. }) => return Some(socket),
                // As other clients do: it asks again where it is.
                Incoming::Frame(ServerFrame::Error { .. }) => {
                    failures.fetch_add(1, Ordering::Relaxed);
                    sleep(FOLLOW_AGAIN).await;
                    socket.send(&follow).await.ok()?;
                }
                Incoming::Closed { .. } => return None,
                _ => {}
            }
        }
    }
}
