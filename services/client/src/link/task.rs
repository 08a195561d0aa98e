//! The link's task: one session after the other, and the writer of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use snug_protocol::frame::{ClientFrame, ServerFrame, close};
use snug_protocol::{ErrorCode, Retry, RoomId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{
    Answer, INBOX_RESERVE, LinkRequest, LinkState, News, Port, Session, WRITE_BATCH_MAX, WRITER_QUEUE_MAX, room_of,
};
use crate::backoff::{Backoff, jittered};
use crate::config::{ClientConfig, Timing};
use crate::error::ClientError;
use crate::http::{Http, Node};
use crate::wire::{Incoming, RawReader, RawSocket, RawWriter, control, goodbye};

/// A move is tried for this long at most, whatever the node says.
const MOVE_LIMIT: Duration = Duration::from_secs(60);

/// An open session's two ends.
struct Open {
    node: Node,
    reader: RawReader,
    writer: mpsc::Sender<Message>,
}

/// Why a session ended, by what to do next.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// Connect again at once, jittered.
    Soon,
    /// Connect again after the back-off.
    Broken,
    /// Renew the token, then connect.
    Token,
    /// Nobody needs it.
    Idle,
}

pub(super) struct LinkTask {
    config: Arc<ClientConfig>,
    http: Http,
    ports: HashMap<RoomId, Port>,
    queue: mpsc::Receiver<LinkRequest>,
    state: watch::Sender<LinkState>,
    number: u64,
    backoff: Backoff,
    tracker: TaskTracker,
    stop: CancellationToken,
}

type NextSession = oneshot::Receiver<Open>;

/// What it takes to open a session.
struct Connector {
    http: Http,
    config: Arc<ClientConfig>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Connector {
    async fn connect(&self) -> Result<Open, ClientError> {
        let (http, config) = (self.http.clone(), Arc::clone(&self.config));
        let limit = config.timing.connect_limit;
        timeout(limit, open(http, config, self.tracker.clone(), self.stop.clone()))
            .await
            .unwrap_or_else(|_| Err(ClientError::Network("no session in time".into())))
    }

    /// Tries one node after the other until one takes it; the last attempt begins before `until`.
    async fn connect_until(&self, until: Instant, pause: Duration) -> Option<Open> {
        loop {
            let node = self.http.node();
            match self.connect().await {
                Ok(open) => return Some(open),
                Err(error) => tracing::debug!(%error, node = %node.origin, "could not move"),
            }
            self.http.give_up(&node);
            let next = Instant::now() + jittered(pause);
            if next >= until {
                return None;
            }
            sleep_until(next).await;
        }
    }
}

impl LinkTask {
    pub(super) fn new(
        config: Arc<ClientConfig>,
        http: Http,
        queue: mpsc::Receiver<LinkRequest>,
        state: watch::Sender<LinkState>,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let backoff = Backoff::new(config.timing.backoff_first, config.timing.backoff_max);
        Self { config, http, ports: HashMap::new(), queue, state, number: 0, backoff, tracker, stop }
    }

    /// Connects and serves until nobody holds the link.
    pub(super) async fn run(mut self) {
        loop {
            while self.ports.is_empty() {
                let Some(request) = self.queue.recv().await else { return };
                self.handle(request);
            }
            let node = self.http.node();
            let ended = match self.connector().connect().await {
                Ok(open) => self.serve(open).await,
                Err(error) => {
                    tracing::debug!(%error, node = %node.origin, "could not connect");
                    self.http.give_up(&node);
                    if error.server_code() == Some(ErrorCode::DeviceUnknown) {
                        // No room here knows this device any more, and no wait will change that.
                        for port in self.ports.values() {
                            let _ = port.answers.try_send(Answer::Closed { code: ErrorCode::DeviceUnknown });
                        }
                    }
                    Ended::Broken
                }
            };
            self.state.send_replace(LinkState::Down);
            let wait = match ended {
                Ended::Idle => continue,
                Ended::Token => {
                    // Should the renewal fail too, connecting will say so.
                    let token = self.http.token().await.ok();
                    let _ = self.http.renew(token.as_deref()).await;
                    self.backoff.next()
                }
                Ended::Soon => jittered(self.config.timing.backoff_first),
                Ended::Broken => self.backoff.next(),
            };
            if !self.pause(wait).await {
                return;
            }
        }
    }

    /// Waits while serving requests; whether anyone still holds the link.
    async fn pause(&mut self, wait: Duration) -> bool {
        let wait = sleep(wait);
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => return true,
                request = self.queue.recv() => match request {
                    Some(request) => self.handle(request),
                    None => return false,
                },
            }
        }
    }

    fn handle(&mut self, request: LinkRequest) {
        match request {
            LinkRequest::Register { room, port } => {
                self.ports.insert(room, port);
            }
            LinkRequest::Forget { room } => {
                self.ports.remove(&room);
            }
            LinkRequest::Reconnect { .. } => {}
        }
    }

    fn connector(&self) -> Connector {
        let (http, config) = (self.http.clone(), Arc::clone(&self.config));
        Connector { http, config, tracker: self.tracker.clone(), stop: self.stop.child_token() }
    }

    /// Makes `open` the session that rooms write to.
    fn announce(&mut self, open: &Open) {
        self.backoff.reset();
        self.number += 1;
        tracing::debug!(node = %open.node.origin, number = self.number, "a session begins");
        self.state.send_replace(LinkState::Up(Session { number: self.number, writer: open.writer.clone() }));
    }

    /// Reads a session until it ends. When the node asks to move, the next session is opened before this one is closed.
    async fn serve(&mut self, mut open: Open) -> Ended {
        self.announce(&open);
        let mut next: Option<NextSession> = None;
        loop {
            tokio::select! {
                request = self.queue.recv() => match request {
                    None => return self.bid_farewell(&open, Ended::Idle),
                    Some(LinkRequest::Reconnect { number }) if number == self.number => return Ended::Broken,
                    Some(request) => {
                        self.handle(request);
                        if self.ports.is_empty() {
                            return self.bid_farewell(&open, Ended::Idle);
                        }
                    }
                },
                moved = async { next.as_mut().expect("guarded").await }, if next.is_some() => {
                    next = None;
                    if let Ok(newer) = moved {
                        self.bid_farewell(&open, Ended::Soon);
                        open = newer;
                        self.announce(&open);
                    }
                },
                incoming = timeout(self.config.timing.silence_limit, open.reader.next()) => match incoming {
                    Err(_) => return self.fail(&open.node, Ended::Broken),
                    Ok(Incoming::Closed { code }) => {
                        let ended = self.closed(&open.node, code);
                        // The node may not have waited for the session that is on its way.
                        let Some(newer) = self.arrived(next.take()).await else { return ended };
                        open = newer;
                        self.announce(&open);
                    },
                    Ok(Incoming::Frame(ServerFrame::Move { within_ms })) if next.is_none() => {
                        next = Some(self.connect_beside(&open.node, Duration::from_millis(within_ms)));
                    },
                    Ok(incoming) => if let Some(ended) = self.dispatch(&open, incoming) {
                        return ended;
                    },
                },
            }
        }
    }

    /// The next session, if one is on its way and arrives; requests are served meanwhile.
    async fn arrived(&mut self, next: Option<NextSession>) -> Option<Open> {
        let mut next = next?;
        self.state.send_replace(LinkState::Down);
        loop {
            tokio::select! {
                moved = &mut next => return moved.ok(),
                request = self.queue.recv() => self.handle(request?),
            }
        }
    }

    fn bid_farewell(&self, open: &Open, ended: Ended) -> Ended {
        let _ = open.writer.try_send(goodbye());
        ended
    }

    /// The next node is asked from now on.
    fn fail(&self, node: &Node, ended: Ended) -> Ended {
        self.http.give_up(node);
        ended
    }

    /// Opens the next session while this one is still read, trying until the node closes this one.
    fn connect_beside(&self, draining: &Node, within: Duration) -> NextSession {
        self.http.give_up(draining);
        let (done, next) = oneshot::channel();
        let (connector, stop) = (self.connector(), self.stop.clone());
        let (pause, until) = (self.config.timing.backoff_first, Instant::now() + within.min(MOVE_LIMIT));
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                // Nobody waits any more if another session has begun.
                open = connector.connect_until(until, pause) => if let Some(open) = open { let _ = done.send(open); }
            }
        });
        next
    }

    fn closed(&self, node: &Node, code: Option<u16>) -> Ended {
        tracing::debug!(?code, "the session ended");
        match code {
            Some(close::TOKEN) => Ended::Token,
            Some(close::RESTART) => self.fail(node, Ended::Soon),
            _ => self.fail(node, Ended::Broken),
        }
    }

    /// Hands a frame to its room, or answers it. `Some` ends the session.
    fn dispatch(&mut self, open: &Open, incoming: Incoming) -> Option<Ended> {
        match incoming {
            Incoming::Entry(entry) => {
                if let Some(port) = room_of(&entry).and_then(|room| self.ports.get(&room)) {
                    port.news(News::Entry(entry));
                }
            }
            Incoming::Frame(frame) => return self.dispatch_frame(open, frame),
            Incoming::Other | Incoming::Closed { .. } => {}
        }
        None
    }

    fn dispatch_frame(&mut self, open: &Open, frame: ServerFrame) -> Option<Ended> {
        match frame {
            ServerFrame::Followed { room, .. } => {
                if let Some(port) = self.ports.get(&room) {
                    port.news(News::Frame(frame));
                }
            }
            ServerFrame::Presence { room, .. }
            | ServerFrame::Here { room, .. }
            | ServerFrame::Typing { room, .. }
            | ServerFrame::TypingCount { room, .. } => {
                if let Some(port) = self.ports.get(&room).filter(|port| port.inbox.capacity() > INBOX_RESERVE) {
                    port.news(News::Frame(frame));
                }
            }
            ServerFrame::Heartbeat { heads } => {
                for head in heads {
                    if let Some(port) = self.ports.get(&head.room).filter(|port| port.inbox.capacity() > INBOX_RESERVE)
                    {
                        port.news(News::Head(head.head));
                    }
                }
                // A writer whose queue is full is stuck, and the server will see that no answer comes.
                let _ = open.writer.try_send(control(&ClientFrame::Heartbeat {}));
            }
            ServerFrame::Sent { id, room, seq, at_ms, .. } => {
                return self.answer(Some(room), || Answer::Sent { id, seq, at_ms });
            }
            ServerFrame::Error { id: Some(id), room, error } if error.retry != Retry::SignIn => {
                return self.answer(room, || Answer::Refused { id, error: error.clone() });
            }
            ServerFrame::Error { error, .. } => {
                tracing::debug!(code = error.code.as_str(), "the server reports an error");
                return (error.retry == Retry::SignIn).then_some(Ended::Token);
            }
            ServerFrame::RoomClosed { room, code } => return self.answer(Some(room), || Answer::Closed { code }),
            ServerFrame::Welcome { .. } | ServerFrame::Move { .. } => {}
        }
        None
    }

    /// Hands an answer to its room, or to all when the server could not tell which; each knows its own ids.
    fn answer(&self, room: Option<RoomId>, answer: impl Fn() -> Answer) -> Option<Ended> {
        let ports: Vec<&Port> = match room {
            Some(room) => self.ports.get(&room).into_iter().collect(),
            None => self.ports.values().collect(),
        };
        // A room takes its answers whatever else it waits for; one that does not is stuck, and a new session begins all anew.
        let stuck =
            ports.iter().any(|port| matches!(port.answers.try_send(answer()), Err(mpsc::error::TrySendError::Full(_))));
        stuck.then_some(Ended::Broken)
    }
}

/// Connects and greets.
async fn open(
    http: Http,
    config: Arc<ClientConfig>,
    tracker: TaskTracker,
    stop: CancellationToken,
) -> Result<Open, ClientError> {
    let token = http.token().await?;
    let node = http.node();
    let mut socket = RawSocket::connect(&node.origin, Some(&token), config.tls.clone()).await?;
    socket.send(&ClientFrame::Hello { client: config.program.clone() }).await?;
    loop {
        match socket.next().await {
            Incoming::Frame(ServerFrame::Welcome { .. }) => break,
            Incoming::Frame(ServerFrame::Error { error, .. }) => {
                if error.retry == Retry::SignIn {
                    http.renew(Some(&token)).await?;
                }
                return Err(error.into());
            }
            Incoming::Closed { code } => return Err(ClientError::Network(format!("closed with {code:?}"))),
            Incoming::Frame(_) | Incoming::Entry(_) | Incoming::Other => {}
        }
    }
    let (writer, reader) = socket.split();
    let (queue, waiting) = mpsc::channel(WRITER_QUEUE_MAX);
    tracker.spawn(run_writer(writer, waiting, config.timing.clone(), stop));
    Ok(Open { node, reader, writer: queue })
}

/// Writes what is queued until the session's handles are gone or a write does not get through.
async fn run_writer(
    mut writer: RawWriter,
    mut queue: mpsc::Receiver<Message>,
    timing: Timing,
    stop: CancellationToken,
) {
    let mut batch = Vec::with_capacity(WRITE_BATCH_MAX);
    loop {
        let count = tokio::select! {
            () = stop.cancelled() => 0,
            count = queue.recv_many(&mut batch, WRITE_BATCH_MAX) => count,
        };
        if count == 0 {
            let _ = timeout(timing.connect_limit, writer.send(goodbye())).await;
            return;
        }
        // A failed write shows on the reading side too, which is where it is handled.
        if !matches!(timeout(timing.connect_limit, writer.send_all(batch.drain(..))).await, Ok(Ok(()))) {
            return;
        }
    }
}
