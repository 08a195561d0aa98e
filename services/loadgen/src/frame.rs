//! WebSocket frames, as little of them as a receiver needs.

/// A text frame.
pub const TEXT: u8 = 1;
/// A binary frame.
pub const BINARY: u8 = 2;
/// The other side closes.
pub const CLOSE: u8 = 8;
/// To be answered with a pong.
pub const PING: u8 = 9;
/// The answer to a ping.
pub const PONG: u8 = 10;

/// Where a frame's parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub opcode: u8,
    /// Bytes before the payload.
    pub header: usize,
    /// Bytes of payload.
    pub payload: usize,
}

/// Not what a server of this protocol sends: fragments, extensions, a mask, or a length beyond 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame that a server sends")]
pub struct Malformed;

/// The head of the frame at the start of `bytes`; `None` if more is needed to tell.
///
/// # Errors
/// The stream is not readable any further.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err(Malformed);
    }
    let (header, payload) = match second {
        126 => match bytes.get(2..4) {
            Some(length) => (4, usize::from(u16::from_be_bytes(length.try_into().expect("two bytes")))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10) {
            Some(length) => {
                let length = u64::from_be_bytes(length.try_into().expect("eight bytes"));
                (10, u32::try_from(length).map_err(|_| Malformed)? as usize)
            }
            None => return Ok(None),
        },
        short => (2, usize::from(short)),
    };
    Ok(Some(Head { opcode: first & 0x0f, header, payload }))
}

fn push_head(opcode: u8, mask: u8, payload: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(short @ 0..126), _) => out.push(mask | short),
        (_, Ok(length)) => {
            out.push(mask | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

/// Appends a client's frame, masked with zeros.
pub fn push_masked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    push_head(opcode, 0x80, payload.len(), out);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Appends a server's frame.
pub fn push_plain(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    push_head(opcode, 0, payload.len(), out);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_whatever_its_length_and_not_before_its_head_is_there() {
        for payload in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            let mut bytes = Vec::new();
            push_plain(BINARY, &vec![7; payload], &mut bytes);
            let found = head(&bytes).expect("a frame").expect("whole");
            assert_eq!((found.opcode, found.payload, found.header + payload), (BINARY, payload, bytes.len()));
            for length in 0..found.header {
                assert_eq!(head(&bytes[..length]), Ok(None), "{length} of {payload}");
            }
        }
    }

    #[test]
    fn what_a_server_does_not_send_ends_the_stream() {
        let mut masked = Vec::new();
        push_masked(TEXT, b"hello", &mut masked);
        assert_eq!(head(&masked), Err(Malformed));
        assert_eq!(head(&[0x02, 0x01]), Err(Malformed), "a fragment");
        assert_eq!(head(&[0xc2, 0x01]), Err(Malformed), "a compressed frame");
    }
}
