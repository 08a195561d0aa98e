//! The child: accepts, then writes what it is told.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Context;

use super::{Done, Gathering, Shape, Step, due_ns, entry};
use crate::clock::now_ns;

/// What one socket may be behind.
const BEHIND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// While some socket is behind, how long until it is tried again.
const RETRY: Duration = Duration::from_millis(1);
/// A pause this long or longer is slept; less is waited out.
const SLEEP_MIN_NS: u64 = 100_000;
/// What the system may add to a sleep.
const OVERSLEEP_NS: u64 = 60_000;

struct Target {
    stream: TcpStream,
    behind: Vec<u8>,
}

struct Writer {
    targets: Vec<Target>,
    /// Each room's targets.
    rooms: Vec<Vec<usize>>,
    behind: Vec<usize>,
    done: Done,
}

impl Writer {
    fn write(&mut self, place: usize, bytes: &[u8]) {
        let target = &mut self.targets[place];
        if target.behind.is_empty() {
            self.done.writes += 1;
            let taken = match target.stream.write(bytes) {
                Ok(taken) => taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => {
                    self.done.failed = true;
                    return;
                }
            };
            if taken == bytes.len() {
                return;
            }
            self.done.full += 1;
            target.behind.extend_from_slice(&bytes[taken..]);
            self.behind.push(place);
        } else if target.behind.len() < BEHIND_BYTES_MAX {
            target.behind.extend_from_slice(bytes);
        } else {
            self.done.failed = true;
        }
    }

    fn catch_up(&mut self) {
        let (targets, done) = (&mut self.targets, &mut self.done);
        self.behind.retain(|place| {
            let target = &mut targets[*place];
            done.writes += 1;
            match target.stream.write(&target.behind) {
                Ok(taken) => drop(target.behind.drain(..taken)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    done.failed = true;
                    target.behind.clear();
                }
            }
            !target.behind.is_empty()
        });
    }
}

/// Waits until then; not longer than a moment while somebody is behind.
fn wait(until_ns: u64, somebody_is_behind: bool) {
    let left = until_ns.saturating_sub(now_ns());
    if somebody_is_behind {
        std::thread::sleep(RETRY.min(Duration::from_nanos(left.max(1))));
    } else if left > SLEEP_MIN_NS {
        std::thread::sleep(Duration::from_nanos(left - OVERSLEEP_NS));
    } else {
        std::hint::spin_loop();
    }
}

fn play(writer: &mut Writer, shape: Shape, heads: &mut [u64], step: &Step) -> Done {
    writer.done = Done::default();
    let mut waiting: Vec<(Vec<u8>, usize)> = vec![(Vec::new(), 0); shape.rooms];
    let mut touched: Vec<usize> = Vec::new();
    let mut message = 0;
    while message < step.messages && !writer.done.failed {
        let now = now_ns();
        while message < step.messages && step.start_ns + due_ns(message, step.rate) <= now {
            let room = usize::try_from(message).unwrap_or(usize::MAX) % shape.rooms;
            heads[room] += 1;
            let counter = message / shape.rooms as u64;
            let (bytes, count) = &mut waiting[room];
            if *count == 0 {
                touched.push(room);
            }
            bytes.extend_from_slice(&entry(shape, (room, step.instances[room]), heads[room], counter));
            *count += 1;
            message += 1;
            // A room whose messages are complete is written at once, as one that writes each by itself would.
            if let Gathering::Each(each) = step.gathering
                && *count >= each
            {
                break;
            }
        }
        let is_last = message == step.messages;
        let is_ready = |count: usize| match step.gathering {
            Gathering::Each(each) => count >= each || is_last,
            Gathering::Due => true,
        };
        touched.retain(|room| {
            let (bytes, count) = &mut waiting[*room];
            if !is_ready(*count) {
                return true;
            }
            for at in 0..writer.rooms[*room].len() {
                writer.write(writer.rooms[*room][at], bytes);
            }
            bytes.clear();
            *count = 0;
            false
        });
        if !writer.behind.is_empty() {
            writer.catch_up();
        }
        if message < step.messages {
            wait(step.start_ns + due_ns(message, step.rate), !writer.behind.is_empty());
        }
    }
    while !writer.behind.is_empty() && !writer.done.failed {
        std::thread::sleep(RETRY);
        writer.catch_up();
    }
    writer.done
}

/// Listens, says where, accepts what the shape asks for, says so, and then plays steps until there are no more.
///
/// # Errors
/// Sockets or orders are not what they should be.
pub fn run() -> anyhow::Result<()> {
    let (mut orders, mut out) = (std::io::stdin().lock().lines(), std::io::stdout());
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    writeln!(out, "{}", listener.local_addr()?.port())?;
    let shape: Shape = serde_json::from_str(&orders.next().context("no shape")??)?;
    let (mut targets, mut rooms) = (Vec::new(), vec![Vec::new(); shape.rooms]);
    for place in 0..shape.rooms * shape.members {
        let (mut stream, _) = listener.accept()?;
        let mut room = [0; 4];
        stream.read_exact(&mut room)?;
        rooms.get_mut(u32::from_be_bytes(room) as usize).context("a room that is not in the shape")?.push(place);
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        targets.push(Target { stream, behind: Vec::new() });
    }
    writeln!(out, "accepted")?;
    let mut writer = Writer { targets, rooms, behind: Vec::new(), done: Done::default() };
    let mut heads = vec![0; shape.rooms];
    for order in orders {
        let step: Step = serde_json::from_str(&order?)?;
        let done = play(&mut writer, shape, &mut heads, &step);
        writeln!(out, "{}", serde_json::to_string(&done)?)?;
    }
    Ok(())
}
