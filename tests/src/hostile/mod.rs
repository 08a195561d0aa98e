//! A server that lies: a proxy in front of a real node that changes what passes, by tricks a test sets.
//!
//! It speaks the real protocol, since a real node does behind it. What it knows is what a hostile server would know: everything but keys.

pub mod accomplice;
mod http;
pub mod scene;
mod socket;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;
use snug_protocol::Seq;
use snug_protocol::frame::{ClientFrame, EntryFrame, ServerFrame};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Frames in the node's name that wait for a socket.
const NEWS_MAX: usize = 16;

/// The node's answer to an HTTP call, before the victim sees it.
pub struct Answer {
    /// The call's path and query.
    pub path: String,
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Changes the body as JSON, and makes the call a success.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut Value)) {
        let mut json = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        change(&mut json);
        self.body = serde_json::to_vec(&json).expect("JSON").into();
        self.status = 200;
    }
}

/// An HTTP call of the victim's, before the node hears it.
pub struct Call {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// Its body.
    pub body: Bytes,
}

/// What becomes of an HTTP call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passage {
    /// The node hears it, the victim its answer.
    Whole,
    /// The connection breaks before the node hears it.
    Unheard,
    /// The node hears it, but the connection breaks before the answer.
    Unanswered,
}

/// What becomes of a frame from the victim.
pub enum Fate {
    /// It goes on to the node.
    Passed,
    /// It is swallowed, and the victim is told this instead.
    Answered(ServerFrame),
}

type CallTrick = Box<dyn FnMut(&Call) -> Passage + Send>;
type HttpTrick = Box<dyn FnMut(&mut Answer) + Send>;
type EntryTrick = Box<dyn FnMut(EntryFrame) -> Vec<EntryFrame> + Send>;
type FrameTrick = Box<dyn FnMut(ServerFrame) -> Option<ServerFrame> + Send>;
type AskTrick = Box<dyn FnMut(ClientFrame) -> ClientFrame + Send>;
type SendTrick = Box<dyn FnMut(&Bytes) -> Fate + Send>;

#[derive(Default)]
struct Tricks {
    call: Option<CallTrick>,
    http: Option<HttpTrick>,
    entry: Option<EntryTrick>,
    frame: Option<FrameTrick>,
    ask: Option<AskTrick>,
    send: Option<SendTrick>,
}

/// The lying server; honest until a trick is set. Dropping it breaks its connections.
pub struct HostileServer {
    /// Its address, for the victim.
    pub url: String,
    tricks: Arc<Mutex<Tricks>>,
    cut: Arc<Mutex<CancellationToken>>,
    refusing: Arc<AtomicBool>,
    news: broadcast::Sender<Message>,
    _stop: DropGuard,
}

impl HostileServer {
    /// A proxy in front of the node at `node_url`.
    pub async fn before(node_url: &str) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (tricks, tasks, stop) = (Arc::<Mutex<Tricks>>::default(), TaskTracker::new(), CancellationToken::new());
        let (connections, cut) = (tasks.clone(), Arc::<Mutex<CancellationToken>>::default());
        let refusing = Arc::<AtomicBool>::default();
        let (news, _) = broadcast::channel(NEWS_MAX);
        let told = news.clone();
        let (cut_by, refused) = (Arc::clone(&cut), Arc::clone(&refusing));
        let (node, shared, stopped) = (node_url.to_owned(), Arc::clone(&tricks), stop.clone());
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = stopped.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else { continue };
                if refused.load(Ordering::Relaxed) {
                    continue;
                }
                let (node, tricks, stopped) = (node.clone(), Arc::clone(&shared), stopped.clone());
                let news = told.clone();
                let cut = cut_by.lock().expect("no code panics while it holds the token").clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = cut.cancelled() => {}
                        () = serve(stream, &node, &tricks, &news) => {}
                    }
                });
            }
        });
        Self { url, tricks, cut, refusing, news, _stop: stop.drop_guard() }
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::Relaxed);
    }

    /// Says this on every open socket, in the node's name.
    pub fn tell(&self, frame: &ServerFrame) {
        // Nobody listens if no socket is open.
        let _ = self.news.send(message(frame));
    }

    /// How many sockets are open.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.news.receiver_count()
    }

    /// Breaks every connection there is; new ones are served.
    pub fn cut(&self) {
        let mut cut = self.cut.lock().expect("no code panics while it holds the token");
        std::mem::take(&mut *cut).cancel();
    }

    fn tricks(&self) -> std::sync::MutexGuard<'_, Tricks> {
        self.tricks.lock().expect("no trick panicked")
    }

    /// From now on `trick` decides what becomes of HTTP calls.
    pub fn on_call(&self, trick: impl FnMut(&Call) -> Passage + Send + 'static) {
        self.tricks().call = Some(Box::new(trick));
    }

    /// From now on answers to HTTP calls pass through `trick`.
    pub fn on_http(&self, trick: impl FnMut(&mut Answer) + Send + 'static) {
        self.tricks().http = Some(Box::new(trick));
    }

    /// From now on the entries of followed rooms pass through `trick`.
    pub fn on_entry(&self, trick: impl FnMut(EntryFrame) -> Vec<EntryFrame> + Send + 'static) {
        self.tricks().entry = Some(Box::new(trick));
    }

    /// From now on control frames to the victim pass through `trick`; `None` swallows one.
    pub fn on_frame(&self, trick: impl FnMut(ServerFrame) -> Option<ServerFrame> + Send + 'static) {
        self.tricks().frame = Some(Box::new(trick));
    }

    /// From now on the victim's control frames pass through `trick`.
    pub fn on_ask(&self, trick: impl FnMut(ClientFrame) -> ClientFrame + Send + 'static) {
        self.tricks().ask = Some(Box::new(trick));
    }

    /// From now on the victim's send frames pass through `trick`.
    pub fn on_send(&self, trick: impl FnMut(&Bytes) -> Fate + Send + 'static) {
        self.tricks().send = Some(Box::new(trick));
    }
}

async fn serve(stream: TcpStream, node: &str, tricks: &Mutex<Tricks>, news: &broadcast::Sender<Message>) {
    let mut start = [0; 7];
    while stream.peek(&mut start).await.is_ok_and(|bytes| bytes > 0 && bytes < start.len()) {
        tokio::task::yield_now().await;
    }
    if start.starts_with(b"GET /ws") {
        socket::serve(stream, node, tricks, news.subscribe()).await;
    } else {
        http::serve(stream, node, tricks).await;
    }
}

/// The same envelope at another place.
#[must_use]
pub fn renumbered(entry: &EntryFrame, seq: Seq) -> EntryFrame {
    EntryFrame::new(seq, entry.at_ms(), &entry.envelope_bytes())
}

/// Another envelope at the same place.
#[must_use]
pub fn with_envelope(entry: &EntryFrame, envelope: &[u8]) -> EntryFrame {
    EntryFrame::new(entry.seq(), entry.at_ms(), envelope)
}

/// A log page whose entries went through `change`.
#[must_use]
pub fn rewrite_page(page: &Bytes, change: impl Fn(EntryFrame) -> EntryFrame) -> Bytes {
    let (mut out, mut rest, mut first) = (BytesMut::new(), page.clone(), true);
    while rest.len() >= 4 {
        let length = u32::from_be_bytes(rest[..4].try_into().expect("four bytes")) as usize;
        let record = rest.slice(4..4 + length);
        rest = rest.slice(4 + length..);
        let record = match EntryFrame::parse(&record) {
            Ok(entry) if !std::mem::take(&mut first) => change(entry).bytes().clone(),
            _ => record,
        };
        first = false;
        out.put_u32(u32::try_from(record.len()).expect("short"));
        out.put_slice(&record);
    }
    out.freeze()
}

fn message(frame: &impl serde::Serialize) -> Message {
    Message::text(serde_json::to_string(frame).expect("a frame is plain data"))
}
