//! How much a client may ask for, beside sending.

use std::time::{Duration, Instant};

use snug_protocol::DeviceId;

use crate::limit::{Buckets, Rate};

/// Control frames of a session.
pub(super) const CONTROLS: Rate = Rate { per_second: 20.0, burst: 100.0 };
/// Rooms that a device asks to follow, in all its sessions on this node: each costs the store several reads. At once as many as it can have
/// rooms in all its sessions.
const FOLLOWS: Rate = Rate { per_second: 20.0, burst: 400.0 };

/// How often each device asks to follow a room.
pub struct FollowRates(Buckets<DeviceId>);

impl Default for FollowRates {
    fn default() -> Self {
        Self(Buckets::new(FOLLOWS))
    }
}

impl FollowRates {
    pub(super) fn charge(&self, device: DeviceId) -> Result<(), Duration> {
        self.0.charge(&device, Instant::now())
    }

    /// Forgets devices that have not asked for a while.
    pub fn sweep(&self) {
        self.0.sweep(Instant::now());
    }
}
