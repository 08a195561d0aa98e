//! How an event looks in Redis: a version, a kind, the node that published it, and the kind's fields, numbers big-endian.
//!
//! Frames are carried as they are: those of a hint each behind its length, that of an ephemeral event as the rest of the message. What is of
//! another version or kind, or is longer or shorter than its kind allows, is refused, never guessed at: nodes of two versions share one
//! Redis while a cluster is updated.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use snug_protocol::frame::EntryFrame;
use snug_protocol::limits::FRAME_BYTES_MAX;
use snug_protocol::{DeviceId, RoomId, Seq};

use crate::{BusEvent, HINT_BYTES_MAX, NodeId, TraceParent};

const VERSION: u8 = 1;
const ACCESS: u8 = 2;
const TOKEN: u8 = 3;
const EPHEMERAL: u8 = 4;
const PROBE: u8 = 5;
/// 1 was one with one frame.
const HINT: u8 = 6;

/// A W3C `traceparent` of version 00 has 55.
const TRACE_BYTES_MAX: usize = 64;

/// All fields of a message but the frames, of whatever kind.
const FIELDS_BYTES_MAX: usize = 128;
/// Before each frame of a hint, big-endian.
const LENGTH_BYTES: usize = size_of::<u32>();

/// What one message carries.
#[derive(Clone, Debug)]
pub(super) enum Carried {
    /// An event, for the node's listeners.
    Event(BusEvent),
    /// A node's probe to itself.
    Probe(u64),
}

/// Why a message was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("of a version that this node does not know")]
    Version,
    #[error("of a kind that this node does not know")]
    Kind,
    #[error("shorter or longer than its kind allows")]
    Length,
    #[error("a field has a value that it cannot have")]
    Field,
}

/// The bytes of `event`; `None` if it does not cross the bus.
pub(super) fn encode(from: NodeId, event: &BusEvent) -> Option<Bytes> {
    let carried = match event {
        BusEvent::Hint { frames, .. } => frames.iter().map(|frame| LENGTH_BYTES + frame.bytes().len()).sum(),
        BusEvent::Ephemeral { frame, .. } => frame.len(),
        _ => 0,
    };
    let mut bytes = BytesMut::with_capacity(FIELDS_BYTES_MAX + carried);
    bytes.put_u8(VERSION);
    match event {
        BusEvent::Hint { room, seq, frames, trace } => {
            let trace = trace.as_ref().map(|trace| trace.0.as_bytes()).filter(|trace| trace.len() <= TRACE_BYTES_MAX);
            let trace = trace.unwrap_or_default();
            bytes.put_u8(HINT);
            bytes.put_slice(&from.0);
            bytes.put_slice(room.as_bytes());
            bytes.put_u64(seq.0);
            bytes.put_u8(u8::try_from(trace.len()).expect("at most 64"));
            bytes.put_slice(trace);
            for frame in frames {
                bytes.put_u32(u32::try_from(frame.bytes().len()).expect("a frame has a limit"));
                bytes.put_slice(frame.bytes());
            }
        }
        BusEvent::Access { room, device } => {
            bytes.put_u8(ACCESS);
            bytes.put_slice(&from.0);
            bytes.put_slice(room.as_bytes());
            if let Some(device) = device {
                bytes.put_slice(device.as_bytes());
            }
        }
        BusEvent::Token { device } => {
            bytes.put_u8(TOKEN);
            bytes.put_slice(&from.0);
            bytes.put_slice(device.as_bytes());
        }
        BusEvent::Ephemeral { room, frame, from: device } => {
            bytes.put_u8(EPHEMERAL);
            bytes.put_slice(&from.0);
            bytes.put_slice(room.as_bytes());
            bytes.put_slice(device.as_bytes());
            bytes.put_slice(frame);
        }
        BusEvent::Missed { .. } | BusEvent::Checked => return None,
    }
    Some(bytes.freeze())
}

/// The bytes of a probe.
pub(super) fn encode_probe(from: NodeId, number: u64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(18);
    bytes.put_u8(VERSION);
    bytes.put_u8(PROBE);
    bytes.put_slice(&from.0);
    bytes.put_u64(number);
    bytes.freeze()
}

/// What a message's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peeked {
    /// Who published it.
    pub(super) from: NodeId,
    pub(super) is_ephemeral: bool,
    pub(super) is_probe: bool,
}

/// Looks at a message's first bytes only.
pub(super) fn peek(bytes: &[u8]) -> Result<Peeked, DecodeError> {
    let mut fields = Fields(bytes);
    let kind = fields.version_and_kind()?;
    Ok(Peeked { from: NodeId(fields.array()?), is_ephemeral: kind == EPHEMERAL, is_probe: kind == PROBE })
}

/// Reads a message. Frames are copied, so that a few bytes kept in a tail do not keep alive the buffer that they were read into. Those of one
/// hint share a copy, which is kept for as long as one of them is.
pub(super) fn decode(bytes: &[u8]) -> Result<Carried, DecodeError> {
    let mut fields = Fields(bytes);
    let kind = fields.version_and_kind()?;
    let _from: [u8; 8] = fields.array()?;
    let event = match kind {
        HINT => hint(&mut fields)?,
        ACCESS => {
            let room = RoomId(fields.array()?);
            let device = if fields.0.is_empty() { None } else { Some(DeviceId(fields.array()?)) };
            BusEvent::Access { room, device }
        }
        TOKEN => BusEvent::Token { device: DeviceId(fields.array()?) },
        EPHEMERAL => {
            let (room, from) = (RoomId(fields.array()?), DeviceId(fields.array()?));
            let frame = fields.rest(FRAME_BYTES_MAX)?;
            if frame.is_empty() {
                return Err(DecodeError::Length);
            }
            BusEvent::Ephemeral { room, frame, from }
        }
        PROBE => {
            let number = u64::from_be_bytes(fields.array()?);
            fields.end()?;
            return Ok(Carried::Probe(number));
        }
        _ => return Err(DecodeError::Kind),
    };
    fields.end()?;
    Ok(Carried::Event(event))
}

fn hint(fields: &mut Fields<'_>) -> Result<BusEvent, DecodeError> {
    let (room, seq) = (RoomId(fields.array()?), Seq(u64::from_be_bytes(fields.array()?)));
    let trace = fields.trace()?;
    let mut rest = fields.rest(HINT_BYTES_MAX + FRAME_BYTES_MAX)?;
    let mut frames: Vec<EntryFrame> = Vec::new();
    while !rest.is_empty() {
        let length = rest.try_get_u32().map_err(|_| DecodeError::Length)?;
        let length = usize::try_from(length).expect("32 bits fit");
        if length == 0 || length > FRAME_BYTES_MAX.min(rest.len()) {
            return Err(DecodeError::Length);
        }
        let frame = EntryFrame::parse(&rest.split_to(length)).map_err(|_| DecodeError::Field)?;
        if frames.last().is_some_and(|last| last.seq() >= frame.seq()) || frame.seq() > seq {
            return Err(DecodeError::Field);
        }
        frames.push(frame);
    }
    Ok(BusEvent::Hint { room, seq, frames, trace })
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn version_and_kind(&mut self) -> Result<u8, DecodeError> {
        let [version] = self.array()?;
        if version != VERSION {
            return Err(DecodeError::Version);
        }
        let [kind] = self.array()?;
        if (ACCESS..=HINT).contains(&kind) { Ok(kind) } else { Err(DecodeError::Kind) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(DecodeError::Length)?;
        self.0 = rest;
        Ok(*field)
    }

    fn trace(&mut self) -> Result<Option<TraceParent>, DecodeError> {
        let [length] = self.array()?;
        let length = usize::from(length);
        if length == 0 {
            return Ok(None);
        }
        if length > TRACE_BYTES_MAX {
            return Err(DecodeError::Field);
        }
        let (trace, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Length)?;
        self.0 = rest;
        let trace = std::str::from_utf8(trace).ok().filter(|trace| trace.is_ascii()).ok_or(DecodeError::Field)?;
        Ok(Some(TraceParent(Arc::from(trace))))
    }

    fn rest(&mut self, bytes_max: usize) -> Result<Bytes, DecodeError> {
        let rest = std::mem::take(&mut self.0);
        if rest.len() > bytes_max {
            return Err(DecodeError::Length);
        }
        Ok(Bytes::copy_from_slice(rest))
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Length) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: NodeId = NodeId(*b"sendnode");

    fn trace() -> impl Strategy<Value = Option<TraceParent>> {
        proptest::option::of("[ -~]{1,64}".prop_map(|text| TraceParent(Arc::from(text))))
    }

    fn event() -> impl Strategy<Value = BusEvent> {
        let frame = (any::<u8>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 1..2_000));
        let frames = proptest::collection::vec(frame, 0..20);
        let hint = (any::<[u8; 16]>(), any::<u32>(), frames, any::<u8>(), trace()).prop_map(
            |(room, from, frames, beyond, trace)| {
                let mut seq = u64::from(from);
                let frames = frames.into_iter().map(|(hole, at_ms, envelope)| {
                    seq += 1 + u64::from(hole);
                    EntryFrame::new(Seq(seq), at_ms, &envelope)
                });
                let frames = frames.collect();
                BusEvent::Hint { room: RoomId(room), seq: Seq(seq + u64::from(beyond)), frames, trace }
            },
        );
        let access = (any::<[u8; 16]>(), any::<Option<[u8; 16]>>())
            .prop_map(|(room, device)| BusEvent::Access { room: RoomId(room), device: device.map(DeviceId) });
        let token = any::<[u8; 16]>().prop_map(|device| BusEvent::Token { device: DeviceId(device) });
        let ephemeral = (any::<[u8; 16]>(), any::<[u8; 16]>(), proptest::collection::vec(any::<u8>(), 1..500))
            .prop_map(|(room, from, frame)| BusEvent::Ephemeral {
                room: RoomId(room),
                frame: frame.into(),
                from: DeviceId(from),
            });
        prop_oneof![hint, access, token, ephemeral]
    }

    fn encoded(event: &BusEvent) -> Bytes {
        encode(NODE, event).expect("it crosses the bus")
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(event in event()) {
            let bytes = encoded(&event);
            let is_ephemeral = matches!(event, BusEvent::Ephemeral { .. });
            prop_assert_eq!(peek(&bytes), Ok(Peeked { from: NODE, is_ephemeral, is_probe: false }));
            let Ok(Carried::Event(decoded)) = decode(&bytes) else { panic!("{event:?} was refused") };
            prop_assert_eq!(format!("{decoded:?}"), format!("{event:?}"));
        }

        #[test]
        fn what_was_cut_is_refused_or_another_whole_event(event in event(), at in any::<prop::sample::Index>()) {
            let bytes = encoded(&event);
            let cut = &bytes[..at.index(bytes.len())];
            // A hint may have fewer frames, the rest of a message may be a shorter one, and an `Access` without its device is for anybody.
            if let Ok(Carried::Event(decoded)) = decode(cut) {
                prop_assert_eq!(&encoded(&decoded)[..], cut);
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (peek(&bytes), decode(&bytes));
        }

        #[test]
        fn garbage_behind_a_good_beginning_never_panics(kind in ACCESS..=HINT, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&[&[VERSION, kind][..], &rest].concat());
        }
    }

    #[test]
    fn another_version_or_kind_is_told_from_damage() {
        let probe = encode_probe(NODE, 7);
        assert!(matches!(decode(&probe), Ok(Carried::Probe(7))));
        let changed = |at: usize, to: u8| {
            let mut bytes = probe.to_vec();
            bytes[at] = to;
            decode(&bytes).err()
        };
        assert_eq!(changed(0, 2), Some(DecodeError::Version));
        assert_eq!(changed(1, 9), Some(DecodeError::Kind));
        assert_eq!(decode(&probe[..17]).err(), Some(DecodeError::Length));
        assert_eq!(decode(&[&probe[..], b"x"].concat()).err(), Some(DecodeError::Length));
    }

    #[test]
    fn frames_beyond_the_hint_out_of_order_or_cut_are_refused() {
        let refused = |seqs: &[u64]| {
            let frames = seqs.iter().map(|seq| EntryFrame::new(Seq(*seq), 0, b"envelope")).collect();
            decode(&encoded(&BusEvent::Hint { room: RoomId([1; 16]), seq: Seq(5), frames, trace: None })).err()
        };
        assert_eq!(refused(&[2, 3, 5]), None);
        for seqs in [&[6][..], &[4, 3], &[4, 4]] {
            assert_eq!(refused(seqs), Some(DecodeError::Field), "{seqs:?}");
        }
        let frames = vec![EntryFrame::new(Seq(5), 0, b"envelope")];
        let whole = encoded(&BusEvent::Hint { room: RoomId([1; 16]), seq: Seq(5), frames, trace: None });
        for left in [1, LENGTH_BYTES, LENGTH_BYTES + 1, LENGTH_BYTES + 20] {
            let without_frames = whole.len() - LENGTH_BYTES - 17 - b"envelope".len();
            assert_eq!(decode(&whole[..without_frames + left]).err(), Some(DecodeError::Length), "{left}");
        }
    }

    #[test]
    fn a_frame_that_no_socket_would_take_is_refused() {
        let (room, from) = (RoomId([1; 16]), DeviceId([2; 16]));
        let bytes = encoded(&BusEvent::Ephemeral { room, frame: vec![0; FRAME_BYTES_MAX + 1].into(), from });
        assert_eq!(decode(&bytes).err(), Some(DecodeError::Length));
        let frames = vec![EntryFrame::new(Seq(1), 0, &[0; FRAME_BYTES_MAX])];
        let bytes = encoded(&BusEvent::Hint { room, seq: Seq(1), frames, trace: None });
        assert_eq!(decode(&bytes).err(), Some(DecodeError::Length));
    }
}
