//! Who follows a room, to be changed under a lock and gone through without one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{Follower, lock};

#[derive(Default)]
struct Inner {
    /// In the order in which they came: memory that was taken together is written to together, the system's for their connections too.
    by_id: BTreeMap<u64, Arc<Follower>>,
    /// The same, as long as nobody comes or goes.
    list: Option<Arc<[Arc<Follower>]>>,
}

/// A room's followers.
#[derive(Default)]
pub(super) struct Followers(Mutex<Inner>);

impl Followers {
    pub(super) fn insert(&self, id: u64, follower: Arc<Follower>) {
        let mut inner = lock(&self.0);
        inner.list = None;
        inner.by_id.insert(id, follower);
    }

    /// Removes one; whether there is none left.
    pub(super) fn remove(&self, id: u64) -> bool {
        let mut inner = lock(&self.0);
        inner.list = None;
        inner.by_id.remove(&id);
        inner.by_id.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).by_id.is_empty()
    }

    /// All of them, as they are now.
    pub(super) fn list(&self) -> Arc<[Arc<Follower>]> {
        let mut inner = lock(&self.0);
        let Inner { by_id, list } = &mut *inner;
        Arc::clone(list.get_or_insert_with(|| by_id.values().cloned().collect()))
    }
}
