//! One authenticated socket: a set of cursors over rooms.
//!
//! Most of what a socket is sent its rooms write themselves (`room::fan_out`); here is what else there is to say, and who is behind.
//! `run` is the whole life of a session, in one task: `inbound` reads frames, `reading` says when, `outbound` sends what lies after the
//! cursors, `appends` are what it has sent and waits for, `rights` whether it may go on, `rates` how much it may ask for, `ending` how it
//! ends. `table` knows all sessions of this node. What is absent: queues of messages; a slow reader has a cursor, not a backlog in memory.
//!
//! A node has tens of thousands of these, nearly all idle, and at times very many are woken at once. So the task is small (what is rare or
//! large is boxed), owns no buffers, and on its way from a wake-up to the write takes no lock but the room's and the socket's, and sets no
//! timer. Only a sender's on a strained node sets one, to be woken less often (`reading`).

mod appends;
mod counters;
mod ending;
mod inbound;
mod outbound;
mod rates;
mod reading;
mod rights;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use snug_protocol::frame::{ServerFrame, close};
use snug_protocol::limits::{HEARTBEAT_ANSWER_LIMIT, HEARTBEAT_PERIOD, HELLO_LIMIT};
use snug_protocol::{ErrorCode, RoomId, Seq};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::auth::{Authenticated, Tokens};
use crate::chat::Chat;
use crate::clock::Clock;
use crate::limit::Bucket;
use crate::presence::{Presence, Present};
use crate::room::{Following, News, Rooms, Wake};
use crate::wire::{Broken, Message, Socket};

use appends::Appends;
use ending::Ending;
use rates::CONTROLS;
use reading::Reading;

pub use counters::{Closed, Resumed, SessionCounters};
pub use ending::refuse;
pub use rates::FollowRates;
pub use table::{Admission, SessionTable};

/// Appends of one session that wait for their commit at one time; then its socket is not read.
const APPENDS_IN_FLIGHT_MAX: usize = 32;
/// Control frames of a session that wait to be written; then its socket is not read.
const REPLIES_QUEUED_MAX: usize = 64;
/// How often an open socket's token is checked without being told to.
const TOKEN_CHECK_PERIOD: Duration = Duration::from_secs(180);
/// How soon it is checked again when the store did not answer: not so soon that all sessions together keep the store from coming back.
const TOKEN_RETRY: Duration = Duration::from_secs(20);
/// How long a welcome waits for the answer to what came with the greeting.
const WELCOME_HELD_MAX: Duration = Duration::from_millis(100);
/// How long after a failure of the store a session looks again.
const LATER: Duration = Duration::from_secs(1);

/// What a session works with.
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
    /// How often devices follow rooms.
    pub follows: FollowRates,
    /// The time that all nodes share.
    pub clock: Clock,
    /// Cancelled when the node wants all sockets closed.
    pub stop: CancellationToken,
}

impl SessionParts {
    /// Has the session look again in a moment.
    fn tell_later(&self, wake: &Arc<Wake>, news: News) {
        let wake = Arc::clone(wake);
        self.table.tasks().spawn(async move {
            tokio::time::sleep(LATER).await;
            wake.tell(news);
        });
    }
}

/// One followed room of a session.
struct Subscription {
    following: Following,
    /// Absent for a recovery device.
    present: Option<Present>,
    /// From where it is to be sent, until that has begun.
    begins: Option<Seq>,
    /// The head that the last heartbeat told of.
    told: Seq,
    /// The head when it began: what lies after it comes live, and how long it took is of interest.
    began: Seq,
}

impl Subscription {
    fn room(&self) -> RoomId {
        self.following.room().id()
    }

    /// The last seq that was sent.
    fn cursor(&self) -> Seq {
        self.begins.unwrap_or_else(|| self.following.cursor())
    }
}

struct Session {
    parts: Arc<SessionParts>,
    caller: Authenticated,
    wake: Arc<Wake>,
    /// Taken from the bell while something else was waited for, and not looked at yet.
    unseen: News,
    /// The bell has ephemeral frames for the next flush.
    has_ephemerals: bool,
    /// `ROOMS_PER_SESSION_MAX` at most, and nearly always one.
    subscriptions: Vec<Subscription>,
    appends: Appends,
    replies: Vec<ServerFrame>,
    /// The newest entry whose acknowledgement was left lying in the socket, alone or with others: their room is about to write them here,
    /// and they go with those.
    riding: Option<(RoomId, Seq)>,
    typing: HashMap<RoomId, Instant>,
    controls: Bucket,
    /// Its client was too fast: its frames are left lying until then.
    deaf_until: Option<Instant>,
    /// While it pauses only those of its frames are taken that came with the last.
    reading: Reading,
    heartbeat: Heartbeat,
    next_token_check: Instant,
}

struct Heartbeat {
    next: Instant,
    /// When the answer to the last one is due.
    due: Option<Instant>,
}

/// What has happened since a session last looked.
struct Happened {
    news: News,
    frame: Option<Result<Message, Broken>>,
    is_due: bool,
}

/// The session's whole life. Ends when the socket does, when it breaks the protocol, when the token ends, or when the node stops.
pub async fn run(mut socket: Socket, parts: Arc<SessionParts>, caller: Authenticated, admission: Admission) {
    let now = Instant::now();
    let mut session = Session {
        wake: Arc::clone(admission.wake()),
        // Who came in while all sockets were being told to close has not been told.
        unseen: if parts.stop.is_cancelled() { News::CLOSE } else { News::NONE },
        has_ephemerals: false,
        subscriptions: Vec::new(),
        appends: Appends::new(parts.chat.clone()),
        replies: Vec::new(),
        riding: None,
        typing: HashMap::new(),
        controls: Bucket::full(CONTROLS),
        deaf_until: None,
        reading: Reading::new(now),
        heartbeat: Heartbeat { next: now + HEARTBEAT_PERIOD, due: None },
        next_token_check: now + TOKEN_CHECK_PERIOD,
        parts,
        caller,
    };
    session.parts.table.counters().opened.increment();
    let ending = match session.hello(&mut socket).await {
        Ok(()) => session.live(&mut socket).await,
        Err(ending) => ending,
    };
    session.parts.table.counters().closed.of(Closed::by(ending.close)).increment();
    Box::pin(session.finish(socket, ending)).await;
    drop(admission);
}

impl Session {
    fn subscription(&mut self, room: RoomId) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.room() == room)
    }

    fn unsubscribe(&mut self, room: RoomId) {
        self.subscriptions.retain(|subscription| subscription.room() != room);
    }

    /// Waits for the first frame, which must be `hello`, and takes the one that came with it.
    async fn hello(&mut self, socket: &mut Socket) -> Result<(), Ending> {
        let first = std::future::poll_fn(|cx| {
            if let Poll::Ready(news) = self.wake.poll_take(cx) {
                self.unseen = self.unseen.and(news);
            }
            if self.unseen.has(News::CLOSE) {
                return Poll::Ready(Err(Ending::of(close::RESTART, ErrorCode::Draining)));
            }
            socket.poll_recv(cx).map_err(Ending::from)
        });
        match timeout(HELLO_LIMIT, first).await.map_err(|_| Ending::of(close::TIMED_OUT, ErrorCode::TimedOut))?? {
            Message::Text(text) => {
                socket.push(outbound::encode([&self.greet(&text)?]));
                // What was told meanwhile is seen to before a room is entered.
                if self.unseen != News::NONE {
                    return Ok(());
                }
                // Who knows its room says both in one breath, and is answered in one, if it can be done soon.
                let Some(frame) = socket.recv_more()? else { return Ok(()) };
                let mut reading = pin!(self.read(frame));
                if let Ok(outcome) = timeout(WELCOME_HELD_MAX, &mut reading).await {
                    return outcome;
                }
                outbound::flush_at_once(socket).await;
                reading.await
            }
            Message::Close(_) => Err(Ending::LEFT),
            Message::Binary(_) | Message::Ping(_) | Message::Pong => {
                Err(Ending::of(close::PROTOCOL, ErrorCode::HelloExpected))
            }
        }
    }

    /// Reads, appends, sends, until something ends it.
    async fn live(&mut self, socket: &mut Socket) -> Ending {
        let mut timer = pin!(sleep_until(self.next_due()));
        loop {
            if let Err(ending) = self.turn(socket, timer.as_mut()).await {
                return ending;
            }
        }
    }

    /// Sees to something that may wait for the store or the bus, while this session's appends go on.
    async fn aside<T>(&mut self, work: impl for<'a> FnOnce(&'a mut Self) -> BoxFuture<'a, T>) -> T {
        self.reading.end_pause();
        // Nothing in `work` appends: entries of members come by `send`, which waits for nothing.
        let (mut appends, mut acknowledged) = (self.appends.take(), Vec::new());
        let outcome = appends.during(&mut acknowledged, work(self)).await;
        self.appends = appends;
        for (id, room, outcome) in acknowledged {
            self.acknowledge(id, room, outcome);
        }
        outcome
    }

    /// Sends what there is to send, waits until something happens, and sees to that.
    async fn turn(&mut self, socket: &mut Socket, mut timer: Pin<&mut Sleep>) -> Result<(), Ending> {
        let written = self.gather(socket).await;
        if self.riding.is_none() {
            self.flush(socket).await?;
        }
        written.tell(&self.parts);
        let Happened { mut news, frame, is_due } = self.happened(socket, timer.as_mut()).await;
        if news.has(News::CLOSE) {
            return Err(Ending::of(close::RESTART, ErrorCode::Draining));
        }
        let asks = News::MOVE.and(News::TOKEN).and(News::ACCESS);
        if news.has_any(asks) || is_due {
            // What comes now may wait, and a room that finds its follower elsewhere could not have it look.
            self.end_ride(socket).await?;
            // With what was told while a slow reader took its time.
            news = news.and(std::mem::take(&mut self.unseen));
        }
        self.has_ephemerals |= news.has(News::EPHEMERALS);
        // Before the clock: an answer that is here already is not late.
        if let Some(frame) = frame {
            self.read_all(socket, frame).await?;
            if timer.deadline() != self.next_due() {
                timer.as_mut().reset(self.next_due());
            }
        }
        if news.has_any(asks) {
            self.aside(|session| Box::pin(session.look_around(news))).await?;
        }
        if is_due {
            self.tick().await?;
            timer.reset(self.next_due());
        }
        Ok(())
    }

    /// Reads a frame and, if it is a message, those that came with it; where a commit waits for them, all that have come.
    async fn read_all(&mut self, socket: &mut Socket, first: Result<Message, Broken>) -> Result<(), Ending> {
        // Anything heard is a sign of life.
        self.heartbeat.due = None;
        let mut next = Some(first);
        while let Some(frame) = next.take() {
            let frame = frame?;
            let is_message = matches!(frame, Message::Binary(_));
            if !is_message {
                // It is to be answered, or may wait.
                self.hand_over().await;
                self.end_ride(socket).await?;
            }
            self.read(frame).await?;
            // What is no message has a turn of its own, so that answers go out and news are looked at before it and after it.
            if is_message && self.listens() {
                next = if self.reading.is_awaited() { socket.recv_binary_now() } else { socket.recv_more_binary() };
            }
        }
        self.hand_over().await;
        Ok(())
    }

    /// The commit that waits for what was read has it.
    async fn hand_over(&mut self) {
        if self.reading.is_awaited() {
            self.appends.hand_over().await;
            self.reading.release();
        }
    }

    /// Acknowledgements are left lying no longer.
    async fn end_ride(&mut self, socket: &mut Socket) -> Result<(), Ending> {
        if self.riding.take().is_some() { self.flush(socket).await } else { Ok(()) }
    }

    fn next_due(&self) -> Instant {
        let due = self.heartbeat.due.unwrap_or(self.heartbeat.next).min(self.next_token_check);
        [self.deaf_until, self.reading.pauses_until()].into_iter().flatten().fold(due, Instant::min)
    }

    /// The client's next frame, if it is to be taken now.
    fn poll_frame(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Option<Result<Message, Broken>> {
        let frame = if !self.listens() {
            self.reading.end_pause();
            None
        } else if self.reading.poll_reads(cx) {
            ready(socket.poll_recv(cx))
        } else {
            socket.recv_more().transpose()
        };
        if frame.is_none() {
            self.reading.release();
        }
        frame
    }

    /// Whether frames are taken from the socket at present.
    fn listens(&self) -> bool {
        self.deaf_until.is_none()
            && self.appends.len() < APPENDS_IN_FLIGHT_MAX
            && self.replies.len() < REPLIES_QUEUED_MAX
    }

    /// Waits until something happens. All sources are asked each time, so none keeps another waiting. Cancel-safe but for what it returns.
    async fn happened(&mut self, socket: &mut Socket, mut timer: Pin<&mut Sleep>) -> Happened {
        std::future::poll_fn(|cx| {
            let mut news = std::mem::take(&mut self.unseen);
            if let Poll::Ready(new) = self.wake.poll_take(cx) {
                news = news.and(new);
            }
            let mut has_acknowledged = false;
            // No more at a time than may be on their way.
            while let Poll::Ready((id, room, outcome)) = self.appends.poll_next(cx) {
                self.acknowledge(id, room, outcome);
                has_acknowledged = true;
            }
            let frame = self.poll_frame(socket, cx);
            let is_due = timer.as_mut().poll(cx).is_ready();
            if news == News::NONE && !has_acknowledged && frame.is_none() && !is_due {
                return Poll::Pending;
            }
            Poll::Ready(Happened { news, frame, is_due })
        })
        .await
    }

    fn acknowledge(&mut self, id: u32, room: RoomId, outcome: Result<crate::chat::Sent, crate::chat::ChatError>) {
        self.replies.push(outbound::answer(id, room, outcome));
    }

    /// Counts a control frame against the session's rate. Whoever is too fast is not heard for as long as that takes: the answers to a
    /// flood would cost more than the flood.
    fn charge_control(&mut self) -> Result<(), Duration> {
        let charged = self.controls.charge(CONTROLS, std::time::Instant::now());
        if let Err(wait) = charged {
            self.deaf_until = Some(Instant::now() + wait);
        }
        self.parts.table.counters().controls.count(charged)
    }

    async fn tick(&mut self) -> Result<(), Ending> {
        let now = Instant::now();
        if self.heartbeat.due.is_some_and(|due| due <= now) {
            if self.listens() && self.reading.pauses_until().is_none() {
                return Err(Ending::of(close::TIMED_OUT, ErrorCode::TimedOut));
            }
            // The answer may lie there, unread for the sake of what was asked before, or of others.
            self.heartbeat.due = Some(now + HEARTBEAT_ANSWER_LIMIT);
        }
        if self.deaf_until.is_some_and(|until| until <= now) {
            self.deaf_until = None;
        }
        self.reading.look(now);
        if self.heartbeat.due.is_none() && self.heartbeat.next <= now {
            self.replies.push(outbound::heartbeat(&mut self.subscriptions, &self.parts.rooms.counters().losses));
            self.heartbeat = Heartbeat { next: now + HEARTBEAT_PERIOD, due: Some(now + HEARTBEAT_ANSWER_LIMIT) };
        }
        if self.next_token_check <= now {
            self.aside(|session| Box::pin(session.check_token())).await?;
        }
        Ok(())
    }
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
