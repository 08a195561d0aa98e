//! Keeps the roster in step with this node's table: many calls at a time, one a device, none while the roster is away. Then those on this
//! node are told of one another all the same.

use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use snug_bus::{BusError, Stand};
use snug_protocol::frame::PresenceState;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::pending::Due;
use super::table::Key;
use super::{CALL_LIMIT, CROWD_ENDS, Presence, lock};

/// Calls to the roster at one time.
const CALLS_MAX: usize = 64;

type Calls = FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>;

pub(super) async fn run(presence: Presence, stop: CancellationToken) {
    let mut calls = Calls::new();
    tokio::select! {
        () = stop.cancelled() => return,
        // Entries without a lease would be those of a dead node.
        () = presence.shared.begun.cancelled() => {}
    }
    loop {
        while calls.len() < CALLS_MAX {
            let Some((key, due)) = lock(&presence.shared.pending).next() else { break };
            let presence = presence.clone();
            calls.push(Box::pin(async move { presence.register(key, due).await }));
        }
        tokio::select! {
            () = stop.cancelled() => return,
            Some(()) = calls.next() => {}
            () = presence.shared.bell.notified() => {}
        }
    }
}

impl Presence {
    /// Tells the roster how the device stands now, and those in the room if that is news.
    async fn register(&self, key: Key, due: Due) {
        let (room, device) = key;
        let (roster, node) = (&self.shared.roster, self.shared.node);
        let is_here = !due.expel && self.table().contains(key);
        let state = if is_here { PresenceState::Here } else { PresenceState::Gone };
        if self.is_away() {
            return self.register_later(key, due, state).await;
        }
        let call = if due.expel {
            roster.expel(room, device)
        } else if is_here {
            roster.enter(node, room, device)
        } else {
            roster.leave(node, room, device)
        };
        let stand: Result<Stand, BusError> = timeout(CALL_LIMIT, call).await.unwrap_or(Err(BusError::Unavailable));
        let Ok(Stand { changed, here_count }) = stand else {
            self.went_away();
            return self.register_later(key, due, state).await;
        };
        if due.late {
            self.doubt([room]);
        } else if changed && !is_here && here_count == CROWD_ENDS {
            self.tell_stand(room).await;
        } else if changed {
            self.tell(room, device, state, here_count);
        }
        let mut pending = lock(&self.shared.pending);
        if due.expel && self.table().contains(key) {
            // It came back, by another invite.
            pending.note(key);
        }
        pending.done(key);
    }

    /// The roster is away. Where its bus is too, what is told now is heard on this node only, as it should be.
    async fn register_later(&self, key: Key, due: Due, state: PresenceState) {
        lock(&self.shared.pending).failed(key, due);
        let (room, device) = key;
        if !due.late {
            let (_, own_count) = self.table().here(room, 0);
            self.tell(room, device, state, own_count);
        }
    }
}
