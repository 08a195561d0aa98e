//! One entry's path through this node: check, append, publish. The only caller of `Store::append`, `administer` and `begin_epoch`.

mod counters;
mod error;
mod govern;
mod sending;

use std::sync::Arc;
use std::time::Instant;

use snug_bus::{Bus, BusEvent};
use snug_metrics::Decisions;
use snug_protocol::envelope::{HEADER_BYTES, Header};
use snug_protocol::limits::SMALL_PLAINTEXT_MAX;
use snug_protocol::{DeviceId, EntryKind, Envelope, RoomId, Seq};
use snug_store::{AppendError, Appended, StepError, Store};
use tracing::{Instrument, Span};

use crate::limit::{Buckets, Rate};
use crate::presence::Presence;
use crate::room::may_erase;
use crate::telemetry::trace;

pub use counters::{ChatCounters, Outcome};
pub use error::{ChatError, out_of_order, step_body, store_code, wait_body};
pub use sending::Sending;

/// Envelopes up to this size travel inside the hint; others are read from the store by each node.
const INLINE_BYTES_MAX: usize = 8 * 1024;
/// The plaintext of a profile, bytes: a name and two keys fit into half of it. Members lists carry many of these.
const PROFILE_PLAINTEXT_MAX: usize = 1024;
/// The bytes of an envelope that are not plaintext: its header and the AEAD's tag.
const SEALING_BYTES: usize = HEADER_BYTES + 16;
/// News of devices that lost access, one by one; of more than this many all who follow the room are told to look instead.
const ACCESS_NEWS_MAX: usize = 64;

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

    /// Appends an admitted envelope durably, then publishes it. A duplicate is acknowledged again, and its place announced.
    ///
    /// Dropping what is returned may leave the message committed and unpublished; followers then find it by the head check.
    ///
    /// # Errors
    /// The log's refusal, or the database's failure; then the same envelope may be sent again.
    pub fn send_message(&self, envelope: Envelope) -> Sending {
        Sending::begin(self.clone(), envelope)
    }

    /// Publishes an entry that has just been committed, whatever its type, and makes the acknowledgement of it.
    fn tell(&self, header: &Header, appended: Appended) -> Sent {
        let (seq, at_ms) = (appended.seq, appended.at_ms);
        let Some(frame) = appended.frame else {
            // Whoever committed it may have had no time to tell of it.
            self.publish(BusEvent::Hint { room: header.room, seq, frame: None, trace: None });
            return Sent { seq, at_ms, duplicate: true };
        };
        // Of what erases each node must hear, even if it has found the entry already.
        let inline = frame.bytes().len() <= INLINE_BYTES_MAX || may_erase(header.kind);
        let (frame, span) = (inline.then_some(frame), trace::publish());
        let hint = BusEvent::Hint { room: header.room, seq, frame, trace: trace::parent(&span) };
        self.publish_in(&span, hint);
        Sent { seq, at_ms, duplicate: false }
    }

    /// These devices are in the room no longer: they are gone at once, and their sockets ask why.
    fn tell_access_lost(&self, room: RoomId, devices: &[DeviceId]) {
        for device in devices {
            self.shared.presence.expel(room, *device);
        }
        if devices.len() > ACCESS_NEWS_MAX {
            return self.publish(BusEvent::Access { room, device: None });
        }
        for device in devices {
            self.publish(BusEvent::Access { room, device: Some(*device) });
        }
    }

    /// Publishes without caring whether it arrives: losses are found by those who miss something.
    pub fn publish(&self, event: BusEvent) {
        self.publish_in(&trace::publish(), event);
    }

    fn publish_in(&self, span: &Span, event: BusEvent) {
        if let Err(error) = span.in_scope(|| self.shared.bus.publish(event)) {
            tracing::debug!(%error, "an event was not published");
        }
    }

    /// Forgets devices that have not sent for a while.
    pub fn sweep(&self) {
        self.shared.rates.sweep(Instant::now());
    }
}
