//! What is to be sent and when, sealed beforehand; and what of it has been seen, by every socket in one order.

use std::sync::atomic::{AtomicU64, Ordering};

use snug_client::ClientError;
use snug_client::crypto::{Body, Content, Device, Message, Prev, Reaction, RoomKey, seal};
use snug_protocol::frame::{ENTRY_FRAME_HEADER_BYTES, SendFrame};
use snug_protocol::{EntryKind, Header, InstanceId, RoomId, Seq};

use crate::frame;

/// Where an entry frame has its room's id.
pub const ROOM_AT: usize = ENTRY_FRAME_HEADER_BYTES + 8;

/// One message.
#[derive(Debug)]
pub struct Shot {
    /// When it is to be sent, from the script's start.
    pub due_ns: u64,
    /// The last bytes of its envelope, which are of the authentication tag.
    pub tag: u64,
    /// The WebSocket frame that sends it; empty if somebody else sends it.
    pub frame: Box<[u8]>,
}

/// What writers say.
#[derive(Debug, Clone, Copy)]
pub struct Talk<'a> {
    /// Each message's text.
    pub text: &'a str,
    /// One of so many is a reaction, never the first; 0: none.
    pub reaction_every: u64,
}

/// What one writer sends: under an instance of its own, so counters are places in `shots`.
#[derive(Debug)]
pub struct Line {
    /// Which room, by place in the script.
    pub room: usize,
    /// Its first four bytes are the writer's number, so that a receiver finds the line without a table.
    pub instance: InstanceId,
    /// In order of time.
    pub shots: Vec<Shot>,
}

/// What a room's log has been seen to hold.
#[derive(Debug)]
pub struct RoomSeen {
    id: RoomId,
    /// Its head before the first shot.
    base: u64,
    /// The message at `base + 1`, `base + 2`, …: writer and counter, and 1, so that 0 is "nothing yet".
    slots: Vec<AtomicU64>,
}

/// A step's messages.
#[derive(Debug)]
pub struct Script {
    lines: Vec<Line>,
    rooms: Vec<RoomSeen>,
    start_ns: AtomicU64,
}

/// What an entry turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The message that was due at this time.
    Shot {
        /// By the common clock.
        due_ns: u64,
    },
    /// Another message has been seen at this place, or this one at another.
    Diverged,
    /// Not what was sealed.
    Mangled,
    /// Not of this script.
    Stray,
}

/// What the log holds, when all is over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Messages in the logs.
    pub committed: u64,
    /// Deliveries that should have been, with so many followers in each room.
    pub expected: u64,
    /// Places in a log that nobody has seen anything at, before others that were.
    pub holes: u64,
    /// Messages of a writer that stand before an earlier one of the same writer.
    pub reordered: u64,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn slot(writer: u32, counter: u64) -> u64 {
    ((u64::from(writer) << 32) | counter) + 1
}

/// The last eight bytes.
#[must_use]
pub fn tag(bytes: &[u8]) -> u64 {
    bytes.last_chunk().map_or(0, |tag| u64::from_be_bytes(*tag))
}

/// An instance of the writer's that was never used before.
///
/// # Panics
/// When the system gives no random bytes.
#[must_use]
pub fn instance(writer: u32) -> InstanceId {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes[..4].copy_from_slice(&writer.to_be_bytes());
    InstanceId(bytes)
}

impl Line {
    /// Seals something for each time in `due_ns`. Reactions are about the first message after `head`: of whoever it is, it is there before a
    /// writer's second.
    ///
    /// # Errors
    /// The SDK's, for a text that is too long.
    pub fn seal(
        (writer, room): (u32, usize),
        (device, key): (&Device, &RoomKey),
        (talk, head): (Talk<'_>, u64),
        due_ns: impl Iterator<Item = u64>,
    ) -> Result<Self, ClientError> {
        let instance = instance(writer);
        let message = Body::Message(Message::of(talk.text)).to_json();
        let reaction = Body::Reaction(Reaction { emoji: "👍".into(), on: true }).to_json();
        let shots = due_ns.zip(0u64..).map(|(due_ns, counter)| {
            // Not at the same time as others'.
            let turn = counter + u64::from(writer) + 1;
            let is_reaction = turn.checked_rem(talk.reaction_every) == Some(0) && counter > 0;
            let (kind, target, body) = if is_reaction {
                (EntryKind::Reaction, Seq(head + 1), &reaction)
            } else {
                (EntryKind::Message, Seq::ZERO, &message)
            };
            let header =
                Header { kind, room: key.room(), epoch: key.epoch(), device: device.id(), instance, counter, target };
            let content = Content { prev: Prev::default(), sent_at_ms: 0, body };
            let envelope = seal(device, key, &header, &content)?;
            let id = u32::try_from(counter).expect("fewer messages than that");
            let mut bytes = Vec::with_capacity(envelope.bytes().len() + 16);
            frame::push_masked(frame::BINARY, &SendFrame::encode(id, envelope.bytes()), &mut bytes);
            Ok(Shot { due_ns, tag: tag(envelope.bytes()), frame: bytes.into() })
        });
        Ok(Self { room, instance, shots: shots.collect::<Result<_, ClientError>>()? })
    }
}

impl Script {
    /// For rooms with these heads.
    #[must_use]
    pub fn new(rooms: &[(RoomId, u64)], lines: Vec<Line>) -> Self {
        let mut counts = vec![0; rooms.len()];
        for line in &lines {
            counts[line.room] += line.shots.len();
        }
        let rooms = rooms.iter().zip(counts).map(|((id, base), count)| RoomSeen {
            id: *id,
            base: *base,
            slots: std::iter::repeat_with(AtomicU64::default).take(count).collect(),
        });
        Self { rooms: rooms.collect(), lines, start_ns: AtomicU64::new(u64::MAX) }
    }

    /// What is sent, by writer.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The head of a room before the script.
    #[must_use]
    pub fn base(&self, room: usize) -> u64 {
        self.rooms[room].base
    }

    /// Whether a place in a room's log is from before the script.
    #[must_use]
    pub fn is_before(&self, room: usize, seq: u64) -> bool {
        self.rooms.get(room).is_none_or(|room| seq <= room.base)
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.lines.iter().map(|line| line.shots.len() as u64).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From when times count.
    pub fn begin(&self, at_ns: u64) {
        self.start_ns.store(at_ns, Ordering::Release);
    }

    /// From when times count; the end of time before that is known.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Acquire)
    }

    /// Looks at an entry frame's bytes as a socket of `room` got it at `seq`.
    #[must_use]
    pub fn find(&self, room: usize, seq: u64, entry: &[u8]) -> Found {
        const AT: usize = ENTRY_FRAME_HEADER_BYTES;
        let (Some(seen), Some(instance), Some(counter)) =
            (self.rooms.get(room), number::<16>(entry, AT + 44), number(entry, AT + 60).map(u64::from_be_bytes))
        else {
            return Found::Stray;
        };
        let writer = u32::from_be_bytes(number(&instance, 0).expect("sixteen bytes"));
        let Some(line) = self.lines.get(writer as usize).filter(|line| line.instance.0 == instance) else {
            return Found::Stray;
        };
        let shot = usize::try_from(counter).ok().and_then(|counter| line.shots.get(counter));
        let Some(shot) = shot.filter(|_| line.room == room) else { return Found::Stray };
        if number::<16>(entry, ROOM_AT) != Some(seen.id.0) || tag(entry) != shot.tag {
            return Found::Mangled;
        }
        if self.note(room, seq, writer, counter) {
            Found::Shot { due_ns: self.start_ns().saturating_add(shot.due_ns) }
        } else {
            Found::Diverged
        }
    }

    /// A message stands at a place, as a delivery or an acknowledgement says; whether that is what others said.
    pub fn note(&self, room: usize, seq: u64, writer: u32, counter: u64) -> bool {
        let seen = &self.rooms[room];
        let place = seq.checked_sub(seen.base + 1).and_then(|place| usize::try_from(place).ok());
        let Some(place) = place.and_then(|place| seen.slots.get(place)) else { return false };
        let mine = slot(writer, counter);
        match place.load(Ordering::Relaxed) {
            0 => match place.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => true,
                Err(known) => known == mine,
            },
            known => known == mine,
        }
    }

    /// Looks at the logs as a whole, with so many followers in each room.
    #[must_use]
    pub fn verdict(&self, followers: &[u64]) -> Verdict {
        let mut verdict = Verdict::default();
        let mut next = vec![0; self.lines.len()];
        for (room, followers) in self.rooms.iter().zip(followers) {
            let (mut committed, mut reached) = (0, 0);
            for (place, slot) in (1..).zip(&room.slots) {
                let Some(message) = slot.load(Ordering::Relaxed).checked_sub(1) else { continue };
                (committed, reached) = (committed + 1, place);
                let (writer, counter) = ((message >> 32) as usize, message & u64::from(u32::MAX));
                verdict.reordered += u64::from(counter < next[writer]);
                next[writer] = next[writer].max(counter + 1);
            }
            verdict.holes += reached - committed;
            verdict.committed += committed;
            verdict.expected += committed * followers;
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::Envelope;
    use snug_protocol::frame::EntryFrame;

    use super::*;

    const FOLLOWERS: [u64; 1] = [1];

    /// Two writers of two messages each in one room with head 10, and the entry frames' envelopes.
    fn scene() -> (Script, Vec<Envelope>) {
        let room = RoomId([7; 16]);
        let (device, key) = (Device::generate(), RoomKey::generate(room, 0));
        let talk = Talk { text: "hello", reaction_every: 0 };
        let line = |writer| Line::seal((writer, 0), (&device, &key), (talk, 10), [5, 9].into_iter()).expect("sealed");
        let lines: Vec<Line> = (0..2).map(line).collect();
        let envelopes = lines.iter().flat_map(envelopes).collect();
        let script = Script::new(&[(room, 10)], lines);
        script.begin(100);
        (script, envelopes)
    }

    fn envelopes(line: &Line) -> impl Iterator<Item = Envelope> {
        let envelope = |shot: &Shot| {
            // Four bytes of head, four of mask, then the send frame.
            SendFrame::parse(&shot.frame[8..].to_vec().into()).expect("a send frame").envelope
        };
        line.shots.iter().map(envelope)
    }

    #[test]
    fn one_of_so_many_is_a_reaction_to_the_first_message_and_never_the_first_itself() {
        let (device, key) = (Device::generate(), RoomKey::generate(RoomId([7; 16]), 0));
        for (reaction_every, reactions) in [(0, &[][..]), (1, &[1, 2, 3, 4, 5]), (3, &[2, 5])] {
            let talk = Talk { text: "hello", reaction_every };
            let line = Line::seal((0, 0), (&device, &key), (talk, 10), 0..6).expect("sealed");
            let headers: Vec<Header> = envelopes(&line).map(|envelope| *envelope.header()).collect();
            let are = headers.iter().filter(|header| header.kind == EntryKind::Reaction);
            assert!(are.clone().all(|header| header.target == Seq(11)));
            assert_eq!(are.map(|header| header.counter).collect::<Vec<_>>(), reactions);
        }
    }

    fn entry(seq: u64, envelope: &Envelope) -> Vec<u8> {
        EntryFrame::new(Seq(seq), 0, envelope.bytes()).bytes().to_vec()
    }

    #[test]
    fn what_was_sealed_is_found_with_its_time_and_counts_once_however_many_see_it() {
        let (script, envelopes) = scene();
        for _ in 0..3 {
            assert_eq!(script.find(0, 11, &entry(11, &envelopes[0])), Found::Shot { due_ns: 105 });
            assert_eq!(script.find(0, 12, &entry(12, &envelopes[3])), Found::Shot { due_ns: 109 });
        }
        let verdict = script.verdict(&[500]);
        assert_eq!((verdict.committed, verdict.expected, verdict.holes), (2, 1_000, 0));
    }

    #[test]
    fn another_order_on_another_socket_is_noticed() {
        let (script, envelopes) = scene();
        assert_eq!(script.find(0, 11, &entry(11, &envelopes[0])), Found::Shot { due_ns: 105 });
        assert_eq!(script.find(0, 11, &entry(11, &envelopes[2])), Found::Diverged);
        assert_eq!(script.find(0, 10, &entry(10, &envelopes[2])), Found::Diverged, "before the script");
        assert_eq!(script.find(0, 15, &entry(15, &envelopes[2])), Found::Diverged, "beyond all that is sent");
    }

    #[test]
    fn changed_bytes_other_rooms_and_strangers_are_noticed() {
        let (script, envelopes) = scene();
        let mut changed = entry(11, &envelopes[0]);
        *changed.last_mut().expect("bytes") ^= 1;
        assert_eq!(script.find(0, 11, &changed), Found::Mangled);
        assert_eq!(script.find(1, 11, &entry(11, &envelopes[0])), Found::Stray);
        let (_, strangers) = scene();
        assert_eq!(script.find(0, 11, &entry(11, &strangers[0])), Found::Stray);
        assert_eq!(script.find(0, 11, &[1; 20]), Found::Stray);
    }

    #[test]
    fn a_writer_whose_messages_changed_places_and_a_hole_in_the_log_are_noticed() {
        let (script, envelopes) = scene();
        for (seq, message) in [(11, 1), (12, 0), (14, 2)] {
            assert!(matches!(script.find(0, seq, &entry(seq, &envelopes[message])), Found::Shot { .. }));
        }
        let verdict = script.verdict(&FOLLOWERS);
        assert_eq!((verdict.committed, verdict.reordered, verdict.holes), (3, 1, 1));
    }
}
