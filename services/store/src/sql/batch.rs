//! Which of the waiting messages go into the next commit.

use std::collections::{HashMap, VecDeque};

use snug_protocol::{Envelope, EnvelopeHash, RoomId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{AppendError, Appended};

/// Messages of one room in one commit.
pub(crate) const ROOM_MESSAGES_MAX: usize = 64;
/// Bytes of envelopes of one room in one commit; a single message may be of any size.
pub(crate) const ROOM_BYTES_MAX: usize = 256 * 1024;
/// Messages in one commit. In many small rooms each is a page or two of its own, whatever is in them: the more of a room go together, the
/// fewer pages a message.
pub(crate) const MESSAGES_MAX: usize = 2048;
/// Bytes of envelopes in one commit.
pub(crate) const BYTES_MAX: usize = 4 * 1024 * 1024;

/// A message to be appended.
#[derive(Clone)]
pub(crate) struct Draft {
    pub envelope: Envelope,
    pub hash: EnvelopeHash,
}

/// A message whose sender waits.
pub(crate) struct Waiting {
    pub draft: Draft,
    pub since: Instant,
    pub answer: oneshot::Sender<Result<Appended, AppendError>>,
}

#[derive(Default)]
struct Load {
    /// Where in the batch its first message stands.
    begins: usize,
    messages: usize,
    bytes: usize,
    is_full: bool,
}

/// Takes the next batch out of `waiting`. What does not fit stays, and everything of its room behind it: a room's order is never changed.
/// The messages of a room stand together, in the place of the first one, so that they are answered at one moment.
pub(crate) fn take(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut batch = Vec::with_capacity(waiting.len().min(MESSAGES_MAX));
    let mut rest = VecDeque::new();
    let mut rooms: HashMap<RoomId, Load> = HashMap::new();
    let mut bytes = 0;
    while let Some(next) = waiting.pop_front() {
        let size = next.draft.envelope.bytes().len();
        if batch.len() == MESSAGES_MAX || (bytes + size > BYTES_MAX && !batch.is_empty()) {
            rest.push_back(next);
            break;
        }
        let begins = batch.len();
        let room = next.draft.envelope.header().room;
        let load = rooms.entry(room).or_insert_with(|| Load { begins, ..Load::default() });
        load.is_full |= load.messages == ROOM_MESSAGES_MAX || (load.bytes + size > ROOM_BYTES_MAX && load.messages > 0);
        if load.is_full {
            rest.push_back(next);
            continue;
        }
        load.messages += 1;
        load.bytes += size;
        bytes += size;
        batch.push(next);
    }
    rest.append(waiting);
    *waiting = rest;
    batch.sort_by_cached_key(|taken| rooms[&taken.draft.envelope.header().room].begins);
    batch
}

#[cfg(test)]
pub(crate) mod tests {
    use snug_protocol::limits::PLAINTEXT_BUCKETS;
    use snug_protocol::{DeviceId, EntryKind, Header, InstanceId, Seq};

    use super::*;

    pub(crate) fn waiting(room: u8, counter: u64, bucket: usize) -> Waiting {
        let header = Header {
            kind: EntryKind::Message,
            room: RoomId([room; 16]),
            epoch: 0,
            device: DeviceId([1; 16]),
            instance: InstanceId([1; 16]),
            counter,
            target: Seq::ZERO,
        };
        let mut bytes = header.encode().to_vec();
        bytes.resize(bytes.len() + bucket + 16, 0);
        let envelope = Envelope::parse(bytes.into()).expect("a valid size");
        let hash = envelope.hash();
        Waiting { draft: Draft { envelope, hash }, since: Instant::now(), answer: oneshot::channel().0 }
    }

    fn counters(batch: &[Waiting], room: u8) -> Vec<u64> {
        let headers = batch.iter().map(|waiting| waiting.draft.envelope.header());
        headers.filter(|header| header.room == RoomId([room; 16])).map(|header| header.counter).collect()
    }

    #[test]
    fn a_busy_room_takes_its_share_and_leaves_room_for_others() {
        let mut queue: VecDeque<_> = (0..100).map(|counter| waiting(1, counter, 256)).collect();
        queue.push_back(waiting(2, 0, 256));
        let batch = take(&mut queue);
        assert_eq!(counters(&batch, 1), (0..64).collect::<Vec<_>>());
        assert_eq!(counters(&batch, 2), [0]);
        assert_eq!(counters(&take(&mut queue), 1), (64..100).collect::<Vec<_>>());
        assert!(queue.is_empty());
    }

    #[test]
    fn the_messages_of_a_room_stand_together_and_the_room_that_waits_longest_is_first() {
        let mut queue: VecDeque<_> = (0..12).map(|n| waiting(3 - (n % 3) as u8, n, 256)).collect();
        let batch = take(&mut queue);
        let rooms = batch.iter().map(|waiting| waiting.draft.envelope.header().room.0[0]);
        assert!(rooms.eq([3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1]));
        assert_eq!(counters(&batch, 2), [1, 4, 7, 10]);
    }

    #[test]
    fn a_small_message_never_overtakes_a_large_one_of_its_room() {
        let large = PLAINTEXT_BUCKETS[PLAINTEXT_BUCKETS.len() - 1];
        let mut queue: VecDeque<_> = (0..12).map(|counter| waiting(1, counter, large)).collect();
        queue.push_back(waiting(1, 12, 256));
        assert_eq!(counters(&take(&mut queue), 1), (0..10).collect::<Vec<_>>());
        assert_eq!(counters(&take(&mut queue), 1), [10, 11, 12]);
    }

    #[test]
    fn a_commit_has_a_size_and_the_rest_keeps_its_order() {
        let mut queue: VecDeque<_> =
            (0..3000u64).map(|n| waiting(u8::try_from(n % 40).expect("below 40"), n / 40, 256)).collect();
        let first = take(&mut queue);
        assert_eq!(first.len(), MESSAGES_MAX);
        let second = take(&mut queue);
        assert_eq!(first.len() + second.len() + queue.len(), 3000);
        for room in 0..40 {
            let both = [counters(&first, room), counters(&second, room)].concat();
            assert_eq!(both, (0..75).collect::<Vec<_>>());
        }
    }
}
