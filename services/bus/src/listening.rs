//! From the bus to those on this node who take note of its events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::broadcast;

use crate::BusEvent;

/// Somebody who takes note of a node's events.
pub trait Listener: Send + Sync + 'static {
    /// An event came. It is called by whoever publishes the event on this node, or by the one task that receives others' events: so it
    /// waits for nothing, publishes nothing, and everybody else waits for it.
    fn hear(&self, event: &BusEvent);
}

/// For those who take events when they have time; who falls behind by more than it holds is told so by the channel.
impl Listener for broadcast::Sender<BusEvent> {
    fn hear(&self, event: &BusEvent) {
        // Nobody may be waiting just now.
        let _ = self.send(event.clone());
    }
}

type Ears = Arc<[(u64, Arc<dyn Listener>)]>;

/// Those who listen to one node's events: what a [`Bus`](crate::Bus) tells of them.
pub struct Listeners {
    ears: RwLock<Ears>,
    next: AtomicU64,
}

impl Default for Listeners {
    fn default() -> Self {
        Self { ears: RwLock::new(Arc::new([])), next: AtomicU64::new(0) }
    }
}

impl Listeners {
    /// Tells `listener` of all events from now on, after those who listen already, until what is returned is dropped.
    pub fn add(self: &Arc<Self>, listener: Arc<dyn Listener>) -> Listening {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.change(|ears| ears.iter().cloned().chain([(number, listener)]).collect());
        Listening { number, listeners: Arc::clone(self) }
    }

    /// Tells everyone who listens, one after the other. Where nobody does the node is starting or stopping, and nobody waits for news.
    pub fn tell(&self, event: &BusEvent) {
        // Not under the lock: whoever hears may have somebody begin or stop to listen.
        let ears = Arc::clone(&self.ears.read().unwrap_or_else(PoisonError::into_inner));
        ears.iter().for_each(|(_, listener)| listener.hear(event));
    }

    fn change(&self, change: impl FnOnce(&Ears) -> Ears) {
        let mut ears = self.ears.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&ears);
        let before = std::mem::replace(&mut *ears, changed);
        drop(ears);
        // A listener may end with it, and do much in that.
        drop(before);
    }
}

/// Ends the listening when it is dropped.
#[must_use = "the listening ends with it"]
pub struct Listening {
    number: u64,
    listeners: Arc<Listeners>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.listeners.change(|ears| ears.iter().filter(|(number, _)| *number != self.number).cloned().collect());
    }
}
