//! Coming into a room's table and leaving it: on the bus first, then the store, so that nothing falls between the two.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snug_protocol::frame::EntryFrame;
use snug_protocol::limits::{HISTORY_PAGE_BYTES_MAX, LATEST_PAGE};
use snug_protocol::{DeviceId, HistoryId, RoomId, Seq};
use snug_store::{FollowState, StoreError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Accepted, Behind, Due, Follower, Room, Rooms, Wake, backlog, lock};
use crate::wire::{Entries, Socket};

/// How long a room that is entered waits for its own unfollowing to be over.
const LEAVING_LIMIT: Duration = Duration::from_millis(500);
/// Bytes handed to a socket before it must have taken them all. Small enough that a slow phone takes them within `SLOW_READER_LIMIT`.
pub const FLUSH_BYTES_MAX: usize = 64 * 1024;

/// Rooms that are being unfollowed on the bus. One that is entered again meanwhile waits, or the late unfollowing would make it deaf.
#[derive(Default)]
pub(super) struct Leaving(Mutex<HashMap<RoomId, CancellationToken>>);

/// An unfollowing under way; over when dropped.
struct Unfollowing<'a> {
    leaving: &'a Leaving,
    room: RoomId,
    over: CancellationToken,
}

impl Drop for Unfollowing<'_> {
    fn drop(&mut self) {
        lock(&self.leaving.0).remove(&self.room);
        self.over.cancel();
    }
}

impl Leaving {
    /// `None`: it is under way already.
    fn begin(&self, room: RoomId) -> Option<Unfollowing<'_>> {
        match lock(&self.0).entry(room) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => {
                let over = entry.insert(CancellationToken::new()).clone();
                Some(Unfollowing { leaving: self, room, over })
            }
        }
    }

    async fn over(&self, room: RoomId) {
        let under_way = lock(&self.0).get(&room).cloned();
        if let Some(over) = under_way {
            let _ = timeout(LEAVING_LIMIT, over.cancelled()).await;
        }
    }
}

/// A session's place in a room; leaving is dropping it.
pub struct Following {
    rooms: Rooms,
    room: Arc<Room>,
    id: u64,
    follower: Arc<Follower>,
    /// Up to here this session reads from the store.
    store_until: Seq,
}

impl Following {
    /// The room.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// What lies after `cursor`, from memory unless the store must be read; about one flush of it. Nothing while the follower's right to be
    /// here is in question.
    #[must_use]
    pub fn due(&self, cursor: Seq) -> Due {
        if cursor >= self.room.told() || self.follower.question().is_some() {
            Due::Nothing
        } else if cursor < self.store_until {
            Due::Behind
        } else {
            lock(&self.room.tail).due(cursor, FLUSH_BYTES_MAX)
        }
    }

    /// What lies after a `cursor` that is behind the tail, from the store; about one flush of it. `None`: not now, try again in a moment.
    /// Cancel-safe.
    pub async fn backlog(&self, cursor: Seq) -> Option<Entries> {
        let (room, store) = (&self.room, &self.rooms.shared.store);
        let version = lock(&room.tail).version();
        let entries = if cursor < self.store_until {
            // What others read may be from before an erasure that this session must not have heard of in vain.
            backlog::read(store, room.id, cursor).await
        } else {
            room.backlogs.read(store, room.id, version, cursor).await
        }?;
        lock(&room.tail).keep(version, cursor, &entries);
        Some(entries)
    }

    /// From now on what lies after `seq` is sent to the socket, by the session or by the room.
    pub fn open(&self, socket: &Socket, seq: Seq) {
        self.follower.open(socket.lane(), seq);
    }

    /// The last seq that was sent.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        self.follower.cursor()
    }

    /// Puts entries that lie after `from` behind what the socket waits to write, unless the room has written them meanwhile. Whether it did.
    #[must_use]
    pub fn push(&self, from: Seq, entries: &Entries) -> bool {
        self.follower.push(from, entries)
    }

    /// This session's place in it.
    #[must_use]
    pub fn follower(&self) -> &Follower {
        &self.follower
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.follower.close();
        self.rooms.leave(&self.room, self.id);
    }
}

impl Rooms {
    /// Whether somebody on this node follows it.
    #[must_use]
    pub fn is_followed(&self, room: RoomId) -> bool {
        self.get(room).is_some_and(|room| room.begun.initialized())
    }

    /// Makes the session a follower of the room, and says how the room stands, what `device` is in it, and which entry is at `cursor`:
    /// whoever has no right to be there gives the following up. When it returns, everything committed from now on wakes
    /// the session; the head is the store's, so that it covers whatever was acknowledged before the call, though the tail may get
    /// there a moment later. Until it does, the session reads from the store: the tail may not have heard of a deletion yet.
    ///
    /// # Errors
    /// The database's. `Ok(None)`: there is no such room.
    pub async fn follow(
        &self,
        id: RoomId,
        device: DeviceId,
        cursor: Seq,
        wake: Arc<Wake>,
    ) -> Result<Option<(Following, FollowState)>, StoreError> {
        loop {
            let mut following = self.enter(id, device, Arc::clone(&wake));
            let room = &following.room;
            match room.begun.get_or_try_init(|| self.begin(room)).await {
                Ok(_) => {}
                Err(BeginError::NoSuchRoom) => return Ok(None),
                Err(BeginError::Store(error)) => return Err(error),
            }
            let reached = room.reached();
            let Some(state) = self.shared.store.follow_state(id, device, cursor).await? else { return Ok(None) };
            let row = &state.room;
            if row.history != room.history() || row.head < reached || room.is_replaced() {
                self.replace(room);
                self.shared.store.begin_new_life(id, room.history()).await?;
                continue;
            }
            let announced = self.change_tail(room, |tail| tail.announce(row.head));
            self.repair_if_behind(room, Behind::AsUsual);
            if announced == Accepted::Gap {
                following.store_until = row.head;
            }
            return Ok(Some((following, state)));
        }
    }

    fn enter(&self, id: RoomId, device: DeviceId, wake: Arc<Wake>) -> Following {
        let follower = Arc::new(Follower::new(device, wake));
        let number = self.shared.next_follower.fetch_add(1, Ordering::Relaxed);
        // The follower is in before the lock is given back, so that the room cannot be dropped in between.
        let mut rooms = lock(&self.shared.rooms);
        let room = Arc::clone(rooms.entry(id).or_insert_with(|| Arc::new(Room::new(id))));
        room.followers.insert(number, Arc::clone(&follower));
        drop(rooms);
        Following { rooms: self.clone(), room, id: number, follower, store_until: Seq::ZERO }
    }

    /// Follows on the bus first and reads the head after, so that nothing falls between the two.
    async fn begin(&self, room: &Arc<Room>) -> Result<HistoryId, BeginError> {
        self.shared.leaving.over(room.id).await;
        if let Err(error) = self.shared.bus.follow(room.id).await {
            // All rooms are checked, so this one is too; the bus says when it is followed after all.
            tracing::warn!(room = %room.id, %error, "following a room without the bus; the head check finds its news");
        }
        let row = self.shared.store.room(room.id).await?.ok_or(BeginError::NoSuchRoom)?;
        let count = usize::try_from(LATEST_PAGE).expect("a page");
        let frames =
            self.shared.store.read_after(room.id, row.head.back(LATEST_PAGE), count, HISTORY_PAGE_BYTES_MAX).await?;
        room.access_version.store(row.access_version, Ordering::Release);
        self.change_tail(room, |tail| {
            // The page may end short of the head (its size is bounded), and the head may have moved since it was read.
            let reached = frames.last().map_or(row.head, EntryFrame::seq);
            tail.begin(reached, frames);
            tail.announce(row.head)
        });
        Ok(row.history)
    }

    fn leave(&self, room: &Arc<Room>, follower: u64) {
        let emptied = {
            let mut rooms = lock(&self.shared.rooms);
            let was_last = room.followers.remove(follower);
            match rooms.entry(room.id) {
                Entry::Occupied(entry) if was_last && Arc::ptr_eq(entry.get(), room) => {
                    entry.remove();
                    true
                }
                // It was replaced, and nobody has come again.
                Entry::Vacant(_) => was_last,
                Entry::Occupied(_) => false,
            }
        };
        if emptied && !self.shared.stop.is_cancelled() {
            let (rooms, id) = (self.clone(), room.id);
            self.shared.tasks.spawn(async move {
                let unfollowing = {
                    let followed = lock(&rooms.shared.rooms);
                    // Someone may have followed again meanwhile.
                    if followed.contains_key(&id) { None } else { rooms.shared.leaving.begin(id) }
                };
                if unfollowing.is_some() {
                    rooms.shared.bus.unfollow(id).await;
                }
            });
        }
    }
}

enum BeginError {
    NoSuchRoom,
    Store(StoreError),
}

impl From<StoreError> for BeginError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
