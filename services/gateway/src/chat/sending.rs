//! A message between its sender's frame and its acknowledgement.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use snug_protocol::envelope::Header;
use snug_protocol::{Envelope, RoomId};
use snug_store::{AppendError, Appended};
use tracing::Span;

use super::{Chat, ChatError, News, Sent};
use crate::telemetry::trace;

/// Waits for the log's answer to a message. Nobody hears of the message before [`Chat::tell`] is given its news.
///
/// By hand, since there is one for each message that is on its way: it holds what is needed then, where nested `async fn`s would hold the
/// arguments of each, ten times as much.
pub struct Sending {
    chat: Chat,
    header: Header,
    began: Instant,
    message: Span,
    append: Span,
    appending: Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send>>,
    has_begun: bool,
}

impl Sending {
    /// The envelope is handed to the store when this is first polled.
    pub(super) fn begin(chat: Chat, envelope: Envelope) -> Self {
        let header = *envelope.header();
        let message = trace::message(header.room, header.kind, envelope.bytes().len());
        let append = message.in_scope(|| trace::append(header.room));
        let store = chat.shared.store.clone();
        let appending = Box::pin(async move { store.append(envelope).await });
        Self { chat, header, began: Instant::now(), message, append, appending, has_begun: false }
    }

    /// The message's room. The store answers what it appends to a room in the order in which it was handed over.
    #[must_use]
    pub const fn room(&self) -> RoomId {
        self.header.room
    }

    /// Whether the store has the message.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn answered(&mut self, answer: Result<Appended, AppendError>) -> Result<(Sent, News), ChatError> {
        let append = std::mem::replace(&mut self.append, Span::none());
        self.chat.count(self.began, &append, answer.as_ref());
        drop(append);
        let appended = answer?;
        Ok((Sent::of(&appended), News::of(&self.header, appended, std::mem::replace(&mut self.message, Span::none()))))
    }
}

impl Future for Sending {
    /// The acknowledgement, and what others are to be told.
    type Output = Result<(Sent, News), ChatError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.has_begun = true;
        let answer = ready!(self.appending.as_mut().poll(cx));
        // The message's own span ends when others have been told of it, or here.
        let message = self.message.clone();
        Poll::Ready(message.in_scope(|| self.answered(answer)))
    }
}
