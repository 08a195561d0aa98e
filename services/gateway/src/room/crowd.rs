//! What a room with very many people in it is told of them: numbers, now and then, instead of every arrival and every notice of typing.
//!
//! Each node decides for its own followers, from what comes over the bus; so a socket gets one number a `CROWD_PERIOD`, whatever the
//! number of nodes. Pure but for the clock it is handed.

use std::collections::{HashMap, HashSet};

use snug_protocol::DeviceId;
use snug_protocol::frame::ServerFrame;
use snug_protocol::limits::{CROWD_PERIOD, TYPING_PERIOD};
use tokio::time::Instant;

use crate::presence::is_crowd;

/// Devices that are remembered as typing; more are not counted.
const TYPING_MAX: usize = 1_000;

/// How an ephemeral frame goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// To each follower, now.
    Each,
    /// As part of a number, later.
    Counted,
}

/// What followers are told next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many are here, if that has changed.
    pub here_count: Option<u32>,
    /// Who has been typing lately.
    pub typing: HashSet<DeviceId>,
}

/// One room's crowd, if it has one.
#[derive(Debug, Default)]
pub struct Crowd {
    is_crowd: bool,
    here_count: u32,
    told: u32,
    typing: HashMap<DeviceId, Instant>,
    /// A notice has come since the last digest.
    typed: bool,
}

impl Crowd {
    /// A follower was told that so many are here.
    pub fn stands_at(&mut self, here_count: u32) {
        let was = self.is_crowd;
        self.is_crowd = is_crowd(here_count, was);
        self.here_count = here_count;
        if !was {
            self.told = here_count;
        }
    }

    /// Takes note of a frame from the bus.
    pub fn sift(&mut self, frame: &ServerFrame, now: Instant) -> Passing {
        match frame {
            ServerFrame::Presence { here_count, .. } | ServerFrame::Here { here: None, here_count, .. } => {
                self.here_count = *here_count;
                self.is_crowd = is_crowd(*here_count, self.is_crowd);
                if self.is_crowd { Passing::Counted } else { Passing::Each }
            }
            ServerFrame::Here { here: Some(_), .. } => {
                *self = Self::default();
                Passing::Each
            }
            ServerFrame::Typing { device, .. } if self.is_crowd => {
                if self.typing.len() < TYPING_MAX || self.typing.contains_key(device) {
                    self.typing.insert(*device, now);
                    self.typed = true;
                }
                Passing::Counted
            }
            _ => Passing::Each,
        }
    }

    /// What there is to tell. To be asked once a `CROWD_PERIOD`.
    pub fn digest(&mut self, now: Instant) -> Digest {
        if !self.is_crowd {
            return Digest::default();
        }
        self.typing.retain(|_, at| now.duration_since(*at) <= TYPING_PERIOD + CROWD_PERIOD / 2);
        let typing =
            if std::mem::take(&mut self.typed) { self.typing.keys().copied().collect() } else { HashSet::new() };
        let changed = std::mem::replace(&mut self.told, self.here_count) != self.here_count;
        Digest { here_count: changed.then_some(self.here_count), typing }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use snug_protocol::RoomId;
    use snug_protocol::frame::PresenceState;

    use super::*;

    const ROOM: RoomId = RoomId([1; 16]);
    const ANA: DeviceId = DeviceId([2; 16]);
    const BEN: DeviceId = DeviceId([3; 16]);

    fn arrival(here_count: u32) -> ServerFrame {
        ServerFrame::Presence { room: ROOM, device: ANA, state: PresenceState::Here, here_count }
    }

    fn typing(device: DeviceId) -> ServerFrame {
        ServerFrame::Typing { room: ROOM, device }
    }

    #[test]
    fn up_to_a_hundred_are_told_of_one_by_one() {
        let (mut crowd, now) = (Crowd::default(), Instant::now());
        for count in 1..=100 {
            assert_eq!(crowd.sift(&arrival(count), now), Passing::Each);
        }
        assert_eq!(crowd.sift(&typing(ANA), now), Passing::Each);
        assert_eq!(crowd.digest(now), Digest::default());
    }

    #[test]
    fn a_crowd_is_told_of_in_numbers_and_only_when_they_change() {
        let (mut crowd, now) = (Crowd::default(), Instant::now());
        for count in 101..=500 {
            assert_eq!(crowd.sift(&arrival(count), now), Passing::Counted);
        }
        assert_eq!(crowd.digest(now), Digest { here_count: Some(500), typing: HashSet::new() });
        assert_eq!(crowd.digest(now), Digest::default());
    }

    #[test]
    fn on_the_edge_of_a_crowd_it_stays_one_until_a_list_or_enough_have_left() {
        let now = Instant::now();
        let after = |count| {
            let mut crowd = Crowd::default();
            crowd.stands_at(101);
            crowd.sift(&arrival(count), now)
        };
        assert_eq!([after(95), after(91), after(90)], [Passing::Counted, Passing::Counted, Passing::Each]);
        let mut crowd = Crowd::default();
        crowd.stands_at(101);
        let list = ServerFrame::Here { room: ROOM, here: Some(vec![ANA]), here_count: 99 };
        assert_eq!([crowd.sift(&list, now), crowd.sift(&arrival(100), now)], [Passing::Each, Passing::Each]);
    }

    #[test]
    fn who_types_in_a_crowd_is_counted_for_as_long_as_a_notice_stands() {
        let (mut crowd, now) = (Crowd::default(), Instant::now());
        crowd.stands_at(200);
        for device in [ANA, BEN, ANA] {
            assert_eq!(crowd.sift(&typing(device), now), Passing::Counted);
        }
        assert_eq!(crowd.digest(now).typing, HashSet::from([ANA, BEN]));
        assert_eq!(crowd.digest(now), Digest::default(), "nothing new is not told");
        let later = now + Duration::from_secs(20);
        crowd.sift(&typing(BEN), later);
        assert_eq!(crowd.digest(later).typing, HashSet::from([BEN]));
    }
}
