//! A member who writes down what happens to it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use snug_client::{Event, Room};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Answer, Attempt, History, Incident, Seen, Stored, What};
use crate::in_time;

/// How a member sends.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages handed over at once, before the first of them is answered.
    pub burst: usize,
    /// The longest pause after they are all acknowledged; each is drawn between half of it and all. Zero: none.
    pub pause: Duration,
}

/// One member of one room: its two tasks write, and whoever hurts the servers reads along.
pub struct Recorder {
    room: Room,
    history: Mutex<History>,
    seen: AtomicU64,
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

impl Recorder {
    /// For `member`, who must see everything in `room` after the place `since`, or comes and goes.
    #[must_use]
    pub fn new(room: Room, member: &str, since: Option<u64>) -> Self {
        let history = History { member: member.to_owned(), since, ..History::default() };
        Self {
            room,
            history: Mutex::new(history),
            seen: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no code panics while it holds a history")
    }

    /// The room as this member has it.
    #[must_use]
    pub const fn room(&self) -> &Room {
        &self.room
    }

    /// Who it is.
    #[must_use]
    pub fn name(&self) -> String {
        self.lock().member.clone()
    }

    /// How often it lost its connection since `since`.
    #[must_use]
    pub fn lost_since(&self, since: Instant) -> usize {
        let history = self.lock();
        history.incidents.iter().filter(|incident| incident.at >= since && incident.what == What::Lost).count()
    }

    /// What has happened so far.
    #[must_use]
    pub fn history(&self) -> History {
        self.lock().clone()
    }

    /// The newest place that it has seen.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// The newest place at which one of its messages was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// How many of its messages were acknowledged.
    #[must_use]
    pub fn acknowledged_count(&self) -> usize {
        self.lock().sent.iter().filter(|attempt| attempt.answer.is_some()).count()
    }

    /// The first of its messages handed over after `since` that was acknowledged.
    #[must_use]
    pub fn first_answer_after(&self, since: Instant) -> Option<Answer> {
        let history = self.lock();
        let newest_first = history.sent.iter().rev().take_while(|attempt| attempt.at >= since);
        newest_first.filter_map(|attempt| attempt.answer).min_by_key(|answer| answer.seq)
    }

    /// Ends [`Recorder::send`] after what it has begun.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Sends numbered messages until stopped; each burst is awaited until it is acknowledged.
    ///
    /// # Panics
    /// When a message is refused, or not answered within [`crate::PATIENCE`].
    pub async fn send(&self, pace: Pace) {
        while !self.stop.load(Ordering::Acquire) {
            let sending: Vec<_> = (0..pace.burst).map(|_| self.begin()).collect();
            for (index, answer) in sending {
                let sent = in_time("a message is acknowledged whatever dies", answer).await;
                let sent = sent.unwrap_or_else(|error| panic!("a message was refused: {error:?}"));
                self.answered(index, sent.seq.0);
            }
            tokio::time::sleep(drawn(pace.pause)).await;
        }
    }

    /// Hands over `count` messages and goes after `patience`, whether they are answered or not.
    pub async fn send_and_go(&self, count: usize, patience: Duration) {
        let sending: Vec<_> = (0..count).map(|_| self.begin()).collect();
        let _ = tokio::time::timeout(patience, async {
            for (index, answer) in sending {
                if let Ok(sent) = answer.await {
                    self.answered(index, sent.seq.0);
                }
            }
        })
        .await;
    }

    fn begin(&self) -> (usize, snug_client::Sending) {
        let mut history = self.lock();
        let index = history.sent.len();
        let text = format!("{}, message {index}", history.member);
        history.sent.push(Attempt { text: text.clone(), at: Instant::now(), answer: None });
        // Under the lock, so that the order of the history is the order of the calls.
        (index, self.room.send(text.as_str()))
    }

    fn answered(&self, index: usize, seq: u64) {
        self.lock().sent[index].answer = Some(Answer { seq, at: Instant::now() });
        self.acknowledged.fetch_max(seq, Ordering::AcqRel);
    }

    /// Listens until it has seen the place that `last` tells, or for ever.
    ///
    /// # Panics
    /// When the room cannot be read at all.
    pub async fn listen(&self, mut last: watch::Receiver<Option<u64>>) {
        let mut events = self.room.events().await.expect("the room is open");
        loop {
            let until = *last.borrow_and_update();
            if until.is_some_and(|until| self.seen() >= until) {
                return;
            }
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.heard(event),
                    None => return self.note(What::Wrong("the room's events ended".into())),
                },
                changed = last.changed() => if changed.is_err() { return },
            }
        }
    }

    fn heard(&self, event: Event) {
        let what = match event {
            Event::Message { seq, text, .. } => {
                self.lock().seen.push(Seen { seq: seq.0, text, at: Instant::now() });
                self.seen.fetch_max(seq.0, Ordering::AcqRel);
                return;
            }
            Event::ConnectionLost => What::Lost,
            Event::ConnectionRestored => What::Restored,
            Event::Violation(violation) => {
                What::Wrong(format!("a violation: {} at {}", violation.code.as_str(), violation.seq))
            }
            Event::Unreadable { seq, .. } => What::Wrong(format!("unreadable: {seq}")),
            Event::Hole { from, to } => What::Wrong(format!("a hole from {from} to {to}")),
            Event::Resync { lost } => What::Wrong(format!("the log began anew; lost: {lost:?}")),
            Event::Deleted { seq, by, .. } => What::Wrong(format!("{seq} was deleted by {by:?}")),
            Event::KeyMissing { epoch } => What::Wrong(format!("the key of epoch {epoch} is missing")),
            Event::Closed { code } => What::Wrong(format!("the room closed: {code}")),
            _ => return,
        };
        self.note(what);
    }

    fn note(&self, what: What) {
        self.lock().incidents.push(Incident { at: Instant::now(), what });
    }
}

/// Between half of `longest` and all of it.
fn drawn(longest: Duration) -> Duration {
    let mut random = [0; 4];
    getrandom::fill(&mut random).expect("the system gives random bytes");
    longest / 2 + longest.mul_f64(f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX) / 2.0)
}

/// Every message of the room, at least up to `newest`, as a newcomer reads it.
pub async fn read_all(room: &Room, newest: u64) -> Vec<Stored> {
    let text = |event: Event| match event {
        Event::Message { seq, text, .. } => Some((seq.0, text)),
        _ => None,
    };
    let mut stored: Vec<_> = crate::eventually("the latest page arrives", async || {
        let loaded: Vec<_> = room.loaded().await.expect("the room is open").into_iter().filter_map(text).collect();
        loaded.last().is_some_and(|(seq, _)| *seq >= newest).then_some(loaded)
    })
    .await;
    loop {
        let page = in_time("a page of history", room.load_older()).await.expect("a page");
        let is_beginning = page.is_beginning();
        stored.splice(0..0, page.events.into_iter().filter_map(text));
        if is_beginning {
            return stored;
        }
    }
}
