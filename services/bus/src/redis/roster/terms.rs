//! The terms of this process's nodes, and what they have entered.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snug_protocol::{DeviceId, RoomId};
use tokio::time::Instant;

use crate::NodeId;

/// One stretch of a node's presence in the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Term {
    node: NodeId,
    number: u32,
}

impl Term {
    /// Its mark in the rooms' entries; begins with the node's id.
    pub(super) fn tag(self) -> [u8; 12] {
        let mut tag = [0; 12];
        tag[..8].copy_from_slice(&self.node.0);
        tag[8..].copy_from_slice(&self.number.to_be_bytes());
        tag
    }

    /// Its name in keys and among the leases.
    pub(super) fn name(self) -> String {
        format!("{}.{}", self.node, self.number)
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let (node, number) = name.split_once('.')?;
        let node = u64::from_str_radix(node, 16).ok()?;
        Some(Self { node: NodeId(node.to_be_bytes()), number: number.parse().ok()? })
    }

    pub(super) fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

#[derive(Debug)]
struct Own {
    term: Term,
    rooms: HashMap<RoomId, HashSet<DeviceId>>,
    rooms_renewed: Instant,
}

impl Own {
    /// `true`: nobody is left in the room by this node.
    fn leave(&mut self, room: RoomId, device: DeviceId) -> bool {
        let Some(devices) = self.rooms.get_mut(&room) else { return false };
        devices.remove(&device);
        let emptied = devices.is_empty();
        if emptied {
            self.rooms.remove(&room);
        }
        emptied
    }
}

#[derive(Debug, Default)]
pub(super) struct Terms {
    nodes: Mutex<HashMap<NodeId, Own>>,
}

impl Terms {
    fn nodes(&self) -> MutexGuard<'_, HashMap<NodeId, Own>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own<R>(&self, node: NodeId, f: impl FnOnce(&mut Own) -> R) -> R {
        let first = || Own { term: Term { node, number: 0 }, rooms: HashMap::new(), rooms_renewed: Instant::now() };
        f(self.nodes().entry(node).or_insert_with(first))
    }

    /// Notes the device; answers the term to enter it under.
    pub(super) fn enter(&self, node: NodeId, room: RoomId, device: DeviceId) -> Term {
        self.own(node, |own| {
            own.rooms.entry(room).or_default().insert(device);
            own.term
        })
    }

    /// The node's term, if nobody is left in the room by it.
    pub(super) fn leave(&self, node: NodeId, room: RoomId, device: DeviceId) -> Option<Term> {
        self.own(node, |own| own.leave(room, device).then_some(own.term))
    }

    /// The terms of those nodes by which nobody is left in the room.
    pub(super) fn expel(&self, room: RoomId, device: DeviceId) -> Vec<Term> {
        self.nodes().values_mut().filter_map(|own| own.leave(room, device).then_some(own.term)).collect()
    }

    /// The node's term, and where it has somebody.
    pub(super) fn of(&self, node: NodeId) -> (Term, Vec<RoomId>) {
        self.own(node, |own| (own.term, own.rooms.keys().copied().collect()))
    }

    /// `term` is over: everything is to be entered again.
    pub(super) fn begin_next(&self, node: NodeId, term: Term) {
        self.own(node, |own| {
            if own.term == term {
                own.term = term.next();
                own.rooms.clear();
            }
        });
    }

    /// Whether the rooms' lives are to be renewed, at most every `period`.
    pub(super) fn are_rooms_due(&self, node: NodeId, now: Instant, period: Duration) -> bool {
        self.own(node, |own| {
            let due = now.duration_since(own.rooms_renewed) >= period;
            if due {
                own.rooms_renewed = now;
            }
            due
        })
    }
}
