//! A room's log as a client holds it: runs of entries with holes between them, and the receiver's checks of ENCRYPTION.md section 7.
//!
//! Pure: opening envelopes, fetching pages and telling anyone is done by others. Any order and chunking of the same entries gives the
//! same log and the same violations, since each check belongs to a pair of entries and runs when the second of them is loaded.

mod memory;
mod run;
#[cfg(test)]
mod tests;
mod violation;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use snug_protocol::frame::{Cursor, EntryFrame};
use snug_protocol::{
    Base64Bytes, DeviceId, EntryKind, Envelope, EnvelopeHash, Header, HistoryId, InstanceId, RoomId, Seq,
};

use crate::crypto::{Opened, Prev};
pub use memory::LOG_ENTRIES_MAX;
use run::Run;
pub use violation::{Evidence, Violation, ViolationCode};

/// Acknowledgements that wait for their entry, at most; the oldest are forgotten first.
const ACKNOWLEDGED_MAX: usize = 1_024;
/// Violations kept; one is reason enough to look, and a hostile server must not fill the memory.
pub const VIOLATIONS_MAX: usize = 100;

/// An entry at its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// Its place.
    pub seq: Seq,
    /// The server's time of commit, Unix milliseconds.
    pub at_ms: u64,
    /// Of the envelope.
    pub hash: EnvelopeHash,
    /// The envelope as it came; of an erased entry its header and hash.
    pub envelope: Bytes,
    /// What it says; `None` if it has been erased, or could not be opened or verified.
    pub opened: Option<Opened>,
    header: Option<Header>,
    erased: bool,
}

impl LogEntry {
    /// The entry of these bytes, with what they opened to.
    #[must_use]
    pub fn new(seq: Seq, at_ms: u64, envelope: Bytes, opened: Option<Opened>) -> Self {
        let header = match &opened {
            Some(opened) => Some(opened.header),
            None => Envelope::parse(envelope.clone()).ok().map(|envelope| *envelope.header()),
        };
        Self { seq, at_ms, hash: EnvelopeHash::of(&envelope), envelope, opened, header, erased: false }
    }

    /// The entry of a frame with what it opened to: nothing, for one that has been erased. That one's hash is the server's word, which
    /// those who saw the entry check.
    #[must_use]
    pub fn of(frame: &EntryFrame, opened: Option<Opened>) -> Self {
        let (seq, at_ms, envelope) = (frame.seq(), frame.at_ms(), frame.envelope_bytes());
        if !frame.is_tombstone() {
            return Self::new(seq, at_ms, envelope, opened);
        }
        Self { seq, at_ms, hash: frame.hash(), envelope, opened: None, header: frame.header().ok(), erased: true }
    }

    /// Whether it has been erased.
    #[must_use]
    pub const fn is_erased(&self) -> bool {
        self.erased
    }

    /// The header, if there is one; authenticated only if the entry could be opened.
    #[must_use]
    pub const fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Its epoch, and whether it is a record, if it could be opened.
    fn epoch(&self) -> Option<(u32, bool)> {
        let header = self.opened.as_ref()?.header;
        Some((header.epoch, header.kind == EntryKind::EpochRecord))
    }

    fn sender(&self) -> Option<(DeviceId, InstanceId)> {
        self.header.map(|header| (header.device, header.instance))
    }

    fn counter(&self) -> Option<u64> {
        self.header.map(|header| header.counter)
    }

    fn evidence(&self) -> Evidence {
        Evidence { seq: self.seq, envelope: self.envelope.clone() }
    }
}

/// What became of a live entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is new.
    New,
    /// It was there, or lies where nothing is kept.
    Known,
}

/// One room's log.
#[derive(Debug)]
pub struct RoomLog {
    room: RoomId,
    history: Option<HistoryId>,
    runs: Vec<Run>,
    next_live: Option<Seq>,
    /// The oldest place that was reached page by page from the newest run.
    paged_to: Option<Seq>,
    pending_prev: BTreeMap<Seq, Vec<Seq>>,
    acknowledged: BTreeMap<Seq, EnvelopeHash>,
    found: HashSet<(ViolationCode, Seq)>,
    violations: Vec<Violation>,
    fresh: Vec<Violation>,
}

impl RoomLog {
    /// An empty log.
    #[must_use]
    pub fn new(room: RoomId) -> Self {
        Self {
            room,
            history: None,
            runs: Vec::new(),
            next_live: None,
            paged_to: None,
            pending_prev: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            found: HashSet::new(),
            violations: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Which life of the log this is; `None` before the first follow.
    #[must_use]
    pub const fn history(&self) -> Option<HistoryId> {
        self.history
    }

    /// Live entries come from `from` on. With a gap before it, a hole is left; with another history, everything is dropped first.
    pub fn follow(&mut self, history: HistoryId, from: Seq) {
        if self.history.is_some_and(|known| known != history) {
            self.clear();
        }
        if self.next_live != Some(from) {
            // What lies in the hole is older than the newest run and has not been loaded.
            self.paged_to = None;
        }
        self.history = Some(history);
        self.next_live = Some(from);
    }

    /// Drops all entries and what was waiting for them. Violations stay.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.pending_prev.clear();
        self.acknowledged.clear();
        self.next_live = None;
        self.paged_to = None;
        self.history = None;
    }

    /// The newest entry of the run that reaches the live edge: what an honest sender names as `prev`.
    #[must_use]
    pub fn edge(&self) -> Option<Prev> {
        let newest = self.runs.last().and_then(Run::newest)?;
        (self.next_live == Some(newest.seq.next())).then_some(Prev { seq: newest.seq, hash: newest.hash })
    }

    /// Where to resume; `None` for the latest page.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let edge = self.edge()?;
        Some(Cursor { history: self.history?, seq: edge.seq, hash: Base64Bytes(edge.hash.short().to_vec()) })
    }

    /// The place that the next live entry should have.
    #[must_use]
    pub const fn next_live(&self) -> Option<Seq> {
        self.next_live
    }

    /// Applies an entry that came live.
    pub fn apply(&mut self, entry: LogEntry) -> Applied {
        let expected = self.next_live.unwrap_or(entry.seq);
        if let Some(known) = self.get(entry.seq).cloned() {
            self.compare(&known, &entry);
            self.next_live = Some(expected.max(entry.seq.next()));
            return Applied::Known;
        }
        if entry.seq < expected {
            return self.insert_missing(entry);
        }
        if entry.seq > expected {
            self.paged_to = None;
            let mut evidence: Vec<Evidence> = self.get(expected.back(1)).map(LogEntry::evidence).into_iter().collect();
            evidence.push(entry.evidence());
            self.violation(ViolationCode::Fork, expected, evidence);
            for seq in self.acknowledged_between(expected, entry.seq) {
                self.acknowledged.remove(&seq);
                self.violation(ViolationCode::Dropped, seq, vec![entry.evidence()]);
            }
        }
        self.next_live = Some(entry.seq.next());
        self.insert(entry);
        self.forget_oldest(None);
        Applied::New
    }

    /// A late entry that borders on a run is taken, so that what a server delivers in the wrong order is flagged and still read.
    fn insert_missing(&mut self, entry: LogEntry) -> Applied {
        if self.runs.iter().any(|run| run.last().next() == entry.seq) {
            self.insert(entry);
            return Applied::New;
        }
        Applied::Known
    }

    /// Inserts a page of history: entries in ascending order without gaps. Returns how many were new.
    ///
    /// Entries at or after the next live one are left to come live.
    pub fn insert_page(&mut self, entries: Vec<LogEntry>) -> usize {
        let live = self.next_live.unwrap_or(Seq(u64::MAX));
        let end = entries.last().map(|entry| entry.seq);
        if let (Some(first), Some(end)) = (entries.first(), end) {
            self.paged(first.seq, end);
        }
        let mut new = 0;
        let mut before: Option<LogEntry> = None;
        for entry in entries {
            if let Some(before) = before.take().filter(|before| before.seq.next() != entry.seq) {
                let evidence = vec![before.evidence(), entry.evidence()];
                self.violation(ViolationCode::Fork, before.seq.next(), evidence);
            }
            before = Some(entry.clone());
            if let Some(known) = self.get(entry.seq).cloned() {
                self.compare(&known, &entry);
            } else if entry.seq < live {
                self.insert(entry);
                new += 1;
            }
        }
        while self.forget_oldest(end) {}
        new
    }

    /// An envelope of ours was acknowledged at `seq`: exactly it must come there.
    pub fn acknowledge(&mut self, seq: Seq, hash: EnvelopeHash) {
        if let Some(entry) = self.get(seq).cloned() {
            self.check_acknowledged(&entry, hash);
            return;
        }
        self.acknowledged.insert(seq, hash);
        while self.acknowledged.len() > ACKNOWLEDGED_MAX {
            self.acknowledged.pop_first();
        }
    }

    /// Acknowledged places that the live edge should have reached but has not.
    #[must_use]
    pub fn newest_acknowledged(&self) -> Option<Seq> {
        let next = self.next_live?;
        self.acknowledged.keys().next_back().copied().filter(|seq| *seq >= next)
    }

    /// The newest acknowledged place whose entry has not come yet.
    #[must_use]
    pub fn newest_promised(&self) -> Option<Seq> {
        self.acknowledged.keys().next_back().copied()
    }

    /// Gives up on acknowledged entries after `head` and up to `promised`: the server that acknowledged them says, or shows, that they
    /// are not there. What was acknowledged since then lies further on and is not judged by an older head.
    pub fn expect_none_between(&mut self, head: Seq, promised: Seq) {
        for seq in self.acknowledged_between(head.next(), promised.next()) {
            self.acknowledged.remove(&seq);
            self.violation(ViolationCode::Dropped, seq, Vec::new());
        }
    }

    /// The entry at `seq`, if it is loaded.
    #[must_use]
    pub fn get(&self, seq: Seq) -> Option<&LogEntry> {
        let at = self.runs.partition_point(|run| run.last() < seq);
        self.runs.get(at).filter(|run| run.first() <= seq)?.get(seq)
    }

    /// All loaded entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &LogEntry> {
        self.runs.iter().flat_map(Run::entries)
    }

    /// The entries of the newest run, oldest first.
    pub fn newest_run(&self) -> impl DoubleEndedIterator<Item = &LogEntry> {
        self.runs.last().into_iter().flat_map(Run::entries)
    }

    /// How many entries are loaded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(Run::len).sum()
    }

    /// Whether nothing is loaded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The stretches between runs that are not loaded, both ends included.
    #[must_use]
    pub fn holes(&self) -> Vec<(Seq, Seq)> {
        self.runs.windows(2).map(|pair| (pair[0].last().next(), pair[1].first().back(1))).collect()
    }

    /// Every violation found so far, at most [`VIOLATIONS_MAX`].
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The violations found since the last call.
    pub fn take_fresh_violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.fresh)
    }

    /// Holds an entry that came beside the log against what is loaded at its place.
    pub fn compare_with(&mut self, entry: &LogEntry) {
        if let Some(known) = self.get(entry.seq).cloned() {
            self.compare(&known, entry);
        }
    }

    /// Records what others found at `seq`.
    pub fn accuse(&mut self, code: ViolationCode, seq: Seq, evidence: Vec<Evidence>) {
        self.violation(code, seq, evidence);
    }

    fn acknowledged_between(&self, from: Seq, to: Seq) -> Vec<Seq> {
        // A map's range panics where it begins after its end.
        if from >= to {
            return Vec::new();
        }
        self.acknowledged.range(from..to).map(|(seq, _)| *seq).collect()
    }

    fn violation(&mut self, code: ViolationCode, seq: Seq, evidence: Vec<Evidence>) {
        if self.violations.len() < VIOLATIONS_MAX && self.found.insert((code, seq)) {
            let violation = Violation { code, room: self.room, seq, evidence };
            self.violations.push(violation.clone());
            self.fresh.push(violation);
        }
    }

    fn compare(&mut self, known: &LogEntry, other: &LogEntry) {
        if known.hash != other.hash {
            self.violation(ViolationCode::Fork, known.seq, vec![known.evidence(), other.evidence()]);
        }
    }

    fn check_acknowledged(&mut self, entry: &LogEntry, hash: EnvelopeHash) {
        if entry.hash != hash {
            self.violation(ViolationCode::Substituted, entry.seq, vec![entry.evidence()]);
        }
    }

    /// Puts an entry at a place where none is, joins it with its neighbours and runs the checks it completes.
    fn insert(&mut self, entry: LogEntry) {
        self.check_prev(&entry);
        if let Some(hash) = self.acknowledged.remove(&entry.seq) {
            self.check_acknowledged(&entry, hash);
        }
        let seq = entry.seq;
        let evidence = entry.evidence();
        let mut at = self.runs.partition_point(|run| run.last() < seq);
        let (run, broken) = Run::of(entry);
        if broken.is_some() {
            self.violation(ViolationCode::Counter, seq, vec![evidence]);
        }
        self.runs.insert(at, run);
        if at > 0 && self.runs[at - 1].last().next() == seq {
            at -= 1;
            self.join(at, seq);
        }
        if self.runs.get(at + 1).is_some_and(|later| later.first() == seq.next()) {
            self.join(at, seq.next());
        }
    }

    /// Joins the run at `at` with the next one, which begins at `from`.
    fn join(&mut self, at: usize, from: Seq) {
        if let (Some(before), Some(after)) = (self.runs[at].last_opened(), self.runs[at + 1].first_opened()) {
            self.check_epoch(before, after);
        }
        let later = self.runs.remove(at + 1);
        let broken = self.runs[at].append(later);
        for sender in broken {
            if let Some(entry) = self.runs[at].first_of(sender, from) {
                let (seq, evidence) = (entry.seq, entry.evidence());
                self.violation(ViolationCode::Counter, seq, vec![evidence]);
            }
        }
    }

    /// Checks that the epoch changes by records only, between two entries that opened and between which none did.
    fn check_epoch(&mut self, before: Seq, after: Seq) {
        let (Some(before), Some(after)) = (self.get(before), self.get(after)) else { return };
        let (Some((from, _)), Some((to, begins))) = (before.epoch(), after.epoch()) else { return };
        let least = from.saturating_add(u32::from(begins));
        // What could not be read between them may have been a record.
        let fits = if before.seq.next() == after.seq { to == least } else { to >= least };
        if !fits {
            let (seq, evidence) = (after.seq, vec![before.evidence(), after.evidence()]);
            self.violation(ViolationCode::Epoch, seq, evidence);
        }
    }

    /// Checks what the entry says of its predecessor, and what loaded entries say of it.
    fn check_prev(&mut self, entry: &LogEntry) {
        if let Some(prev) = entry.opened.as_ref().map(|opened| opened.prev) {
            if prev.seq >= entry.seq || (prev.seq == Seq::ZERO && (entry.seq != Seq(1) || prev != Prev::default())) {
                self.violation(ViolationCode::Prev, entry.seq, vec![entry.evidence()]);
            } else if prev.seq > Seq::ZERO {
                match self.get(prev.seq).cloned() {
                    Some(there) => self.compare_prev(entry, &there),
                    None => self.pending_prev.entry(prev.seq).or_default().push(entry.seq),
                }
            }
        }
        for later in self.pending_prev.remove(&entry.seq).unwrap_or_default() {
            if let Some(later) = self.get(later).cloned() {
                self.compare_prev(&later, entry);
            }
        }
    }

    fn compare_prev(&mut self, entry: &LogEntry, there: &LogEntry) {
        if entry.opened.as_ref().is_some_and(|opened| opened.prev.hash != there.hash) {
            self.violation(ViolationCode::Prev, entry.seq, vec![there.evidence(), entry.evidence()]);
        }
    }
}
