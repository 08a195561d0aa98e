//! How a room reaches a session without ever waiting for it: a few bits of news, and a short queue of things that may be lost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use snug_protocol::{DeviceId, RoomId, Seq};

use super::lock;
use crate::wire::{Entries, Lane, Mark, Passed};

/// Ephemeral frames kept for a session that is busy; the oldest go first.
const EPHEMERALS_QUEUED_MAX: usize = 64;

/// What a session is to look at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct News(u8);

impl News {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Logs have grown, or what could not be done before may be tried again.
    pub const LOGS: Self = Self(1);
    /// Ephemeral frames came.
    pub const EPHEMERALS: Self = Self(2);
    /// The right to be in some room was put in question.
    pub const ACCESS: Self = Self(4);
    /// The session's token may have ended.
    pub const TOKEN: Self = Self(8);
    /// The node is draining: go elsewhere.
    pub const MOVE: Self = Self(16);
    /// The session must end now.
    pub const CLOSE: Self = Self(32);

    /// Whether all of `news` are among these.
    #[must_use]
    pub const fn has(self, news: Self) -> bool {
        self.0 & news.0 == news.0
    }

    /// Whether some of `news` are among these.
    #[must_use]
    pub const fn has_any(self, news: Self) -> bool {
        self.0 & news.0 != 0
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, news: Self) -> Self {
        Self(self.0 | news.0)
    }
}

/// One session's bell. All rooms it follows ring the same one.
#[derive(Default)]
pub struct Wake {
    session: AtomicWaker,
    news: AtomicU8,
    ephemerals: Mutex<VecDeque<(RoomId, Bytes)>>,
}

impl Wake {
    /// Tells the session. Costs next to nothing while it has not looked at what it was told before.
    pub fn tell(&self, news: News) {
        if news != News::NONE && self.news.fetch_or(news.0, Ordering::AcqRel) == 0 {
            self.session.wake();
        }
    }

    /// What was told since the last call.
    pub fn take(&self) -> News {
        News(self.news.swap(0, Ordering::AcqRel))
    }

    /// Ready when there are news, which are taken with that. For one task, the session's.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<News> {
        self.session.register(cx.waker());
        match self.take() {
            News::NONE => Poll::Pending,
            news => Poll::Ready(news),
        }
    }

    /// Ephemeral frames since the last call, with their rooms: what the session follows no longer is not for it.
    pub fn take_ephemerals(&self) -> VecDeque<(RoomId, Bytes)> {
        std::mem::take(&mut *lock(&self.ephemerals))
    }
}

/// One session in one room.
pub struct Follower {
    device: DeviceId,
    wake: Arc<Wake>,
    /// How often its right to be here was put in question, and how many of these questions have been answered. In between nothing is sent.
    questions: AtomicU64,
    answered: AtomicU64,
    /// Where the room may write to it, once that has begun.
    lane: OnceLock<Lane>,
    mark: Mark,
}

impl Follower {
    pub(super) fn new(device: DeviceId, wake: Arc<Wake>) -> Self {
        Self {
            device,
            wake,
            questions: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            lane: OnceLock::new(),
            mark: Mark::closed(),
        }
    }

    /// From now on what lies after `seq` is sent by `lane`, by whoever comes to it first.
    pub(super) fn open(&self, lane: &Lane, seq: Seq) {
        self.lane.get_or_init(|| lane.clone()).open(&self.mark, seq);
    }

    /// From now on nothing is sent.
    pub(super) fn close(&self) {
        if let Some(lane) = self.lane.get() {
            lane.close(&self.mark);
        }
    }

    /// The last seq that was sent.
    pub(super) fn cursor(&self) -> Seq {
        self.mark.seq()
    }

    /// Has the session write entries that lie after `from`, unless they have been sent meanwhile.
    pub(super) fn push(&self, from: Seq, entries: &Entries) -> bool {
        self.lane.get().is_some_and(|lane| lane.push(&self.mark, from, entries))
    }

    /// Whether entries that lie after `from` may be written to it now, as far as can be told without its socket's lock.
    pub(super) fn is_ready(&self, from: Seq) -> bool {
        self.cursor() == from && self.question().is_none() && self.lane.get().is_some_and(Lane::is_whole)
    }

    /// Writes entries that lie after `from`, if that can be done at once; else the session is to see to it. Whether they were written.
    pub(super) fn write(&self, from: Seq, entries: &Entries) -> bool {
        let lane = self.lane.get().filter(|_| self.question().is_none());
        let passed = lane.map_or(Passed::NotTaken, |lane| lane.write(&self.mark, from, entries));
        if passed != Passed::Written {
            self.wake();
        }
        passed != Passed::NotTaken
    }

    pub(super) const fn device(&self) -> DeviceId {
        self.device
    }

    pub(super) fn wake(&self) {
        self.wake.tell(News::LOGS);
    }

    pub(super) fn recheck_access(&self) {
        self.questions.fetch_add(1, Ordering::AcqRel);
        self.wake.tell(News::ACCESS);
    }

    /// The newest question whether it may be here, unless that has been answered.
    pub fn question(&self) -> Option<u64> {
        let newest = self.questions.load(Ordering::Acquire);
        (newest != self.answered.load(Ordering::Acquire)).then_some(newest)
    }

    /// It may, by what was looked up after this question.
    pub fn may_stay(&self, question: u64) {
        self.answered.store(question, Ordering::Release);
    }

    /// For an encoded text message.
    pub(super) fn ephemeral(&self, room: RoomId, message: &Bytes) {
        {
            let mut queue = lock(&self.wake.ephemerals);
            if queue.len() >= EPHEMERALS_QUEUED_MAX {
                queue.pop_front();
            }
            queue.push_back((room, message.clone()));
        }
        self.wake.tell(News::EPHEMERALS);
    }
}
