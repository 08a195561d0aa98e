//! What came on a socket: found in the buffer, looked at, counted.

use snug_protocol::frame::{ClientFrame, Cursor, ENTRY_FRAME_HEADER_BYTES, ServerFrame};
use snug_protocol::{EnvelopeHash, HistoryId, Seq};

use crate::figures::Window;
use crate::frame;
use crate::script::{Found, ROOM_AT, Script};
use crate::socket::{Buffer, Came, Place, Socket, State};

const END_OF_HEADERS: &[u8] = b"\r\n\r\n";

/// A room's log as far as one thread has seen it.
#[derive(Debug, Clone, Default)]
pub struct Log {
    history: HistoryId,
    head: u64,
    /// The envelope at the head, if it came.
    newest: Vec<u8>,
}

impl Log {
    /// What a client that waits for `next` would resume with: from the beginning, if what it has seen last is not known here any more.
    pub fn cursor_before(&self, next: u64) -> Cursor {
        if next == self.head + 1 {
            return self.cursor();
        }
        Cursor { history: self.history, seq: Seq::ZERO, hash: [0; 8].into() }
    }

    /// What a client that has seen it all would resume with.
    pub fn cursor(&self) -> Cursor {
        let hash = EnvelopeHash::of(&self.newest).short();
        Cursor { history: self.history, seq: Seq(self.head), hash: hash.into() }
    }
}

/// What is counted, and what it is compared with.
pub struct Tally<'a> {
    pub window: &'a mut Window,
    pub script: &'a Script,
    pub logs: &'a mut Vec<Option<Log>>,
}

/// Id and seq of an acknowledgement, if the text is one.
fn acknowledgement(text: &[u8]) -> Option<(u32, u64)> {
    let rest = text.strip_prefix(br#"{"type":"sent","id":"#)?;
    let number = |bytes: &[u8]| {
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    };
    let seq_at = rest.windows(6).position(|window| window == br#""seq":"#)? + 6;
    Some((u32::try_from(number(rest)).ok()?, number(&rest[seq_at..])))
}

impl Tally<'_> {
    /// Reads what there is; whether the socket lives on.
    pub fn read(&mut self, socket: &mut Socket, buffer: &mut Buffer, ended: bool) -> bool {
        loop {
            let Some(came) = socket.read(buffer) else { return false };
            let Came { bytes, filled, is_full, at_ns, read_ns } = came;
            self.window.counts.reads += 1;
            self.window.counts.bytes += bytes as u64;
            if bytes == 0 {
                return true;
            }
            self.window.reading.add_ns(read_ns - at_ns);
            let bytes = buffer.filled(filled);
            let Some(used) = self.take(socket, bytes, at_ns) else { return false };
            socket.keep(&bytes[used..]);
            // A short read has emptied the socket, and what comes from now on makes an event of its own.
            if !is_full && !ended {
                return true;
            }
        }
    }

    /// Takes what is whole in `bytes`, whose last came at `now`; how many bytes that was. `None`: the stream has ended.
    fn take(&mut self, socket: &mut Socket, bytes: &[u8], now: u64) -> Option<usize> {
        let mut at = 0;
        if socket.state == State::Upgrading {
            let end = bytes.windows(END_OF_HEADERS.len()).position(|window| window == END_OF_HEADERS);
            let Some(end) = end else { return Some(0) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                return None;
            }
            at = end + END_OF_HEADERS.len();
            socket.enter().ok()?;
        }
        while let Some(head) = frame::head(&bytes[at..]).ok()? {
            let payload_at = at + head.header;
            let Some(payload) = bytes.get(payload_at..payload_at + head.payload) else { break };
            at = payload_at + head.payload;
            match head.opcode {
                frame::BINARY => self.entry(socket, payload, now),
                frame::TEXT => self.text(socket, payload, now)?,
                frame::PING => {
                    let mut pong = Vec::new();
                    frame::push_masked(frame::PONG, payload, &mut pong);
                    socket.write(&pong).ok()?;
                }
                frame::CLOSE => return None,
                _ => {}
            }
        }
        Some(at)
    }

    fn log(&mut self, room: usize) -> &mut Log {
        if self.logs.len() <= room {
            self.logs.resize(room + 1, None);
        }
        self.logs[room].get_or_insert_default()
    }

    fn entry(&mut self, socket: &mut Socket, entry: &[u8], now: u64) {
        let Some(seq) = entry.get(1..9).map(|seq| u64::from_be_bytes(seq.try_into().expect("eight bytes"))) else {
            self.window.counts.mangled += 1;
            return;
        };
        // What is not of the one room that is followed is found out by the script.
        let at = match socket.spec.follows.len() {
            1 => Some(0),
            _ => entry.get(ROOM_AT..ROOM_AT + 16).and_then(|room| socket.place_of(room)),
        };
        let Some(at) = at else {
            self.window.counts.mangled += 1;
            return;
        };
        let room = socket.spec.follows[at].place;
        let log = self.log(room);
        if seq > log.head {
            log.head = seq;
            log.newest.clear();
            log.newest.extend_from_slice(&entry[ENTRY_FRAME_HEADER_BYTES.min(entry.len())..]);
        } else if seq == log.head && log.newest.is_empty() {
            log.newest.extend_from_slice(&entry[ENTRY_FRAME_HEADER_BYTES.min(entry.len())..]);
        }
        let counts = &mut self.window.counts;
        match socket.progress[at].place(seq) {
            Place::Duplicate => return counts.duplicates += 1,
            Place::Late => counts.late += 1,
            Place::New { skipped } => counts.skipped += skipped,
        }
        match self.script.find(room, seq, entry) {
            Found::Shot { due_ns } => {
                counts.delivered += 1;
                self.window.latency[socket.spec.group].add_ns(now.saturating_sub(due_ns));
            }
            Found::Diverged => counts.diverged += 1,
            Found::Mangled => counts.mangled += 1,
            Found::Stray if self.script.is_before(room, seq) => counts.backlog += 1,
            Found::Stray => counts.strays += 1,
        }
    }

    fn text(&mut self, socket: &mut Socket, text: &[u8], now: u64) -> Option<()> {
        if let Some((id, seq)) = acknowledgement(text) {
            self.acknowledged(socket, id, seq, now);
            return Some(());
        }
        match serde_json::from_slice(text) {
            Ok(ServerFrame::Heartbeat { .. }) => {
                let answer = serde_json::to_vec(&ClientFrame::Heartbeat {}).expect("a frame is plain data");
                let mut bytes = Vec::new();
                frame::push_masked(frame::TEXT, &answer, &mut bytes);
                socket.write(&bytes).ok()?;
            }
            Ok(ServerFrame::Welcome { .. }) if socket.spec.follows.is_empty() => socket.state = State::Live,
            Ok(ServerFrame::Followed { id, room, from, head, history, .. }) => {
                let Some(place) = socket.starts_at((id, room), from.0) else {
                    self.window.counts.mangled += 1;
                    return Some(());
                };
                let log = self.log(place);
                log.history = history;
                log.head = log.head.max(head.0);
            }
            Ok(ServerFrame::Error { id: Some(_), .. }) if socket.state == State::Live => {
                self.window.counts.refused += 1;
            }
            Ok(ServerFrame::Error { .. } | ServerFrame::RoomClosed { .. }) => return None,
            Ok(_) => {}
            Err(_) => self.window.counts.mangled += 1,
        }
        Some(())
    }

    fn acknowledged(&mut self, socket: &Socket, id: u32, seq: u64, now: u64) {
        let counts = &mut self.window.counts;
        let Some(writer) = socket.spec.writer else { return counts.strays += 1 };
        let Some(line) = self.script.lines().get(writer as usize) else { return };
        let Some(shot) = line.shots.get(id as usize) else { return };
        if self.script.is_before(line.room, seq) {
            // Of a script that was given up.
            return;
        }
        counts.acknowledged += 1;
        counts.diverged += u64::from(!self.script.note(line.room, seq, writer, u64::from(id)));
        let due_ns = self.script.start_ns().saturating_add(shot.due_ns);
        self.window.acknowledging.add_ns(now.saturating_sub(due_ns));
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::RoomId;

    use super::*;

    #[test]
    fn an_acknowledgement_is_found_in_what_the_protocol_makes_of_it() {
        let sent = ServerFrame::Sent {
            id: 4_294_967_295,
            room: RoomId([9; 16]),
            seq: Seq(123_456),
            at_ms: 7,
            duplicate: false,
        };
        let text = serde_json::to_vec(&sent).expect("plain data");
        assert_eq!(acknowledgement(&text), Some((4_294_967_295, 123_456)));
        assert_eq!(acknowledgement(br#"{"type":"heartbeat","heads":[]}"#), None);
    }
}
