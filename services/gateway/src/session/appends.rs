//! A session's appends that wait for their commit, in the order they were sent.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use snug_protocol::RoomId;

use crate::chat::{Chat, ChatError, Sending, Sent};

/// The request's id, its room, and what became of it.
pub(super) type Acknowledged = (u32, RoomId, Result<Sent, ChatError>);

enum Append {
    OnItsWay(u32, Sending),
    /// Those before it are not.
    Done(Acknowledged),
}

/// The appends. Holds no memory while there are none.
pub(super) struct Appends {
    chat: Chat,
    queue: VecDeque<Append>,
}

impl Appends {
    pub(super) const fn new(chat: Chat) -> Self {
        Self { chat, queue: VecDeque::new() }
    }

    /// These, leaving none.
    pub(super) fn take(&mut self) -> Self {
        Self { chat: self.chat.clone(), queue: std::mem::take(&mut self.queue) }
    }

    pub(super) fn push(&mut self, id: u32, sending: Sending) {
        self.queue.push_back(Append::OnItsWay(id, sending));
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The next one's outcome; pending for ever while there are none. All are carried on, so that none waits for another to be told of.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Acknowledged> {
        if let Some(done) = self.pop_done() {
            return Poll::Ready(done);
        }
        self.carry_on(cx);
        self.pop_done().map_or(Poll::Pending, Poll::Ready)
    }

    /// Hands the store what is new.
    pub(super) async fn hand_over(&mut self) {
        std::future::poll_fn(|cx| {
            self.carry_on(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Hands the store what is new, and tells others of what it has answered.
    fn carry_on(&mut self, cx: &mut Context<'_>) {
        let (mut waits_in, mut all_news) = (None, Vec::new());
        for append in &mut self.queue {
            let Append::OnItsWay(id, sending) = append else { continue };
            let room = sending.room();
            // A room's answers come in its order: that to this one cannot be there yet.
            if waits_in == Some(room) && sending.has_begun() {
                continue;
            }
            let Poll::Ready(answer) = Pin::new(sending).poll(cx) else {
                waits_in = Some(room);
                continue;
            };
            let outcome = answer.map(|(sent, news)| {
                all_news.push(news);
                sent
            });
            *append = Append::Done((*id, room, outcome));
        }
        self.chat.tell(all_news);
    }

    fn pop_done(&mut self) -> Option<Acknowledged> {
        let done = self.queue.pop_front_if(|append| matches!(append, Append::Done(_)));
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        match done {
            Some(Append::Done(acknowledged)) => Some(acknowledged),
            Some(Append::OnItsWay(..)) | None => None,
        }
    }

    /// Waits for `work`, while the appends go on: others wait for these messages, whatever their sender waits for. Those that were
    /// acknowledged meanwhile are put into `acknowledged`.
    pub(super) async fn during<T>(&mut self, acknowledged: &mut Vec<Acknowledged>, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            while let Poll::Ready(one) = self.poll_next(cx) {
                acknowledged.push(one);
            }
            work.as_mut().poll(cx)
        })
        .await
    }

    /// The next one's outcome; never, while there are none. Cancel-safe.
    pub(super) async fn next(&mut self) -> Acknowledged {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Carries those to their end whose session is over: others wait for these messages.
    pub(super) async fn finish(mut self) {
        while self.len() > 0 {
            let (_, _, _outcome) = self.next().await;
        }
    }
}
