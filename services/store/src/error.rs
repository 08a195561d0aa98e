//! Errors, by what the caller can do about them.

mod open;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use snug_protocol::Seq;

pub use open::OpenError;

/// The cause of an error, shared by all who waited for one commit.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// The store could not do its part.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database did not answer, is closed or closing, or too much is waiting for it. Whether a write was committed is not known
    /// unless this came from a batch that was rolled back; repeating an append is always safe. Try again later.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Cause),
    /// The disk or the quota is full. Nothing was written; reading and deleting still work.
    #[error("the database has no space left")]
    Full,
    /// The database holds what no version of this code wrote, or a statement was refused that never should be. Trying again is of no use.
    #[error("the database is damaged or not as expected: {0}")]
    Corrupt(String),
}

impl StoreError {
    pub(crate) fn unavailable(why: &'static str) -> Self {
        Self::Unavailable(Arc::new(Unavailable(why)))
    }

    pub(crate) fn corrupt(why: impl Into<String>) -> Self {
        Self::Corrupt(why.into())
    }

    /// The store is closed, closing, or its writer has ended.
    pub(crate) fn closed() -> Self {
        Self::unavailable("the store is closed")
    }
}

/// A reason of ours, where no library gave one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unavailable(&'static str);

/// Why a message was not appended. Nothing of it was stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The device is not a member of the room now, or there is no such room.
    #[error("the device is not a member of the room")]
    NotAMember,
    /// The room's epoch is another.
    #[error("the room's epoch is {epoch}")]
    StaleEpoch {
        /// The room's.
        epoch: u32,
    },
    /// An earlier message of the same instance has not come yet.
    #[error("the next counter of this instance is {expected}")]
    OutOfOrder {
        /// The counter to go on with.
        expected: u64,
    },
    /// It was appended once and has been erased since.
    #[error("the entry has been erased")]
    Gone,
    /// Entries of this kind are not appended.
    #[error("entries of this kind are not accepted")]
    EntryNotAccepted,
    /// An admin has ended the device's membership.
    #[error("the device has been removed from the room")]
    Removed,
    /// An admin has banned the device.
    #[error("the device is banned from the room")]
    Banned,
    /// It is about an entry that is not the device's to change.
    #[error("the member's role does not allow this")]
    NotAllowed,
    /// The member may not write at present.
    #[error("the member is muted")]
    Muted,
    /// The member's last message was too short a time ago.
    #[error("slow mode: the next message may come in {retry_after:?}")]
    SlowMode {
        /// When it may come.
        retry_after: Duration,
    },
    /// What it is about is not there or is no message; or it is about something and should not be, or the other way round.
    #[error("the target does not exist or is not a message")]
    TargetInvalid,
    /// What it is about has been erased.
    #[error("the target has been erased")]
    TargetGone,
    /// The only owner cannot leave while others are members.
    #[error("the room needs an owner")]
    LastOwner,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a room was not created. Nothing of it was stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateRoomError {
    /// A room's name looks like this one.
    #[error("the room's name is taken")]
    NameTaken,
    /// A room has this id, or had it and is still being erased.
    #[error("the room's id is taken")]
    IdTaken,
    /// The device is a member of as many rooms as it may.
    #[error("the device is in too many rooms")]
    TooManyRooms,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an invite was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateInviteError {
    /// The room has as many as it may.
    #[error("the room has too many invites")]
    TooManyInvites,
    /// The room has a grant with this id.
    #[error("the invite's id is taken")]
    IdTaken,
    /// Its maker is not a member now, or there is no such room.
    #[error("the device is not a member of the room")]
    NotAMember,
    /// The room lets nobody in.
    #[error("the room is locked")]
    Locked,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a step or an epoch's record was not appended, or keys not staged. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StepError {
    /// The author is not a member of the room now, or there is no such room.
    #[error("the device is not a member of the room")]
    NotAMember,
    /// An admin has ended the author's membership.
    #[error("the device has been removed from the room")]
    Removed,
    /// An admin has banned the author.
    #[error("the device is banned from the room")]
    Banned,
    /// The author's role does not allow this, or not to this device.
    #[error("the member's role does not allow this")]
    NotAllowed,
    /// Another chain entry came first.
    #[error("the room's newest chain entry is {chain}")]
    ChainMoved {
        /// The newest.
        chain: Seq,
    },
    /// The room's epoch is another; for an epoch to begin, not the one before it.
    #[error("the room's epoch is {epoch}")]
    StaleEpoch {
        /// The room's.
        epoch: u32,
    },
    /// An earlier envelope of the same instance has not come.
    #[error("the next counter of this instance is {expected}")]
    OutOfOrder {
        /// The counter to go on with.
        expected: u64,
    },
    /// It is of another kind, or not the first of its instance.
    #[error("entries of this kind are not accepted")]
    EntryNotAccepted,
    /// The keys that are staged are not those that were said to be, or one is for somebody who is not of the room or is being removed.
    #[error("the keys that are staged are not those that were meant")]
    MembersChanged,
    /// The room would have no owner among its members.
    #[error("the room needs an owner")]
    LastOwner,
    /// Of admins, banned, muted or removed devices, or of keys, there would be more than there may be.
    #[error("there are too many entries of this kind")]
    TooManyEntries,
    /// The author has taken as many steps in this epoch as it may.
    #[error("the device has taken too many steps in this epoch")]
    TooManySteps,
    /// The record's time is far ahead of the database's clock.
    #[error("the record's time has not come yet")]
    ClockAhead {
        /// The database's time, Unix milliseconds.
        now_ms: u64,
    },
    /// The room has a grant with this id.
    #[error("the grant's id is taken")]
    IdTaken,
    /// It was appended once and has been erased since.
    #[error("the entry has been erased")]
    Gone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a device did not enter. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EnterError {
    /// There is no such room or grant any more.
    #[error("there is no such grant")]
    Gone,
    /// The invite's time is over.
    #[error("the invite has expired")]
    Expired,
    /// The invite has been used as often as it may. Not told to devices that are members already.
    #[error("the invite has been used up")]
    UsedUp,
    /// The room lets nobody in who is not a member.
    #[error("the room is locked")]
    Locked,
    /// The device may not come back.
    #[error("the device is banned from the room")]
    Banned,
    /// The room has as many members as it may.
    #[error("the room has too many members")]
    TooManyMembers,
    /// The device is a member of as many rooms as it may.
    #[error("the device is in too many rooms")]
    TooManyRooms,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An error of a write: it may be the store's.
pub(crate) trait Failure: From<StoreError> {
    /// The store's, if it is one.
    fn store_error(&self) -> Option<&StoreError>;
}

impl Failure for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

macro_rules! failures {
    ($($error:ty),*) => {
        $(impl Failure for $error {
            fn store_error(&self) -> Option<&StoreError> {
                if let Self::Store(error) = self { Some(error) } else { None }
            }
        })*
    };
}
failures!(AppendError, CreateRoomError, CreateInviteError, EnterError, StepError);
