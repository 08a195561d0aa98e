//! Why an entry was refused, and the codes that say so on the wire.

use std::time::Duration;

use snug_protocol::{ErrorBody, ErrorCode, Seq};
use snug_store::{AppendError, StepError, StoreError};

/// Why a message was not appended.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The envelope is another device's.
    #[error("the envelope is not by this device")]
    WrongDevice,
    /// Larger than anything of its type.
    #[error("the entry is too large for its type")]
    TooLarge,
    /// Entries of its type come another way, or not at all.
    #[error("entries of this type are not accepted on the socket")]
    EntryNotAccepted,
    /// It has a target and is of a type that takes none, or the other way round.
    #[error("the entry's type and target do not go together")]
    TargetInvalid,
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

/// `code` with how long to wait, rounded up so that who waits this long is not refused again.
#[must_use]
pub fn wait_body(code: ErrorCode, span: Duration) -> ErrorBody {
    let wait_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    ErrorBody { retry_after_ms: Some(wait_ms), ..code.into() }
}

fn stale_epoch(epoch: u32) -> ErrorBody {
    ErrorBody { epoch: Some(epoch), ..ErrorCode::StaleEpoch.into() }
}

/// `out_of_order` with the counter that comes next.
#[must_use]
pub fn out_of_order(expected: u64) -> ErrorBody {
    ErrorBody { expected: Some(expected), ..ErrorCode::OutOfOrder.into() }
}

fn chain_moved(Seq(chain): Seq) -> ErrorBody {
    ErrorBody { chain: Some(chain), ..ErrorCode::ChainMoved.into() }
}

impl ChatError {
    /// The error as it crosses the wire.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        match self {
            Self::WrongDevice => ErrorCode::WrongDevice.into(),
            Self::TooLarge => ErrorCode::TooLarge.into(),
            Self::EntryNotAccepted => ErrorCode::EntryNotAccepted.into(),
            Self::TargetInvalid => ErrorCode::TargetInvalid.into(),
            Self::TooFast { retry_after } => wait_body(ErrorCode::TooFast, *retry_after),
            Self::Append(error) => append_body(error),
        }
    }
}

fn append_body(error: &AppendError) -> ErrorBody {
    match error {
        AppendError::NotAMember => ErrorCode::NotAMember.into(),
        AppendError::Removed => ErrorCode::Removed.into(),
        AppendError::Banned => ErrorCode::Banned.into(),
        AppendError::NotAllowed => ErrorCode::NotAllowed.into(),
        AppendError::Muted => ErrorCode::Muted.into(),
        AppendError::SlowMode { retry_after } => wait_body(ErrorCode::SlowMode, *retry_after),
        AppendError::StaleEpoch { epoch } => stale_epoch(*epoch),
        AppendError::OutOfOrder { expected } => out_of_order(*expected),
        AppendError::Gone => ErrorCode::Gone.into(),
        AppendError::EntryNotAccepted => ErrorCode::EntryNotAccepted.into(),
        AppendError::TargetInvalid => ErrorCode::TargetInvalid.into(),
        AppendError::TargetGone => ErrorCode::TargetGone.into(),
        AppendError::LastOwner => ErrorCode::LastOwner.into(),
        AppendError::Store(error) => store_code(error).into(),
    }
}

/// A refused step or record as it crosses the wire.
#[must_use]
pub fn step_body(error: &StepError) -> ErrorBody {
    match error {
        StepError::NotAMember => ErrorCode::NotAMember.into(),
        StepError::Removed => ErrorCode::Removed.into(),
        StepError::Banned => ErrorCode::Banned.into(),
        StepError::NotAllowed => ErrorCode::NotAllowed.into(),
        StepError::ChainMoved { chain } => chain_moved(*chain),
        StepError::StaleEpoch { epoch } => stale_epoch(*epoch),
        StepError::OutOfOrder { expected } => out_of_order(*expected),
        StepError::EntryNotAccepted => ErrorCode::EntryNotAccepted.into(),
        StepError::MembersChanged => ErrorCode::MembersChanged.into(),
        StepError::LastOwner => ErrorCode::LastOwner.into(),
        StepError::TooManyEntries => ErrorCode::TooManyEntries.into(),
        StepError::TooManySteps => ErrorCode::TooManySteps.into(),
        StepError::ClockAhead { now_ms } => ErrorBody { server_at_ms: Some(*now_ms), ..ErrorCode::ClockAhead.into() },
        StepError::IdTaken => ErrorCode::IdTaken.into(),
        StepError::Gone => ErrorCode::Gone.into(),
        StepError::Store(error) => store_code(error).into(),
    }
}
