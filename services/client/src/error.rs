//! The crate's one error type. Variants by what the caller can do; each has a stable [`ClientError::code`].

use snug_protocol::names::NameError;
use snug_protocol::{ErrorBody, ErrorCode};

use crate::chain::ChainFault;

/// What a text was meant to be, when it was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// The name a member goes by.
    MemberName,
    /// A room's name.
    RoomName,
    /// A message's text.
    Text,
    /// A room's password.
    Password,
    /// What a room is about.
    Topic,
    /// A reaction.
    Emoji,
}

/// Why an operation did not happen. Never says which part of a decryption failed, and never carries a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The text cannot be what it was meant to be: change it. Checked here, since the server never sees it.
    #[error("{field:?}: {reason}")]
    Text {
        /// What it was meant to be.
        field: Field,
        /// What is wrong with it.
        reason: NameError,
    },
    /// A message names more devices than it may.
    #[error("a message names at most {mentions_max} devices")]
    TooManyMentions {
        /// How many it may name.
        mentions_max: usize,
    },
    /// The text is not an invite link.
    #[error("this is not an invite link")]
    LinkInvalid,
    /// The text is not a recovery key.
    #[error("this is not a recovery key")]
    RecoveryKeyInvalid,
    /// The base URL in the configuration cannot be used.
    #[error("this is not the address of a server: {0}")]
    AddressInvalid(String),
    /// The server asks for a key derivation this client does not know; it might be a weaker one, so it is refused.
    #[error("the server asks for an unknown key derivation")]
    KdfUnknown,
    /// The way into the room does not open with this password or link, although the server let us pass.
    #[error("the room's key could not be opened")]
    GrantRefused,
    /// The room's founding record does not fit the room key: the server shows another room than the one that was meant.
    #[error("the room's record does not belong to its key")]
    RecordRefused,
    /// The server's keys for a device do not hash to its id.
    #[error("the server shows keys that are not the device's")]
    DeviceKeysRefused,
    /// The key of the room's newest epoch was not sealed to this device, or cannot be had, or its record was refused. Joining again by the
    /// new password gives it, or an owner cuts the history ([`crate::RekeyCause::CutHistory`]).
    #[error("this device lacks the room's newest key")]
    KeyMissing,
    /// An envelope that could not be opened or checked. Why is not told apart.
    #[error("an entry could not be read")]
    Unreadable,
    /// The server refused; its code says whether and when to repeat.
    #[error("{}", .0.message)]
    Server(Box<ErrorBody>),
    /// No server could be reached, or the connection broke on the way. Reading and joining are safe to repeat; a creation may have
    /// happened.
    #[error("no connection: {0}")]
    Network(String),
    /// A server's answer is not of this protocol.
    #[error("the server's answer is not understood")]
    Answer,
    /// More texts wait to be sent than the outbox holds.
    #[error("too many messages wait to be sent")]
    OutboxFull,
    /// The client was closed, or its room was left.
    #[error("the client is closed")]
    Closed,
}

impl ClientError {
    /// A stable name for programs: the server's code, or one of the SDK's own.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Text { field, reason } => text_code(*field, *reason),
            Self::TooManyMentions { .. } => "too_many_mentions",
            Self::LinkInvalid => "link_invalid",
            Self::RecoveryKeyInvalid => "recovery_key_invalid",
            Self::AddressInvalid(_) => "address_invalid",
            Self::KdfUnknown => "kdf_unknown",
            Self::GrantRefused => "grant_refused",
            Self::RecordRefused => "record_refused",
            Self::DeviceKeysRefused => "device_keys_refused",
            Self::KeyMissing => "key_missing",
            Self::Unreadable => "unreadable",
            Self::Server(error) => error.code.as_str(),
            Self::Network(_) => "network",
            Self::Answer => "answer_invalid",
            Self::OutboxFull => "outbox_full",
            Self::Closed => "closed",
        }
    }

    /// The server's code, if it was the server that refused.
    #[must_use]
    pub fn server_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Server(error) => Some(error.code),
            _ => None,
        }
    }
}

impl From<ErrorBody> for ClientError {
    fn from(error: ErrorBody) -> Self {
        Self::Server(Box::new(error))
    }
}

impl From<ChainFault> for ClientError {
    /// As the server would say it, had it been asked.
    fn from(fault: ChainFault) -> Self {
        match fault {
            ChainFault::NotAllowed => ErrorCode::NotAllowed,
            ChainFault::LastOwner => ErrorCode::LastOwner,
            ChainFault::OutOfBounds => ErrorCode::TooManyEntries,
            ChainFault::Unlinked | ChainFault::Unreadable | ChainFault::Epoch | ChainFault::State => {
                ErrorCode::ChainMoved
            }
        }
        .into()
    }
}

impl From<ErrorCode> for ClientError {
    fn from(code: ErrorCode) -> Self {
        ErrorBody::from(code).into()
    }
}

const fn text_code(field: Field, reason: NameError) -> &'static str {
    match (field, reason) {
        (Field::MemberName, NameError::Empty) => "member_name_empty",
        (Field::MemberName, NameError::TooLong { .. }) => "member_name_too_long",
        (Field::MemberName, NameError::ForbiddenCharacter) => "member_name_forbidden_character",
        (Field::RoomName, NameError::Empty) => "room_name_empty",
        (Field::RoomName, NameError::TooLong { .. }) => "room_name_too_long",
        (Field::RoomName, NameError::ForbiddenCharacter) => "room_name_forbidden_character",
        (Field::Text, NameError::Empty) => "text_empty",
        (Field::Text, NameError::TooLong { .. }) => "text_too_long",
        (Field::Text, NameError::ForbiddenCharacter) => "text_forbidden_character",
        (Field::Topic, NameError::Empty) => "topic_empty",
        (Field::Topic, NameError::TooLong { .. }) => "topic_too_long",
        (Field::Topic, NameError::ForbiddenCharacter) => "topic_forbidden_character",
        (Field::Emoji, NameError::Empty) => "emoji_empty",
        (Field::Emoji, NameError::TooLong { .. }) => "emoji_too_long",
        (Field::Emoji, NameError::ForbiddenCharacter) => "emoji_forbidden_character",
        (Field::Password, NameError::Empty) => "password_empty",
        (Field::Password, NameError::TooLong { .. }) => "password_too_long",
        (Field::Password, NameError::ForbiddenCharacter) => "password_forbidden_character",
    }
}
