//! Callers who leave messages where they are until the batch begins that is to take them.
//!
//! Where batches are gathered for, a message that is handed over early is committed no sooner. Who can leave it where it is (a session, in
//! its socket's buffer) and fetch all that has come at once spares a wake-up and a read for each. So the writer's task calls those who wait
//! for its next batch, and begins when they have handed over what they have. How long it waits for that is its business.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};

/// Callers that wait for one task's batch; who comes then is not called.
const CALLED_MAX: usize = 65_536;

/// Resolves when the next batch is about to begin; to `None` if none will. Cancel-safe.
#[derive(Debug)]
pub struct BeforeBatch(oneshot::Receiver<BatchHeld>);

/// The batch does not begin while this is there, as long as it waits for anybody.
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

/// Those who were called hand over what they have.
#[derive(Debug)]
pub struct HandingOver {
    all_dropped: mpsc::Receiver<Infallible>,
}

impl HandingOver {
    /// Resolves when all have. Cancel-safe.
    pub async fn end(&mut self) {
        let _ = self.all_dropped.recv().await;
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

    /// Calls all who wait.
    pub fn call(&mut self) -> HandingOver {
        let (held, all_dropped) = mpsc::channel(1);
        let more = self.waiting.len();
        let first = self.first.take();
        for call in first.into_iter().chain(std::iter::from_fn(|| self.waiting.try_recv().ok()).take(more)) {
            // Whoever has gone has nothing to hand over.
            let _ = call.send(BatchHeld { _held: held.clone() });
        }
        HandingOver { all_dropped }
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
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_batch_begins_when_all_who_were_called_have_handed_over_what_they_have() {
        let (callers, mut called) = callers();
        let waiting = [callers.before_batch(), callers.before_batch(), callers.before_batch()];
        let [mut one, other, gone] = waiting.map(|waiting| waiting.expect("there is a batch to wait for"));
        drop(gone);
        assert!(called.some_wait().await && (&mut one).now_or_never().is_none(), "not called yet");
        let mut handing_over = called.call();
        let (one, other) = (one.await.expect("it is called"), other.await.expect("it is called"));
        drop(one);
        assert!(handing_over.end().now_or_never().is_none(), "one has not");
        drop(other);
        handing_over.end().now_or_never().expect("all have");
    }

    #[tokio::test]
    async fn nobody_is_waited_for_who_is_not_called_or_has_gone() {
        let (callers, mut called) = callers();
        called.call().end().now_or_never().expect("nobody waits");
        let waits = callers.before_batch().expect("there is a batch to wait for");
        let mut handing_over = called.call();
        assert!(handing_over.end().now_or_never().is_none());
        let next = callers.before_batch().expect("there is another batch to wait for");
        drop(waits);
        handing_over.end().now_or_never().expect("it has gone, though it was never looked whether it is called");
        assert!(next.now_or_never().is_none(), "whoever comes after the call waits for the next");
    }

    #[tokio::test]
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
