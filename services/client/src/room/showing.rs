//! What entries mean to a reader: messages as they stand now, and who did what.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use snug_protocol::{DeviceId, EntryKind, Seq};

use super::Event;
use super::actor::Actor;
use super::event::DeletedBy;
use crate::crypto::{Body, Edit, Message, Opened, Pin, Profile, Reaction};
use crate::log::LogEntry;

/// The device's clock, Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

impl Actor {
    /// Notes what an entry says about a message.
    pub(super) fn note(&mut self, entry: &LogEntry) {
        if let Some(opened) = &entry.opened {
            self.margin.note(entry.seq, opened);
        }
    }

    /// Entries as they stand now, in their order; those that are not shown are left out.
    pub(super) fn events_of<'a>(&self, entries: impl Iterator<Item = &'a LogEntry>) -> Vec<Event> {
        let mut names: HashMap<DeviceId, &str> = HashMap::new();
        let mut events = Vec::new();
        for entry in entries {
            let mut before = None;
            if let Some(Opened { header, body: Body::Profile(profile), .. }) = &entry.opened {
                before = names.insert(header.device, &profile.name).map(str::to_owned);
            }
            events.extend(self.event_of(entry, before));
        }
        events
    }

    /// An entry as it stands now; `None` for one that is not shown. `before` is the name that a profile replaces, if it is known.
    pub(super) fn event_of(&self, entry: &LogEntry, before: Option<String>) -> Option<Event> {
        let (seq, at_ms) = (entry.seq, entry.at_ms);
        let author = entry.header().map(|header| (header.device, header.kind));
        if let Some((device, EntryKind::Message)) = author
            && let Some(by) = self.deleted_by(entry, device)
        {
            return Some(Event::Deleted { seq, at_ms, device, by });
        }
        if entry.is_erased() && author.is_some_and(|(_, kind)| kind.is_about_a_message()) {
            return None;
        }
        if author.is_some_and(|(_, kind)| kind.is_chain())
            && let Some(done) = self.governance.done_at(seq)
        {
            return Some(Event::Administered(done.clone()));
        }
        let Some(opened) = &entry.opened else { return Some(Event::Unreadable { seq, at_ms }) };
        let device = opened.header.device;
        match &opened.body {
            Body::Profile(Profile { name, joined: true, .. }) => {
                Some(Event::Joined { seq, at_ms, device, name: name.clone() })
            }
            // It introduced itself again for a new epoch.
            Body::Profile(profile) if before.as_ref() == Some(&profile.name) => None,
            Body::Profile(profile) => Some(Event::Renamed { seq, at_ms, device, name: profile.name.clone(), before }),
            Body::Message(message) => Some(self.message(entry, device, message)),
            Body::Leave => Some(Event::Left { seq, at_ms, device, name: self.directory.name(device) }),
            // A link of the chain that counts for nothing was told as a violation.
            Body::EpochRecord(_)
            | Body::Step(_)
            | Body::Edit(_)
            | Body::Deletion
            | Body::Reaction(_)
            | Body::Pin(_) => None,
        }
    }

    fn message(&self, entry: &LogEntry, device: DeviceId, message: &Message) -> Event {
        let marks = self.margin.of(entry.seq);
        let edit = marks.and_then(|marks| marks.edit(device));
        let (text, mentions) = match edit {
            Some(Edit { text, mentions }) => (text, mentions),
            None => (&message.text, &message.mentions),
        };
        Event::Message {
            seq: entry.seq,
            at_ms: entry.at_ms,
            device,
            name: self.directory.name(device),
            text: text.clone(),
            mine: device == self.device.id(),
            reply_to: message.reply_to,
            mentions: mentions.clone(),
            edited: edit.is_some(),
            reactions: marks.map(|marks| marks.reactions()).unwrap_or_default(),
            pinned: marks.is_some_and(|marks| marks.is_pinned()),
        }
    }

    /// Why a message is no more, if it is not.
    fn deleted_by(&self, entry: &LogEntry, author: DeviceId) -> Option<DeletedBy> {
        let mut deletions = self.margin.of(entry.seq).into_iter().flat_map(|marks| marks.deletions());
        let deleted = deletions.find(|(seq, device)| self.may_delete(*device, author, *seq));
        let by = deleted.map(|(_, device)| device).or_else(|| self.governance.eraser(author, entry.seq));
        let retentions = self.governance.retentions();
        match by {
            Some(device) => Some(DeletedBy::Device(device)),
            // It is loaded, and must go all the same.
            None if retentions.have_reached(entry.at_ms, now_ms()) => Some(DeletedBy::Retention),
            None if !entry.is_erased() => None,
            None if retentions.may_have_reached(entry.at_ms, now_ms()) => Some(DeletedBy::Retention),
            None => Some(DeletedBy::Server),
        }
    }

    /// Whether a deletion at `seq` counts; not, where who governed is not known.
    fn may_delete(&self, device: DeviceId, author: DeviceId, seq: Seq) -> bool {
        self.governance.chain.may_delete_at(device, author, seq) == Some(true)
    }

    /// What a live entry about a message changes; `None` if it does not count, or its message is not loaded.
    pub(super) fn mark_of(&self, entry: &LogEntry) -> Option<Event> {
        let opened = entry.opened.as_ref()?;
        let (seq, device) = (opened.header.target, opened.header.device);
        let message = self.log.get(seq)?;
        let author = message.header().filter(|header| header.kind == EntryKind::Message)?.device;
        let is_gone = || self.deleted_by(message, author).is_some();
        match &opened.body {
            Body::Edit(Edit { text, mentions }) if device == author && !is_gone() => {
                Some(Event::Edited { seq, device, text: text.clone(), mentions: mentions.clone() })
            }
            Body::Deletion if self.may_delete(device, author, entry.seq) => {
                Some(Event::Deleted { seq, at_ms: message.at_ms, device: author, by: DeletedBy::Device(device) })
            }
            Body::Reaction(Reaction { emoji, on }) if !is_gone() => {
                Some(Event::Reacted { seq, device, emoji: emoji.clone(), on: *on })
            }
            Body::Pin(Pin { on }) if !is_gone() => Some(Event::Pinned { seq, device, on: *on }),
            _ => None,
        }
    }
}
