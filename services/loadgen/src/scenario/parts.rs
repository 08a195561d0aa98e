//! What a message from one node to another is made of, each part timed by itself.
//!
//! An acknowledgement is the way into the first node, the commit, and the way out. A typing notice is the way in, the publication, and the
//! way out of the last node. A WebSocket ping is the way in and out alone. So a message should take an acknowledgement and a notice
//! without a ping: in, commit, publication, out. Notices and pings are sent here, at the pace of the messages, so that the nodes are as
//! awake; acknowledgements are timed with the messages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use snug_protocol::frame::{ClientFrame, ServerFrame};
use snug_protocol::limits::TYPING_PERIOD;

use crate::figures::Spans;
use crate::frame;
use crate::socket::{Spec, upgrade};

/// Sockets that ping and type by turns; few enough for the room to be told who types.
pub const TYPERS: usize = 20;
/// From one ping to the next.
const PACE: Duration = Duration::from_millis(10);
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 64 * 1024;

/// The parts.
#[derive(Debug, Default)]
pub struct Parts {
    /// A WebSocket ping and its pong.
    pub pings: Spans,
    /// A typing notice, from its socket on the first node to another's on the last.
    pub notices: Spans,
}

/// A socket of a member that follows the room, with calls that wait.
struct Probe {
    stream: TcpStream,
    buffer: Vec<u8>,
    kept: usize,
}

impl Probe {
    fn open(spec: &Spec) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(spec.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut probe = Self { stream, buffer: vec![0; BUFFER_BYTES], kept: 0 };
        let token = spec.token.as_ref().context("a member has a token")?;
        probe.stream.write_all(upgrade(spec.address, token).as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            probe.stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        probe.say(&ClientFrame::Hello { client: "snug-load".to_owned() })?;
        probe.say(&ClientFrame::Follow { id: 1, room: spec.follows[0].room, cursor: None })?;
        probe.hears(|frame| matches!(frame, ServerFrame::Followed { .. }))?;
        Ok(probe)
    }

    fn write(&mut self, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        frame::push_masked(opcode, payload, &mut bytes);
        Ok(self.stream.write_all(&bytes)?)
    }

    fn say(&mut self, said: &ClientFrame) -> anyhow::Result<()> {
        self.write(frame::TEXT, &serde_json::to_vec(said)?)
    }

    /// Reads frames until one is it.
    fn wait(&mut self, is_it: impl Fn(u8, &[u8]) -> bool) -> anyhow::Result<()> {
        loop {
            while let Some(head) = frame::head(&self.buffer[..self.kept])? {
                let whole = head.header + head.payload;
                if whole > self.kept {
                    ensure!(whole <= self.buffer.len(), "a frame of {whole} bytes");
                    break;
                }
                let is_it = is_it(head.opcode, &self.buffer[head.header..whole]);
                let pinged = (head.opcode == frame::PING).then(|| self.buffer[head.header..whole].to_vec());
                self.buffer.copy_within(whole..self.kept, 0);
                self.kept -= whole;
                if let Some(payload) = pinged {
                    self.write(frame::PONG, &payload)?;
                }
                if is_it {
                    return Ok(());
                }
            }
            let came = self.stream.read(&mut self.buffer[self.kept..])?;
            ensure!(came > 0, "the node has closed a socket");
            self.kept += came;
        }
    }

    fn hears(&mut self, is_it: impl Fn(&ServerFrame) -> bool) -> anyhow::Result<()> {
        self.wait(|opcode, payload| {
            opcode == frame::TEXT && serde_json::from_slice(payload).is_ok_and(|frame| is_it(&frame))
        })
    }
}

/// Times the parts for so long: pings of each of `typers`, and notices from them to `reader`, who is another device.
///
/// # Errors
/// A connection's; or something did not come in time.
pub fn measure(typers: &[Spec], reader: &Spec, seconds: f64) -> anyhow::Result<Parts> {
    ensure!(!typers.is_empty(), "somebody must type");
    let room = reader.follows[0].room;
    let mut reader = Probe::open(reader)?;
    let mut typers: Vec<Probe> = typers.iter().map(Probe::open).collect::<Result<_, _>>()?;
    // A little more than a period for each, since what comes too soon is not passed on.
    let between_notices = TYPING_PERIOD.mul_f64(1.1) / u32::try_from(typers.len())?;
    let (mut parts, began) = (Parts::default(), Instant::now());
    let mut next_notice = began;
    for turn in 0.. {
        let due = began + PACE * turn;
        if (due - began).as_secs_f64() >= seconds {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let place = turn as usize % typers.len();
        let sent = Instant::now();
        typers[place].write(frame::PING, b"part")?;
        typers[place].wait(|opcode, _| opcode == frame::PONG).context("a pong")?;
        parts.pings.add_ns(nanoseconds(sent));
        if sent >= next_notice {
            next_notice = sent + between_notices;
            let typer = parts.notices.len() as usize % typers.len();
            let sent = Instant::now();
            typers[typer].say(&ClientFrame::Typing { room })?;
            reader.hears(|frame| matches!(frame, ServerFrame::Typing { .. })).context("a typing notice")?;
            parts.notices.add_ns(nanoseconds(sent));
        }
    }
    Ok(parts)
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
