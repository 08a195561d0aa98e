//! What a room does with news: follows, applies entries, catches up, resynchronises, and notices what does not come.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use snug_protocol::frame::{ClientFrame, EntryFrame, PresenceState, Resync, ServerFrame};
use snug_protocol::limits::HISTORY_PAGE_MAX;
use snug_protocol::{EntryKind, EnvelopeHash, HistoryId, Retry, Seq};
use tokio::time::Instant;

use super::actor::{Actor, Own};
use super::outbox::Sealed;
use super::{Event, LostMessage};
use crate::backoff::jittered;
use crate::error::ClientError;
use crate::link::News;
use crate::log::{Applied, LogEntry};
use crate::wire::control;

/// The wait before following again after a refusal or a failed look-up.
const FOLLOW_AGAIN: Duration = Duration::from_millis(500);
/// Pages that are read to find own messages after a resynchronisation.
const RESYNC_PAGES_MAX: usize = 5;

/// Whether entries come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Following {
    No,
    /// To be asked for at this time.
    Again(Instant),
    /// Entries before the answer belong to an earlier follow and are not looked at.
    Asked {
        id: u32,
        at: Instant,
        /// The newest place acknowledged by then: the answer's head must cover it.
        promised: Option<Seq>,
    },
    Live,
}

impl Following {
    pub(super) fn is_asked(self, request: u32) -> bool {
        matches!(self, Self::Asked { id, .. } if id == request)
    }

    pub(super) fn later(wait_ms: Option<u64>) -> Self {
        Self::Again(Instant::now() + wait_ms.map_or_else(|| jittered(FOLLOW_AGAIN), Duration::from_millis))
    }
}

/// An entry that must exist and has not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overdue {
    /// Reached when the edge is here.
    seq: Seq,
    at: Instant,
    reconnected: bool,
}

/// A log that has begun anew and is not loaded to its head yet.
#[derive(Debug)]
pub(super) struct Resyncing {
    until: Seq,
    from: Seq,
    /// Unanswered envelopes: they may have been committed, or not.
    unanswered: Vec<Sealed>,
}

/// The fields of a `followed` frame that matter here.
struct Followed {
    history: HistoryId,
    head: Seq,
    from: Seq,
    skipped: bool,
    resync: Option<Resync>,
    chain: Seq,
}

impl Actor {
    /// Asks for the entries after the cursor.
    pub(super) async fn follow(&mut self) {
        let Some(session) = self.session.clone() else { return };
        let id = self.link.next_id();
        self.following = Following::Asked { id, at: Instant::now(), promised: self.log.newest_promised() };
        self.overrun.store(false, Ordering::Release);
        let cursor = self.log.cursor();
        session.write(control(&ClientFrame::Follow { id, room: self.room, cursor })).await;
    }

    /// Called when nothing waits to be read: if something was dropped meanwhile, it is asked for again.
    pub(super) async fn caught_up(&mut self) {
        if self.is_overrun() && self.session.is_some() {
            self.follow().await;
        }
        self.watch_for_arrivals();
    }

    pub(super) async fn heard(&mut self, news: News) {
        match news {
            News::Entry(frame) if self.following == Following::Live => self.entry(&frame).await,
            // It belongs to an earlier follow and comes again.
            News::Entry(_) => {}
            News::Head(head) => self.head = self.head.max(head),
            News::Frame(ServerFrame::Followed {
                id,
                history,
                head,
                from,
                skipped,
                resync,
                chain,
                here,
                here_count,
                ..
            }) => {
                if self.following.is_asked(id) {
                    self.set_here(here, here_count);
                    self.followed(Followed { history, head, from, skipped, resync, chain }).await;
                }
            }
            News::Frame(ServerFrame::Presence { device, state, here_count, .. }) => {
                self.presence(device, state == PresenceState::Here, here_count);
            }
            News::Frame(ServerFrame::Here { here, here_count, .. }) => self.stands(here, here_count),
            News::Frame(ServerFrame::Typing { device, .. }) => self.tell(Event::Typing { device }),
            News::Frame(ServerFrame::TypingCount { count, .. }) => self.tell(Event::TypingCount { count }),
            News::Frame(_) => {}
        }
    }

    async fn followed(&mut self, followed: Followed) {
        let Followed { history, head, from, .. } = followed;
        // Links in what is not sent, as behind a hole, would be missed.
        if followed.chain > self.governance.settled()
            && let Err(error) = self.read_chain().await
        {
            tracing::debug!(%error, room = %self.room, "could not read the chain");
            self.following = Following::later(None);
            return;
        }
        self.head = head;
        let renewed = self.log.history().is_some_and(|known| known != history);
        if followed.resync.is_some() || renewed {
            self.begin_resync(history, from, head);
        } else {
            if let Some(resyncing) = &mut self.resyncing {
                resyncing.until = head;
            }
            match self.log.cursor() {
                Some(cursor) if followed.skipped && cursor.seq.next() < from => {
                    if let Err(error) = self.catch_up(cursor.seq.next(), from, history).await {
                        tracing::debug!(%error, room = %self.room, "could not catch up");
                        self.following = Following::later(None);
                        return;
                    }
                }
                // What the server sends must be what was asked for; if it is not, the first entry shows it.
                Some(_) => {}
                None => self.log.follow(history, from),
            }
            if let Following::Asked { promised: Some(promised), .. } = self.following {
                self.log.expect_none_between(head, promised);
            }
            self.tell_violations();
        }
        self.following = Following::Live;
        self.check_records().await;
        self.finish_resync().await;
    }

    /// After an absence longer than the server replays: fetches what lies between, or tells of the hole.
    async fn catch_up(&mut self, next: Seq, from: Seq, history: HistoryId) -> Result<(), ClientError> {
        if from.0 - next.0 > self.config.catch_up_max {
            self.log.follow(history, from);
            self.tell(Event::Hole { from: next, to: from.back(1) });
            return Ok(());
        }
        let mut start = next;
        while start < from {
            let end = Seq((start.0 + HISTORY_PAGE_MAX as u64 - 1).min(from.0 - 1));
            for frame in self.range(start, end, history).await? {
                let entry = self.open(&frame).await?;
                self.apply(entry);
            }
            start = end.next();
        }
        Ok(())
    }

    /// The entries `start..=end`, at most a page of them, in one or more calls since pages are limited in bytes too.
    async fn range(&self, start: Seq, end: Seq, history: HistoryId) -> Result<Vec<EntryFrame>, ClientError> {
        let mut found: Vec<EntryFrame> = Vec::new();
        let mut before = end.next();
        while before > start {
            let limit = usize::try_from(before.0 - start.0).unwrap_or(HISTORY_PAGE_MAX);
            let page = self.http.history(self.room, Some(before), limit).await?;
            if page.head.history != history || page.head.from >= before || page.head.from < start {
                return Err(ClientError::Answer);
            }
            before = page.head.from;
            let range = page.entries.into_iter().filter(|frame| frame.seq() <= page.head.to);
            found = range.chain(found).collect();
        }
        Ok(found)
    }

    async fn entry(&mut self, frame: &EntryFrame) {
        match self.open(frame).await {
            Ok(entry) => self.apply(entry),
            Err(error) => {
                // Without the author's keys nothing can be said about the entry; it is asked for again.
                tracing::debug!(%error, room = %self.room, "could not look an author up");
                self.following = Following::later(None);
                return;
            }
        }
        self.finish_resync().await;
    }

    /// Opens an entry, looking its author up if need be.
    pub(super) async fn open(&mut self, frame: &EntryFrame) -> Result<LogEntry, ClientError> {
        if frame.kind().is_some_and(EntryKind::is_chain) {
            self.govern(frame).await?;
        } else {
            self.expect_epoch(frame).await?;
        }
        loop {
            let governance = Arc::clone(&self.governance);
            let device = match self.directory.open(&governance, frame) {
                Ok(entry) => return Ok(entry),
                Err(device) => device,
            };
            match self.http.member(self.room, device).await {
                Ok(member) if member.device == device && self.directory.add(&governance, &member).is_ok() => {}
                Ok(_) => self.directory.set_absent(device),
                Err(ClientError::Server(error)) if error.retry == Retry::Never => self.directory.set_absent(device),
                Err(error) => return Err(error),
            }
        }
    }

    /// Applies a live entry and tells of it.
    fn apply(&mut self, entry: LogEntry) {
        let device = entry.header().map(|header| header.device);
        let mark = self.mark_of(&entry);
        self.note(&entry);
        let before = device.and_then(|device| self.directory.name_before(device));
        let event = mark.or_else(|| self.event_of(&entry, before));
        let applied = self.log.apply(entry);
        self.tell_violations();
        if applied == Applied::New
            && self.resyncing.is_none()
            && let Some(event) = event
        {
            self.tell(event);
        }
    }

    /// The log has begun anew: what is held is dropped, and told of once it is known what was lost.
    fn begin_resync(&mut self, history: HistoryId, from: Seq, head: Seq) {
        let mut unanswered = self.resyncing.take().map(|resyncing| resyncing.unanswered).unwrap_or_default();
        unanswered.extend(self.outbox.take_sealed());
        self.log.clear();
        self.margin.clear();
        // The introduction may be among what was lost.
        self.introduced = None;
        self.log.follow(history, from);
        self.resyncing = Some(Resyncing { until: head, from, unanswered });
    }

    /// Once the new log is loaded to its head: looks for own messages in it, and goes on.
    async fn finish_resync(&mut self) {
        let reached = self.log.next_live();
        let Some(resyncing) = self.resyncing.take_if(|resyncing| reached > Some(resyncing.until)) else { return };
        let wanted: Vec<(Seq, EnvelopeHash)> = self.own.iter().map(|own| (own.seq, own.hash)).collect();
        self.load_back_to(wanted.iter().map(|(seq, _)| *seq).min()).await;
        let found: HashSet<EnvelopeHash> = self.log.entries().map(|entry| entry.hash).collect();
        let loaded_from = self.log.loaded_from().unwrap_or(resyncing.from);
        // What lies before the loaded run is not known to be lost.
        let is_lost = |own: &Own| !found.contains(&own.hash) && own.seq >= loaded_from;
        let (lost, kept): (Vec<Own>, Vec<Own>) = self.own.drain(..).partition(is_lost);
        self.own = kept.into();
        let lost = lost.into_iter().map(|own| LostMessage { seq: own.seq, text: own.text }).collect();
        self.tell(Event::Resync { lost });
        let events = self.events_of(self.log.newest_run().filter(|entry| entry.seq >= resyncing.from));
        for event in events {
            self.tell(event);
        }
        let mut again = Vec::new();
        for sealed in resyncing.unanswered {
            let hash = sealed.hash();
            let there = self.log.entries().find(|entry| entry.hash == hash).map(|entry| (entry.seq, entry.at_ms));
            match there {
                Some((seq, at_ms)) => self.committed(sealed, seq, at_ms),
                None => again.push(sealed.draft),
            }
        }
        self.outbox.put_back(again.into_iter());
    }

    /// Loads pages back to `seq`, as far as a few pages go. A page that cannot be had leaves the rest unknown.
    async fn load_back_to(&mut self, seq: Option<Seq>) {
        for _ in 0..RESYNC_PAGES_MAX {
            let (Some(seq), Some(from)) = (seq, self.log.loaded_from()) else { return };
            if from <= seq || from <= Seq(1) {
                return;
            }
            let Ok(page) = self.http.history(self.room, Some(from), HISTORY_PAGE_MAX).await else { return };
            if Some(page.head.history) != self.log.history() {
                return;
            }
            let Ok(entries) = self.open_page(page).await else { return };
            self.log.insert_page(entries);
            self.tell_violations();
        }
    }

    /// Sets or clears the clock for entries that must come: acknowledged ones, and those a heartbeat's head tells of.
    fn watch_for_arrivals(&mut self) {
        let edge = self.log.next_live().map_or(Seq::ZERO, |next| next.back(1));
        let due = self.log.newest_acknowledged().into_iter().chain((self.head > edge).then_some(self.head)).max();
        let reconnected = self.overdue.is_some_and(|overdue| overdue.reconnected && overdue.seq > edge);
        self.overdue = match (due, self.overdue) {
            (None, _) => None,
            (Some(due), Some(known)) if known.seq > edge && known.seq <= due => Some(known),
            (Some(seq), _) => Some(Overdue { seq, at: Instant::now() + self.config.timing.arrival_limit, reconnected }),
        };
    }

    /// When the task must look again without being told.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let following = match self.following {
            Following::Again(at) => Some(at),
            Following::Asked { at, .. } => Some(at + self.config.timing.answer_limit),
            Following::No | Following::Live => None,
        };
        let answer = self.outbox.waiting_since().map(|since| since + self.config.timing.answer_limit);
        let arrival = self.overdue.filter(|_| self.following == Following::Live).map(|overdue| overdue.at);
        let recipients = self.recipients.again_at().filter(|_| self.following == Following::Live);
        let times = [following, answer, arrival, recipients, self.outbox.resume_at()];
        times.into_iter().flatten().min().filter(|_| self.session.is_some())
    }

    pub(super) async fn time_passed(&mut self) {
        let now = Instant::now();
        let limit = self.config.timing.answer_limit;
        match self.following {
            Following::Again(at) if at <= now => self.follow().await,
            Following::Asked { at, .. } if at + limit <= now => return self.give_session_up().await,
            _ => {}
        }
        if self.outbox.waiting_since().is_some_and(|since| since + limit <= now) {
            return self.give_session_up().await;
        }
        if let Some(overdue) = self.overdue.filter(|overdue| overdue.at <= now && self.following == Following::Live) {
            self.overdue_passed(overdue).await;
        }
        if self.following == Following::Live && self.recipients.again_at().is_some_and(|at| at <= now) {
            self.check_records().await;
        }
    }

    /// What must come has not: once, another session is tried; then an acknowledged entry counts as dropped.
    async fn overdue_passed(&mut self, overdue: Overdue) {
        let edge = self.log.next_live().map_or(Seq::ZERO, |next| next.back(1));
        if edge >= overdue.seq || !self.drained {
            // It came, or waits with us; looked at again when all is drained.
            self.overdue = None;
            return;
        }
        if overdue.reconnected {
            self.log.expect_none_between(edge, overdue.seq);
            self.tell_violations();
            self.head = edge;
            self.overdue = None;
            return;
        }
        let at = Instant::now() + self.config.timing.arrival_limit;
        self.overdue = Some(Overdue { at, reconnected: true, ..overdue });
        self.give_session_up().await;
    }

    /// Asks for another session, and not again until it has come.
    async fn give_session_up(&mut self) {
        self.reconnect().await;
        self.following = Following::No;
        self.outbox.disconnected();
        self.session = None;
    }
}
