//! What lies before a room's tail: read from the store once for all who are at the same place.
//!
//! When an erasure or a long gap puts a room's followers behind its tail, they are behind it all at once, at one place or two.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use snug_protocol::limits::HISTORY_PAGE_MAX;
use snug_protocol::{RoomId, Seq};
use snug_store::Store;

use super::{FLUSH_BYTES_MAX, lock};
use crate::wire::Entries;

type Reading = Shared<BoxFuture<'static, Option<Entries>>>;

/// Reads that are under way, by the version of the tail when they began and the cursor they begin at: whoever has heard of an erasure must
/// not be given what was read before it.
#[derive(Default)]
pub(super) struct Backlogs(Mutex<HashMap<(u64, Seq), Reading>>);

impl Backlogs {
    /// The next entries after `cursor`, about one flush of them, from a read that others may have begun; `None`: not now. Cancel-safe:
    /// whoever waits for the same read goes on with it.
    pub(super) async fn read(&self, store: &Store, room: RoomId, version: u64, cursor: Seq) -> Option<Entries> {
        let (place, begin) = ((version, cursor), || {
            let store = store.clone();
            async move { read(&store, room, cursor).await }.boxed().shared()
        });
        let reading = lock(&self.0).entry(place).or_insert_with(begin).clone();
        let outcome = reading.clone().await;
        // Whoever comes from now on reads anew: something may have been erased meanwhile.
        let mut under_way = lock(&self.0);
        if under_way.get(&place).is_some_and(|known| known.ptr_eq(&reading)) {
            under_way.remove(&place);
        }
        outcome
    }
}

/// A read of one's own. `None`: there should be something, and the store did not give it, such as of a room that is being deleted.
pub(super) async fn read(store: &Store, room: RoomId, cursor: Seq) -> Option<Entries> {
    match store.read_after(room, cursor, HISTORY_PAGE_MAX, FLUSH_BYTES_MAX).await {
        Ok(frames) => Entries::encode(frames.iter()),
        Err(error) => {
            tracing::warn!(%error, %room, "could not read the backlog; trying again in a moment");
            None
        }
    }
}
