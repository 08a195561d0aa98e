//! Logs in memory.

use snug_protocol::envelope::HEADER_BYTES;
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{MemberState, Role};
use snug_protocol::{EntryKind, Envelope, EnvelopeHash, Header, RoomId, Seq};

use super::{Log, Memory, now_ms};
use crate::rules::append::{Author, Headcount, Target, Terms, Verdict, is_slowed, judge, judge_target};
use crate::rules::{self, LATER_BYTES_MAX, LATER_ENTRIES_MAX};
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
        let (header, now_ms) = (envelope.header(), now_ms());
        let member = self.members.get(&header.device);
        let author = member.map_or_else(Author::default, |member| Author {
            standing: Some(member.standing()),
            muted_until_ms: member.muted_until_ms,
            wrote_at_ms: member.wrote_at_ms,
        });
        let terms = Terms { epoch: self.room.epoch, slow_ms: self.slow_ms };
        match judge(header, self.next(header), &author, terms, now_ms) {
            Verdict::Append => {}
            Verdict::Duplicate => return self.known(header).ok_or(AppendError::Gone),
            Verdict::Refused(why) => return Err(why),
        }
        let role = self.role(header.device).ok_or(AppendError::NotAMember)?;
        if header.kind.is_about_a_message() {
            judge_target(header, role, self.target(header.target))?;
        }
        if header.kind == EntryKind::Leave {
            self.headcount().leave(role)?;
        }
        if is_slowed(header, role, terms)
            && let Some(member) = self.members.get_mut(&header.device)
        {
            member.wrote_at_ms = now_ms;
        }
        Ok(self.push(envelope, now_ms))
    }

    /// The next counter of the header's instance.
    pub(super) fn next(&self, header: &Header) -> u64 {
        self.senders.get(&(header.device, header.instance)).map_or(0, |places| places.len() as u64)
    }

    /// What was appended with the header's identity; `None` if it has been erased.
    pub(super) fn known(&self, header: &Header) -> Option<Appended> {
        let places = self.senders.get(&(header.device, header.instance))?;
        let entry = self.entry(*places.get(usize::try_from(header.counter).ok()?)?)?;
        (!entry.is_tombstone()).then(|| Appended { seq: entry.seq(), at_ms: entry.at_ms(), frame: None })
    }

    fn target(&self, seq: Seq) -> Option<Target> {
        let entry = self.entry(seq)?;
        let header = entry.header().ok()?;
        let role = self.members.get(&header.device).map_or(Role::Member, |member| member.role);
        Some(Target { kind: header.kind, author: header.device, role, is_erased: entry.is_tombstone() })
    }

    fn headcount(&self) -> Headcount {
        let present = || self.members.values().filter(|member| member.is_present());
        let owners = present().filter(|member| member.role == Role::Owner).count() as u64;
        Headcount { owners, members: present().count() as u64 }
    }

    /// Appends without asking, and applies the effect.
    pub(super) fn push(&mut self, envelope: &Envelope, at_ms: u64) -> Appended {
        let header = envelope.header();
        let seq = self.room.head.next();
        let frame = EntryFrame::new(seq, at_ms, envelope.bytes());
        self.room.head = seq;
        self.entries.push(frame.clone());
        self.senders.entry((header.device, header.instance)).or_default().push(seq);
        if header.kind.is_about_a_message() {
            self.targets.insert((header.target, seq));
        }
        let member = self.members.get_mut(&header.device);
        match (header.kind, member) {
            (EntryKind::Profile, Some(member)) => member.profile = Some(seq),
            (EntryKind::Leave, Some(member)) => {
                member.state = Some(MemberState::Left);
                self.room.access_version += 1;
            }
            (EntryKind::Deletion, _) => self.erase_message(header.target),
            (EntryKind::EpochRecord | EntryKind::Step, _) => self.room.chain = seq,
            _ => {}
        }
        Appended { seq, at_ms, frame: Some(frame) }
    }

    /// Erases a message with its edits and reactions.
    fn erase_message(&mut self, seq: Seq) {
        let about = self.targets.range((seq, Seq::ZERO)..=(seq, Seq(u64::MAX))).map(|(_, about)| *about);
        let kinds = [EntryKind::Edit, EntryKind::Reaction];
        let about: Vec<Seq> = about
            .filter(|about| self.entry(*about).and_then(EntryFrame::kind).is_some_and(|it| kinds.contains(&it)))
            .collect();
        for seq in about.into_iter().chain([seq]) {
            self.erase(seq);
        }
    }

    /// Makes a tombstone of an entry. Whether it was none.
    fn erase(&mut self, seq: Seq) -> bool {
        let at = usize::try_from(seq.0.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(entry) = self.entries.get_mut(at).filter(|entry| !entry.is_tombstone()) else { return false };
        let envelope = entry.envelope_bytes();
        let Some(header) = envelope.first_chunk::<HEADER_BYTES>() else { return false };
        *entry = EntryFrame::tombstone(seq, entry.at_ms(), header, &entry.hash());
        true
    }

    /// Makes tombstones of the entries that `is_due` says, if they are of these kinds. Returns how many.
    pub(super) fn erase_where(&mut self, kinds: &[EntryKind], is_due: impl Fn(&EntryFrame, &Header) -> bool) -> u64 {
        let due = self
            .entries
            .iter()
            .filter(|entry| entry.header().is_ok_and(|header| kinds.contains(&header.kind) && is_due(entry, &header)));
        let due: Vec<Seq> = due.map(EntryFrame::seq).collect();
        due.into_iter().filter(|seq| self.erase(*seq)).count() as u64
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
