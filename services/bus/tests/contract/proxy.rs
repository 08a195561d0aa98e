//! A TCP proxy before a Redis, which can make the connections that it has now lose what comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What becomes of the server's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Messages of subscriptions are lost; everything else passes.
    Deaf,
    /// All is lost.
    Silent,
}

struct Faults {
    /// Connections before this one are deaf.
    deaf_before: AtomicU64,
    silent_before: AtomicU64,
    connections: AtomicU64,
    messages_lost: AtomicU64,
}

pub struct Proxy {
    pub port: u16,
    faults: Arc<Faults>,
    _stop: DropGuard,
}

impl Proxy {
    pub async fn before(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has one").port();
        let zero = || AtomicU64::new(0);
        let faults = Faults { deaf_before: zero(), silent_before: zero(), connections: zero(), messages_lost: zero() };
        let (faults, stop, tasks) = (Arc::new(faults), CancellationToken::new(), TaskTracker::new());
        tasks.spawn(stop.clone().run_until_cancelled_owned(accept(
            listener,
            upstream,
            faults.clone(),
            tasks.clone(),
            stop.clone(),
        )));
        Self { port, faults, _stop: stop.drop_guard() }
    }

    /// From now on, for the connections that there are; new ones are well.
    pub fn set(&self, fault: Fault) {
        let before = self.faults.connections.load(Ordering::SeqCst);
        let which = match fault {
            Fault::Deaf => &self.faults.deaf_before,
            Fault::Silent => &self.faults.silent_before,
        };
        which.store(before, Ordering::SeqCst);
    }

    /// Proof that the fault took place.
    pub fn messages_lost(&self) -> u64 {
        self.faults.messages_lost.load(Ordering::SeqCst)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

async fn accept(
    listener: TcpListener,
    upstream: u16,
    faults: Arc<Faults>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else { continue };
        let number = faults.connections.fetch_add(1, Ordering::SeqCst);
        let ((mut from_client, to_client), (from_server, mut to_server)) = (client.into_split(), server.into_split());
        let back = send_back(from_server, to_client, number, faults.clone());
        let both = async move {
            tokio::select! {
                _ = copy(&mut from_client, &mut to_server) => {}
                () = back => {}
            }
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(both));
    }
}

async fn send_back(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, number: u64, faults: Arc<Faults>) {
    let mut waiting = Vec::new();
    while let Ok(1..) = server.read_buf(&mut waiting).await {
        while let Some(length) = frame_length(&waiting) {
            let frame: Vec<u8> = waiting.drain(..length).collect();
            let is_message = frame[0] == b'>' && frame.windows(8).take(16).any(|window| window == b"smessage");
            if number < faults.silent_before.load(Ordering::SeqCst) {
                continue;
            }
            if is_message && number < faults.deaf_before.load(Ordering::SeqCst) {
                faults.messages_lost.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            if client.write_all(&frame).await.is_err() {
                return;
            }
        }
    }
}

/// The length of the first frame of Redis's protocol in `bytes`, if it is complete.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    let count = |times: usize| Some(usize::try_from(number()?).unwrap_or(0) * times);
    let items = match bytes[0] {
        b'$' | b'=' | b'!' => {
            let length = number()?;
            let whole = usize::try_from(length).map_or(line, |length| line + length + 2);
            return (bytes.len() >= whole).then_some(whole);
        }
        b'*' | b'~' | b'>' => count(1)?,
        b'%' | b'|' => count(2)?,
        _ => return Some(line),
    };
    (0..items).try_fold(line, |at, _| Some(at + frame_length(bytes.get(at..)?)?))
}
