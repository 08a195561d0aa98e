//! Logs in memory.

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::MemberState;
use snug_protocol::{EntryKind, Envelope, EnvelopeHash, RoomId, Seq};

use super::{Log, Memory, now_ms};
use crate::rules::{self, LATER_BYTES_MAX, LATER_ENTRIES_MAX, Verdict, judge};
use crate::{AppendError, Appended, Page, RoomHead, StoreError};

impl Memory {
    #[expect(clippy::needless_pass_by_value, reason = "the signature of every backend")]
    pub fn append(&self, envelope: Envelope) -> Result<Appended, AppendError> {
        let mut state = self.open()?;
        let log = state.rooms.get_mut(&envelope.header().room).ok_or(AppendError::NotAMember)?;
        log.append(&envelope)
    }

    pub fn read_after(
        &self,
        room: RoomId,
        after: Seq,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<EntryFrame>, StoreError> {
        let state = self.open()?;
        let entries = state.log(room).map_or(&[][..], |log| log.entries.as_slice());
        let after = usize::try_from(after.0).unwrap_or(usize::MAX).min(entries.len());
        let found: Vec<_> = entries[after..].iter().take(limit).cloned().collect();
        let fit = rules::fitting(found.iter().map(|entry| (entry.bytes().len(), 0)), bytes_max);
        Ok(found.into_iter().take(fit).collect())
    }

    pub fn read_page(
        &self,
        room: RoomId,
        before: Option<Seq>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Option<Page>, StoreError> {
        let state = self.open()?;
        Ok(state.log(room).map(|log| log.page(rules::page_end(before, log.room.head), limit, bytes_max)))
    }

    pub fn entry_hash(&self, room: RoomId, seq: Seq) -> Result<Option<EnvelopeHash>, StoreError> {
        Ok(self.open()?.log(room).and_then(|log| log.entry(seq)).map(EntryFrame::hash))
    }

    pub fn heads(&self, rooms: &[RoomId]) -> Result<Vec<RoomHead>, StoreError> {
        let state = self.open()?;
        let head = |room: &RoomId| {
            let room = &state.log(*room)?.room;
            Some(RoomHead {
                room: room.room,
                history: room.history,
                head: room.head,
                access_version: room.access_version,
            })
        };
        Ok(rooms.iter().filter_map(head).collect())
    }
}

impl Log {
    fn append(&mut self, envelope: &Envelope) -> Result<Appended, AppendError> {
        let header = envelope.header();
        let places = self.senders.get(&(header.device, header.instance)).map_or(&[][..], Vec::as_slice);
        match judge(header, places.len() as u64, self.role(header.device).is_some(), self.room.epoch) {
            Verdict::Append => Ok(self.push(envelope, now_ms())),
            Verdict::Duplicate => {
                let place = usize::try_from(header.counter).ok().and_then(|counter| places.get(counter));
                let entry = place.and_then(|seq| self.entry(*seq)).ok_or(AppendError::Gone)?;
                Ok(Appended { seq: entry.seq(), at_ms: entry.at_ms(), frame: None })
            }
            Verdict::Refused(why) => Err(why),
        }
    }

    /// Appends without asking, and applies the effect.
    pub(super) fn push(&mut self, envelope: &Envelope, at_ms: u64) -> Appended {
        let header = envelope.header();
        let seq = self.room.head.next();
        let frame = EntryFrame::new(seq, at_ms, envelope.bytes());
        self.room.head = seq;
        self.entries.push(frame.clone());
        self.senders.entry((header.device, header.instance)).or_default().push(seq);
        if header.target > Seq::ZERO {
            self.targets.insert((header.target, seq));
        }
        let member = self.members.get_mut(&header.device);
        match (header.kind, member) {
            (EntryKind::Profile, Some(member)) => member.profile = Some(seq),
            (EntryKind::Leave, Some(member)) => {
                member.state = MemberState::Left;
                self.room.access_version += 1;
            }
            _ => {}
        }
        Appended { seq, at_ms, frame: Some(frame) }
    }

    fn page(&self, to: Seq, limit: usize, bytes_max: usize) -> Page {
        let (history, head) = (self.room.history, self.room.head);
        let end = usize::try_from(to.0).expect("an entry in memory has an index");
        let newest_first: Vec<&EntryFrame> = self.entries[..end].iter().rev().take(limit).collect();
        if newest_first.is_empty() {
            return Page { history, head, from: to.next(), to, entries: Vec::new(), later: Vec::new() };
        }
        let later_of = |seq: Seq| {
            let said = self.targets.range((seq, to.next())..=(seq, Seq(u64::MAX)));
            said.filter_map(|(_, seq)| self.entry(*seq))
        };
        let sizes = newest_first
            .iter()
            .map(|entry| (entry.bytes().len(), later_of(entry.seq()).map(|later| later.bytes().len()).sum::<usize>()));
        let fit = rules::fitting(sizes, bytes_max);
        let entries: Vec<EntryFrame> = newest_first[..fit].iter().rev().copied().cloned().collect();
        let mut later: Vec<EntryFrame> = entries.iter().flat_map(|entry| later_of(entry.seq()).cloned()).collect();
        later.sort_by_key(EntryFrame::seq);
        let mut bytes = 0;
        let kept = later.iter().rev().take(LATER_ENTRIES_MAX).take_while(|entry| {
            bytes += entry.bytes().len();
            bytes <= LATER_BYTES_MAX
        });
        let kept = kept.count();
        later.drain(..later.len() - kept);
        Page { history, head, from: entries[0].seq(), to, entries, later }
    }
}
