//! One message's path through this node: check, append, publish. The only caller of `Store::append`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use snug_bus::{Bus, BusEvent};
use snug_protocol::envelope::HEADER_BYTES;
use snug_protocol::{DeviceId, EntryKind, Envelope, ErrorBody, ErrorCode, Seq};
use snug_store::{AppendError, Store, StoreError};
use tracing::Instrument;

use crate::limit::{Buckets, Rate};
use crate::presence::Presence;

/// Envelopes up to this size travel inside the hint; others are read from the store by each node.
const INLINE_BYTES_MAX: usize = 8 * 1024;

/// The largest profile: a name and two keys fit into half of it. Members lists carry many of these.
const PROFILE_BYTES_MAX: usize = HEADER_BYTES + 1024 + 16;

/// Why a message was not appended.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The envelope is another device's.
    #[error("the envelope is not by this device")]
    WrongDevice,
    /// A profile that is larger than any name.
    #[error("the profile is too large")]
    TooLarge,
    /// Its type takes no target.
    #[error("the entry has a target and is of a type that takes none")]
    TargetNotAccepted,
    /// The device sends faster than it may.
    #[error("too fast")]
    TooFast {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The log refused it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// The code for a failure of the database.
#[must_use]
pub fn store_code(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::Full => ErrorCode::StorageFull,
        StoreError::Unavailable(_) => ErrorCode::Unavailable,
        StoreError::Corrupt(_) => ErrorCode::Internal,
    }
}

impl ChatError {
    /// The error as it crosses the wire.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        match self {
            Self::WrongDevice => ErrorCode::WrongDevice.into(),
            Self::TooLarge => ErrorCode::TooLarge.into(),
            Self::TargetNotAccepted => ErrorCode::EntryNotAccepted.into(),
            Self::TooFast { retry_after } => {
                // Rounded up, so that who waits this long is not refused again.
                let wait_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
                ErrorBody { retry_after_ms: Some(wait_ms), ..ErrorCode::TooFast.into() }
            }
            Self::Append(AppendError::NotAMember) => ErrorCode::NotAMember.into(),
            Self::Append(AppendError::StaleEpoch { epoch }) => {
                ErrorBody { epoch: Some(*epoch), ..ErrorCode::StaleEpoch.into() }
            }
            Self::Append(AppendError::OutOfOrder { expected }) => {
                ErrorBody { expected: Some(*expected), ..ErrorCode::OutOfOrder.into() }
            }
            Self::Append(AppendError::Gone) => ErrorCode::Gone.into(),
            Self::Append(AppendError::EntryNotAccepted) => ErrorCode::EntryNotAccepted.into(),
            Self::Append(AppendError::Store(error)) => store_code(error).into(),
        }
    }
}

/// An acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The message's place.
    pub seq: Seq,
    /// When it was committed.
    pub at_ms: u64,
    /// It had been committed before.
    pub duplicate: bool,
}

/// Appends messages and tells the bus. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    store: Store,
    bus: Arc<dyn Bus>,
    presence: Presence,
    rates: Arc<Buckets<DeviceId>>,
}

impl Chat {
    /// Over this store and bus, each device limited to `rate`.
    #[must_use]
    pub fn new(store: Store, bus: Arc<dyn Bus>, presence: Presence, rate: Rate) -> Self {
        Self { store, bus, presence, rates: Arc::new(Buckets::new(rate)) }
    }

    /// Checks what can be told without the database: the author, what its type allows, and the rate.
    ///
    /// # Errors
    /// `WrongDevice`, `TooLarge`, `TargetNotAccepted`, `TooFast`.
    pub fn admit(&self, envelope: &Envelope, device: DeviceId) -> Result<(), ChatError> {
        let header = envelope.header();
        let fits = header.kind != EntryKind::Profile || envelope.bytes().len() <= PROFILE_BYTES_MAX;
        let charged = self.rates.charge(&device, Instant::now());
        if header.device != device {
            return Err(ChatError::WrongDevice);
        }
        if !fits {
            return Err(ChatError::TooLarge);
        }
        // No type that this version accepts is about another entry.
        if header.target != Seq::ZERO {
            return Err(ChatError::TargetNotAccepted);
        }
        charged.map_err(|retry_after| ChatError::TooFast { retry_after })
    }

    /// Appends an admitted envelope durably, then publishes it. A duplicate is acknowledged again and not published.
    ///
    /// Dropping the future may leave the message committed and unpublished; followers then find it by the head check.
    ///
    /// # Errors
    /// The log's refusal, or the database's failure; then the same envelope may be sent again.
    pub async fn send_message(&self, envelope: Envelope) -> Result<Sent, ChatError> {
        let header = *envelope.header();
        let append = tracing::debug_span!("append", room = %header.room);
        let appended = self.store.append(envelope).instrument(append).await?;
        let (seq, at_ms) = (appended.seq, appended.at_ms);
        let Some(frame) = appended.frame else { return Ok(Sent { seq, at_ms, duplicate: true }) };
        let inline = frame.bytes().len() <= INLINE_BYTES_MAX;
        self.publish(BusEvent::Hint { room: header.room, seq, frame: inline.then_some(frame) }).await;
        if header.kind == EntryKind::Leave {
            self.presence.expel(header.room, header.device);
            self.publish(BusEvent::Access { room: header.room, device: Some(header.device) }).await;
        }
        Ok(Sent { seq, at_ms, duplicate: false })
    }

    /// Publishes without caring whether it arrives: losses are found by those who miss something.
    pub async fn publish(&self, event: BusEvent) {
        if let Err(error) = self.bus.publish(event).instrument(tracing::debug_span!("publish")).await {
            tracing::debug!(%error, "an event was not published");
        }
    }

    /// Forgets devices that have not sent for a while.
    pub fn sweep(&self) {
        self.rates.sweep(Instant::now());
    }
}
