//! What the roster has not been told yet: which devices have come or gone on this node since. Pure.
//!
//! It holds no changes, only who has changed: what is told is how things stand when it is told. So a device that comes and goes while
//! the roster is away takes one place, and no order can be got wrong.

use std::collections::{HashMap, HashSet, VecDeque};

use snug_protocol::RoomId;

use super::table::Key;

/// Devices that wait to be told of; with more of them it is cheaper to tell of everybody anew.
const DUE_MAX: usize = 200_000;

/// How a device is to be told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// It is no member any more: gone from all nodes.
    pub expel: bool,
    /// Not at the time when it came or went: those in the room are told how things stand instead.
    pub late: bool,
}

/// At most one call a device at a time.
#[derive(Default)]
pub struct Pending {
    due: HashMap<Key, Due>,
    queue: VecDeque<Key>,
    in_flight: HashSet<Key>,
    overflowed: bool,
}

impl Pending {
    /// The device has come or gone.
    pub fn note(&mut self, key: Key) {
        self.insert(key, Due::default());
    }

    /// The device is no member any more.
    pub fn note_expelled(&mut self, key: Key) {
        self.insert(key, Due { expel: true, late: false });
    }

    fn insert(&mut self, key: Key, due: Due) {
        if self.due.len() >= DUE_MAX && !self.due.contains_key(&key) {
            self.overflowed = true;
            return;
        }
        let is_new = !self.due.contains_key(&key);
        let known = self.due.entry(key).or_default();
        known.expel |= due.expel;
        known.late |= due.late;
        if is_new && !due.late && !self.in_flight.contains(&key) {
            self.queue.push_back(key);
        }
    }

    /// Who is to be told of next. Until [`Pending::done`] or [`Pending::failed`] is called for it, it does not come again.
    pub fn next(&mut self) -> Option<(Key, Due)> {
        while let Some(key) = self.queue.pop_front() {
            if !self.in_flight.contains(&key)
                && let Some(due) = self.due.remove(&key)
            {
                self.in_flight.insert(key);
                return Some((key, due));
            }
        }
        None
    }

    /// The roster knows.
    pub fn done(&mut self, key: Key) {
        self.in_flight.remove(&key);
        if self.due.contains_key(&key) {
            self.queue.push_back(key);
        }
    }

    /// The roster was away; the device waits for [`Pending::resume`].
    pub fn failed(&mut self, key: Key, due: Due) {
        self.in_flight.remove(&key);
        self.insert(key, Due { late: true, ..due });
    }

    /// The roster is back.
    pub fn resume(&mut self) {
        self.queue = self.due.keys().filter(|key| !self.in_flight.contains(*key)).copied().collect();
    }

    /// Whether so many devices have changed that everybody is to be told of anew.
    pub const fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// The roster has forgotten this node: all of `here` are due. Returns the rooms of those that were, whether they are here or not.
    pub fn restart(&mut self, here: impl Iterator<Item = Key>) -> HashSet<RoomId> {
        let rooms = self.due.keys().map(|(room, _)| *room).collect();
        self.overflowed = false;
        // Who was expelled is another node's too.
        self.due.retain(|_, due| due.expel);
        for key in here {
            self.insert(key, Due { expel: false, late: true });
        }
        self.resume();
        rooms
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::DeviceId;

    use super::*;

    const fn key(device: u8) -> Key {
        (RoomId([1; 16]), DeviceId([device; 16]))
    }

    #[test]
    fn a_device_is_told_of_once_at_a_time_and_again_if_it_changed_meanwhile() {
        let mut pending = Pending::default();
        pending.note(key(1));
        pending.note(key(1));
        assert_eq!(pending.next(), Some((key(1), Due::default())));
        pending.note(key(1));
        assert_eq!(pending.next(), None, "the call before is under way");
        pending.done(key(1));
        assert_eq!(pending.next(), Some((key(1), Due::default())));
        pending.done(key(1));
        assert_eq!(pending.next(), None);
    }

    #[test]
    fn what_failed_waits_until_the_roster_is_back_and_is_late() {
        let mut pending = Pending::default();
        pending.note_expelled(key(1));
        let (_, due) = pending.next().expect("due");
        pending.failed(key(1), due);
        pending.note(key(1));
        assert_eq!(pending.next(), None);
        pending.resume();
        assert_eq!(pending.next(), Some((key(1), Due { expel: true, late: true })));
    }

    #[test]
    fn a_roster_that_has_forgotten_is_told_of_everybody_here_and_of_nobody_else() {
        let mut pending = Pending::default();
        for device in 1..=3 {
            pending.note(key(device));
        }
        let (first, _) = pending.next().expect("due");
        pending.note_expelled(key(3));
        let rooms = pending.restart([key(1), key(2)].into_iter());
        assert_eq!(rooms, HashSet::from([RoomId([1; 16])]));
        let late = Due { expel: false, late: true };
        let mut due: Vec<_> = std::iter::from_fn(|| pending.next()).collect();
        due.sort_by_key(|(key, _)| *key);
        assert_eq!(due, [(key(2), late), (key(3), Due { expel: true, late: false })]);
        pending.done(first);
        assert_eq!(pending.next(), Some((first, late)), "whose call was under way is told of after it");
    }

    #[test]
    fn a_flood_of_changes_is_forgotten_for_everybody_anew() {
        let mut pending = Pending::default();
        for device in 0..=DUE_MAX {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&device.to_be_bytes());
            pending.note((RoomId([1; 16]), DeviceId(id)));
        }
        assert!(pending.has_overflowed() && pending.due.len() == DUE_MAX);
        pending.restart([key(1)].into_iter());
        assert!(!pending.has_overflowed());
        assert_eq!(pending.next().map(|(key, _)| key), Some(key(1)));
        assert_eq!(pending.next(), None);
    }
}
