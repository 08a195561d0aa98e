//! How much of a log is kept, and where loading backwards goes on when that is less than was loaded.

use snug_protocol::Seq;

use super::RoomLog;
use super::run::Run;

/// Entries a log holds at most; the oldest are forgotten first and can be loaded again.
pub const LOG_ENTRIES_MAX: usize = 5_000;
/// How many are forgotten at a time.
pub(super) const FORGET_STEP: usize = 512;

impl RoomLog {
    /// The first loaded entry of the newest run; what lies before it can be loaded.
    #[must_use]
    pub fn loaded_from(&self) -> Option<Seq> {
        self.runs.last().map(Run::first)
    }

    /// Loading backwards goes on before this place: the oldest that was reached page by page from the newest run, forgotten or not.
    #[must_use]
    pub fn older_from(&self) -> Option<Seq> {
        let from = self.loaded_from()?;
        Some(self.paged_to.map_or(from, |paged_to| paged_to.min(from)))
    }

    /// Loading backwards begins anew, before the newest run.
    pub fn restart_paging(&mut self) {
        self.paged_to = None;
    }

    /// Notes how far back a page reaches if it goes on from what was reached before.
    pub(super) fn paged(&mut self, first: Seq, last: Seq) {
        if self.older_from().is_some_and(|from| first < from && last.next() >= from) {
            self.paged_to = Some(first);
        }
    }

    /// Forgets some entries if there are too many; whether it did.
    ///
    /// A page that was just put before all others and ends at `page_end` stays: the next one is checked against it.
    pub(super) fn forget_oldest(&mut self, page_end: Option<Seq>) -> bool {
        if self.len() <= LOG_ENTRIES_MAX + FORGET_STEP {
            return false;
        }
        let oldest = &mut self.runs[0];
        let page_ends = oldest.first()..oldest.last().min(Seq(oldest.first().0 + FORGET_STEP as u64));
        let page_end = page_end.filter(|end| page_ends.contains(end));
        if let Some(end) = page_end {
            let rest = oldest.split_off(end.next());
            self.runs.insert(1, rest);
        }
        let at = usize::from(page_end.is_some());
        let gone = self.runs[at].forget(FORGET_STEP);
        if self.runs[at].len() == 0 {
            self.runs.remove(at);
        }
        for prev in gone.iter().filter_map(|entry| entry.opened.as_ref()).map(|opened| opened.prev.seq) {
            if let Some(waiting) = self.pending_prev.get_mut(&prev) {
                waiting.retain(|seq| !gone.iter().any(|entry| entry.seq == *seq));
                if waiting.is_empty() {
                    self.pending_prev.remove(&prev);
                }
            }
        }
        true
    }
}
