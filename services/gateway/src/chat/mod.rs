//! One entry's path through this node: check, append, tell. The only caller of `Store::append`, `administer` and `begin_epoch`.

mod counters;
mod error;
mod govern;
mod sending;
mod telling;

use std::sync::Arc;
use std::time::Instant;

use snug_bus::Bus;
use snug_metrics::Decisions;
use snug_protocol::envelope::HEADER_BYTES;
use snug_protocol::limits::SMALL_PLAINTEXT_MAX;
use snug_protocol::{DeviceId, EntryKind, Envelope, RoomId, Seq};
use snug_store::{AppendError, Appended, StepError, Store};
use tracing::{Instrument, Span};

use crate::limit::{Buckets, Rate};
use crate::presence::Presence;
use crate::telemetry::trace;

pub use counters::{ChatCounters, Outcome};
pub use error::{ChatError, out_of_order, step_body, store_code, wait_body};
pub use sending::Sending;
pub use telling::News;

/// The plaintext of a profile, bytes: a name and two keys fit into half of it. Members lists carry many of these.
const PROFILE_PLAINTEXT_MAX: usize = 1024;
/// The bytes of an envelope that are not plaintext: its header and the AEAD's tag.
const SEALING_BYTES: usize = HEADER_BYTES + 16;

/// An acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The entry's place.
    pub seq: Seq,
    /// When it was committed.
    pub at_ms: u64,
    /// It had been committed before.
    pub duplicate: bool,
}

impl Sent {
    const fn of(appended: &Appended) -> Self {
        Self { seq: appended.seq, at_ms: appended.at_ms, duplicate: appended.frame.is_none() }
    }
}

/// Appends entries and tells the bus. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    bus: Arc<dyn Bus>,
    presence: Presence,
    rates: Buckets<DeviceId>,
    counters: ChatCounters,
}

/// Whether the database failed, rather than the log refused.
trait StoreFailed: std::fmt::Display {
    fn store_failed(&self) -> bool;
}

impl StoreFailed for AppendError {
    fn store_failed(&self) -> bool {
        matches!(self, Self::Store(_))
    }
}

impl StoreFailed for StepError {
    fn store_failed(&self) -> bool {
        matches!(self, Self::Store(_))
    }
}

/// Whether an entry may come by the socket as far as its header and size tell.
fn check_form(envelope: &Envelope) -> Result<(), ChatError> {
    let (header, bytes) = (envelope.header(), envelope.bytes().len());
    if header.kind.is_chain() {
        return Err(ChatError::EntryNotAccepted);
    }
    let plaintext_max = match header.kind {
        EntryKind::Profile => PROFILE_PLAINTEXT_MAX,
        EntryKind::Reaction | EntryKind::Pin => SMALL_PLAINTEXT_MAX,
        _ => usize::MAX - SEALING_BYTES,
    };
    if bytes > SEALING_BYTES + plaintext_max {
        return Err(ChatError::TooLarge);
    }
    if header.kind.is_about_a_message() == (header.target == Seq::ZERO) {
        return Err(ChatError::TargetInvalid);
    }
    Ok(())
}

impl Chat {
    /// Over this store and bus, each device limited to `rate`.
    #[must_use]
    pub fn new(store: Store, bus: Arc<dyn Bus>, presence: Presence, rate: Rate) -> Self {
        let (rates, counters) = (Buckets::new(rate), ChatCounters::default());
        Self { shared: Arc::new(Shared { store, bus, presence, rates, counters }) }
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self) -> &ChatCounters {
        &self.shared.counters
    }

    /// How many writes were within their device's rate and how many were not.
    #[must_use]
    pub fn rate_decisions(&self) -> &Decisions {
        self.shared.rates.decisions()
    }

    /// Waits for the log's answer and counts it. `appended`: the entry in a good answer.
    async fn counted<T, E: StoreFailed>(
        &self,
        room: RoomId,
        appending: impl Future<Output = Result<T, E>>,
        appended: impl FnOnce(&T) -> &Appended,
    ) -> Result<T, E> {
        let (began, span) = (Instant::now(), trace::append(room));
        let answer = appending.instrument(span.clone()).await;
        self.count(began, &span, answer.as_ref().map(appended));
        answer
    }

    /// Counts the log's answer, and tells the trace of it.
    fn count<E: StoreFailed>(&self, began: Instant, span: &Span, answer: Result<&Appended, &E>) {
        self.shared.counters.seconds.observe(began.elapsed());
        let (outcome, seq) = match answer {
            Ok(Appended { seq, frame, .. }) => {
                (if frame.is_some() { Outcome::Appended } else { Outcome::Duplicate }, Some(*seq))
            }
            Err(error) if error.store_failed() => {
                // Here, where a trace can be named.
                tracing::warn!(%error, "an entry was not stored");
                (Outcome::Failed, None)
            }
            Err(_) => (Outcome::Refused, None),
        };
        self.shared.counters.appends.of(outcome).increment();
        trace::committed(span, seq);
    }

    /// Counts one write of `device` against its rate.
    ///
    /// # Errors
    /// `TooFast`.
    pub fn charge(&self, device: DeviceId) -> Result<(), ChatError> {
        self.shared.rates.charge(&device, Instant::now()).map_err(|retry_after| ChatError::TooFast { retry_after })
    }

    /// Checks what can be told without the database: the author, what its type allows, and the rate. A refused one counts too.
    ///
    /// # Errors
    /// `WrongDevice`, `EntryNotAccepted`, `TooLarge`, `TargetInvalid`, `TooFast`.
    pub fn admit(&self, envelope: &Envelope, device: DeviceId) -> Result<(), ChatError> {
        let charged = self.charge(device);
        if envelope.header().device != device {
            return Err(ChatError::WrongDevice);
        }
        check_form(envelope)?;
        charged
    }

    /// Appends an admitted envelope durably. A duplicate is acknowledged again. With the acknowledgement comes what is to be given to
    /// [`Chat::tell`], and whoever drops either leaves the message committed and unpublished; followers then find it by the head check.
    ///
    /// # Errors
    /// The log's refusal, or the database's failure; then the same envelope may be sent again.
    pub fn send_message(&self, envelope: Envelope) -> Sending {
        Sending::begin(self.clone(), envelope)
    }

    /// Forgets devices that have not sent for a while.
    pub fn sweep(&self) {
        self.shared.rates.sweep(Instant::now());
    }
}
