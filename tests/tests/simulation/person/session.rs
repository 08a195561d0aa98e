//! One socket after the other, over the real WebSocket layer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use snug_protocol::frame::{ClientFrame, EntryFrame, ServerFrame};
use snug_protocol::limits::SILENCE_LIMIT;
use snug_protocol::{ErrorBody, ErrorCode, Retry, RoomId, SUBPROTOCOL};
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;

use super::book::Followed;
use super::{Following, Line, Person};
use crate::node::HOST;
use crate::scene::{Plant, Scene};

/// From the first byte to the welcome, and for any write.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

pub type Socket = WebSocketStream<DuplexStream>;

/// An open socket, welcomed.
struct Open {
    socket: Socket,
    line: Line,
    /// When the server said something last.
    heard_at: Instant,
}

/// Why a socket ended.
enum Ended {
    Broken,
    Stopped,
}

struct Session {
    scene: Arc<Scene>,
    person: Arc<Person>,
    ids: u32,
    /// Of the node whose socket ended last.
    avoided: Option<usize>,
    next_word: Instant,
}

/// Lives until `stop`.
pub async fn run(scene: Arc<Scene>, person: Arc<Person>, stop: CancellationToken) {
    let next_word = Instant::now() + person.dice.ms(0, 3000);
    let mut session = Session { scene, person, ids: 0, avoided: None, next_word };
    let mut failures = 0;
    while !stop.is_cancelled() {
        match session.open().await {
            Some(open) => {
                failures = 0;
                session.live(open, &stop).await;
                session.person.set_line(None);
            }
            None => failures += 1,
        }
        let longest = (200 << failures.min(3)).min(1500);
        let pause = session.person.dice.ms(50, longest);
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

impl Session {
    async fn open(&mut self) -> Option<Open> {
        let node = self.scene.pick_node(&self.person.dice, self.avoided)?;
        let (cable, stream) = node.connect(&self.scene, self.person.peer)?;
        let line = Line { cable, node };
        let opened = timeout(CONNECT_LIMIT, greet(stream, &self.person.secret)).await;
        let Ok(Some(socket)) = opened else {
            self.avoided = Some(line.node.no);
            self.scene.journal.note(format_args!("{} gets no session on {}", self.person.name, line.node.name));
            return None;
        };
        self.scene.journal.count("session", format_args!("{} on {}", self.person.name, line.node.name));
        Some(Open { socket, line, heard_at: Instant::now() })
    }

    fn begin(&self, open: &Open) {
        self.person.set_line(Some(open.line.clone()));
        self.person.books().values_mut().for_each(super::Book::begin_session);
    }

    async fn live(&mut self, mut open: Open, stop: &CancellationToken) {
        self.begin(&open);
        let stopped = loop {
            match self.turn(&mut open, stop).await {
                Ok(()) => {}
                Err(Ended::Stopped) => break true,
                Err(Ended::Broken) => break false,
            }
        };
        if stopped {
            let _ = timeout(CONNECT_LIMIT, open.socket.close(None)).await;
        } else {
            self.avoided = Some(open.line.node.no);
            let (name, node) = (&self.person.name, &open.line.node.name);
            self.scene.journal.note(format_args!("{name} has lost its session on {node}"));
        }
    }

    async fn turn(&mut self, open: &mut Open, stop: &CancellationToken) -> Result<(), Ended> {
        for message in self.take_due() {
            write(&mut open.socket, message).await?;
        }
        let silent_at = open.heard_at + SILENCE_LIMIT;
        let due = self.person.due().unwrap_or(silent_at);
        let person = Arc::clone(&self.person);
        let talking = self.scene.talking.load(Ordering::Relaxed);
        tokio::select! {
            () = stop.cancelled() => Err(Ended::Stopped),
            incoming = open.socket.next() => match incoming {
                Some(Ok(message)) => {
                    open.heard_at = Instant::now();
                    self.hear(open, message).await
                }
                Some(Err(_)) | None => Err(Ended::Broken),
            },
            () = sleep_until(silent_at) => Err(Ended::Broken),
            () = sleep_until(due) => Ok(()),
            () = person.nudge.notified() => Ok(()),
            () = sleep_until(self.next_word), if talking => {
                if self.scene.talking.load(Ordering::Relaxed) {
                    self.person.talk(&self.scene);
                }
                self.next_word = Instant::now() + self.person.dice.ms(100, self.scene.pause_ms_max);
                Ok(())
            }
        }
    }

    /// Requests to follow, and what is to be said where that has been answered.
    fn take_due(&mut self) -> Vec<Message> {
        let (scene, person) = (Arc::clone(&self.scene), Arc::clone(&self.person));
        let (mut messages, mut books) = (Vec::new(), person.books());
        let mut next_id = || {
            self.ids += 1;
            self.ids
        };
        for book in books.values_mut() {
            match book.following {
                Following::No(at) if at <= Instant::now() => {
                    let id = next_id();
                    book.following = Following::Asked { id, at: Instant::now() };
                    messages.push(text(&ClientFrame::Follow { id, room: book.room, cursor: book.cursor() }));
                }
                Following::Yes { .. } => {
                    let envelopes = book.outbox.transmit(book.epoch, &mut scene.ledger(), &person.dice, &mut next_id);
                    messages.extend(envelopes.into_iter().map(Message::Binary));
                }
                Following::No(_) | Following::Asked { .. } | Following::Closed(_) => {}
            }
        }
        messages
    }

    async fn hear(&mut self, open: &mut Open, message: Message) -> Result<(), Ended> {
        match message {
            Message::Binary(bytes) => {
                self.entry(open, &bytes);
                Ok(())
            }
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(frame) => self.control(open, frame).await,
                // A frame of a newer version.
                Err(_) => Ok(()),
            },
            Message::Close(_) => Err(Ended::Broken),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
        }
    }

    fn entry(&self, open: &Open, bytes: &Bytes) {
        let Ok(entry) = EntryFrame::parse(bytes) else { return };
        if self.scene.plant == Plant::GapAccepted && self.person.dice.one_in(30) {
            return self.scene.journal.tally("planted: entry skipped");
        }
        let Ok(header) = entry.header() else { return };
        if let Some(book) = self.person.books().get_mut(&header.room) {
            book.entry(&self.scene, &entry, open.line.cable.was_slow());
        }
    }

    async fn control(&mut self, open: &mut Open, frame: ServerFrame) -> Result<(), Ended> {
        match frame {
            ServerFrame::Followed { id, room, history, head, from, skipped, resync, .. } => {
                if let Some(book) = self.person.books().get_mut(&room) {
                    book.followed(&self.scene, id, &Followed { history, head, from, skipped, resync });
                }
            }
            ServerFrame::Sent { id, room, seq, duplicate, .. } => self.sent(id, room, seq, duplicate),
            ServerFrame::Error { id: Some(id), room: Some(room), error } => self.refused(id, room, &error),
            ServerFrame::Error { error, .. } if error.retry == Retry::SignIn => return Err(Ended::Broken),
            ServerFrame::RoomClosed { room, code } => self.person.room_closed(&self.scene, room, code),
            ServerFrame::Heartbeat { .. } => write(&mut open.socket, text(&ClientFrame::Heartbeat {})).await?,
            ServerFrame::Move { .. } => self.move_away(open).await,
            _ => {}
        }
        Ok(())
    }

    fn sent(&self, id: u32, room: RoomId, seq: snug_protocol::Seq, duplicate: bool) {
        let mut books = self.person.books();
        let Some(book) = books.get_mut(&room) else { return };
        let Some(number) = book.outbox.sent(id, seq, &mut self.scene.ledger()) else { return };
        let place = format!("{}:{seq}", self.scene.room_name(room));
        let again = if duplicate { "again " } else { "" };
        self.scene.journal.tally(if duplicate { "acknowledged again" } else { "acknowledged" });
        self.scene.journal.note(format_args!("{} has its {number} acknowledged {again}at {place}", self.person.name));
    }

    fn refused(&self, id: u32, room: RoomId, error: &ErrorBody) {
        let mut books = self.person.books();
        let Some(book) = books.get_mut(&room) else { return };
        let (name, code) = (&self.person.name, error.code);
        if matches!(book.following, Following::Asked { id: asked, .. } if asked == id) {
            self.scene.journal.note(format_args!("{name} may not follow {}: {code:?}", self.scene.room_name(room)));
            if error.retry == Retry::Later {
                book.following = Following::No(Instant::now() + self.person.dice.ms(200, 1000));
                return;
            }
            drop(books);
            return self.person.room_closed(&self.scene, room, code);
        }
        // The key of another epoch is got from the chain; here its number is enough.
        book.epoch = error.epoch.unwrap_or(book.epoch);
        let Some(refused) = book.outbox.refused(id, error, &self.person.dice) else { return };
        self.scene.journal.tally(if code == ErrorCode::StaleEpoch { "stale epoch" } else { "refused" });
        self.scene.journal.note(format_args!("{name} is refused: {code:?}, {refused:?}"));
    }

    /// Opens the next session before this one ends, if another node takes it.
    async fn move_away(&mut self, open: &mut Open) {
        self.avoided = Some(open.line.node.no);
        if let Some(newer) = self.open().await {
            let mut older = std::mem::replace(open, newer);
            self.scene.journal.count("moved", format_args!("{} to {}", self.person.name, open.line.node.name));
            self.begin(open);
            let _ = timeout(CONNECT_LIMIT, older.socket.close(None)).await;
        }
    }
}

/// A socket of whoever has this token, welcomed.
pub async fn greet(stream: DuplexStream, secret: &[u8; 32]) -> Option<Socket> {
    let mut request = format!("ws://{HOST}/ws").into_client_request().expect("an address");
    let token = format!("Bearer {}", snug_protocol::encode_base64(secret));
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL.parse().expect("a header"));
    request.headers_mut().insert(header::AUTHORIZATION, token.parse().expect("a header"));
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let (mut socket, _) = client_async_with_config(request, stream, Some(config)).await.ok()?;
    socket.send(text(&ClientFrame::Hello { client: "simulation".into() })).await.ok()?;
    match socket.next().await?.ok()? {
        Message::Text(text) => match serde_json::from_str(&text).ok()? {
            ServerFrame::Welcome { .. } => Some(socket),
            _ => None,
        },
        _ => None,
    }
}

pub fn text(frame: &ClientFrame) -> Message {
    Message::text(serde_json::to_string(frame).expect("a frame is plain data"))
}

async fn write(socket: &mut Socket, message: Message) -> Result<(), Ended> {
    match timeout(CONNECT_LIMIT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Ended::Broken),
    }
}
