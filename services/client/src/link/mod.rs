//! The one connection of a client: connects, greets, reads, and hands frames to the rooms they are for. Reconnects for ever.
//!
//! One task reads for all rooms, one writes. A room that does not keep up is not waited for: what comes for it is dropped and its port says
//! so, and the room follows again from its cursor, since the log itself is the queue. Answers to requests are never dropped.

mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use snug_protocol::frame::{EntryFrame, ServerFrame};
use snug_protocol::{ErrorBody, ErrorCode, RoomId};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ClientConfig;
use crate::http::Http;
use task::LinkTask;

/// Frames that wait to be written.
const WRITER_QUEUE_MAX: usize = 256;
/// Entries and news that wait for one room.
pub(crate) const INBOX_MAX: usize = 256;
/// News that may be lost (presence, typing) are shed when less than this is free.
const INBOX_RESERVE: usize = INBOX_MAX / 2;
/// Answers that wait for one room; more than it can have requests under way.
pub(crate) const ANSWERS_MAX: usize = 128;
/// Requests from rooms and handles to the link.
pub(crate) const LINK_QUEUE_MAX: usize = 64;
/// Messages that the writer puts into one flush.
const WRITE_BATCH_MAX: usize = 32;

/// Where a room's frames go.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) inbox: mpsc::Sender<News>,
    pub(crate) answers: mpsc::Sender<Answer>,
    /// Set when something for the inbox was dropped; only the room clears it, after which it follows again.
    pub(crate) overrun: Arc<AtomicBool>,
}

/// What comes for a room and can be had again by following it.
#[derive(Debug)]
pub(crate) enum News {
    Entry(EntryFrame),
    /// `followed`, `presence`, `here`, `typing`, `typing_count`.
    Frame(ServerFrame),
    /// A heartbeat's head.
    Head(snug_protocol::Seq),
}

/// What comes for a room once.
#[derive(Debug)]
pub(crate) enum Answer {
    Sent { id: u32, seq: snug_protocol::Seq, at_ms: u64 },
    Refused { id: u32, error: ErrorBody },
    Closed { code: ErrorCode },
}

/// Whether there is a session, and how to write to it.
#[derive(Clone, Debug)]
pub(crate) enum LinkState {
    Down,
    Up(Session),
}

/// A session; a new one has another number.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) number: u64,
    writer: mpsc::Sender<Message>,
}

impl Session {
    /// Writes a frame, waiting while the queue is full; the wait ends when the session does. Cancel safe: it is written or not.
    pub(crate) async fn write(&self, message: Message) {
        // A session that has ended reports that itself, and whatever matters is sent again on the next.
        let _ = self.writer.send(message).await;
    }

    /// Writes a frame unless the queue is full.
    pub(crate) fn write_if_free(&self, message: Message) {
        let _ = self.writer.try_send(message);
    }
}

/// What others ask of the link.
#[derive(Debug)]
pub(crate) enum LinkRequest {
    Register {
        room: RoomId,
        port: Port,
    },
    Forget {
        room: RoomId,
    },
    /// Something is wrong with the session of this number: open another.
    Reconnect {
        number: u64,
    },
}

/// The handle that rooms hold. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) requests: mpsc::Sender<LinkRequest>,
    pub(crate) state: watch::Receiver<LinkState>,
    ids: Arc<AtomicU32>,
}

impl Link {
    /// An id for a request, used once.
    pub(crate) fn next_id(&self) -> u32 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts the link's task. It connects once a room is registered.
    pub(crate) fn start(config: Arc<ClientConfig>, http: Http, tracker: &TaskTracker, stop: CancellationToken) -> Self {
        let (requests, queue) = mpsc::channel(LINK_QUEUE_MAX);
        let (state, watched) = watch::channel(LinkState::Down);
        let task = LinkTask::new(config, http, queue, state, tracker.clone(), stop.clone());
        tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task.run() => {}
            }
        });
        Self { requests, state: watched, ids: Arc::new(AtomicU32::new(1)) }
    }
}

impl Port {
    fn news(&self, news: News) {
        if self.overrun.load(Ordering::Acquire) {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = self.inbox.try_send(news) {
            self.overrun.store(true, Ordering::Release);
        }
    }
}

/// The room in an entry's header, unchecked.
fn room_of(entry: &EntryFrame) -> Option<RoomId> {
    entry.envelope_bytes().get(8..24)?.try_into().ok().map(RoomId)
}
