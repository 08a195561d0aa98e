//! Callers who leave messages where they are until the batch begins that is to take them.
//!
//! Where batches are gathered for, a message that is handed over early is committed no sooner. Who can leave it where it is (a session, in
//! its socket's buffer) and fetch all that has come at once spares a wake-up and a read for each. So the writer's task calls those who wait
//! for its next batch, and begins when they have handed over what they have. It waits for none of them for long.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Callers that wait for one task's batch; who comes then is not called.
const CALLED_MAX: usize = 65_536;
/// How long a batch waits for those who were called: some sixty sessions have it all after 5 ms on a busy node, and after 30 nearly always.
const HAND_OVER_LIMIT: Duration = Duration::from_millis(50);

/// Resolves when the next batch is about to begin; to `None` if none will. Cancel-safe.
#[derive(Debug)]
pub struct BeforeBatch(oneshot::Receiver<BatchHeld>);

/// The batch does not begin while this is there, for some milliseconds at most.
#[derive(Debug)]
pub struct BatchHeld {
    _held: mpsc::Sender<Infallible>,
}

impl Future for BeforeBatch {
    type Output = Option<BatchHeld>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

/// Where callers say that they wait.
#[derive(Debug)]
pub struct Callers(mpsc::Sender<oneshot::Sender<BatchHeld>>);

/// Those who wait, for whoever calls them. If it is dropped they need not wait any more.
#[derive(Debug)]
pub struct Called {
    waiting: mpsc::Receiver<oneshot::Sender<BatchHeld>>,
    /// Taken from there to see that there is somebody.
    first: Option<oneshot::Sender<BatchHeld>>,
}

/// The two ends.
#[must_use]
pub fn callers() -> (Callers, Called) {
    let (callers, called) = mpsc::channel(CALLED_MAX);
    (Callers(callers), Called { waiting: called, first: None })
}

impl Callers {
    /// Waits for the next batch from now on. `None`: there is none to wait for, or too many wait.
    #[must_use]
    pub fn before_batch(&self) -> Option<BeforeBatch> {
        let (call, called) = oneshot::channel();
        self.0.try_send(call).ok().map(|()| BeforeBatch(called))
    }
}

impl Called {
    /// Waits until somebody waits; `false` if nobody will any more. Cancel-safe.
    pub async fn some_wait(&mut self) -> bool {
        if self.first.is_none() {
            self.first = self.waiting.recv().await;
        }
        self.first.is_some()
    }

    /// Calls all who wait, and waits until they have handed over what they have, `HAND_OVER_LIMIT` at most.
    pub async fn call(&mut self) {
        let more = self.waiting.len();
        if self.first.is_none() && more == 0 {
            return;
        }
        let (held, mut all_dropped) = mpsc::channel(1);
        let first = self.first.take();
        let more = std::iter::from_fn(|| self.waiting.try_recv().ok()).take(more);
        for call in first.into_iter().chain(more) {
            // Whoever has gone has nothing to hand over.
            let _ = call.send(BatchHeld { _held: held.clone() });
        }
        drop(held);
        let _ = timeout(HAND_OVER_LIMIT, all_dropped.recv()).await;
    }

    /// Lets go of those who wait, and takes no more.
    pub fn close(&mut self) {
        self.first = None;
        self.waiting.close();
        while self.waiting.try_recv().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_batch_begins_when_all_who_were_called_have_handed_over_what_they_have() {
        let (callers, mut called) = callers();
        let waiting = [callers.before_batch(), callers.before_batch(), callers.before_batch()];
        let [mut one, other, gone] = waiting.map(|waiting| waiting.expect("there is a batch to wait for"));
        drop(gone);
        assert!(called.some_wait().await && (&mut one).now_or_never().is_none(), "not called yet");
        let mut call = pin!(called.call());
        assert!(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await.is_pending());
        let (one, other) = (one.await.expect("it is called"), other.await.expect("it is called"));
        drop(one);
        assert!(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await.is_pending(), "one has not");
        drop(other);
        call.now_or_never().expect("all have");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_holds_a_batch_for_long() {
        let (callers, mut called) = callers();
        let waits = callers.before_batch().expect("there is a batch to wait for");
        let began = Instant::now();
        called.call().await;
        assert!((HAND_OVER_LIMIT..HAND_OVER_LIMIT * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert!(waits.await.is_some());
        called.call().await;
        assert!(began.elapsed() < HAND_OVER_LIMIT * 2, "nobody waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_what_has_ended_waits_no_more() {
        let (callers, mut called) = callers();
        let waits = [callers.before_batch(), callers.before_batch()].map(|waits| waits.expect("it goes on"));
        assert!(called.some_wait().await);
        called.close();
        for waits in waits {
            assert!(waits.await.is_none());
        }
        assert!(callers.before_batch().is_none() && !called.some_wait().await);
    }
}
