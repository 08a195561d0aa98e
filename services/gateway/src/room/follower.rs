//! How a room reaches a session without ever waiting for it: a wake-up, two flags, and a short queue of things that may be lost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use snug_protocol::{DeviceId, RoomId};
use tokio::sync::Notify;

use super::lock;

/// Ephemeral frames kept for a session that is busy; the oldest go first.
const EPHEMERALS_QUEUED_MAX: usize = 64;

/// One session's bell. All rooms it follows ring the same one.
#[derive(Default)]
pub struct Wake {
    bell: Notify,
    ephemerals: Mutex<VecDeque<(RoomId, Bytes)>>,
    recheck_token: AtomicBool,
    move_away: AtomicBool,
}

impl Wake {
    /// Rings: there is something to look at.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// The node is draining.
    pub fn tell_to_move(&self) {
        self.move_away.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether the session was told to move since the last call.
    pub fn take_move(&self) -> bool {
        self.move_away.swap(false, Ordering::AcqRel)
    }

    /// Waits until something is to be looked at; a ring while nobody waits is kept. Cancel-safe.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// The session's token may have ended.
    pub fn recheck_token(&self) {
        self.recheck_token.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether the token was asked about since the last call.
    pub fn take_recheck_token(&self) -> bool {
        self.recheck_token.swap(false, Ordering::AcqRel)
    }

    /// Ephemeral frames since the last call, with their rooms: what the session follows no longer is not for it.
    pub fn take_ephemerals(&self) -> VecDeque<(RoomId, Bytes)> {
        std::mem::take(&mut *lock(&self.ephemerals))
    }
}

/// One session in one room.
pub struct Follower {
    device: DeviceId,
    wake: Arc<Wake>,
    recheck_access: AtomicBool,
}

impl Follower {
    pub(super) fn new(device: DeviceId, wake: Arc<Wake>) -> Self {
        Self { device, wake, recheck_access: AtomicBool::new(false) }
    }

    pub(super) const fn device(&self) -> DeviceId {
        self.device
    }

    pub(super) fn wake(&self) {
        self.wake.ring();
    }

    pub(super) fn recheck_access(&self) {
        self.recheck_access.store(true, Ordering::Release);
        self.wake();
    }

    /// Puts the question back, for when it could not be answered.
    pub fn keep_recheck_access(&self) {
        self.recheck_access.store(true, Ordering::Release);
    }

    /// Whether the right to be here was put in question since the last call.
    pub fn take_recheck_access(&self) -> bool {
        self.recheck_access.swap(false, Ordering::AcqRel)
    }

    pub(super) fn ephemeral(&self, room: RoomId, frame: &Bytes) {
        {
            let mut queue = lock(&self.wake.ephemerals);
            if queue.len() >= EPHEMERALS_QUEUED_MAX {
                queue.pop_front();
            }
            queue.push_back((room, frame.clone()));
        }
        self.wake();
    }
}
