//! One frame (RFC 6455 section 5.2) as a server sees it: what clients send is masked, what it sends is not.

use bytes::{BufMut, Bytes, BytesMut};
use snug_protocol::Seq;
use snug_protocol::frame::EntryFrame;

use super::Broken;

/// The longest payload of a control frame.
pub(super) const CONTROL_BYTES_MAX: usize = 125;
/// A header without a mask, at its longest.
const HEADER_BYTES_MAX: usize = 10;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn parse(byte: u8) -> Result<Self, Broken> {
        Ok(match byte & 0x0f {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(Broken::Protocol),
        })
    }

    pub(super) const fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// What goes before a client's payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub is_final: bool,
    pub opcode: Opcode,
    pub mask: [u8; 4],
    pub header_bytes: usize,
    pub payload_bytes: usize,
}

impl Header {
    /// The header at the beginning of `bytes`; `None` while it is not all there.
    pub(super) fn parse(bytes: &[u8], payload_max: usize) -> Result<Option<Self>, Broken> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::parse(*first)?;
        if first & RESERVED != 0 || second & MASKED == 0 {
            return Err(Broken::Protocol);
        }
        let is_final = first & FIN != 0;
        let (payload_bytes, rest) = match second & !MASKED {
            126 => match rest.split_first_chunk() {
                Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((bytes, rest)) => (u64::from_be_bytes(*bytes), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        if opcode.is_control() && (!is_final || payload_bytes > CONTROL_BYTES_MAX as u64) {
            return Err(Broken::Protocol);
        }
        // The highest bit of a length must not be set, whatever is allowed.
        if payload_bytes >> 63 != 0 {
            return Err(Broken::Protocol);
        }
        let payload_bytes = usize::try_from(payload_bytes).map_err(|_| Broken::TooLarge)?;
        if !opcode.is_control() && payload_bytes > payload_max {
            return Err(Broken::TooLarge);
        }
        let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some(Self { is_final, opcode, mask: *mask, header_bytes: bytes.len() - rest.len(), payload_bytes }))
    }
}

/// Takes the mask off a payload, or puts it on.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

fn put_header(bytes: &mut BytesMut, opcode: Opcode, payload_bytes: usize) {
    bytes.put_u8(FIN | opcode as u8);
    match (u8::try_from(payload_bytes), u16::try_from(payload_bytes)) {
        (Ok(short), _) if short < 126 => bytes.put_u8(short),
        (_, Ok(medium)) => {
            bytes.put_u8(126);
            bytes.put_u16(medium);
        }
        _ => {
            bytes.put_u8(127);
            bytes.put_u64(payload_bytes as u64);
        }
    }
}

/// A whole message in one frame, as a server sends it.
pub(super) fn framed(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES_MAX + payload.len());
    put_header(&mut bytes, opcode, payload.len());
    bytes.put_slice(payload);
    bytes.freeze()
}

/// A text message, encoded to be sent to any number of sockets.
#[must_use]
pub fn text(text: &str) -> Bytes {
    framed(Opcode::Text, text.as_bytes())
}

/// Puts a text message behind others.
pub fn put_text(messages: &mut BytesMut, text: &[u8]) {
    put_header(messages, Opcode::Text, text.len());
    messages.put_slice(text);
}

/// A binary message, encoded likewise.
#[must_use]
pub fn binary(bytes: &[u8]) -> Bytes {
    framed(Opcode::Binary, bytes)
}

/// Log entries that follow one another, encoded to be sent to any number of sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// The last one's place.
    pub last: Seq,
    /// How many they are.
    pub count: u32,
    /// When the first of them was committed, Unix milliseconds.
    pub oldest_ms: u64,
    /// A message each, one after the other.
    pub bytes: Bytes,
}

impl Entries {
    /// Encodes them; `None` when there are none.
    pub fn encode<'a>(frames: impl Iterator<Item = &'a EntryFrame> + Clone) -> Option<Self> {
        let oldest_ms = frames.clone().next()?.at_ms();
        let last = frames.clone().last()?.seq();
        let count = u32::try_from(frames.clone().count()).expect("a flush");
        let size = frames.clone().map(|frame| HEADER_BYTES_MAX + frame.bytes().len()).sum();
        let mut bytes = BytesMut::with_capacity(size);
        for frame in frames {
            put_header(&mut bytes, Opcode::Binary, frame.bytes().len());
            bytes.put_slice(frame.bytes());
        }
        Some(Self { last, count, oldest_ms, bytes: bytes.freeze() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_when_it_is_all_there() {
        let whole = [0x82, 0xfe, 0x01, 0x00, 1, 2, 3, 4];
        for end in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..end], 1 << 16), Ok(None), "{end}");
        }
        let header =
            Header { is_final: true, opcode: Opcode::Binary, mask: [1, 2, 3, 4], header_bytes: 8, payload_bytes: 256 };
        assert_eq!(Header::parse(&whole, 1 << 16), Ok(Some(header)));
    }

    #[test]
    fn what_is_no_frame_of_a_client_is_refused_at_once() {
        let broken = |bytes: &[u8]| Header::parse(bytes, 1000).expect_err("broken");
        assert_eq!(broken(&[0x82, 0x01]), Broken::Protocol, "not masked");
        assert_eq!(broken(&[0xc2, 0x81]), Broken::Protocol, "a reserved bit");
        assert_eq!(broken(&[0x83, 0x81]), Broken::Protocol, "an unknown opcode");
        assert_eq!(broken(&[0x09, 0x80]), Broken::Protocol, "a ping in parts");
        assert_eq!(broken(&[0x89, 0xfe, 0, 126]), Broken::Protocol, "a long ping");
        assert_eq!(broken(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), Broken::Protocol, "a length out of this world");
        assert_eq!(broken(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Broken::TooLarge);
    }

    #[test]
    fn lengths_are_encoded_as_short_as_can_be() {
        for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let bytes = framed(Opcode::Binary, &vec![7; length]);
            assert_eq!(bytes.len(), header + length);
            assert!(bytes[header..].iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn masking_twice_is_nothing() {
        for length in 0..40 {
            let payload: Vec<u8> = (0..length).collect();
            let mut masked = payload.clone();
            unmask(&mut masked, [1, 2, 3, 4]);
            assert!(
                masked
                    .iter()
                    .zip(&payload)
                    .enumerate()
                    .all(|(at, (masked, plain))| masked ^ plain == [1, 2, 3, 4][at % 4])
            );
            unmask(&mut masked, [1, 2, 3, 4]);
            assert_eq!(masked, payload);
        }
    }

    #[test]
    fn entries_are_messages_one_after_the_other() {
        let frames = [EntryFrame::new(Seq(4), 1, &[1; 76]), EntryFrame::new(Seq(5), 1, &[2; 300])];
        let entries = Entries::encode(frames.iter()).expect("two");
        let apart: Vec<u8> = frames.iter().flat_map(|frame| framed(Opcode::Binary, frame.bytes())).collect();
        assert_eq!((entries.last, entries.count, &entries.bytes[..]), (Seq(5), 2, &apart[..]));
        assert_eq!(Entries::encode([].iter()), None);
    }
}
