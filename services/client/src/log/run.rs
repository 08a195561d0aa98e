//! A contiguous stretch of a log, and the counters of the senders in it.

use std::collections::{HashMap, VecDeque};

use snug_protocol::{DeviceId, InstanceId, Seq};

use super::LogEntry;

/// One sender's counters in a run. Entries that could not be read are counted where they fit and never held against anyone,
/// since their headers are not authenticated.
#[derive(Clone, Default, Debug)]
pub(super) struct Track {
    /// Counters of unreadable entries before the first readable one.
    lead: Vec<u64>,
    /// The first readable entry's.
    first: Option<u64>,
    /// The one that comes next, once anything is known.
    next: Option<u64>,
}

impl Track {
    /// What a run from seq 1 knows of a sender it has not seen.
    fn at_start() -> Self {
        Self { next: Some(0), ..Self::default() }
    }

    fn of(counter: u64, readable: bool) -> Self {
        if readable {
            Self { lead: Vec::new(), first: Some(counter), next: Some(counter + 1) }
        } else {
            Self { lead: vec![counter], ..Self::default() }
        }
    }

    /// Appends what came later; whether it joins.
    fn join(&mut self, later: Self) -> bool {
        let Some(mut next) = self.next else {
            self.lead.extend(later.lead);
            (self.first, self.next) = (later.first, later.next);
            return true;
        };
        for counter in later.lead {
            next += u64::from(counter == next);
        }
        let Some(first) = later.first else {
            self.next = Some(next);
            return true;
        };
        self.next = later.next;
        first == next
    }
}

/// Entries without a hole between them.
#[derive(Default, Debug)]
pub(super) struct Run {
    entries: VecDeque<LogEntry>,
    tracks: HashMap<(DeviceId, InstanceId), Track>,
    /// The first and the last entry that could be opened.
    opened: Option<(Seq, Seq)>,
}

impl Run {
    /// A run of one entry.
    pub(super) fn of(entry: LogEntry) -> (Self, Option<Seq>) {
        let mut run = Self::default();
        let broken = run.count(&entry).then_some(entry.seq);
        run.entries.push_back(entry);
        (run, broken)
    }

    pub(super) fn first(&self) -> Seq {
        self.entries.front().map_or(Seq::ZERO, |entry| entry.seq)
    }

    pub(super) fn last(&self) -> Seq {
        self.entries.back().map_or(Seq::ZERO, |entry| entry.seq)
    }

    /// The first entry that could be opened.
    pub(super) fn first_opened(&self) -> Option<Seq> {
        self.opened.map(|(first, _)| first)
    }

    /// The last entry that could be opened.
    pub(super) fn last_opened(&self) -> Option<Seq> {
        self.opened.map(|(_, last)| last)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn newest(&self) -> Option<&LogEntry> {
        self.entries.back()
    }

    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &LogEntry> {
        self.entries.iter()
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&LogEntry> {
        let at = seq.0.checked_sub(self.first().0)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Joins `later`, which begins where this one ends. Returns the senders whose counters do not join.
    pub(super) fn append(&mut self, mut later: Self) -> Vec<(DeviceId, InstanceId)> {
        let from_start = self.first() == Seq(1);
        let mut broken = Vec::new();
        for (sender, track) in later.tracks.drain() {
            let known = self
                .tracks
                .entry(sender)
                .or_insert_with(|| if from_start { Track::at_start() } else { Track::default() });
            if !known.join(track) {
                broken.push(sender);
            }
        }
        self.opened = match (self.opened, later.opened) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (known, other) => known.or(other),
        };
        if self.entries.len() >= later.entries.len() {
            self.entries.append(&mut later.entries);
        } else {
            while let Some(entry) = self.entries.pop_back() {
                later.entries.push_front(entry);
            }
            self.entries = later.entries;
        }
        broken
    }

    /// The first readable entry of a sender at or after `from`.
    pub(super) fn first_of(&self, sender: (DeviceId, InstanceId), from: Seq) -> Option<&LogEntry> {
        let at = usize::try_from(from.0.saturating_sub(self.first().0)).unwrap_or(usize::MAX);
        self.entries.iter().skip(at).find(|entry| entry.opened.is_some() && entry.sender() == Some(sender))
    }

    /// Forgets the oldest `count` entries and returns them.
    pub(super) fn forget(&mut self, count: usize) -> Vec<LogEntry> {
        let gone = self.entries.drain(..count.min(self.entries.len())).collect();
        self.recount();
        gone
    }

    /// Cuts the run in two: what lies before `seq` stays, the rest is returned.
    pub(super) fn split_off(&mut self, seq: Seq) -> Self {
        let at = usize::try_from(seq.0.saturating_sub(self.first().0)).unwrap_or(usize::MAX);
        let mut rest = Self { entries: self.entries.split_off(at.min(self.entries.len())), ..Self::default() };
        self.recount();
        rest.recount();
        rest
    }

    fn recount(&mut self) {
        self.tracks.clear();
        self.opened = None;
        let entries = std::mem::take(&mut self.entries);
        for entry in &entries {
            // Whatever does not join has been told when it came.
            self.count(entry);
        }
        self.entries = entries;
    }

    /// Counts an entry at the end; whether it does not join.
    fn count(&mut self, entry: &LogEntry) -> bool {
        if entry.opened.is_some() {
            self.opened = Some((self.opened.map_or(entry.seq, |(first, _)| first), entry.seq));
        }
        let (Some(sender), Some(counter)) = (entry.sender(), entry.counter()) else { return false };
        let from_start = entry.seq == Seq(1);
        let track =
            self.tracks.entry(sender).or_insert_with(|| if from_start { Track::at_start() } else { Track::default() });
        !track.join(Track::of(counter, entry.opened.is_some()))
    }
}
