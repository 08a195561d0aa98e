//! What channels and keys are called. What belongs to one room, or to one subject, has a hash tag and so lies in one slot of a cluster.

use snug_protocol::RoomId;

use crate::NodeId;

/// A set of names that begin with one prefix.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// One is made for each event, so without a formatter and with one allocation.
    fn of_room(&self, what: &str, room: RoomId) -> String {
        let room = room.to_string();
        [&self.prefix, what, &room, "}"].concat()
    }

    /// Channel: hints and changes of access.
    pub(super) fn news(&self, room: RoomId) -> String {
        self.of_room("news:{", room)
    }

    /// Channel: ephemeral events.
    pub(super) fn fleeting(&self, room: RoomId) -> String {
        self.of_room("fleeting:{", room)
    }

    /// Channel: what every node hears.
    pub(super) fn everyone(&self) -> String {
        format!("{}everyone", self.prefix)
    }

    /// Channel: a node's probes to itself.
    pub(super) fn probe(&self, node: NodeId) -> String {
        format!("{}probe:{node}", self.prefix)
    }

    /// Hash: the devices in a room, each with the terms of nodes that it is there by.
    pub(super) fn here(&self, room: RoomId) -> String {
        format!("{}here:{{{room}}}", self.prefix)
    }

    /// Sorted set: terms that run, by when their lease ends.
    pub(super) fn leases(&self) -> String {
        format!("{}{{nodes}}:leases", self.prefix)
    }

    /// Sorted set: terms whose entries are to be removed, by when somebody should begin.
    pub(super) fn graves(&self) -> String {
        format!("{}{{nodes}}:graves", self.prefix)
    }

    /// Set: the rooms in which a term may have entries.
    pub(super) fn rooms_of(&self, term: &str) -> String {
        format!("{}rooms:{term}", self.prefix)
    }

    /// Hash: the buckets of a subject.
    pub(super) fn buckets(&self, subject: &str) -> String {
        format!("{}buckets:{subject}", self.prefix)
    }
}
