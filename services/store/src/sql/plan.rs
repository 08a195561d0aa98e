//! What a batch does to the logs, decided from what the transaction has read. No I/O here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use snug_protocol::{DeviceId, EntryKind, EnvelopeHash, Header, HistoryId, InstanceId, RoomId, Seq};

use crate::rules::append::{Author, Headcount, Target, Terms, Verdict, is_slowed, judge, judge_target};
use crate::{AppendError, Standing};

/// A sender's instance in a room.
pub(crate) type Sender = (RoomId, DeviceId, InstanceId);

/// The part of a room that appending reads and changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoomState {
    pub history: HistoryId,
    pub head: Seq,
    pub terms: Terms,
    pub access_version: u64,
    /// The newest step or epoch record: moves with roles, mutes and slow mode, and with no message.
    pub chain: Seq,
}

/// Whether an entry of this kind leaves a room and who may say what there as they were, but for the head and its author's next counter.
pub(crate) const fn moves_only_the_head(kind: EntryKind) -> bool {
    match kind {
        EntryKind::Profile
        | EntryKind::Message
        | EntryKind::Edit
        | EntryKind::Deletion
        | EntryKind::Reaction
        | EntryKind::Pin => true,
        EntryKind::EpochRecord | EntryKind::Leave | EntryKind::Step => false,
    }
}

/// What becomes of one message.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It is appended here.
    New(Seq),
    /// It was appended before, in an earlier commit or in this batch.
    Known,
    Refused(AppendError),
}

/// What is known of a batch's rooms and senders, and with each [`Plan::decide`] what is going to be written. Ordered by room, so that rows are written
/// side by side.
#[derive(Default)]
pub(crate) struct Plan {
    pub now_ms: u64,
    pub rooms: BTreeMap<RoomId, RoomState>,
    /// The entry at the head of rooms of which that was only heard: they are written to if it is that one.
    pub newest: HashMap<RoomId, EnvelopeHash>,
    pub authors: HashMap<(RoomId, DeviceId), Author>,
    /// The next counters; an instance that is missing is at 0.
    pub next: HashMap<Sender, u64>,
    /// What the batch's messages are about; those that stand in the batch itself are added as they are placed.
    pub targets: HashMap<(RoomId, Seq), Target>,
    /// Some message of the batch is about another.
    pub has_targets: bool,
    /// Of the rooms that an owner may leave.
    pub headcounts: HashMap<RoomId, Headcount>,
    pub profiles: BTreeMap<(RoomId, DeviceId), Seq>,
    pub leavers: Vec<(RoomId, DeviceId)>,
    /// Who wrote what slow mode counts.
    pub slowed: BTreeSet<(RoomId, DeviceId)>,
    /// Messages that are deleted.
    pub deleted: Vec<(RoomId, Seq)>,
}

impl Plan {
    /// Whether more is to be written than entries and heads.
    pub fn does_more_than_grow(&self) -> bool {
        let members = self.profiles.len() + self.leavers.len() + self.slowed.len();
        members + self.deleted.len() > 0
    }

    /// Decides on the next message of the batch and notes its effects for those after it.
    pub fn decide(&mut self, header: &Header) -> Decision {
        let Some(room) = self.rooms.get(&header.room).copied() else {
            return Decision::Refused(AppendError::NotAMember);
        };
        let sender = (header.room, header.device, header.instance);
        let author = self.authors.get(&(header.room, header.device)).copied().unwrap_or_default();
        let next = self.next.get(&sender).copied().unwrap_or(0);
        match judge(header, next, &author, room.terms, self.now_ms) {
            Verdict::Refused(why) => return Decision::Refused(why),
            Verdict::Duplicate => return Decision::Known,
            Verdict::Append => {}
        }
        let seq = room.head.next();
        if let Err(why) = self.note_effects(header, seq, &author) {
            return Decision::Refused(why);
        }
        if let Some(room) = self.rooms.get_mut(&header.room) {
            room.head = seq;
        }
        self.next.insert(sender, next + 1);
        Decision::New(seq)
    }

    /// Notes what a message at `seq` does, unless it may not; then nothing is noted.
    fn note_effects(&mut self, header: &Header, seq: Seq, author: &Author) -> Result<(), AppendError> {
        let (member, about) = ((header.room, header.device), (header.room, header.target));
        let role = author.standing.and_then(Standing::role).ok_or(AppendError::NotAMember)?;
        match header.kind {
            EntryKind::Profile => {
                self.profiles.insert(member, seq);
            }
            EntryKind::Leave => {
                // Counted only for owners: the others may always leave.
                if let Some(count) = self.headcounts.get_mut(&header.room) {
                    count.leave(role)?;
                }
                if let Some(room) = self.rooms.get_mut(&header.room) {
                    room.access_version += 1;
                }
                self.authors.insert(member, Author { standing: Some(Standing::Left), ..*author });
                self.leavers.push(member);
            }
            EntryKind::Message => {
                let terms = self.rooms[&header.room].terms;
                if is_slowed(header, role, terms) {
                    self.authors.insert(member, Author { wrote_at_ms: self.now_ms, ..*author });
                    self.slowed.insert(member);
                }
                if self.has_targets {
                    let target = Target { kind: header.kind, author: header.device, role, is_erased: false };
                    self.targets.insert((header.room, seq), target);
                }
            }
            EntryKind::Edit | EntryKind::Reaction | EntryKind::Pin => {
                judge_target(header, role, self.targets.get(&about).copied())?;
            }
            EntryKind::Deletion => {
                judge_target(header, role, self.targets.get(&about).copied())?;
                if let Some(target) = self.targets.get_mut(&about) {
                    target.is_erased = true;
                }
                self.deleted.push(about);
            }
            EntryKind::EpochRecord | EntryKind::Step => return Err(AppendError::EntryNotAccepted),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::http::Role;

    use super::*;

    const ROOM: RoomId = RoomId([1; 16]);
    const DEVICE: DeviceId = DeviceId([2; 16]);

    fn plan() -> Plan {
        let terms = Terms { epoch: 3, slow_ms: 0 };
        let room = RoomState { history: HistoryId::default(), head: Seq(10), terms, access_version: 7, chain: Seq(1) };
        let author = Author { standing: Some(Standing::Member(Role::Member)), ..Author::default() };
        Plan { rooms: [(ROOM, room)].into(), authors: [((ROOM, DEVICE), author)].into(), ..Plan::default() }
    }

    fn header(kind: EntryKind, counter: u64) -> Header {
        Header { kind, room: ROOM, epoch: 3, device: DEVICE, instance: InstanceId([3; 16]), counter, target: Seq::ZERO }
    }

    #[test]
    fn a_message_that_stands_twice_in_a_batch_gets_one_place() {
        let mut plan = plan();
        assert!(matches!(plan.decide(&header(EntryKind::Message, 0)), Decision::New(Seq(11))));
        assert!(matches!(plan.decide(&header(EntryKind::Message, 1)), Decision::New(Seq(12))));
        assert!(matches!(plan.decide(&header(EntryKind::Message, 0)), Decision::Known));
        assert_eq!(plan.rooms[&ROOM].head, Seq(12));
    }

    #[test]
    fn after_a_leave_the_same_batch_takes_nothing_more_of_that_device() {
        let mut plan = plan();
        assert!(matches!(plan.decide(&header(EntryKind::Leave, 0)), Decision::New(Seq(11))));
        assert!(matches!(plan.decide(&header(EntryKind::Message, 1)), Decision::Refused(AppendError::NotAMember)));
        assert!(matches!(plan.decide(&header(EntryKind::Leave, 0)), Decision::Known));
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

    #[test]
    fn a_deleted_message_takes_no_edit_in_the_same_batch() {
        let mut plan = Plan { has_targets: true, ..plan() };
        let about = |kind, counter| Header { target: Seq(11), ..header(kind, counter) };
        assert!(matches!(plan.decide(&about(EntryKind::Edit, 0)), Decision::Refused(AppendError::TargetInvalid)));
        assert!(matches!(plan.decide(&header(EntryKind::Message, 0)), Decision::New(Seq(11))));
        assert!(matches!(plan.decide(&about(EntryKind::Edit, 1)), Decision::New(Seq(12))));
        assert!(matches!(plan.decide(&about(EntryKind::Deletion, 2)), Decision::New(Seq(13))));
        assert!(matches!(plan.decide(&about(EntryKind::Edit, 3)), Decision::Refused(AppendError::TargetGone)));
        assert_eq!(plan.deleted, [(ROOM, Seq(11))]);
        let of_an_edit = Header { target: Seq(12), ..header(EntryKind::Reaction, 3) };
        assert!(matches!(plan.decide(&of_an_edit), Decision::Refused(AppendError::TargetInvalid)));
    }

    #[test]
    fn slow_mode_counts_the_batch_itself() {
        let mut plan = plan();
        plan.rooms.get_mut(&ROOM).unwrap().terms.slow_ms = 1000;
        plan.now_ms = 5000;
        assert!(matches!(plan.decide(&header(EntryKind::Message, 0)), Decision::New(Seq(11))));
        assert!(matches!(plan.decide(&header(EntryKind::Message, 1)), Decision::Refused(AppendError::SlowMode { .. })));
        assert!(plan.slowed.contains(&(ROOM, DEVICE)));
    }
}
