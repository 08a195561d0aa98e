//! One connection through the proxy: two pumps, one a direction, and the end of it.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Direction, Flow, Rules, Shared};

/// Most bytes read at a time.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// How long the server may take to accept.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Why a pump stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its reader ended in good order and its writer was told, or its writer is gone, of which the other pump hears.
    Quiet,
    /// Its reader was reset: so must the other side be.
    Reset,
    /// The pattern came by.
    Pattern,
}

/// Makes the coming close of `stream` a reset instead of an orderly end.
pub(super) fn reset(stream: &TcpStream) {
    // Fails only if the stream is gone already.
    let _ = stream.set_zero_linger();
}

/// Carries bytes both ways until both ends are done, one is reset, or `cuts` changes.
pub(super) async fn run(mut client: TcpStream, shared: &Shared, mut cuts: watch::Receiver<u64>) {
    let mut server = tokio::select! {
        connected = connect(shared) => match connected {
            Some(server) => server,
            None => {
                reset(&client);
                shared.count(|counts| counts.refused += 1);
                return;
            }
        },
        _ = cuts.changed() => {
            reset(&client);
            shared.count(|counts| counts.cut += 1);
            return;
        }
    };
    // Small frames go at once; fails only if a stream is gone already, which the pumps notice.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let up = Pump::new(Direction::ToServer, shared).run(from_client, to_server);
        let down = Pump::new(Direction::ToClient, shared).run(from_server, to_client);
        tokio::select! {
            end = both(up, down) => end,
            _ = cuts.changed() => {
                shared.count(|counts| counts.cut += 1);
                End::Reset
            }
        }
    };
    if end == End::Pattern {
        shared.count(|counts| (counts.cut, counts.cut_by_pattern) = (counts.cut + 1, counts.cut_by_pattern + 1));
    }
    if end != End::Quiet {
        reset(&client);
        reset(&server);
    }
}

/// Connects to the server, but not through a black hole: the server of a lost client hears nothing of it.
async fn connect(shared: &Shared) -> Option<TcpStream> {
    let mut rules = shared.rules.subscribe();
    rules.wait_for(|rules| rules.to_server != Flow::BlackHole).await.ok()?;
    timeout(CONNECT_LIMIT, TcpStream::connect(shared.target())).await.ok()?.ok()
}

/// Waits for both pumps, or for the first that did not end quietly.
async fn both(up: impl Future<Output = End>, down: impl Future<Output = End>) -> End {
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    tokio::select! {
        end = &mut up => if end == End::Quiet { down.await } else { end },
        end = &mut down => if end == End::Quiet { up.await } else { end },
    }
}

struct Pump<'a> {
    direction: Direction,
    shared: &'a Shared,
    rules: watch::Receiver<Rules>,
    /// The last bytes that passed, one fewer than the pattern has, so that one torn into two reads is seen.
    passed: Vec<u8>,
}

impl<'a> Pump<'a> {
    fn new(direction: Direction, shared: &'a Shared) -> Self {
        Self { direction, shared, rules: shared.rules.subscribe(), passed: Vec::new() }
    }

    async fn run(mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> End {
        let mut piece = vec![0; PIECE_BYTES_MAX];
        loop {
            let read = from.read(&mut piece).await;
            let bytes = read.as_ref().map_or(0, |read| *read);
            self.wait_to_deliver(bytes).await;
            if read.is_err() {
                return End::Reset;
            }
            if bytes == 0 {
                // Fails if the other side is gone already, of which the other pump hears.
                let _ = to.shutdown().await;
                return End::Quiet;
            }
            if self.completes_pattern(&piece[..bytes]) {
                return End::Pattern;
            }
            if self.deliver(&piece[..bytes], &mut to).await.is_err() {
                return End::Quiet;
            }
        }
    }

    /// The flow in force; changes from now on end a wait for them.
    fn flow(&mut self) -> Flow {
        let mut rules = *self.rules.borrow_and_update();
        *rules.flow(self.direction)
    }

    /// Waits while the flow keeps back what has just been read.
    async fn wait_to_deliver(&mut self, bytes: usize) {
        let (read_at, mut withheld, mut slowed) = (Instant::now(), false, false);
        loop {
            match self.flow() {
                Flow::BlackHole => {
                    if !std::mem::replace(&mut withheld, true) {
                        self.shared.count(|counts| counts.bytes_withheld += bytes as u64);
                    }
                    if self.rules.changed().await.is_err() {
                        return;
                    }
                }
                Flow::Delay(delay) => {
                    if !std::mem::replace(&mut slowed, true) {
                        self.shared.count(|counts| counts.slowed += 1);
                    }
                    if timeout_at(read_at + delay, self.rules.changed()).await.is_err() {
                        return;
                    }
                }
                Flow::Open | Flow::Drip { .. } => return,
            }
        }
    }

    async fn deliver(&mut self, mut bytes: &[u8], to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let mut slowed = false;
        while !bytes.is_empty() {
            let Flow::Drip { bytes: drop, every } = self.flow() else {
                return self.write(bytes, to).await;
            };
            if !std::mem::replace(&mut slowed, true) {
                self.shared.count(|counts| counts.slowed += 1);
            }
            let (now, later) = bytes.split_at(drop.clamp(1, bytes.len()));
            self.write(now, to).await?;
            bytes = later;
            // A change of flow ends the pause.
            let _ = timeout(every, self.rules.changed()).await;
            self.wait_to_deliver(bytes.len()).await;
        }
        Ok(())
    }

    async fn write(&self, bytes: &[u8], to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        to.write_all(bytes).await?;
        self.shared.count(|counts| match self.direction {
            Direction::ToServer => counts.bytes_to_server += bytes.len() as u64,
            Direction::ToClient => counts.bytes_to_client += bytes.len() as u64,
        });
        Ok(())
    }

    /// Whether the pattern that is waited for ends in `bytes`; then nobody waits for it any more.
    fn completes_pattern(&mut self, bytes: &[u8]) -> bool {
        let mut armed = self.shared.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, pattern)) = armed.as_ref().filter(|(direction, _)| *direction == self.direction) else {
            self.passed.clear();
            return false;
        };
        self.passed.extend_from_slice(bytes);
        if self.passed.windows(pattern.len().max(1)).any(|window| window == pattern) {
            *armed = None;
            return true;
        }
        let keep = pattern.len().saturating_sub(1).min(self.passed.len());
        self.passed.drain(..self.passed.len() - keep);
        false
    }
}
