//! What a batch does to the logs, decided from what the transaction has read. No I/O here.

use std::collections::{BTreeMap, HashMap, HashSet};

use snug_protocol::{DeviceId, EntryKind, Header, InstanceId, RoomId, Seq};

use crate::AppendError;
use crate::rules::{Verdict, judge};

/// A sender's instance in a room.
pub(super) type Sender = (RoomId, DeviceId, InstanceId);

/// The part of a room that appending reads and changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoomState {
    pub head: Seq,
    pub epoch: u32,
    pub access_version: u64,
}

/// What becomes of one message.
#[derive(Debug)]
pub(super) enum Decision {
    /// It is appended here.
    New(Seq),
    /// It was appended in an earlier commit.
    Known,
    /// It stands twice in this batch, and is appended here.
    KnownHere(Seq),
    Refused(AppendError),
}

/// What the transaction has read, and with each [`Plan::decide`] what it is going to write. Ordered by room, so that rows are written
/// side by side.
#[derive(Default)]
pub(super) struct Plan {
    pub rooms: BTreeMap<RoomId, RoomState>,
    pub members: HashSet<(RoomId, DeviceId)>,
    /// The next counters; an instance that is missing is at 0.
    pub next: HashMap<Sender, u64>,
    placed: HashMap<(Sender, u64), Seq>,
    pub profiles: BTreeMap<(RoomId, DeviceId), Seq>,
    pub leavers: Vec<(RoomId, DeviceId)>,
}

impl Plan {
    /// Decides on the next message of the batch and notes its effects for those after it.
    pub fn decide(&mut self, header: &Header) -> Decision {
        let Some(room) = self.rooms.get_mut(&header.room) else { return Decision::Refused(AppendError::NotAMember) };
        let sender = (header.room, header.device, header.instance);
        let member = (header.room, header.device);
        let next = self.next.get(&sender).copied().unwrap_or(0);
        match judge(header, next, self.members.contains(&member), room.epoch) {
            Verdict::Refused(why) => return Decision::Refused(why),
            Verdict::Duplicate => {
                let here = self.placed.get(&(sender, header.counter));
                return here.map_or(Decision::Known, |seq| Decision::KnownHere(*seq));
            }
            Verdict::Append => {}
        }
        let seq = room.head.next();
        room.head = seq;
        self.next.insert(sender, next + 1);
        self.placed.insert((sender, header.counter), seq);
        match header.kind {
            EntryKind::Profile => {
                self.profiles.insert(member, seq);
            }
            EntryKind::Leave => {
                room.access_version += 1;
                self.members.remove(&member);
                self.leavers.push(member);
            }
            _ => {}
        }
        Decision::New(seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId([1; 16]);
    const DEVICE: DeviceId = DeviceId([2; 16]);

    fn plan() -> Plan {
        let room = RoomState { head: Seq(10), epoch: 3, access_version: 7 };
        Plan { rooms: [(ROOM, room)].into(), members: [(ROOM, DEVICE)].into(), ..Plan::default() }
    }

    fn header(kind: EntryKind, counter: u64) -> Header {
        Header { kind, room: ROOM, epoch: 3, device: DEVICE, instance: InstanceId([3; 16]), counter, target: Seq::ZERO }
    }

    #[test]
    fn a_message_that_stands_twice_in_a_batch_gets_one_place() {
        let mut plan = plan();
        assert!(matches!(plan.decide(&header(EntryKind::Message, 0)), Decision::New(Seq(11))));
        assert!(matches!(plan.decide(&header(EntryKind::Message, 1)), Decision::New(Seq(12))));
        assert!(matches!(plan.decide(&header(EntryKind::Message, 0)), Decision::KnownHere(Seq(11))));
        assert_eq!(plan.rooms[&ROOM].head, Seq(12));
    }

    #[test]
    fn after_a_leave_the_same_batch_takes_nothing_more_of_that_device() {
        let mut plan = plan();
        assert!(matches!(plan.decide(&header(EntryKind::Leave, 0)), Decision::New(Seq(11))));
        assert!(matches!(plan.decide(&header(EntryKind::Message, 1)), Decision::Refused(AppendError::NotAMember)));
        assert!(matches!(plan.decide(&header(EntryKind::Leave, 0)), Decision::KnownHere(Seq(11))));
        assert_eq!(plan.rooms[&ROOM].access_version, 8);
    }

    #[test]
    fn a_refused_message_leaves_no_hole() {
        let mut plan = plan();
        let stale = Header { epoch: 2, ..header(EntryKind::Message, 0) };
        assert!(matches!(plan.decide(&stale), Decision::Refused(AppendError::StaleEpoch { epoch: 3 })));
        let ahead = header(EntryKind::Message, 5);
        assert!(matches!(plan.decide(&ahead), Decision::Refused(AppendError::OutOfOrder { expected: 0 })));
        assert!(matches!(plan.decide(&header(EntryKind::Message, 0)), Decision::New(Seq(11))));
    }
}
