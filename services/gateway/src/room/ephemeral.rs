//! What is told once and kept nowhere: who came, who types, and in a crowd how many.

use std::sync::Arc;

use bytes::Bytes;
use snug_protocol::DeviceId;
use snug_protocol::frame::ServerFrame;
use snug_protocol::limits::CROWD_PERIOD;
use tokio::time::{Instant, sleep};

use super::crowd::{Digest, Passing};
use super::{Room, Rooms, lock};
use crate::wire;

fn encode(frame: &ServerFrame) -> Bytes {
    wire::text(&serde_json::to_string(frame).expect("a frame is plain data"))
}

impl Room {
    /// A follower was told that so many are here.
    pub fn stands_at(&self, here_count: u32) {
        lock(&self.crowd).stands_at(here_count);
    }

    /// A frame from the bus for everyone who follows the room; the device it is about need not hear of it.
    pub(super) fn ephemeral(&self, frame: &Bytes, from: DeviceId) {
        // What cannot be read is of a newer node; its clients may know what to do with it.
        if let Ok(known) = serde_json::from_slice(frame)
            && lock(&self.crowd).sift(&known, Instant::now()) == Passing::Counted
        {
            return;
        }
        let Ok(text) = std::str::from_utf8(frame) else { return };
        let message = wire::text(text);
        for follower in self.followers.list().iter() {
            if follower.device() != from {
                follower.ephemeral(self.id, &message);
            }
        }
    }

    fn tell_crowd(&self, digest: &Digest) {
        let here = digest.here_count.map(|here_count| ServerFrame::Here { room: self.id, here: None, here_count });
        let here = here.as_ref().map(encode);
        let typing = u32::try_from(digest.typing.len()).expect("bounded");
        let count_without = |own: u32| {
            let count = typing - own;
            (count > 0).then(|| encode(&ServerFrame::TypingCount { room: self.id, count }))
        };
        // Nobody is told of themselves.
        let (others, all) = if typing == 0 { (None, None) } else { (count_without(1), count_without(0)) };
        if here.is_none() && all.is_none() {
            return;
        }
        for follower in self.followers.list().iter() {
            let typing = if digest.typing.contains(&follower.device()) { &others } else { &all };
            for frame in [&here, typing].into_iter().flatten() {
                follower.ephemeral(self.id, frame);
            }
        }
    }
}

impl Rooms {
    /// Tells the followers of crowds how many are here and typing.
    pub(super) async fn run_crowds(self) {
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => return,
                () = sleep(CROWD_PERIOD) => {}
            }
            let rooms: Vec<Arc<Room>> = lock(&self.shared.rooms).values().cloned().collect();
            for room in rooms {
                let digest = lock(&room.crowd).digest(Instant::now());
                room.tell_crowd(&digest);
            }
        }
    }
}
