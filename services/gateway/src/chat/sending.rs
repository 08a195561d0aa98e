//! A message between its sender's frame and its acknowledgement.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use snug_protocol::envelope::Header;
use snug_protocol::{EntryKind, Envelope};
use snug_store::{AppendError, Appended};
use tracing::Span;

use super::{Chat, ChatError, Sent};
use crate::telemetry::trace;

/// Waits for the log's answer to a message, then tells the bus of it.
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
}

impl Sending {
    /// The envelope is handed to the store when this is first polled.
    pub(super) fn begin(chat: Chat, envelope: Envelope) -> Self {
        let header = *envelope.header();
        let message = trace::message(header.room, header.kind, envelope.bytes().len());
        let append = message.in_scope(|| trace::append(header.room));
        let store = chat.shared.store.clone();
        let appending = Box::pin(async move { store.append(envelope).await });
        Self { chat, header, began: Instant::now(), message, append, appending }
    }

    fn answered(&mut self, answer: Result<Appended, AppendError>) -> Result<Sent, ChatError> {
        let append = std::mem::replace(&mut self.append, Span::none());
        self.chat.count(self.began, &append, answer.as_ref());
        drop(append);
        let sent = self.chat.tell(&self.header, answer?);
        if self.header.kind == EntryKind::Leave && !sent.duplicate {
            self.chat.tell_access_lost(self.header.room, &[self.header.device]);
        }
        Ok(sent)
    }
}

impl Future for Sending {
    type Output = Result<Sent, ChatError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.appending.as_mut().poll(cx));
        let message = std::mem::replace(&mut self.message, Span::none());
        Poll::Ready(message.in_scope(|| self.answered(answer)))
    }
}
