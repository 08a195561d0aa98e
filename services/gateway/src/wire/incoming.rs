//! From a client's bytes to its messages. Pure: it is given bytes and asked for messages.

use bytes::{Buf, Bytes, BytesMut};

use super::Broken;
use super::frame::{Header, Opcode, unmask};

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// To be answered with the same payload.
    Ping(Bytes),
    /// An answer, or a sign of life.
    Pong,
    /// The client closes, with its code if it gave one.
    Close(Option<u16>),
}

/// A message of which not all frames have come.
#[derive(Debug)]
struct Parts {
    is_text: bool,
    bytes: BytesMut,
    /// So many of the bytes are known to be whole characters.
    valid: usize,
}

/// What has come and was not taken yet: less than one message and one read. Holds no memory while nothing has.
#[derive(Debug)]
pub struct Incoming {
    message_max: usize,
    unread: BytesMut,
    parts: Option<Box<Parts>>,
}

impl Incoming {
    /// For messages of at most `message_max` bytes; `unread` came already.
    #[must_use]
    pub const fn new(message_max: usize, unread: BytesMut) -> Self {
        Self { message_max, unread, parts: None }
    }

    /// Bytes that came after those before.
    pub fn take_in(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Whether what comes next begins a binary message; `None` if nothing has come.
    #[must_use]
    pub fn begins_binary(&self) -> Option<bool> {
        self.unread.first().map(|byte| byte & 0x0f == Opcode::Binary as u8)
    }

    /// The next whole message; `None` while it is not all there.
    ///
    /// # Errors
    /// Not what a client may send; nothing more is to be read then.
    pub fn next_message(&mut self) -> Result<Option<Message>, Broken> {
        while let Some((header, payload)) = self.frame()? {
            let message = match header.opcode {
                Opcode::Ping => Message::Ping(payload.freeze()),
                Opcode::Pong => Message::Pong,
                Opcode::Close => Message::Close(close_code(&payload)?),
                Opcode::Text | Opcode::Binary | Opcode::Continuation => match self.part(&header, payload)? {
                    Some(message) => message,
                    None => continue,
                },
            };
            return Ok(Some(message));
        }
        Ok(None)
    }

    fn frame(&mut self) -> Result<Option<(Header, BytesMut)>, Broken> {
        let room = self.message_max - self.parts.as_ref().map_or(0, |parts| parts.bytes.len());
        let Some(header) = Header::parse(&self.unread, room)? else { return Ok(None) };
        if self.unread.len() < header.header_bytes + header.payload_bytes {
            return Ok(None);
        }
        self.unread.advance(header.header_bytes);
        let mut payload = self.unread.split_to(header.payload_bytes);
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
        unmask(&mut payload, header.mask);
        Ok(Some((header, payload)))
    }

    fn part(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Message>, Broken> {
        let mut parts = match (self.parts.take(), header.opcode) {
            (Some(mut parts), Opcode::Continuation) => {
                parts.bytes.extend_from_slice(&payload);
                parts
            }
            (None, Opcode::Text | Opcode::Binary) if header.is_final => {
                return whole(header.opcode == Opcode::Text, payload).map(Some);
            }
            (None, Opcode::Text | Opcode::Binary) => {
                Box::new(Parts { is_text: header.opcode == Opcode::Text, bytes: payload, valid: 0 })
            }
            // A continuation of nothing, or a new message within one.
            _ => return Err(Broken::Protocol),
        };
        if header.is_final {
            return whole(parts.is_text, parts.bytes).map(Some);
        }
        if parts.is_text {
            parts.validate()?;
        }
        self.parts = Some(parts);
        Ok(None)
    }
}

impl Parts {
    /// Looks at what has come since the last time; a character may be cut at the end.
    fn validate(&mut self) -> Result<(), Broken> {
        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(text) => self.valid += text.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(Broken::NotUtf8),
        }
        Ok(())
    }
}

fn whole(is_text: bool, bytes: BytesMut) -> Result<Message, Broken> {
    if !is_text {
        return Ok(Message::Binary(bytes.freeze()));
    }
    String::from_utf8(bytes.into()).map(Message::Text).map_err(|_| Broken::NotUtf8)
}

/// The code of a closing frame (RFC 6455 section 7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Broken> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(Broken::Protocol) };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Broken::Protocol);
    }
    std::str::from_utf8(reason).map_err(|_| Broken::NotUtf8)?;
    Ok(Some(code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::framed;
    use super::*;

    const MASK: [u8; 4] = [9, 200, 33, 4];

    /// As a client sends it.
    fn masked(opcode: Opcode, is_final: bool, payload: &[u8]) -> Vec<u8> {
        let plain = framed(opcode, payload);
        let header = plain.len() - payload.len();
        let mut bytes = plain[..header].to_vec();
        bytes[0] = (bytes[0] & 0x7f) | (u8::from(is_final) << 7);
        bytes[1] |= 0x80;
        bytes.extend_from_slice(&MASK);
        let mut payload = payload.to_vec();
        unmask(&mut payload, MASK);
        bytes.extend_from_slice(&payload);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Message>, Broken> {
        let mut incoming = Incoming::new(1000, BytesMut::new());
        incoming.take_in(bytes);
        std::iter::from_fn(|| incoming.next_message().transpose()).collect()
    }

    #[test]
    fn parts_are_put_together_and_a_ping_may_come_between() {
        let bytes = [
            masked(Opcode::Text, false, "gr\u{fc}".as_bytes().split_last().expect("some").1),
            masked(Opcode::Ping, true, b"?"),
            masked(Opcode::Continuation, false, &"\u{fc}".as_bytes()[1..]),
            masked(Opcode::Continuation, true, "\u{df}e".as_bytes()),
            masked(Opcode::Binary, true, &[]),
        ];
        let messages = [
            Message::Ping(Bytes::from_static(b"?")),
            Message::Text("gr\u{fc}\u{df}e".into()),
            Message::Binary(Bytes::new()),
        ];
        assert_eq!(read(&bytes.concat()), Ok(messages.to_vec()));
    }

    #[test]
    fn parts_that_belong_to_nothing_are_refused() {
        assert_eq!(read(&masked(Opcode::Continuation, true, b"x")), Err(Broken::Protocol));
        let within = [masked(Opcode::Text, false, b"x"), masked(Opcode::Text, true, b"y")].concat();
        assert_eq!(read(&within), Err(Broken::Protocol));
    }

    #[test]
    fn a_message_is_as_long_as_allowed_in_all_its_parts() {
        let parts = |last: usize| {
            [masked(Opcode::Binary, false, &[1; 600]), masked(Opcode::Continuation, true, &vec![2; last])].concat()
        };
        assert!(matches!(read(&parts(400)), Ok(messages) if messages.len() == 1));
        assert_eq!(read(&parts(401)), Err(Broken::TooLarge));
    }

    #[test]
    fn a_text_that_cannot_become_utf8_is_refused_with_its_first_part() {
        assert_eq!(read(&masked(Opcode::Text, true, &[0xc3])), Err(Broken::NotUtf8));
        assert_eq!(read(&masked(Opcode::Text, false, &[0xc3])), Ok(vec![]), "more may come");
        assert_eq!(read(&masked(Opcode::Text, false, &[0xc3, 0x28])), Err(Broken::NotUtf8));
    }

    #[test]
    fn a_closing_frame_has_a_code_that_may_be_sent_or_none() {
        let close = |payload: &[u8]| read(&masked(Opcode::Close, true, payload));
        assert_eq!(close(&[]), Ok(vec![Message::Close(None)]));
        assert_eq!(close(&[0x03, 0xe8, b'b', b'y', b'e']), Ok(vec![Message::Close(Some(1000))]));
        assert_eq!(close(&[0x03]), Err(Broken::Protocol));
        assert_eq!(close(&[0x03, 0xed]), Err(Broken::Protocol), "1005 is never sent");
        assert_eq!(close(&[0x03, 0xe8, 0xff]), Err(Broken::NotUtf8));
    }

    proptest! {
        /// However a stream is cut on its way, the same messages come out, and nothing is kept after the last.
        #[test]
        fn messages_do_not_depend_on_how_bytes_arrive(
            payloads in proptest::collection::vec((any::<bool>(), "[a-z\u{e4}\u{20ac}]{0,200}"), 1..12),
            cuts in proptest::collection::vec(1usize..300, 1..40),
        ) {
            let bytes: Vec<u8> = payloads
                .iter()
                .flat_map(|(is_text, payload)| masked(if *is_text { Opcode::Text } else { Opcode::Binary }, true, payload.as_bytes()))
                .collect();
            let mut incoming = Incoming::new(1000, BytesMut::new());
            let (mut rest, mut cuts, mut messages) = (&bytes[..], cuts.iter().cycle(), Vec::new());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().expect("endless")));
                incoming.take_in(now);
                rest = later;
                while let Some(message) = incoming.next_message().expect("sound") {
                    messages.push(message);
                }
            }
            let expected: Vec<_> = payloads
                .iter()
                .map(|(is_text, payload)| match is_text {
                    true => Message::Text(payload.clone()),
                    false => Message::Binary(payload.clone().into()),
                })
                .collect();
            prop_assert_eq!(messages, expected);
            prop_assert_eq!(incoming.unread.capacity(), 0);
        }

        #[test]
        fn nothing_that_comes_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(&bytes);
        }
    }
}
