//! A node's ear on the bus that does not hear everything: what a real bus does on a bad day.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use snug_bus::{Bus, BusError, BusEvent, BusHealth, EVENTS_QUEUED_MAX};
use snug_protocol::RoomId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::task::TaskTracker;

type Loses = Box<dyn FnMut(&BusEvent) -> bool + Send>;

/// Hears another bus, but for what it is told to lose.
pub struct LossyBus {
    inner: Arc<dyn Bus>,
    events: broadcast::Sender<BusEvent>,
    loses: Arc<Mutex<Loses>>,
    lost: Arc<AtomicUsize>,
    away: AtomicBool,
}

impl LossyBus {
    /// Over this bus; loses nothing yet.
    #[must_use]
    pub fn over(inner: Arc<dyn Bus>) -> Arc<Self> {
        let (events, lost) = (broadcast::Sender::new(EVENTS_QUEUED_MAX), Arc::<AtomicUsize>::default());
        let loses: Arc<Mutex<Loses>> = Arc::new(Mutex::new(Box::new(|_| false)));
        let (mut heard, told, (trick, count)) =
            (inner.events(), events.clone(), (Arc::clone(&loses), Arc::clone(&lost)));
        TaskTracker::new().spawn(async move {
            loop {
                let event = match heard.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => BusEvent::Missed { room: None },
                    Err(RecvError::Closed) => return,
                };
                if trick.lock().expect("no trick panicked")(&event) {
                    count.fetch_add(1, Ordering::Relaxed);
                } else {
                    // Without a receiver the node is starting or gone.
                    let _ = told.send(event);
                }
            }
        });
        Arc::new(Self { inner, events, loses, lost, away: AtomicBool::new(false) })
    }

    /// From now on loses these.
    pub fn lose(&self, which: impl FnMut(&BusEvent) -> bool + Send + 'static) {
        *self.loses.lock().expect("no trick panicked") = Box::new(which);
    }

    /// From now on loses everything, and does not know it.
    pub fn deafen(&self) {
        self.lose(|_| true);
    }

    /// How many events were lost.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether it says that nobody can be reached; then nothing is published either.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    /// Says that events may have been missed, as a bus does that notices.
    pub fn tell_missed(&self, room: Option<RoomId>) {
        let _ = self.events.send(BusEvent::Missed { room });
    }
}

#[async_trait]
impl Bus for LossyBus {
    async fn publish(&self, event: BusEvent) -> Result<(), BusError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(BusError::Unavailable);
        }
        self.inner.publish(event).await
    }

    async fn follow(&self, room: RoomId) -> Result<(), BusError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(BusError::Unavailable);
        }
        self.inner.follow(room).await
    }

    async fn unfollow(&self, room: RoomId) {
        self.inner.unfollow(room).await;
    }

    fn events(&self) -> broadcast::Receiver<BusEvent> {
        self.events.subscribe()
    }

    fn name(&self) -> &'static str {
        "lossy"
    }

    fn health(&self) -> BusHealth {
        if self.away.load(Ordering::Relaxed) { BusHealth::Away } else { self.inner.health() }
    }
}
