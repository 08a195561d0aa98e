//! Rooms that several nodes write to at once: what one reads of them is not so any more when it writes, and so they are locked first.

use std::collections::HashMap;

use snug_protocol::RoomId;

/// So many of a room's batches go with locks before it is tried without.
const LOCKED_BATCHES: u32 = 16;
/// Rooms that are counted, some 40 bytes each; then all are forgotten.
const ROOMS_MAX: usize = 4_096;

/// Which rooms these are.
#[derive(Default)]
pub(crate) struct Contended(HashMap<RoomId, u32>);

impl Contended {
    /// A room is one of these.
    pub fn note(&mut self, room: RoomId) {
        if self.0.len() >= ROOMS_MAX && !self.0.contains_key(&room) {
            self.0 = HashMap::new();
        }
        self.0.insert(room, LOCKED_BATCHES);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a room is to be locked for a batch, which is one less then.
    pub fn take_turn(&mut self, room: RoomId) -> bool {
        let Some(batches) = self.0.get_mut(&room) else { return false };
        *batches -= 1;
        if *batches == 0 {
            self.0.remove(&room);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_locked_for_a_while_and_others_are_not() {
        let (mut contended, room) = (Contended::default(), RoomId([1; 16]));
        contended.note(room);
        assert!((0..LOCKED_BATCHES).all(|_| contended.take_turn(room)));
        assert!(!contended.take_turn(room) && !contended.take_turn(RoomId([2; 16])));
    }

    #[test]
    fn it_has_a_size() {
        let mut contended = Contended::default();
        for number in 0..10_000u128 {
            contended.note(RoomId(number.to_be_bytes()));
            assert!(contended.0.len() <= ROOMS_MAX);
        }
    }
}
