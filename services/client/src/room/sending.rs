//! What a room does with drafts and with the server's answers to them.

use snug_protocol::{ErrorBody, ErrorCode, Header, Retry, Seq};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::actor::{Actor, OWN_MAX, Own};
use super::outbox::{Draft, Refusal, Sealed};
use super::showing::now_ms;
use super::{Sent, following::Following, introduction};
use crate::crypto::{Body, Content, Message, seal};
use crate::link::Answer;
use crate::wire::sending;

impl Actor {
    /// Whether a draft can be sealed now: the window has room, and there is an edge to name as what we have seen.
    ///
    /// Nothing is sealed while the newest key is missing, nor under a new one while envelopes of the old one are unanswered.
    pub(super) fn can_seal(&self) -> bool {
        let epoch = self.governance.sealing_key().map(crate::crypto::RoomKey::epoch);
        self.session.is_some()
            && self.resyncing.is_none()
            && self.outbox.has_room()
            && self.log.edge().is_some()
            && epoch.is_some_and(|epoch| !self.outbox.awaits_another_epoch(epoch))
    }

    /// The introduction that must come before this draft: the first entry of an epoch.
    fn introduction_before(&self, draft: &Draft, epoch: u32) -> Option<Draft> {
        let due = self.introduced != Some(epoch) && !matches!(draft.body, Body::Profile(_));
        let name = self.own_name.clone().filter(|_| due)?;
        let (done, _) = oneshot::channel();
        let body = introduction(self.device.keys(), name, false);
        Some(Draft { body, target: Seq::ZERO, done })
    }

    /// Seals a draft under the next counter and keeps it until it is answered.
    pub(super) fn seal(&mut self, mut draft: Draft) {
        let governance = std::sync::Arc::clone(&self.governance);
        let (Some(prev), Some(key)) = (self.log.edge(), governance.sealing_key()) else {
            self.outbox.put_back(std::iter::once(draft));
            return;
        };
        if let Some(introduction) = self.introduction_before(&draft, key.epoch()) {
            self.outbox.put_back(std::iter::once(draft));
            draft = introduction;
        }
        if let Body::Profile(profile) = &draft.body {
            (self.own_name, self.introduced) = (Some(profile.name.clone()), Some(key.epoch()));
        }
        let (instance, counter) = self.outbox.next_place();
        let header = Header {
            kind: draft.body.kind(),
            room: self.room,
            epoch: key.epoch(),
            device: self.device.id(),
            instance,
            counter,
            target: draft.target,
        };
        let body = draft.body.to_json();
        match seal(&self.device, key, &header, &Content { prev, sent_at_ms: now_ms(), body: &body }) {
            Ok(envelope) => self.outbox.keep(draft, envelope, Instant::now()),
            Err(error) => {
                // The counter is spent: what follows needs a new instance.
                self.outbox.end_instance(self.outbox.len());
                let _ = draft.done.send(Err(error));
            }
        }
    }

    /// Seals returned drafts as far as the window allows and transmits what is due.
    pub(super) async fn send_out(&mut self) {
        while self.can_seal() {
            let Some(draft) = self.outbox.take_returned() else { break };
            self.seal(draft);
        }
        let Some(session) = self.session.clone() else { return };
        let link = self.link.clone();
        for (id, envelope) in self.outbox.transmit(Instant::now(), || link.next_id()) {
            session.write(sending(id, envelope.bytes())).await;
        }
    }

    pub(super) async fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Sent { id, seq, at_ms } => {
                if let Some(sealed) = self.outbox.sent(id) {
                    self.committed(sealed, seq, at_ms);
                }
            }
            Answer::Refused { id, error } => self.refused(id, &error).await,
            Answer::Closed { code } => self.closed = Some(code.as_str()),
        }
    }

    /// The server says that the envelope is committed at `seq`; the log will be held to it.
    pub(super) fn committed(&mut self, sealed: Sealed, seq: Seq, at_ms: u64) {
        let hash = sealed.hash();
        self.log.acknowledge(seq, hash);
        self.tell_violations();
        if let Body::Message(Message { text, .. }) = sealed.draft.body {
            self.own.push_back(Own { seq, hash, text });
            if self.own.len() > OWN_MAX {
                self.own.pop_front();
            }
        }
        let _ = sealed.draft.done.send(Ok(Sent { seq, at_ms }));
    }

    async fn refused(&mut self, id: u32, error: &ErrorBody) {
        if self.following.is_asked(id) {
            self.following = match error.retry {
                Retry::Later => Following::later(error.retry_after_ms),
                Retry::Never | Retry::SignIn | Retry::Changed => {
                    self.closed = Some(error.code.as_str());
                    Following::No
                }
            };
            return;
        }
        match self.outbox.refused(id, error, Instant::now()) {
            Refusal::Handled => {}
            Refusal::Failed(sealed) => {
                if matches!(sealed.draft.body, Body::Profile(_)) {
                    self.introduced = None;
                }
                let _ = sealed.draft.done.send(Err(error.clone().into()));
            }
            Refusal::StaleEpoch(epoch) => self.stale_epoch(id, epoch).await,
        }
        if matches!(error.code, ErrorCode::WrongDevice) {
            // The session is not this device's, which no retry on it can mend.
            self.reconnect().await;
        }
    }

    /// Seals again under the room's epoch if its key can be had; else the message fails, since only a newer key could send it.
    async fn stale_epoch(&mut self, id: u32, epoch: Option<u32>) {
        if epoch > Some(self.governance.epoch())
            && let Err(error) = self.read_chain().await
        {
            // Without the chain nothing can be decided; the next session asks again.
            tracing::debug!(%error, room = %self.room, "could not read the chain");
            self.reconnect().await;
            return;
        }
        // A server that hides a newer key might take the next message, for whoever was removed.
        if let Some(epoch) = epoch.filter(|epoch| self.governance.is_ahead(*epoch)) {
            self.withhold(epoch);
        }
        let Some(at) = self.outbox.position(id) else { return };
        let newest = self.governance.epoch();
        if epoch == Some(newest) && self.outbox.epoch_at(at) < Some(newest) {
            self.outbox.end_instance(at);
            return;
        }
        if let Some(sealed) = self.outbox.fail(at) {
            let error = ErrorBody { epoch, ..ErrorCode::StaleEpoch.into() };
            let _ = sealed.draft.done.send(Err(error.into()));
        }
    }
}
