//! A session's appends that wait for their commit, in the order they were sent.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use snug_protocol::RoomId;

use crate::chat::{ChatError, Sent};

/// The request's id, its room, and what became of it.
pub(super) type Acknowledged = (u32, RoomId, Result<Sent, ChatError>);

type Append = Pin<Box<dyn Future<Output = Acknowledged> + Send>>;

/// The appends. Holds no memory while there are none.
#[derive(Default)]
pub(super) struct Appends(Option<Box<FuturesOrdered<Append>>>);

impl Appends {
    pub(super) fn push(&mut self, append: impl Future<Output = Acknowledged> + Send + 'static) {
        self.0.get_or_insert_default().push_back(Box::pin(append));
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |appends| appends.len())
    }

    /// The next one's outcome; pending for ever while there are none.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Acknowledged> {
        match self.0.as_mut().map(|appends| appends.poll_next_unpin(cx)) {
            Some(Poll::Ready(Some(acknowledged))) => Poll::Ready(acknowledged),
            Some(Poll::Ready(None)) => {
                self.0 = None;
                Poll::Pending
            }
            Some(Poll::Pending) | None => Poll::Pending,
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
    pub(super) async fn finish(self) {
        if let Some(appends) = self.0 {
            appends.for_each(|_| std::future::ready(())).await;
        }
    }
}
