//! What a receiver can prove against a log, with the envelopes that prove it.

use bytes::Bytes;
use snug_protocol::{RoomId, Seq};

/// Which promise of the log was broken (ENCRYPTION.md section 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum ViolationCode {
    /// A sender's counters have a hole or a repeat.
    Counter,
    /// A sender had seen another entry before this one than stands there.
    Prev,
    /// A place was skipped, or two envelopes claim one place.
    Fork,
    /// Another envelope stands where ours was acknowledged.
    Substituted,
    /// Ours was acknowledged and never came back.
    Dropped,
    /// An entry of another epoch than the one in force stands in the log: replayed, or by a removed member.
    Epoch,
    /// An entry of the chain is withheld, or is by somebody who may not do this.
    Authority,
}

impl ViolationCode {
    /// The code as programs and exports name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Prev => "prev",
            Self::Fork => "fork",
            Self::Substituted => "substituted",
            Self::Dropped => "dropped",
            Self::Epoch => "epoch",
            Self::Authority => "authority",
        }
    }
}

/// An envelope that belongs to a violation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// Where the server placed it.
    pub seq: Seq,
    /// The envelope, sealed as it came; of an erased entry its header and hash.
    pub envelope: Bytes,
}

/// The server, or someone, dropped, replayed, reordered or forked messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// What was broken.
    pub code: ViolationCode,
    /// In which room.
    pub room: RoomId,
    /// At which place.
    pub seq: Seq,
    /// What shows it; empty only where the proof is that nothing came.
    pub evidence: Vec<Evidence>,
}
