//! Faults of clients, and of the way to them.

use std::net::SocketAddr;
use std::time::Duration;

use snug_backing::{FaultProxy, Flow};
use snug_client::wire::Incoming;
use snug_protocol::Seq;
use snug_protocol::frame::{ServerFrame, close};
use snug_protocol::limits::{HEARTBEAT_ANSWER_LIMIT, HEARTBEAT_PERIOD, SLOW_READER_LIMIT};
use snug_tests::guest::{Guest, GuestRoom, Socket};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::faults::{Fault, Strike};
use super::postgres::ledger;
use super::scene::Scene;

/// Envelopes that are sent through all nodes at once, each.
const THRICE: u32 = 20;
/// Messages that a slow reader does not read: more than buffers hold.
const UNREAD: u32 = 300;
const UNREAD_CHARS: usize = 4_000;
/// Of these, how many are on their way at one time.
const AT_ONCE: u32 = 25;
/// A reader's buffer for the network. Small, so that it is full soon.
const SMALL_BUFFER: u32 = 4_096;
/// Longer than a node waits for a socket that takes nothing, or for the answer to a heartbeat.
const MORE: Duration = Duration::from_secs(3);

impl Scene {
    /// One envelope through all nodes at one time: stored once, and each node says where.
    pub async fn sent_thrice(&mut self) -> Strike {
        let began = Instant::now();
        let mut guest = Guest::new(&self.fleet.url);
        let mut room = guest.create_in_time(&format!("Thrice {}", self.strikes.len())).await;
        let mut sockets = Vec::new();
        for node in &self.fleet.nodes {
            sockets.push(guest.socket_in_time_at(node.address).await);
        }
        let mut duplicates = 0;
        for id in 0..THRICE {
            let envelope = guest.message(&mut room, "thrice");
            let answers = sockets.iter_mut().map(async |socket| {
                // The node's connections to the database may have been cut a moment ago.
                socket.insist(id, &envelope).await
            });
            let answers = futures_util::future::join_all(answers).await;
            // The room's record stands before the first.
            let seq = Seq(u64::from(id) + 2);
            assert!(answers.iter().all(|(at, _)| *at == seq), "one envelope, several places: {answers:?}");
            let first = answers.iter().filter(|(_, duplicate)| !duplicate).count();
            assert_eq!(first, 1, "it was stored by one of them: {answers:?}");
            duplicates += answers.len() - first;
        }
        let (head, rows) = ledger(&self.fleet.database, room.room).await;
        assert_eq!((head, rows.len()), (i64::from(THRICE) + 1, THRICE as usize + 1));
        let proof = format!("{THRICE} envelopes stored once, {duplicates} answers called them known");
        self.healed(Fault::SentThrice, began, proof).await
    }

    /// The address of a node that is not killed before what runs beside is done.
    fn spare_one(&mut self) -> SocketAddr {
        let spared = self.fleet.nodes.len() - 1;
        self.spared = Some(spared);
        self.fleet.nodes[spared].address
    }

    /// Somebody takes nothing while a lot is said: it is let go, holds up nobody, and misses nothing when it comes back. Runs beside.
    pub async fn slow_reader(&mut self) {
        let node = self.spare_one();
        let (mut guest, began) = (Guest::new(&self.fleet.url), Instant::now());
        let mut room = guest.create_in_time("Slow reader").await;
        let mut slow = guest.socket_over(narrow(node).await).await;
        let (mut writer, mut fast) = (guest.socket_at(node).await, guest.socket_at(node).await);
        for socket in [&mut slow, &mut fast] {
            assert!(matches!(socket.follow(room.room, None).await, ServerFrame::Followed { .. }));
        }
        let last = Seq(u64::from(UNREAD) + 1);
        let (_, quickly) = tokio::join!(say_much(&guest, &mut room, &mut writer), read_to(&mut fast, last));
        assert!(quickly.is_ok(), "who reads has everything at once: {quickly:?}");
        self.beside.spawn(async move {
            sleep(SLOW_READER_LIMIT + MORE).await;
            let (seen, code) = read_to(&mut slow, last).await.expect_err("it was not let go although it took nothing");
            assert!([None, Some(close::TIMED_OUT)].contains(&code), "{code:?}");
            let mut again = guest.socket_in_time_at(node).await;
            while !matches!(again.follow(room.room, None).await, ServerFrame::Followed { .. }) {
                // Postgres may be away just now.
                sleep(MORE).await;
            }
            assert!(read_to(&mut again, last).await.is_ok());
            let proof = format!("let go at {seen} of {last} within {:.0?}, back at the head", began.elapsed());
            Strike { fault: Fault::SlowReader, proof, at_head: None }
        });
    }

    /// A client's machine is gone without a word: its node notices by the heartbeat. Runs beside, so the node must live.
    pub async fn half_open(&mut self) {
        let proxy = FaultProxy::start(self.spare_one()).await.expect("a port");
        let mut guest = Guest::new(&self.fleet.url);
        let room = guest.create_in_time("Half open").await;
        let mut socket = guest.socket_at(proxy.address()).await;
        assert!(matches!(socket.follow(room.room, None).await, ServerFrame::Followed { .. }));
        proxy.set_both(Flow::BlackHole);
        let began = Instant::now();
        self.beside.spawn(async move {
            sleep(HEARTBEAT_PERIOD + HEARTBEAT_ANSWER_LIMIT + MORE).await;
            let withheld = proxy.counts().bytes_withheld;
            assert!(withheld > 0, "nothing was kept from the client");
            let silent = began.elapsed();
            // Now it hears what its node had said meanwhile.
            proxy.heal();
            let code = socket.closed().await;
            assert_eq!(code, Some(close::TIMED_OUT), "its node had not given it up");
            let proof = format!("given up within {silent:.0?}, {withheld} bytes on the way");
            Strike { fault: Fault::HalfOpen, proof, at_head: None }
        });
    }
}

/// Appends more than buffers hold.
async fn say_much(guest: &Guest, room: &mut GuestRoom, writer: &mut Socket) {
    let long = "🦀".repeat(UNREAD_CHARS);
    for first in (0..UNREAD).step_by(AT_ONCE as usize) {
        let ids = first..UNREAD.min(first + AT_ONCE);
        for id in ids.clone() {
            let envelope = guest.message(room, &long);
            writer.send(id, &envelope).await;
        }
        for id in ids {
            writer.sent(id).await;
        }
    }
}

/// A connection that takes little at a time.
async fn narrow(node: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(SMALL_BUFFER).expect("a small buffer");
    socket.connect(node).await.expect("a connection")
}

/// Reads up to the entry at `last`, or up to the end of the socket: then how far it came, and the code.
async fn read_to(socket: &mut Socket, last: Seq) -> Result<(), (Seq, Option<u16>)> {
    let (mut seen, deadline) = (Seq::ZERO, Instant::now() + snug_tests::PATIENCE);
    while seen < last {
        match timeout_at(deadline, socket.next()).await.expect("something comes") {
            Incoming::Entry(entry) => seen = entry.seq(),
            Incoming::Frame(_) | Incoming::Other => {}
            Incoming::Closed { code } => return Err((seen, code)),
        }
    }
    Ok(())
}
