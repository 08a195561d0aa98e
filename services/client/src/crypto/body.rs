//! The JSON bodies inside envelopes. Reading checks everything that will be shown or folded.

use serde::{Deserialize, Serialize};
use snug_protocol::limits::{BODY_BYTES_MAX, MENTIONS_MAX};
use snug_protocol::{Base64Bytes, DeviceId, EntryKind, Seq};

use super::emoji::reaction_emoji;
use super::json::{self, NUMBER_MAX};
use super::{EpochRecord, PublicKeys, StepBody};
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

/// A text, and whom it is about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    /// As typed, 1 to 4,000 code points.
    pub text: String,
    /// The message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Seq>,
    /// Devices that it names, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<DeviceId>,
}

impl Message {
    /// A text that answers nothing and names nobody.
    #[must_use]
    pub fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::of(text)
    }
}

impl From<&String> for Message {
    fn from(text: &String) -> Self {
        Self::of(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::of(text)
    }
}

/// What takes the place of a message's text and mentions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Edit {
    /// As typed, 1 to 4,000 code points.
    pub text: String,
    /// Devices that it names, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<DeviceId>,
}

/// An emoji on a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reaction {
    /// Which; see [`reaction_emoji`].
    pub emoji: String,
    /// `false` takes it back.
    pub on: bool,
}

/// A message is pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pin {
    /// `false` unpins it.
    pub on: bool,
}

#[derive(Serialize, Deserialize)]
struct Nothing {}

/// What an entry says. What it is about stands in its header's target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// The statement of an epoch.
    EpochRecord(Box<EpochRecord>),
    /// A device introduces itself.
    Profile(Profile),
    /// A text.
    Message(Message),
    /// The device ends its membership.
    Leave,
    /// Another text for a message.
    Edit(Edit),
    /// A message is erased.
    Deletion,
    /// An emoji on a message, or its taking back.
    Reaction(Reaction),
    /// An administrative step.
    Step(StepBody),
    /// A message is pinned, or unpinned.
    Pin(Pin),
}

impl Body {
    /// The entry type that carries it.
    #[must_use]
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::EpochRecord(_) => EntryKind::EpochRecord,
            Self::Profile(_) => EntryKind::Profile,
            Self::Message(_) => EntryKind::Message,
            Self::Leave => EntryKind::Leave,
            Self::Edit(_) => EntryKind::Edit,
            Self::Deletion => EntryKind::Deletion,
            Self::Reaction(_) => EntryKind::Reaction,
            Self::Step(_) => EntryKind::Step,
            Self::Pin(_) => EntryKind::Pin,
        }
    }

    /// The body as it is sealed. It is not checked: see [`Body::is_in_bounds`].
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        match self {
            Self::EpochRecord(record) => serde_json::to_vec(record),
            Self::Profile(profile) => serde_json::to_vec(profile),
            Self::Message(message) => serde_json::to_vec(message),
            Self::Edit(edit) => serde_json::to_vec(edit),
            Self::Reaction(reaction) => serde_json::to_vec(reaction),
            Self::Step(step) => serde_json::to_vec(step),
            Self::Pin(pin) => serde_json::to_vec(pin),
            Self::Leave | Self::Deletion => serde_json::to_vec(&Nothing {}),
        }
        .expect("texts, numbers and lists are JSON")
    }

    /// Reads a body and checks names, texts, lists, numbers and key lengths.
    ///
    /// # Errors
    /// `unreadable`, whatever is wrong.
    pub fn parse(kind: EntryKind, json: &[u8]) -> Result<Self, ClientError> {
        if json.len() > BODY_BYTES_MAX {
            return Err(ClientError::Unreadable);
        }
        let body = match kind {
            EntryKind::EpochRecord => json::parse(json).map(Self::EpochRecord),
            EntryKind::Profile => json::parse(json).and_then(normal_profile).map(Self::Profile),
            EntryKind::Message => json::parse(json).map(Self::Message),
            EntryKind::Leave => json::parse::<Nothing>(json).map(|_| Self::Leave),
            EntryKind::Edit => json::parse(json).map(Self::Edit),
            EntryKind::Deletion => json::parse::<Nothing>(json).map(|_| Self::Deletion),
            EntryKind::Reaction => json::parse(json).map(Self::Reaction),
            EntryKind::Step => json::parse(json).map(Self::Step),
            EntryKind::Pin => json::parse(json).map(Self::Pin),
        };
        body.filter(Self::is_in_bounds).ok_or(ClientError::Unreadable)
    }

    /// Whether every reader takes it: texts, lists and numbers are within their bounds.
    #[must_use]
    pub fn is_in_bounds(&self) -> bool {
        match self {
            Self::EpochRecord(record) => record.is_in_bounds(),
            Self::Profile(profile) => {
                text::member_name(&profile.name).is_ok()
                    && PublicKeys::parse(&profile.sign_key, &profile.agree_key).is_ok()
            }
            Self::Message(Message { text, reply_to, mentions }) => {
                is_text(text, mentions) && reply_to.is_none_or(|seq| (1..=NUMBER_MAX).contains(&seq.0))
            }
            Self::Edit(Edit { text, mentions }) => is_text(text, mentions),
            Self::Reaction(reaction) => reaction_emoji(&reaction.emoji).is_ok(),
            Self::Step(body) => body.step.is_in_bounds(),
            Self::Leave | Self::Deletion | Self::Pin(_) => true,
        }
    }

    /// Whether an entry with this body may have this target: a message, the chain entry before it, or nothing.
    #[must_use]
    pub fn may_target(&self, target: Seq) -> bool {
        let aims = match self {
            Self::EpochRecord(record) => record.epoch > 0,
            _ => self.kind().is_about_a_message() || self.kind().is_chain(),
        };
        aims == (target > Seq::ZERO)
    }
}

fn is_text(text: &str, mentions: &[DeviceId]) -> bool {
    text::received_text(text).is_ok() && mentions.len() <= MENTIONS_MAX
}

/// The profile with its name as it is shown.
fn normal_profile(profile: Profile) -> Option<Profile> {
    Some(Profile { name: text::member_name(&profile.name).ok()?, ..profile })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(kind: EntryKind, json: &str) -> bool {
        Body::parse(kind, json.as_bytes()).is_ok()
    }

    #[test]
    fn a_body_is_read_as_it_was_written() {
        let device = DeviceId([7; 16]);
        for body in [
            Body::Message(Message { text: "Hi".into(), reply_to: Some(Seq(4)), mentions: vec![device] }),
            Body::Message(Message::of("Hi")),
            Body::Edit(Edit { text: "Ho".into(), mentions: vec![device, device] }),
            Body::Deletion,
            Body::Leave,
            Body::Reaction(Reaction { emoji: "👍".into(), on: false }),
            Body::Pin(Pin { on: true }),
        ] {
            assert_eq!(Body::parse(body.kind(), &body.to_json()).ok(), Some(body));
        }
        assert_eq!(Body::Message(Message::of("a")).to_json(), br#"{"text":"a"}"#);
    }

    #[test]
    fn a_body_out_of_bounds_is_unreadable() {
        let device = DeviceId([7; 16]);
        let mentions = |count: usize| serde_json::to_string(&vec![device; count]).expect("ids are JSON");
        assert!(reads(EntryKind::Message, &format!(r#"{{"text":"a","mentions":{}}}"#, mentions(50))));
        for (kind, json) in [
            (EntryKind::Message, format!(r#"{{"text":"a","mentions":{}}}"#, mentions(51))),
            (EntryKind::Edit, format!(r#"{{"text":"a","mentions":{}}}"#, mentions(51))),
            (EntryKind::Message, r#"{"text":"a","mentions":["short"]}"#.into()),
            (EntryKind::Message, r#"{"text":"a","reply_to":0}"#.into()),
            (EntryKind::Message, r#"{"text":"a","reply_to":9007199254740992}"#.into()),
            (EntryKind::Message, r#"{"text":""}"#.into()),
            (EntryKind::Edit, r#"{"text":"\u0007"}"#.into()),
            (EntryKind::Edit, "{}".into()),
            (EntryKind::Deletion, "[]".into()),
            (EntryKind::Leave, "1".into()),
            (EntryKind::Reaction, r#"{"emoji":"a","on":true}"#.into()),
            (EntryKind::Reaction, r#"{"emoji":"👍"}"#.into()),
            (EntryKind::Pin, r#"{"on":1}"#.into()),
            (EntryKind::Step, format!(r#"{{"previous":"{}","step":["lock",true]}}"#, "A".repeat(43))),
            (EntryKind::Step, r#"{"step":{"type":"lock","locked":true}}"#.into()),
            (EntryKind::Message, format!(r#"{{"text":"a","x":"{}"}}"#, "x".repeat(BODY_BYTES_MAX))),
        ] {
            assert!(!reads(kind, &json), "{kind:?} {json}");
        }
    }

    #[test]
    fn only_what_is_about_an_entry_has_a_target() {
        assert!(Body::Deletion.may_target(Seq(3)) && !Body::Deletion.may_target(Seq::ZERO));
        assert!(Body::Leave.may_target(Seq::ZERO) && !Body::Leave.may_target(Seq(3)));
        assert!(!Body::Message(Message::of("a")).may_target(Seq(3)));
    }
}
