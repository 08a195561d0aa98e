//! Steps: what admins change between two epoch records (ENCRYPTION.md section 6).

use serde::{Deserialize, Serialize};
use snug_protocol::http::Role;
use snug_protocol::{DeviceId, EnvelopeHash, GrantId};

use super::PublicKeys;
use super::emoji::is_topic;
use super::json::{NUMBER_MAX, fixed};
use super::state::{is_retention, is_slow_interval};

/// What a step changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Step {
    /// What the room is about.
    Topic {
        /// At most 200 code points; may be empty.
        topic: String,
    },
    /// Newcomers are refused, or let in.
    Lock {
        /// Refused.
        locked: bool,
    },
    /// How often members may write.
    Slow {
        /// One message in this time; 0 to 3,600,000; 0: no limit.
        interval_ms: u64,
    },
    /// A device may not write.
    Mute {
        /// Which.
        device: DeviceId,
        /// Until when, Unix milliseconds; 0 lifts it.
        until_ms: u64,
    },
    /// All messages, edits and reactions of a device at lower places are erased.
    Erase {
        /// Which.
        device: DeviceId,
    },
    /// A banned device may come back.
    Unban {
        /// Which.
        device: DeviceId,
    },
    /// Messages are erased by age.
    Retention {
        /// At this age; 0: never; else one hour to ten years.
        age_ms: u64,
    },
    /// The password grant was replaced.
    Password {
        /// By this one.
        grant: GrantId,
    },
    /// A device gets another role.
    Role {
        /// Which.
        device: DeviceId,
        /// Its keys, which hash to it.
        #[serde(flatten)]
        keys: PublicKeys,
        /// `member` takes it away.
        role: Role,
    },
    /// A device becomes owner, the signer moderator.
    Transfer {
        /// Which.
        device: DeviceId,
        /// Its keys, which hash to it.
        #[serde(flatten)]
        keys: PublicKeys,
    },
}

impl Step {
    /// Whether every number and text is within its bounds, and keys hash to their device.
    #[must_use]
    pub fn is_in_bounds(&self) -> bool {
        match self {
            Self::Topic { topic } => is_topic(topic),
            Self::Slow { interval_ms } => is_slow_interval(*interval_ms),
            Self::Mute { until_ms, .. } => *until_ms <= NUMBER_MAX,
            Self::Retention { age_ms } => is_retention(*age_ms),
            Self::Role { device, keys, .. } | Self::Transfer { device, keys } => keys.id() == *device,
            Self::Lock { .. } | Self::Erase { .. } | Self::Unban { .. } | Self::Password { .. } => true,
        }
    }
}

/// A step's body: a link of the chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StepBody {
    /// The envelope hash of the chain entry before it, which the header's target names by its place.
    #[serde(with = "fixed")]
    pub previous: EnvelopeHash,
    /// What it changes.
    pub step: Step,
}
