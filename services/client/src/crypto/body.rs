//! The JSON bodies inside envelopes. Reading checks everything that will be shown.

use serde::{Deserialize, Serialize};
use snug_protocol::limits::BODY_BYTES_MAX;
use snug_protocol::{Base64Bytes, EntryKind};

use super::{EpochRecord, PublicKeys};
use crate::error::ClientError;
use crate::text;

/// How a device introduces itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// The member's name.
    pub name: String,
    /// It has just become a member, rather than introducing itself again.
    pub joined: bool,
    /// Ed25519 public key.
    pub sign_key: Base64Bytes,
    /// X25519 public key.
    pub agree_key: Base64Bytes,
}

#[derive(Serialize, Deserialize)]
struct Message {
    text: String,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// The statement of an epoch.
    EpochRecord(EpochRecord),
    /// A device introduces itself.
    Profile(Profile),
    /// A text.
    Message {
        /// As typed.
        text: String,
    },
    /// The device ends its membership.
    Leave,
}

impl Body {
    /// The entry type that carries it.
    #[must_use]
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::EpochRecord(_) => EntryKind::EpochRecord,
            Self::Profile(_) => EntryKind::Profile,
            Self::Message { .. } => EntryKind::Message,
            Self::Leave => EntryKind::Leave,
        }
    }

    /// The body as it is sealed.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        match self {
            Self::EpochRecord(record) => serde_json::to_vec(record),
            Self::Profile(profile) => serde_json::to_vec(profile),
            Self::Message { text } => serde_json::to_vec(&Message { text: text.clone() }),
            Self::Leave => Ok(b"{}".to_vec()),
        }
        .expect("texts, numbers and lists are JSON")
    }

    /// Reads a body and checks names, texts and key lengths.
    ///
    /// # Errors
    /// `unreadable`, whatever is wrong.
    pub fn parse(kind: EntryKind, json: &[u8]) -> Result<Self, ClientError> {
        if json.len() > BODY_BYTES_MAX {
            return Err(ClientError::Unreadable);
        }
        let unreadable = |_| ClientError::Unreadable;
        match kind {
            EntryKind::EpochRecord => Ok(Self::EpochRecord(serde_json::from_slice(json).map_err(unreadable)?)),
            EntryKind::Profile => {
                let mut profile: Profile = serde_json::from_slice(json).map_err(unreadable)?;
                profile.name = text::member_name(&profile.name).map_err(|_| ClientError::Unreadable)?;
                PublicKeys::parse(&profile.sign_key, &profile.agree_key).map_err(|_| ClientError::Unreadable)?;
                Ok(Self::Profile(profile))
            }
            EntryKind::Message => {
                let message: Message = serde_json::from_slice(json).map_err(unreadable)?;
                text::received_text(&message.text).map_err(|_| ClientError::Unreadable)?;
                Ok(Self::Message { text: message.text })
            }
            EntryKind::Leave => {
                serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(json).map_err(unreadable)?;
                Ok(Self::Leave)
            }
        }
    }
}
