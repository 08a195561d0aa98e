//! What is measured.
//!
//! - [`crowd`]: rooms of equal size, light load, climbing to the highest sustained rate, holding half of it; and the floor of the same
//!   shape. One big room and many small ones are two shapes of it.
//! - [`idle`]: connections that do nothing. [`ping`]: one message at a time across two nodes. [`joins`], [`resume`]: storms.
//! - [`growth`]: what a delivery costs by members, rooms and nodes.
//! - [`history`]: paging. [`slow`]: readers that stop reading among others that go on. [`steady`]: one rate, for profilers; only if asked for.

pub mod climb;
pub mod crowd;
pub mod growth;
pub mod history;
pub mod idle;
pub mod joins;
pub mod parts;
pub mod ping;
pub mod resume;
pub mod slow;
pub mod steady;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use snug_protocol::RoomId;

use crate::field::{Field, Opened, Played};
use crate::observer::Observer;
use crate::people::{Registrar, Room};
use crate::report::Result as Outcome;
use crate::script::{Line, Script, Talk};
use crate::socket::{Follow, Spec};

/// How long opening sockets may take.
pub const OPENING_LIMIT: Duration = Duration::from_secs(120);

/// Over which the nodes are watched at rest, so often at most.
const QUIET_PERIOD: Duration = Duration::from_secs(2);
const QUIET_PERIODS_MAX: usize = 10;
/// They are at rest when a period has taken them more than this part of what the one before took.
const STEADY: f64 = 0.8;

/// How long things are measured, and how large they are.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Members of the big room.
    pub members: usize,
    /// Who of them write.
    pub writers: usize,
    /// Small rooms.
    pub rooms: usize,
    /// Members of each.
    pub room_members: usize,
    /// Idle sockets, at most.
    pub idle: usize,
    /// Joins that arrive at once.
    pub joins: usize,
    /// Sessions that come back at once.
    pub resuming: usize,
    /// Members of the largest room, and rooms, that the cost of a delivery is followed to.
    pub members_most: usize,
    /// See `members_most`.
    pub rooms_most: usize,
    /// Characters of a message.
    pub text_chars: usize,
    /// Of what a writer says one of so many is a reaction; 0: none.
    pub reaction_every: u64,
    /// Deliveries a second that a climb begins with.
    pub first_deliveries: f64,
    /// Messages a second of what is steady.
    pub rate: f64,
    /// A step of a climb.
    pub step_seconds: f64,
    /// What is held.
    pub hold_seconds: f64,
}

/// What every scenario works with.
pub struct Scene {
    /// The nodes.
    pub nodes: Vec<SocketAddr>,
    /// Makes rooms and members.
    pub registrar: Registrar,
    /// Runs its calls.
    pub runtime: tokio::runtime::Runtime,
    /// Looks on.
    pub observer: Observer,
    /// Receiving threads.
    pub threads: usize,
    /// How much of everything.
    pub sizes: Sizes,
    /// What has been found.
    pub results: Vec<Outcome>,
}

impl Scene {
    /// Rooms with members.
    ///
    /// # Errors
    /// A call failed.
    pub fn rooms(&mut self, rooms: usize, members: usize) -> anyhow::Result<Vec<Room>> {
        self.observer.label(format!("making {rooms} rooms of {members}"));
        self.runtime.block_on(self.registrar.rooms(rooms, members))
    }

    /// A socket of each member, dealt to the nodes in turn; in each room the first `writers` write.
    #[must_use]
    pub fn specs(&self, rooms: &[Room], writers: usize) -> Vec<Spec> {
        let mut specs = Vec::new();
        for (place, room) in rooms.iter().enumerate() {
            for (number, member) in room.members.iter().enumerate() {
                let writer = (number < writers).then(|| place * writers + number);
                specs.push(Spec {
                    address: self.nodes[(place + number) % self.nodes.len()],
                    token: Some(member.token.clone()),
                    follows: vec![Follow { place, room: room.id, cursor: None }],
                    writer: writer.map(|writer| u32::try_from(writer).expect("fewer writers than that")),
                    group: 0,
                    receive_buffer: None,
                });
            }
        }
        specs
    }

    /// As [`Registrar::circles`].
    ///
    /// # Errors
    /// A call failed.
    pub fn circles(&mut self, circles: usize, size: usize) -> anyhow::Result<Vec<Room>> {
        self.observer.label(format!("making {} rooms of {circles} circles", circles * size));
        self.runtime.block_on(self.registrar.circles(circles, size))
    }

    /// A socket of each device of these circles, dealt to the nodes in turn: it follows all rooms of its circle, and writes in the one that
    /// it has founded.
    ///
    /// # Panics
    /// There are more rooms than 32 bits count.
    #[must_use]
    pub fn specs_of_circles(&self, rooms: &[Room], size: usize) -> Vec<Spec> {
        let follow = |(place, room): (usize, &Room)| Follow { place, room: room.id, cursor: None };
        let follows: Vec<Follow> = rooms.iter().enumerate().map(follow).collect();
        let spec = |(place, room): (usize, &Room)| Spec {
            address: self.nodes[node_of(place, size, self.nodes.len())],
            token: Some(room.members[0].token.clone()),
            follows: follows[place - place % size..][..size].to_vec(),
            writer: Some(u32::try_from(place).expect("fewer rooms than that")),
            group: 0,
            receive_buffer: None,
        };
        rooms.iter().enumerate().map(spec).collect()
    }

    /// These sockets, open.
    ///
    /// # Errors
    /// Not all can be opened.
    pub fn field(&mut self, rooms: &[Room], specs: Vec<Spec>) -> anyhow::Result<(Field, Opened)> {
        self.observer.label(format!("opening {} sockets", specs.len()));
        let mut field = Field::new(self.threads, rooms.iter().map(|room| room.id).collect())?;
        let opened = field.open(specs, OPENING_LIMIT)?;
        Ok((field, opened))
    }

    /// Waits until those who have come have been told of, and returns the cores that the nodes use then, while nobody says anything.
    pub fn rest(&mut self) -> f64 {
        let mut used = || {
            let usage = self.observer.usage();
            let nodes = usage.iter().zip(self.observer.watched()).filter(|(_, process)| process.is_node);
            nodes.map(|(usage, _)| usage.cpu_ns as f64).sum::<f64>()
        };
        let mut last = f64::INFINITY;
        for _ in 0..QUIET_PERIODS_MAX {
            let before = used();
            std::thread::sleep(QUIET_PERIOD);
            let cores = (used() - before) / QUIET_PERIOD.as_nanos() as f64;
            if cores > last * STEADY {
                return f64::midpoint(cores, last);
            }
            last = cores;
        }
        last
    }

    /// Seals what the first `writers` of each room say at this rate (over all of them, evenly) and plays it.
    ///
    /// # Errors
    /// What sealing or the threads say.
    pub fn play(
        &mut self,
        field: &mut Field,
        rooms: &[Room],
        writers: usize,
        (rate, seconds): (f64, f64),
        meanwhile: impl FnMut(&mut Field, u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<Played> {
        let heads = field.heads()?;
        let text = "x".repeat(self.sizes.text_chars);
        let talk = Talk { text: &text, reaction_every: self.sizes.reaction_every };
        let lines = seal((rooms, &heads), writers, (rate, seconds), talk)?;
        let script = Script::new(&heads, lines);
        field.play(script, &mut self.observer, |_| Ok(()), meanwhile)
    }
}

/// Every writer's line, sealed on all cores. Writers take turns, so that each sends evenly.
fn seal(
    (rooms, heads): (&[Room], &[(RoomId, u64)]),
    writers: usize,
    (rate, seconds): (f64, f64),
    talk: Talk<'_>,
) -> anyhow::Result<Vec<Line>> {
    let all = rooms.len() * writers;
    let messages = ((rate * seconds) as usize).max(1);
    let one = |writer: usize| -> anyhow::Result<Line> {
        let (place, number) = (writer / writers, writer % writers);
        let room = &rooms[place];
        // First one writer of each room, then the next of each.
        let turn = number * rooms.len() + place;
        let due = (turn..messages).step_by(all).map(|message| (message as f64 * 1e9 / rate) as u64);
        let writer = u32::try_from(writer)?;
        Ok(Line::seal((writer, place), (&room.members[number].device, &room.key), (talk, heads[place].1), due)?)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let chunk = all.div_ceil(cores).max(1);
    let sealed: Vec<anyhow::Result<Vec<Line>>> = std::thread::scope(|scope| {
        let range = |first: usize| first..(first + chunk).min(all);
        let one = &one;
        let threads: Vec<_> =
            (0..all).step_by(chunk).map(|first| scope.spawn(move || range(first).map(one).collect())).collect();
        threads.into_iter().map(|thread| thread.join().expect("sealing does not panic")).collect()
    });
    let lines: anyhow::Result<Vec<Vec<Line>>> = sealed.into_iter().collect();
    lines.map(|lines| lines.into_iter().flatten().collect()).context("sealing")
}

/// The node of a circle's device: its devices in turn, and circles beginning in turn.
const fn node_of(place: usize, size: usize, nodes: usize) -> usize {
    (place / size + place % size) % nodes
}

/// How long a message's envelope is.
fn envelope_bytes(room: &Room, text_chars: usize) -> anyhow::Result<usize> {
    let talk = Talk { text: &"x".repeat(text_chars), reaction_every: 0 };
    let line = Line::seal((0, 0), (&room.members[0].device, &room.key), (talk, 0), std::iter::once(0))?;
    let frame = &line.shots[0].frame;
    // A client's frame has four bytes of mask more than a server's head, and five of the send frame before the envelope.
    let head = if frame.len() > 125 + 6 { 8 } else { 6 };
    Ok(frame.len() - head - snug_protocol::frame::SEND_FRAME_HEADER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_dealt_evenly() {
        for nodes in 1..=4 {
            let mut dealt = vec![0; nodes];
            (0..1_200).for_each(|place| dealt[node_of(place, 5, nodes)] += 1);
            assert_eq!(dealt, vec![1_200 / nodes; nodes]);
        }
    }
}
