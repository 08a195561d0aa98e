//! What has been said about messages: edits, deletions, reactions, pins, by the message. Pure.
//!
//! Everything that opens is noted, in any order and any number of times; whether it counts is asked when the message is shown, since
//! that takes its author and who governed at the time.

use std::collections::BTreeMap;

use snug_protocol::{DeviceId, Seq};

use crate::crypto::{Body, Edit, Opened, Pin};

/// Marks that are kept; those about the oldest messages are forgotten first, and come again with the page that has the message.
const MARKS_MAX: usize = 100_000;

/// An emoji on a message, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reactions {
    /// Which.
    pub emoji: String,
    /// Whose, in order of device id.
    pub devices: Vec<DeviceId>,
}

/// All that has been said about one message.
#[derive(Debug, Default)]
pub(super) struct Marks {
    edits: BTreeMap<DeviceId, (Seq, Edit)>,
    deletions: BTreeMap<Seq, DeviceId>,
    reactions: BTreeMap<(String, DeviceId), (Seq, bool)>,
    pin: Option<(Seq, bool)>,
}

impl Marks {
    fn len(&self) -> usize {
        self.edits.len() + self.deletions.len() + self.reactions.len() + usize::from(self.pin.is_some())
    }

    /// The author's newest edit.
    pub(super) fn edit(&self, author: DeviceId) -> Option<&Edit> {
        self.edits.get(&author).map(|(_, edit)| edit)
    }

    /// Who said at which places that it be deleted, oldest first.
    pub(super) fn deletions(&self) -> impl Iterator<Item = (Seq, DeviceId)> {
        self.deletions.iter().map(|(seq, device)| (*seq, *device))
    }

    /// The emoji on it, in the order of their bytes.
    pub(super) fn reactions(&self) -> Vec<Reactions> {
        let mut found: Vec<Reactions> = Vec::new();
        for ((emoji, device), _) in self.reactions.iter().filter(|(_, (_, on))| *on) {
            match found.last_mut().filter(|last| last.emoji == *emoji) {
                Some(last) => last.devices.push(*device),
                None => found.push(Reactions { emoji: emoji.clone(), devices: vec![*device] }),
            }
        }
        found
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pin.is_some_and(|(_, on)| on)
    }

    fn note(&mut self, seq: Seq, opened: &Opened) {
        let device = opened.header.device;
        match &opened.body {
            Body::Edit(edit) => newest(self.edits.entry(device).or_insert((Seq::ZERO, edit.clone())), seq, edit),
            Body::Deletion => drop(self.deletions.insert(seq, device)),
            Body::Reaction(reaction) => {
                let key = (reaction.emoji.clone(), device);
                newest(self.reactions.entry(key).or_insert((Seq::ZERO, reaction.on)), seq, &reaction.on);
            }
            Body::Pin(Pin { on }) => newest(self.pin.get_or_insert((Seq::ZERO, *on)), seq, on),
            _ => {}
        }
    }
}

fn newest<T: Clone>(known: &mut (Seq, T), seq: Seq, said: &T) {
    if seq > known.0 {
        *known = (seq, said.clone());
    }
}

/// The marks of a room.
#[derive(Debug, Default)]
pub(super) struct Margin {
    by_message: BTreeMap<Seq, Marks>,
    len: usize,
}

impl Margin {
    /// What has been said about the message at `seq`.
    pub(super) fn of(&self, seq: Seq) -> Option<&Marks> {
        self.by_message.get(&seq)
    }

    /// Notes what the entry at `seq` says, if it is about a message.
    pub(super) fn note(&mut self, seq: Seq, opened: &Opened) {
        if !opened.header.kind.is_about_a_message() {
            return;
        }
        let marks = self.by_message.entry(opened.header.target).or_default();
        let before = marks.len();
        marks.note(seq, opened);
        self.len += marks.len() - before;
        while self.len > MARKS_MAX {
            let Some((_, forgotten)) = self.by_message.pop_first() else { break };
            self.len -= forgotten.len();
        }
    }

    /// Forgets everything: the log begins anew.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
