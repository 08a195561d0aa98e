//! A TCP proxy on loopback that can do wrong, at any time, to connections that are open and to those that come.
//!
//! It never loses a byte in the middle of a stream, since TCP does not either: what it withholds is delivered after healing, or the
//! connection is cut. It counts what it did, so that a test can prove that its fault took place.

mod connection;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Which way bytes go. The client is whoever connects to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connected to the server behind the proxy.
    ToServer,
    /// From the server to whoever connected.
    ToClient,
}

/// How bytes of one direction pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// At once.
    #[default]
    Open,
    /// Each byte this much later, at most twice as much.
    Delay(Duration),
    /// Some bytes at a time with a pause after each piece.
    Drip {
        /// Bytes of one piece, at least 1.
        bytes: usize,
        /// The pause after a piece.
        every: Duration,
    },
    /// Not at all: bytes are accepted (about as many as socket buffers hold) and nothing is delivered, neither they nor the end of the
    /// connection. With one direction open this is a half-open connection. What was withheld is delivered when the flow changes.
    BlackHole,
}

/// What a proxy has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections accepted, refused ones not included.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections reset as soon as they came, because the proxy refused or nobody listened behind it.
    pub refused: u64,
    /// Connections reset by [`FaultProxy::cut`] or by a pattern.
    pub cut: u64,
    /// Of these, the ones that a pattern cut.
    pub cut_by_pattern: u64,
    /// Bytes delivered to the server.
    pub bytes_to_server: u64,
    /// Bytes delivered to the client.
    pub bytes_to_client: u64,
    /// Bytes that a black hole held up, in both directions.
    pub bytes_withheld: u64,
    /// Reads that were delayed or dripped, in both directions.
    pub slowed: u64,
}

/// A listening proxy; it and its connections end when it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

#[derive(Clone, Copy, Default)]
struct Rules {
    to_server: Flow,
    to_client: Flow,
    refusing: bool,
}

impl Rules {
    fn flow(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

struct Shared {
    target: Mutex<SocketAddr>,
    rules: watch::Sender<Rules>,
    /// Grows with every cut; connections end when it changes.
    cuts: watch::Sender<u64>,
    armed: Mutex<Option<(Direction, Vec<u8>)>>,
    counts: Mutex<Counts>,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn target(&self) -> SocketAddr {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultProxy {
    /// Listens on a free port of loopback and forwards to `target`, which need not be there yet.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            rules: watch::Sender::new(Rules::default()),
            cuts: watch::Sender::new(0),
            armed: Mutex::default(),
            counts: Mutex::default(),
        });
        let stop = CancellationToken::new();
        TaskTracker::new().spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self { address, shared, stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with host and port replaced by the proxy's, as in `redis://127.0.0.1:6379/0`.
    ///
    /// # Panics
    /// When `url` has no `://`.
    #[must_use]
    pub fn through(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let user = authority.rfind('@').map_or("", |at| &authority[..=at]);
        format!("{scheme}://{user}{}{tail}", self.address)
    }

    /// Forwards new connections to `target` from now on; open ones stay where they are.
    pub fn aim(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Lets the bytes of one direction pass like this from now on, in every connection.
    pub fn set(&self, direction: Direction, flow: Flow) {
        self.shared.rules.send_modify(|rules| *rules.flow(direction) = flow);
    }

    /// Lets the bytes of both directions pass like this from now on.
    pub fn set_both(&self, flow: Flow) {
        self.shared.rules.send_modify(|rules| (rules.to_server, rules.to_client) = (flow, flow));
    }

    /// Resets all open connections, on both sides, whatever the flow. New ones are accepted.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Resets new connections as soon as they come, until [`FaultProxy::heal`]. Open ones stay.
    pub fn refuse(&self) {
        self.shared.rules.send_modify(|rules| rules.refusing = true);
    }

    /// As if the server's machine had gone: resets all connections and every new one, until [`FaultProxy::heal`].
    pub fn take_down(&self) {
        self.refuse();
        self.cut();
    }

    /// Cuts the first connection in which `pattern` would pass in this direction; what completes the pattern is not delivered any more.
    /// Once: arm it again for another cut. A new pattern replaces one that waits.
    ///
    /// `(ToServer, "COMMIT")` before Postgres cuts before the commit, `(ToClient, "COMMIT\0")` cuts after the server has committed and
    /// before its client learns of it.
    pub fn cut_at(&self, direction: Direction, pattern: impl Into<Vec<u8>>) {
        *self.armed() = Some((direction, pattern.into()));
    }

    /// Whether a pattern still waits to be seen.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.armed().is_some()
    }

    /// Ends every fault: all flows open, connections welcome, no pattern waited for. What was withheld is delivered.
    pub fn heal(&self) {
        *self.armed() = None;
        self.shared.rules.send_replace(Rules::default());
    }

    /// What it has done until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn armed(&self) -> MutexGuard<'_, Option<(Direction, Vec<u8>)>> {
        self.shared.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Accepts until `stop`; then lets go of the listener and of every connection.
async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => client,
                // Out of file descriptors, say: what is open goes on.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
            () = stop.cancelled() => return,
        };
        if shared.rules.borrow().refusing {
            connection::reset(&client);
            shared.count(|counts| counts.refused += 1);
            continue;
        }
        shared.count(|counts| (counts.connections, counts.open) = (counts.connections + 1, counts.open + 1));
        let (shared, stop, cuts) = (Arc::clone(&shared), stop.clone(), shared.cuts.subscribe());
        tasks.spawn(async move {
            tokio::select! {
                () = connection::run(client, &shared, cuts) => {}
                () = stop.cancelled() => {}
            }
            shared.count(|counts| counts.open -= 1);
        });
    }
}
