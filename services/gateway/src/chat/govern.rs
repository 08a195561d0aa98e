//! Chain entries: like messages, but each has an effect on the room that the store applies in the same commit.

use snug_protocol::DeviceId;
use snug_protocol::envelope::Header;
use snug_store::{Appended, Grant, NewEpoch, NewStep, StepError};
use tracing::Span;

use super::{Chat, News, Sent};

impl Chat {
    /// Appends a step with its effect durably, then publishes it. The same step again is acknowledged again.
    ///
    /// Dropping the future may leave it committed and unpublished; followers then find it by the head check.
    ///
    /// # Errors
    /// The store's refusal or failure; nothing was changed, or after `Store(Unavailable)` the same step may be sent again.
    pub async fn administer(&self, step: NewStep) -> Result<Sent, StepError> {
        let header = *step.envelope.header();
        let appended = self.counted(header.room, self.shared.store.administer(step), |appended| appended).await?;
        Ok(self.acknowledged(&header, appended))
    }

    /// Begins an epoch durably, tells those who are in the room no longer, and publishes its record. Returns the invites that are no more.
    ///
    /// Dropping the future may leave it committed and unpublished; followers then find it, and their own end, by the head check.
    ///
    /// # Errors
    /// As [`Chat::administer`].
    pub async fn begin_epoch(&self, new: NewEpoch) -> Result<(Sent, Vec<Grant>), StepError> {
        let header = *new.record.header();
        let mut gone: Vec<DeviceId> = new.remove.clone();
        let beginning = self.shared.store.begin_epoch(new);
        let begun = self.counted(header.room, beginning, |begun| &begun.appended).await?;
        gone.extend(begun.excluded);
        // Before the record, which is not for them.
        if begun.appended.frame.is_some() {
            self.tell_access_lost(header.room, &gone);
        }
        Ok((self.acknowledged(&header, begun.appended), begun.revoked))
    }

    fn acknowledged(&self, header: &Header, appended: Appended) -> Sent {
        let sent = Sent::of(&appended);
        self.tell([News::of(header, appended, Span::current())]);
        sent
    }
}
