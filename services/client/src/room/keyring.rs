//! The keys of a room's epochs that this device has. Pure.

use std::collections::BTreeMap;

use crate::crypto::RoomKey;

/// Room keys by epoch. How many there are is limited by how much of the chain is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keyring(BTreeMap<u32, RoomKey>);

impl Keyring {
    /// The key of an epoch.
    pub(crate) fn get(&self, epoch: u32) -> Option<&RoomKey> {
        self.0.get(&epoch)
    }

    /// Keeps a key; the one that is there already stays.
    pub(crate) fn keep(&mut self, key: RoomKey) {
        self.0.entry(key.epoch()).or_insert(key);
    }

    /// Keeps the keys of another ring.
    pub(crate) fn keep_all(&mut self, other: &Self) {
        other.0.values().cloned().for_each(|key| self.keep(key));
    }
}

impl FromIterator<RoomKey> for Keyring {
    fn from_iter<I: IntoIterator<Item = RoomKey>>(keys: I) -> Self {
        let mut ring = Self::default();
        keys.into_iter().for_each(|key| ring.keep(key));
        ring
    }
}
