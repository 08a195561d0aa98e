//! One of the two connections to Redis, replaced as a whole whenever it fails.
//!
//! fred could reconnect by itself, but then loses subscriptions, keeps a connection alive as long as something is written to it although
//! nothing is answered, and in a cluster does not replace a connection that merely seems to work. A new client has none of the old one's
//! state.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::ConnectHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between looks whether a client has connected.
const CONNECTED_LOOK: Duration = Duration::from_millis(20);
/// For a connection to be made, over all addresses. Each step has a limit of its own, too.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(8);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// For a client to say goodbye.
const QUIT_LIMIT: Duration = Duration::from_millis(500);

/// The last time of something. Shared by its copies.
#[derive(Clone)]
pub(super) struct Moment {
    began: Instant,
    after_ms: Arc<AtomicU64>,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { began: Instant::now(), after_ms: Arc::default() }
    }

    pub(super) fn note(&self) {
        let after_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.after_ms.store(after_ms, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Instant {
        self.began + Duration::from_millis(self.after_ms.load(Ordering::Relaxed))
    }
}

/// The client in use.
#[derive(Clone)]
pub(super) struct Current<C> {
    pub(super) client: C,
    /// Cancelled by whoever finds that the client must be replaced, and when it is.
    pub(super) broken: CancellationToken,
    /// When Redis last gave a sign of life to this client, in a cluster all of its servers.
    pub(super) lived: Moment,
}

impl<C: ClientLike> Current<C> {
    /// Redis has given a sign of life; in a cluster one server, which says nothing of the others.
    pub(super) fn note_life(&self) {
        if !self.client.is_clustered() {
            self.lived.note();
        }
    }

    /// Waits for `answer`, unless the client is replaced meanwhile: then nothing would come. fred keeps what is asked of a client whose
    /// connection has ended.
    pub(super) async fn unless_broken<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            answer = answer => answer.inspect(|_| self.note_life()),
            () = self.broken.cancelled() => Err(Error::new_canceled()),
        }
    }
}

/// A connection's present client, if there is one.
pub(super) struct Side<C> {
    current: RwLock<Option<Current<C>>>,
}

impl<C> Default for Side<C> {
    fn default() -> Self {
        Self { current: RwLock::new(None) }
    }
}

impl<C: ClientLike> Side<C> {
    /// The client, unless there is none at present or it was found to be broken.
    pub(super) fn current(&self) -> Option<Current<C>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|current| !current.broken.is_cancelled()).cloned()
    }

    fn set(&self, current: Option<Current<C>>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// Uses a client from now on.
    pub(super) fn take(&self, connected: &Connected<C>, closed: &CancellationToken) -> Current<C> {
        let (client, broken) = (connected.client.clone(), closed.child_token());
        let current = Current { client, broken, lived: Moment::now() };
        self.set(Some(current.clone()));
        current
    }

    /// Keeps the side connected until `closed`, beginning with a client that was taken. `begin` is called with each further one.
    pub(super) async fn keep(
        &self,
        what: &'static str,
        (mut connected, mut current): (Connected<C>, Current<C>),
        make: impl Fn() -> Result<C, Error>,
        begin: impl Fn(&Current<C>),
        closed: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = current.broken.cancelled() => {}
                ended = &mut connected.task => {
                    let reason = ended.map_or_else(|error| error.to_string(), |ended| ended.err().map_or_else(|| "closed".to_owned(), |error| error.to_string()));
                    tracing::warn!(what, reason, "the connection to Redis was lost");
                }
            }
            self.set(None);
            current.broken.cancel();
            if closed.is_cancelled() {
                let _ = tokio::time::timeout(QUIT_LIMIT, connected.client.quit()).await;
                return;
            }
            drop(connected);
            let again = tokio::select! {
                () = closed.cancelled() => return,
                again = connect_again(what, &make) => again,
            };
            connected = again;
            current = self.take(&connected, &closed);
            begin(&current);
            tracing::info!(what, "connected to Redis again");
        }
    }
}

async fn connect_again<C: ClientLike>(what: &'static str, make: impl Fn() -> Result<C, Error>) -> Connected<C> {
    let mut wait = BACKOFF_MIN;
    loop {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF_MAX);
        let attempt = async { Connected::new(make()?).await };
        match attempt.await {
            Ok(connected) => return connected,
            Err(error) => tracing::debug!(what, %error, "Redis cannot be reached"),
        }
    }
}

/// A connected client. Dropping it ends the connection.
pub(super) struct Connected<C> {
    pub(super) client: C,
    task: ConnectHandle,
}

impl<C: ClientLike> Connected<C> {
    /// Connects `client`, which was not before.
    pub(super) async fn new(client: C) -> Result<Self, Error> {
        let mut connected = Self { task: client.connect(), client };
        let outcome = tokio::time::timeout(ATTEMPT_LIMIT, async {
            while !connected.client.is_connected() {
                tokio::select! {
                    ended = &mut connected.task => return ended?.and(Err(Error::new_canceled())),
                    // What it waits for may have happened before it began to.
                    _ = tokio::time::timeout(CONNECTED_LOOK, connected.client.wait_for_connect()) => {}
                }
            }
            Ok(())
        });
        outcome.await.map_err(|_| Error::new(ErrorKind::Timeout, "no answer"))??;
        Ok(connected)
    }
}

impl<C> Drop for Connected<C> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
