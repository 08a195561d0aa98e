//! One authenticated socket: a set of cursors over rooms.
//!
//! `run` is the whole life of a session, in one task: `inbound` reads frames, `outbound` sends what lies after the cursors. `table` knows
//! all sessions of this node. What is absent: queues of messages; a slow reader has a cursor, not a backlog in memory.

mod counters;
mod inbound;
mod outbound;
mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use snug_protocol::frame::{ServerFrame, close};
use snug_protocol::limits::{HEARTBEAT_ANSWER_LIMIT, HEARTBEAT_PERIOD, HELLO_LIMIT, SLOW_READER_LIMIT};
use snug_protocol::{ErrorBody, ErrorCode, RoomId, Seq};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::auth::{Authenticated, TokenError, Tokens, right};
use crate::chat::{Chat, ChatError, Sent};
use crate::clock::Clock;
use crate::presence::{Presence, Present};
use crate::room::{Following, Rooms, Wake};

pub use counters::{Closed, Resumed, SessionCounters};
pub use table::{Admission, SessionTable};

/// Appends of one session that wait for their commit at one time; then its socket is not read.
const APPENDS_IN_FLIGHT_MAX: usize = 32;
/// Control frames of a session that wait to be written; then its socket is not read.
const REPLIES_QUEUED_MAX: usize = 64;
/// How often an open socket's token is checked without being told to.
const TOKEN_CHECK_PERIOD: Duration = Duration::from_secs(180);
/// How long after a failure of the store a session looks again.
const LATER: Duration = Duration::from_secs(1);
/// How long a closing handshake may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// What a session works with.
#[derive(Clone)]
pub struct SessionParts {
    /// Appends.
    pub chat: Chat,
    /// Followed rooms.
    pub rooms: Rooms,
    /// Who is here.
    pub presence: Presence,
    /// Token checks.
    pub tokens: Tokens,
    /// The store, for backlog and membership.
    pub store: snug_store::Store,
    /// All sessions.
    pub table: SessionTable,
    /// This node's name, random per start.
    pub node: Arc<str>,
    /// The time that all nodes share.
    pub clock: Clock,
    /// Cancelled when the node wants all sockets closed.
    pub stop: CancellationToken,
}

impl SessionParts {
    /// Rings in a moment.
    fn ring_later(&self, wake: &Arc<Wake>) {
        let wake = Arc::clone(wake);
        self.table.tasks().spawn(async move {
            tokio::time::sleep(LATER).await;
            wake.ring();
        });
    }
}

/// Why a session ends: the close code, and the error frame that goes before it.
#[derive(Debug)]
struct Ending {
    close: u16,
    error: Option<ErrorCode>,
}

impl Ending {
    const GONE: Self = Self { close: close::NORMAL, error: None };

    const fn of(close: u16, error: ErrorCode) -> Self {
        Self { close, error: Some(error) }
    }
}

/// One followed room of a session.
struct Subscription {
    following: Following,
    /// Absent for a recovery device.
    present: Option<Present>,
    /// The last seq that was sent.
    cursor: Seq,
    /// The head that the last heartbeat told of.
    told: Seq,
    /// The head when it began: what lies after it comes live, and how long it took is of interest.
    began: Seq,
}

type InFlight = FuturesOrdered<std::pin::Pin<Box<dyn Future<Output = (u32, RoomId, Result<Sent, ChatError>)> + Send>>>;

struct Session {
    parts: SessionParts,
    caller: Authenticated,
    wake: Arc<Wake>,
    subscriptions: HashMap<RoomId, Subscription>,
    in_flight: InFlight,
    replies: Vec<ServerFrame>,
    typing: HashMap<RoomId, Instant>,
    controls: crate::limit::Buckets<()>,
    heartbeat: Heartbeat,
    next_token_check: Instant,
    /// When the entries were committed that are being written now.
    committed_ms: Vec<u64>,
}

struct Heartbeat {
    next: Instant,
    /// When the answer to the last one is due.
    due: Option<Instant>,
}

/// Says why there is no session, then closes.
pub async fn refuse(socket: WebSocket, error: &ErrorBody, close_code: u16) {
    let frame = ServerFrame::Error { id: None, room: None, error: error.clone() };
    farewell(socket, &[frame], close_code, error.code.as_str()).await;
}

/// The last words, the closing frame, and then patience: data of the peer that nobody reads would reset the connection, and with it
/// take back our last words.
async fn farewell(mut socket: WebSocket, words: &[ServerFrame], code: u16, reason: &'static str) {
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = timeout(CLOSE_LIMIT, async {
        for frame in words {
            socket.feed(outbound::text(frame)).await?;
        }
        socket.send(close).await?;
        while let Some(Ok(_)) = socket.recv().await {}
        Ok::<_, axum::Error>(())
    })
    .await;
}

/// The session's whole life. Ends when the socket does, when it breaks the protocol, when the token ends, or when the node stops.
pub async fn run(mut socket: WebSocket, parts: SessionParts, caller: Authenticated, admission: Admission) {
    let mut session = Session {
        wake: Arc::clone(admission.wake()),
        subscriptions: HashMap::new(),
        in_flight: FuturesOrdered::new(),
        replies: Vec::new(),
        typing: HashMap::new(),
        controls: crate::limit::Buckets::new(crate::limit::Rate::per_second(20, 100)),
        heartbeat: Heartbeat { next: Instant::now() + HEARTBEAT_PERIOD, due: None },
        next_token_check: Instant::now() + TOKEN_CHECK_PERIOD,
        committed_ms: Vec::new(),
        parts,
        caller,
    };
    session.parts.table.counters().opened.increment();
    let ending = match session.hello(&mut socket).await {
        Ok(()) => session.live(&mut socket).await.unwrap_or_else(|ending| ending),
        Err(ending) => ending,
    };
    session.parts.table.counters().closed.of(Closed::by(ending.close)).increment();
    session.finish(socket, ending).await;
    drop(admission);
}

/// What a device that has lost its right is told: a room that is gone has no members, whoever they were.
async fn why_closed(store: &snug_store::Store, room: RoomId, code: ErrorCode) -> ErrorCode {
    match store.room(room).await {
        Ok(None) => ErrorCode::RoomDeleted,
        Ok(Some(_)) | Err(_) => code,
    }
}

impl Session {
    /// Waits for the first frame, which must be `hello`.
    async fn hello(&mut self, socket: &mut WebSocket) -> Result<(), Ending> {
        let stop = self.parts.stop.clone();
        let first = tokio::select! {
            () = stop.cancelled() => return Err(Ending::of(close::RESTART, ErrorCode::Draining)),
            first = timeout(HELLO_LIMIT, socket.recv()) => first,
        };
        match first.map_err(|_| Ending::of(close::TIMED_OUT, ErrorCode::TimedOut))? {
            Some(Ok(Message::Text(text))) => self.greet(text.as_str()),
            Some(Ok(Message::Close(_))) | None => Err(Ending::GONE),
            Some(Err(error)) => Err(inbound::ending_of(&error)),
            Some(Ok(_)) => Err(Ending::of(close::PROTOCOL, ErrorCode::HelloExpected)),
        }
    }

    /// Reads, appends, sends, until something ends it.
    async fn live(&mut self, socket: &mut WebSocket) -> Result<Ending, Ending> {
        loop {
            self.write(socket).await?;
            let ready = self.in_flight.len() < APPENDS_IN_FLIGHT_MAX && self.replies.len() < REPLIES_QUEUED_MAX;
            let timer = self.heartbeat.due.unwrap_or(self.heartbeat.next).min(self.next_token_check);
            // Every branch is cancel-safe: a frame, an acknowledgement or a ring that is not taken now is there the next time.
            tokio::select! {
                () = self.parts.stop.cancelled() => return Ok(Ending::of(close::RESTART, ErrorCode::Draining)),
                Some((id, room, outcome)) = self.in_flight.next() => self.acknowledge(id, room, outcome),
                frame = socket.recv(), if ready => match frame {
                    Some(Ok(frame)) => self.read(frame).await?,
                    Some(Err(error)) => return Err(inbound::ending_of(&error)),
                    None => return Ok(Ending::GONE),
                },
                () = self.wake.rung() => self.look_around().await?,
                () = tokio::time::sleep_until(timer) => {
                    // An answer that is here already is not late.
                    if let Some(Some(Ok(frame))) = socket.recv().now_or_never() {
                        self.read(frame).await?;
                    }
                    self.tick().await?;
                }
            }
        }
    }

    fn acknowledge(&mut self, id: u32, room: RoomId, outcome: Result<Sent, ChatError>) {
        self.replies.push(match outcome {
            Ok(Sent { seq, at_ms, duplicate }) => ServerFrame::Sent { id, room, seq, at_ms, duplicate },
            Err(error) => ServerFrame::Error { id: Some(id), room: Some(room), error: error.body() },
        });
    }

    /// Counts a control frame against the session's rate.
    fn charge_control(&self) -> Result<(), Duration> {
        let charged = self.controls.charge(&(), std::time::Instant::now());
        self.parts.table.counters().controls.count(charged)
    }

    /// Rights may have changed; new entries and ephemerals are for `write`.
    async fn look_around(&mut self) -> Result<(), Ending> {
        if self.wake.take_move() {
            let within_ms = self.parts.table.closes_in().as_millis();
            self.replies.push(ServerFrame::Move { within_ms: u64::try_from(within_ms).expect("seconds") });
        }
        if self.wake.take_recheck_token() {
            self.check_token().await?;
        }
        let questioned: Vec<RoomId> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.following.follower().take_recheck_access())
            .map(|(room, _)| *room)
            .collect();
        if questioned.iter().any(|room| self.is_replaced(*room)) {
            // The client comes again with its cursor, and is told what that is worth in the other log.
            return Err(Ending::of(close::RESTART, ErrorCode::Unavailable));
        }
        if !questioned.is_empty() {
            // A version that grew may stand for a revoked token as well.
            self.check_token().await?;
        }
        for room in questioned {
            match self.parts.store.standing(room, self.caller.device()).await.map(right) {
                Ok(Ok(_)) => {}
                Ok(Err(code)) => {
                    let code = why_closed(&self.parts.store, room, code).await;
                    self.close_room(room, code);
                }
                Err(error) => {
                    tracing::warn!(%error, "could not recheck access; trying again in a moment");
                    if let Some(subscription) = self.subscriptions.get(&room) {
                        subscription.following.follower().keep_recheck_access();
                    }
                    self.parts.ring_later(&self.wake);
                }
            }
        }
        Ok(())
    }

    fn is_replaced(&self, room: RoomId) -> bool {
        self.subscriptions.get(&room).is_some_and(|subscription| subscription.following.room().is_replaced())
    }

    fn close_room(&mut self, room: RoomId, code: ErrorCode) {
        self.subscriptions.remove(&room);
        // Once more: this session may have entered just after the removal was told.
        self.parts.presence.expel(room, self.caller.device());
        self.replies.push(ServerFrame::RoomClosed { room, code });
    }

    async fn check_token(&mut self) -> Result<(), Ending> {
        self.next_token_check = Instant::now() + TOKEN_CHECK_PERIOD;
        match self.parts.tokens.recheck(&self.caller).await {
            Err(TokenError::Invalid | TokenError::Missing) => Err(Ending::of(close::TOKEN, ErrorCode::TokenInvalid)),
            // A database that is away ends nobody's session.
            Ok(()) | Err(TokenError::Store(_)) => Ok(()),
        }
    }

    async fn tick(&mut self) -> Result<(), Ending> {
        let now = Instant::now();
        if self.heartbeat.due.is_some_and(|due| due <= now) {
            return Err(Ending::of(close::TIMED_OUT, ErrorCode::TimedOut));
        }
        if self.heartbeat.due.is_none() && self.heartbeat.next <= now {
            self.replies.push(outbound::heartbeat(&mut self.subscriptions, &self.parts.rooms.counters().losses));
            self.heartbeat = Heartbeat { next: now + HEARTBEAT_PERIOD, due: Some(now + HEARTBEAT_ANSWER_LIMIT) };
        }
        if self.next_token_check <= now {
            self.check_token().await?;
        }
        Ok(())
    }

    /// Leaves the rooms, lets appends in flight reach the bus, and closes the socket.
    async fn finish(mut self, socket: WebSocket, ending: Ending) {
        let draining = ending.close == close::RESTART;
        self.subscriptions.clear();
        if draining {
            // Commit what is in flight and tell its senders before the socket closes.
            let _ = timeout(SLOW_READER_LIMIT, async {
                while let Some((id, room, outcome)) = self.in_flight.next().await {
                    self.acknowledge(id, room, outcome);
                }
            })
            .await;
        }
        while let Some(Some((id, room, outcome))) = self.in_flight.next().now_or_never() {
            self.acknowledge(id, room, outcome);
        }
        let in_flight = std::mem::take(&mut self.in_flight);
        if !in_flight.is_empty() {
            // Whether or not the sender is still there, others wait for these.
            self.parts.table.tasks().spawn(in_flight.for_each(|_| std::future::ready(())));
        }
        if let Some(code) = ending.error {
            tracing::debug!(code = code.as_str(), "closing a session");
            self.replies.push(ServerFrame::Error { id: None, room: None, error: code.into() });
        }
        farewell(socket, &self.replies, ending.close, ending.error.map_or("", ErrorCode::as_str)).await;
    }
}
