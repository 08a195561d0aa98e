//! What the tasks and the faces of the backplane share: two connections, and whether they work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::types::config::Options;
use snug_protocol::RoomId;
use tokio::sync::{Notify, mpsc, watch};

use super::counters::{BusCounters, MissedCause};
use super::names::Names;
use super::publish::{EPHEMERALS_QUEUED_MAX, HINTS_QUEUED_MAX, Parcel};
use super::script::Scripts;
use super::side::{Moment, Side};
use super::table::Table;
use crate::{BusEvent, Listeners, NodeId};

/// How long a command of ours may take before it counts as failed.
const COMMAND_LIMIT: Duration = Duration::from_secs(1);
/// More than one, since following a cluster's redirection counts as an attempt.
const ATTEMPTS_MAX: u32 = 3;

pub(super) struct Link {
    pub(super) node: NodeId,
    pub(super) names: Names,
    /// Publishes and runs scripts.
    pub(super) publisher: Side<Client>,
    pub(super) subscriber: Side<SubscriberClient>,
    pub(super) scripts: Scripts,
    pub(super) listeners: Arc<Listeners>,
    pub(super) counters: Arc<BusCounters>,
    pub(super) hints: mpsc::Sender<Parcel>,
    pub(super) ephemerals: mpsc::Sender<Parcel>,
    table: Mutex<Table>,
    /// The table has something to do.
    pub(super) table_changed: Notify,
    /// The subscribing connection is to be asked whether it lives, and whether this node hears itself.
    pub(super) to_be_looked_at: Notify,
    /// The newest probe that came back.
    pub(super) probe_heard: watch::Sender<u64>,
    /// Whether probes come back.
    hears: AtomicBool,
    /// When something last arrived.
    heard: Moment,
}

impl Link {
    /// Without connections, and the ends of its queues.
    pub(super) fn new(node: NodeId, names: Names) -> (Self, mpsc::Receiver<Parcel>, mpsc::Receiver<Parcel>) {
        let (hints, hints_end) = mpsc::channel(HINTS_QUEUED_MAX);
        let (ephemerals, ephemerals_end) = mpsc::channel(EPHEMERALS_QUEUED_MAX);
        let link = Self {
            node,
            names,
            publisher: Side::default(),
            subscriber: Side::default(),
            scripts: Scripts::default(),
            listeners: Arc::default(),
            counters: Arc::default(),
            hints,
            ephemerals,
            table: Mutex::default(),
            table_changed: Notify::new(),
            to_be_looked_at: Notify::new(),
            probe_heard: watch::Sender::new(0),
            hears: AtomicBool::new(false),
            heard: Moment::now(),
        };
        (link, hints_end, ephemerals_end)
    }

    /// What is subscribed and what is to be.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events may have been lost.
    pub(super) fn missed(&self, room: Option<RoomId>, cause: MissedCause) {
        self.counters.missed.of(cause).increment();
        let is_precaution = room.is_none() && cause == MissedCause::Timer;
        self.listeners.tell(&if is_precaution { BusEvent::Checked } else { BusEvent::Missed { room } });
    }

    /// Something arrived.
    pub(super) fn heard(&self) {
        self.heard.note();
    }

    /// How long nothing has arrived.
    pub(super) fn silence(&self) -> Duration {
        self.heard.get().elapsed()
    }

    /// Whether what is published arrives here.
    pub(super) fn hears(&self) -> bool {
        self.hears.load(Ordering::Relaxed)
    }

    /// Says whether probes come back; returns whether that is news.
    pub(super) fn set_hears(&self, hears: bool) -> bool {
        self.hears.swap(hears, Ordering::Relaxed) != hears
    }
}

/// For commands whose failure is known at once when there is no connection, and after a second when there is no answer.
pub(super) fn fail_fast() -> Options {
    Options { timeout: Some(COMMAND_LIMIT), max_attempts: Some(ATTEMPTS_MAX), fail_fast: true, ..Options::default() }
}
