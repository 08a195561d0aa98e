//! The bus of a node that is alone: whoever publishes tells those who listen.

mod roster;

use std::sync::Arc;

use async_trait::async_trait;
use snug_protocol::RoomId;

use crate::{Bus, BusError, BusEvent, BusHealth, Listener, Listeners, Listening};

pub use roster::LocalRoster;

/// Carries events from this node to itself.
#[derive(Default)]
pub struct LocalBus {
    listeners: Arc<Listeners>,
}

impl LocalBus {
    /// A bus of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Bus for LocalBus {
    fn publish(&self, event: BusEvent) -> Result<(), BusError> {
        if !matches!(event, BusEvent::Missed { .. } | BusEvent::Checked) {
            self.listeners.tell(&event);
        }
        Ok(())
    }

    async fn follow(&self, _room: RoomId) -> Result<(), BusError> {
        Ok(())
    }

    async fn unfollow(&self, _room: RoomId) {}

    fn listen(&self, listener: Arc<dyn Listener>) -> Listening {
        self.listeners.add(listener)
    }

    fn name(&self) -> &'static str {
        "local"
    }

    fn health(&self) -> BusHealth {
        BusHealth::Connected
    }
}
