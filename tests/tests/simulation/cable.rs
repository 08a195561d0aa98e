//! The network between a client and a node: a stream in memory with latency, which can be slow, cut, or dead at one end only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use snug_gateway::server::Listen;
use snug_gateway::wire::{Stream, boxed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::dice::Dice;

/// What each end's buffer holds, as the system's do.
const BUFFER_BYTES: usize = 32 * 1024;
/// What travels together.
const CHUNK_BYTES: usize = 4 * 1024;

/// What has become of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It carries.
    Whole,
    /// Both ends know.
    Cut,
    /// The client's end is closed; the node hears nothing and knows nothing.
    HalfOpenAtNode,
    /// The node's end is closed; the client hears nothing and knows nothing.
    HalfOpenAtClient,
    /// Neither end knows.
    Silent,
}

struct State {
    /// What a chunk waits besides the latency, milliseconds.
    drag_ms: AtomicU64,
    /// It has been slow at some time: what comes late may be its doing.
    was_slow: AtomicBool,
    fate: watch::Sender<Fate>,
}

/// One connection, as the nemesis sees it.
#[derive(Clone)]
pub struct Cable {
    state: Arc<State>,
}

impl Cable {
    /// A cable and its ends: the client's, and the node's.
    pub fn lay(dice: &Arc<Dice>, tasks: &TaskTracker) -> (Self, DuplexStream, DuplexStream) {
        let (client, near) = duplex(BUFFER_BYTES);
        let (far, node) = duplex(BUFFER_BYTES);
        let (fate, _) = watch::channel(Fate::Whole);
        let state = Arc::new(State { drag_ms: AtomicU64::new(0), was_slow: AtomicBool::new(false), fate });
        tasks.spawn(run(near, far, Arc::clone(&state), Arc::clone(dice)));
        (Self { state }, client, node)
    }

    pub fn meet(&self, fate: Fate) {
        self.state.fate.send_replace(fate);
    }

    pub fn fate(&self) -> Fate {
        *self.state.fate.borrow()
    }

    pub fn drag(&self, drag: Duration) {
        self.state.drag_ms.store(u64::try_from(drag.as_millis()).expect("seconds"), Ordering::Relaxed);
        self.state.was_slow.fetch_or(!drag.is_zero(), Ordering::Relaxed);
    }

    pub fn was_slow(&self) -> bool {
        self.state.was_slow.load(Ordering::Relaxed)
    }
}

async fn run(near: DuplexStream, far: DuplexStream, state: Arc<State>, dice: Arc<Dice>) {
    let mut fate = state.fate.subscribe();
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) = (split(near), split(far));
    let end = tokio::select! {
        _ = async {
            tokio::join!(
                carry(&mut near_read, &mut far_write, &state, &dice),
                carry(&mut far_read, &mut near_write, &state, &dice)
            )
        } => return,
        end = fate.wait_for(|fate| *fate != Fate::Whole) => end.map_or(Fate::Cut, |fate| *fate),
    };
    // An end that is to know nothing keeps its stream, which nobody reads or writes any more.
    match end {
        Fate::Whole | Fate::Cut => return,
        Fate::HalfOpenAtNode => drop((near_read, near_write)),
        Fate::HalfOpenAtClient => drop((far_read, far_write)),
        Fate::Silent => {}
    }
    let _ = fate.wait_for(|fate| *fate == Fate::Cut).await;
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, state: &State, dice: &Dice) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        sleep(dice.ms(1, 12) + Duration::from_millis(state.drag_ms.load(Ordering::Relaxed))).await;
        if to.write_all(&chunk[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// Where a node's connections come in.
pub struct Hall {
    pub arrivals: mpsc::Receiver<(DuplexStream, SocketAddr)>,
    pub address: SocketAddr,
}

impl Listen for Hall {
    async fn accept(&mut self) -> std::io::Result<(Stream, SocketAddr)> {
        match self.arrivals.recv().await {
            Some((stream, peer)) => Ok((boxed(stream), peer)),
            // Nobody can come any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}
