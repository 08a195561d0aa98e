//! What a member says in a room: messages, what is about them, and its own name.

use std::pin::Pin as Pinned;
use std::task::{Context, Poll};

use snug_protocol::limits::MENTIONS_MAX;
use snug_protocol::{DeviceId, Seq};
use tokio::sync::{mpsc, oneshot};

use super::{Draft, Room, introduction};
use crate::crypto::{Body, Edit, Message, Pin, Reaction, reaction_emoji};
use crate::error::{ClientError, Field};
use crate::text;

/// A message is committed durably.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its place in the room.
    pub seq: Seq,
    /// The server's time of commit, Unix milliseconds.
    pub at_ms: u64,
}

/// A message on its way. Resolves when the server has committed it, or says that it never will.
///
/// Dropping it does not take the message back.
#[derive(Debug)]
pub struct Sending(Result<oneshot::Receiver<Result<Sent, ClientError>>, Option<ClientError>>);

impl Sending {
    const fn refused(error: ClientError) -> Self {
        Self(Err(Some(error)))
    }
}

impl Future for Sending {
    type Output = Result<Sent, ClientError>;

    fn poll(mut self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(done) => Pinned::new(done).poll(context).map(|answer| answer.unwrap_or(Err(ClientError::Closed))),
            Err(error) => Poll::Ready(Err(error.take().unwrap_or(ClientError::Closed))),
        }
    }
}

fn checked(text: &str, mentions: &[DeviceId]) -> Result<(), ClientError> {
    text::message_text(text)?;
    match mentions.len() {
        0..=MENTIONS_MAX => Ok(()),
        _ => Err(ClientError::TooManyMentions { mentions_max: MENTIONS_MAX }),
    }
}

impl Room {
    /// Sends a message: a text, or a [`Message`] that answers another or names devices. The call itself does not wait; the order of calls
    /// is the order in the room.
    ///
    /// The message survives any loss of connection: its sealed bytes are sent again, to any node, until they are answered, and are
    /// applied once. It does not survive the end of this process.
    ///
    /// # Errors
    /// By the returned future: `text_…`, `too_many_mentions`, `outbox_full` at once; a server's code if it refuses for good; `closed`.
    pub fn send(&self, message: impl Into<Message>) -> Sending {
        let message = message.into();
        match checked(&message.text, &message.mentions) {
            Ok(()) => self.draft(Body::Message(message), Seq::ZERO),
            Err(error) => Sending::refused(error),
        }
    }

    /// Gives a message of this device another text, and others whom it names.
    ///
    /// # Errors
    /// By the returned future: as [`Room::send`]; `target_invalid`, `target_gone`, `not_allowed`.
    pub fn edit(&self, message: Seq, text: impl Into<Message>) -> Sending {
        let Message { text, mentions, .. } = text.into();
        match checked(&text, &mentions) {
            Ok(()) => self.draft(Body::Edit(Edit { text, mentions }), message),
            Err(error) => Sending::refused(error),
        }
    }

    /// Erases a message for everyone, with its edits and reactions: one's own, or as an admin one of a member with a lower role.
    ///
    /// # Errors
    /// By the returned future: as [`Room::edit`].
    pub fn delete_message(&self, message: Seq) -> Sending {
        self.draft(Body::Deletion, message)
    }

    /// Puts an emoji on a message, or takes it back.
    ///
    /// # Errors
    /// By the returned future: `emoji_…`, or as [`Room::edit`].
    pub fn react(&self, message: Seq, emoji: &str, on: bool) -> Sending {
        match reaction_emoji(emoji) {
            Ok(()) => self.draft(Body::Reaction(Reaction { emoji: emoji.to_owned(), on }), message),
            Err(reason) => Sending::refused(ClientError::Text { field: Field::Emoji, reason }),
        }
    }

    /// Pins a message, or unpins it.
    ///
    /// # Errors
    /// By the returned future: as [`Room::edit`].
    pub fn pin(&self, message: Seq, on: bool) -> Sending {
        self.draft(Body::Pin(Pin { on }), message)
    }

    pub(crate) fn draft(&self, body: Body, target: Seq) -> Sending {
        let (done, answer) = oneshot::channel();
        Sending(match self.shared.drafts.try_send(Draft { body, target, done }) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Some(ClientError::OutboxFull)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Some(ClientError::Closed)),
        })
    }

    pub(crate) fn introduce(&self, name: String, joined: bool) -> Sending {
        self.draft(introduction(self.inner.device.keys(), name, joined), Seq::ZERO)
    }

    /// Goes by another name from now on.
    ///
    /// # Errors
    /// By the returned future: `member_name_…`, or as [`Room::send`].
    pub fn rename(&self, name: &str) -> Sending {
        match text::member_name(name) {
            Ok(name) => self.introduce(name, false),
            Err(error) => Sending::refused(error),
        }
    }
}
