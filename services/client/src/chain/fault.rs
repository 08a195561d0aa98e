//! Why an entry of the chain counts for nothing.

/// Why an entry of the chain changes nothing. Each is a violation (`authority`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, thiserror::Error)]
pub enum ChainFault {
    /// It does not name the newest chain entry by place and hash, or is no entry of the chain.
    #[error("it does not follow upon the newest chain entry")]
    Unlinked,
    /// It could not be opened, or is not well formed.
    #[error("it cannot be read")]
    Unreadable,
    /// Its epoch is not the one that comes next.
    #[error("its epoch does not come next")]
    Epoch,
    /// Its signer may not do this, or not to this device.
    #[error("its signer may not do this")]
    NotAllowed,
    /// The room would be left without an owner.
    #[error("the room would have no owner")]
    LastOwner,
    /// A list would become longer than it may be, or the entry's counter is not 0.
    #[error("it is out of bounds")]
    OutOfBounds,
    /// The record states something else than what follows from the state before.
    #[error("the record's state is not what follows from the chain")]
    State,
}

impl ChainFault {
    /// The fault as vectors and exports name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unlinked => "unlinked",
            Self::Unreadable => "unreadable",
            Self::Epoch => "epoch",
            Self::NotAllowed => "not_allowed",
            Self::LastOwner => "last_owner",
            Self::OutOfBounds => "out_of_bounds",
            Self::State => "state",
        }
    }
}
