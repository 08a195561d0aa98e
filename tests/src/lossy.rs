//! A node's ear on the bus that does not hear everything: what a real bus does on a bad day.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use snug_bus::{Bus, BusError, BusEvent, BusHealth, Listener, Listeners, Listening};
use snug_protocol::RoomId;

type Loses = Box<dyn FnMut(&BusEvent) -> bool + Send>;

/// Hears another bus, but for what it is told to lose.
pub struct LossyBus {
    inner: Arc<dyn Bus>,
    ear: Arc<Ear>,
    away: AtomicBool,
    _listening: Listening,
}

struct Ear {
    listeners: Arc<Listeners>,
    loses: Mutex<Loses>,
    lost: AtomicUsize,
}

impl Listener for Ear {
    fn hear(&self, event: &BusEvent) {
        let is_lost = self.loses.lock().expect("no trick panicked")(event);
        if is_lost {
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            self.listeners.tell(event);
        }
    }
}

impl LossyBus {
    /// Over this bus; loses nothing yet.
    #[must_use]
    pub fn over(inner: Arc<dyn Bus>) -> Arc<Self> {
        let loses: Mutex<Loses> = Mutex::new(Box::new(|_| false));
        let ear = Arc::new(Ear { listeners: Arc::default(), loses, lost: AtomicUsize::default() });
        let listening = inner.listen(ear.clone());
        Arc::new(Self { inner, ear, away: AtomicBool::new(false), _listening: listening })
    }

    /// From now on loses these.
    pub fn lose(&self, which: impl FnMut(&BusEvent) -> bool + Send + 'static) {
        *self.ear.loses.lock().expect("no trick panicked") = Box::new(which);
    }

    /// From now on loses everything, and does not know it.
    pub fn deafen(&self) {
        self.lose(|_| true);
    }

    /// How many events were lost.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.ear.lost.load(Ordering::Relaxed)
    }

    /// Whether it says that nobody can be reached; then nothing is published either.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    /// Says that events may have been missed, as a bus does that notices.
    pub fn tell_missed(&self, room: Option<RoomId>) {
        self.ear.listeners.tell(&BusEvent::Missed { room });
    }
}

#[async_trait]
impl Bus for LossyBus {
    fn publish(&self, event: BusEvent) -> Result<(), BusError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(BusError::Unavailable);
        }
        self.inner.publish(event)
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

    fn listen(&self, listener: Arc<dyn Listener>) -> Listening {
        self.ear.listeners.add(listener)
    }

    fn name(&self) -> &'static str {
        "lossy"
    }

    fn health(&self) -> BusHealth {
        if self.away.load(Ordering::Relaxed) { BusHealth::Away } else { self.inner.health() }
    }
}
