//! A session's appends that wait for their commit, in the order they were sent.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use snug_protocol::RoomId;

use crate::chat::{ChatError, Sending, Sent};

/// The request's id, its room, and what became of it.
pub(super) type Acknowledged = (u32, RoomId, Result<Sent, ChatError>);

enum Append {
    OnItsWay(u32, RoomId, Sending),
    /// Those before it are not.
    Done(Acknowledged),
}

/// The appends. Holds no memory while there are none.
#[derive(Default)]
pub(super) struct Appends(VecDeque<Append>);

impl Appends {
    pub(super) fn push(&mut self, id: u32, room: RoomId, sending: Sending) {
        self.0.push_back(Append::OnItsWay(id, room, sending));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The next one's outcome; pending for ever while there are none. All are carried on, so that none waits for another to be published.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Acknowledged> {
        for append in &mut self.0 {
            if let Append::OnItsWay(id, room, sending) = append
                && let Poll::Ready(outcome) = Pin::new(sending).poll(cx)
            {
                *append = Append::Done((*id, *room, outcome));
            }
        }
        let done = self.0.pop_front_if(|append| matches!(append, Append::Done(_)));
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
        match done {
            Some(Append::Done(acknowledged)) => Poll::Ready(acknowledged),
            Some(Append::OnItsWay(..)) | None => Poll::Pending,
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
