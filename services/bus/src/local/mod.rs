//! The bus of a node that is alone: a bounded in-process channel.

mod roster;

use async_trait::async_trait;
use snug_protocol::RoomId;
use tokio::sync::broadcast;

use crate::{Bus, BusError, BusEvent, BusHealth, EVENTS_QUEUED_MAX};

pub use roster::LocalRoster;

/// Carries events from this node to itself.
#[derive(Debug)]
pub struct LocalBus {
    events: broadcast::Sender<BusEvent>,
}

impl LocalBus {
    /// A bus of its own.
    #[must_use]
    pub fn new() -> Self {
        Self { events: broadcast::Sender::new(EVENTS_QUEUED_MAX) }
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, event: BusEvent) -> Result<(), BusError> {
        if matches!(event, BusEvent::Missed { .. } | BusEvent::Checked) {
            return Ok(());
        }
        // Without a receiver the node is starting or stopping, and nobody waits for news.
        let _ = self.events.send(event);
        Ok(())
    }

    async fn follow(&self, _room: RoomId) -> Result<(), BusError> {
        Ok(())
    }

    async fn unfollow(&self, _room: RoomId) {}

    fn events(&self) -> broadcast::Receiver<BusEvent> {
        self.events.subscribe()
    }

    fn name(&self) -> &'static str {
        "local"
    }

    fn health(&self) -> BusHealth {
        BusHealth::Connected
    }
}
