//! What a room still has to send: sealed envelopes until they are answered, in order, and drafts that must be sealed again. Pure.
//!
//! The rules are ENCRYPTION.md's: a sealed counter is never sealed again; the same bytes are resent until answered; a permanent refusal
//! ends the instance, and what follows is sealed anew under a new one, once nothing of the old one is unanswered.

use std::collections::VecDeque;
use std::time::Duration;

use snug_protocol::limits::SENDS_IN_FLIGHT_MAX;
use snug_protocol::{Envelope, EnvelopeHash, ErrorBody, ErrorCode, InstanceId, Retry, Seq};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backoff::jittered;
use crate::crypto::{Body, random};
use crate::error::ClientError;
use crate::room::Sent;

/// A wait for `later` when the server names none.
const PAUSE: Duration = Duration::from_millis(500);
/// Ids kept of one envelope's transmissions on one session.
const IDS_KEPT: usize = 16;

/// Something to send, with whom to tell.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) body: Body,
    /// The message it is about; 0 for none.
    pub(crate) target: Seq,
    pub(crate) done: oneshot::Sender<Result<Sent, ClientError>>,
}

/// A draft that has been sealed.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) draft: Draft,
    pub(super) envelope: Envelope,
    /// Of its transmissions on this session, the newest last.
    ids: Vec<u32>,
    /// The newest transmission awaits its answer.
    in_flight: bool,
    since: Instant,
}

impl Sealed {
    pub(super) fn hash(&self) -> EnvelopeHash {
        self.envelope.hash()
    }
}

/// What a refusal led to.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It was not about anything here, or will be repeated.
    Handled,
    /// This one will never be sent.
    Failed(Box<Sealed>),
    /// The room has another epoch; nothing was changed yet.
    StaleEpoch(Option<u32>),
}

/// The outbox of one room.
#[derive(Debug)]
pub(super) struct Outbox {
    instance: InstanceId,
    counter: u64,
    sealed: VecDeque<Sealed>,
    returned: VecDeque<Draft>,
    /// Envelopes of an ended instance are unanswered; nothing is sealed until they are.
    ending: bool,
    paused_until: Option<Instant>,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            instance: InstanceId(random()),
            counter: 0,
            sealed: VecDeque::new(),
            returned: VecDeque::new(),
            ending: false,
            paused_until: None,
        }
    }

    /// Whether one more may be sealed.
    pub(super) fn has_room(&self) -> bool {
        !self.ending && self.sealed.len() < SENDS_IN_FLIGHT_MAX
    }

    /// Whether what is sealed under `epoch` now would overtake unanswered envelopes of another.
    pub(super) fn awaits_another_epoch(&self, epoch: u32) -> bool {
        self.sealed.back().is_some_and(|sealed| sealed.envelope.header().epoch != epoch)
    }

    /// How many envelopes are unanswered.
    pub(super) fn len(&self) -> usize {
        self.sealed.len()
    }

    /// Which envelope's newest transmission has this id.
    pub(super) fn position(&self, id: u32) -> Option<usize> {
        self.sealed.iter().position(|sealed| sealed.in_flight && sealed.ids.last() == Some(&id))
    }

    /// The epoch that an envelope is sealed under.
    pub(super) fn epoch_at(&self, at: usize) -> Option<u32> {
        self.sealed.get(at).map(|sealed| sealed.envelope.header().epoch)
    }

    /// Takes out one that was refused for good; a new instance begins for what follows it.
    pub(super) fn fail(&mut self, at: usize) -> Option<Sealed> {
        let failed = self.sealed.remove(at);
        self.end_instance(at);
        failed
    }

    /// A draft that has to be sealed again; these go before new ones.
    pub(super) fn take_returned(&mut self) -> Option<Draft> {
        self.returned.pop_front()
    }

    /// Whether drafts wait to be sealed again.
    pub(super) fn has_returned(&self) -> bool {
        !self.returned.is_empty()
    }

    /// Instance and counter for the next envelope, each given once.
    pub(super) fn next_place(&mut self) -> (InstanceId, u64) {
        self.counter += 1;
        (self.instance, self.counter - 1)
    }

    /// Keeps what was sealed until it is answered.
    pub(super) fn keep(&mut self, draft: Draft, envelope: Envelope, now: Instant) {
        self.sealed.push_back(Sealed { draft, envelope, ids: Vec::new(), in_flight: false, since: now });
    }

    /// What has to be transmitted now, in order, each under a fresh id.
    pub(super) fn transmit(&mut self, now: Instant, mut next_id: impl FnMut() -> u32) -> Vec<(u32, Envelope)> {
        if self.paused_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        self.paused_until = None;
        let waiting = self.sealed.iter_mut().filter(|sealed| !sealed.in_flight);
        waiting
            .map(|sealed| {
                let id = next_id();
                if sealed.ids.len() == IDS_KEPT {
                    sealed.ids.remove(0);
                }
                sealed.ids.push(id);
                (sealed.in_flight, sealed.since) = (true, now);
                (id, sealed.envelope.clone())
            })
            .collect()
    }

    /// When something is to be done without being told: the end of a pause.
    pub(super) const fn resume_at(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Since when the oldest transmission awaits an answer.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.sealed.iter().filter(|sealed| sealed.in_flight).map(|sealed| sealed.since).min()
    }

    /// The session is gone: everything unanswered is to be sent again on the next.
    pub(super) fn disconnected(&mut self) {
        self.paused_until = None;
        for sealed in &mut self.sealed {
            sealed.in_flight = false;
            sealed.ids.clear();
        }
    }

    /// The envelope that was committed, if `id` is one of ours.
    pub(super) fn sent(&mut self, id: u32) -> Option<Sealed> {
        let at = self.sealed.iter().position(|sealed| sealed.ids.contains(&id))?;
        let sealed = self.sealed.remove(at);
        self.ending &= !self.sealed.is_empty();
        sealed
    }

    /// What a refusal means. Answers to transmissions that have been repeated since are not looked at.
    pub(super) fn refused(&mut self, id: u32, error: &ErrorBody, now: Instant) -> Refusal {
        let Some(at) = self.position(id) else { return Refusal::Handled };
        match (error.code, error.retry) {
            (ErrorCode::StaleEpoch, _) => return Refusal::StaleEpoch(error.epoch),
            (ErrorCode::OutOfOrder, _) => self.out_of_order(error.expected, now),
            // Its counter is spent, so the instance goes on; ending it would seal again what may be committed already.
            (ErrorCode::Gone, _) => {
                return self.sent(id).map_or(Refusal::Handled, |sealed| Refusal::Failed(Box::new(sealed)));
            }
            (_, Retry::Later | Retry::SignIn) => self.pause(error.retry_after_ms.map(Duration::from_millis), now),
            (_, Retry::Never | Retry::Changed) => {
                return self.fail(at).map_or(Refusal::Handled, |sealed| Refusal::Failed(Box::new(sealed)));
            }
        }
        Refusal::Handled
    }

    /// Counters that the server has never had come before this one; or it has lost some that it had acknowledged.
    fn out_of_order(&mut self, expected: Option<u64>, now: Instant) {
        let first = self.sealed.front().map(|sealed| sealed.envelope.header().counter);
        if expected.zip(first).is_some_and(|(expected, first)| expected < first) {
            self.end_instance(0);
        } else {
            self.pause(None, now);
        }
    }

    /// Waits, then sends again from the first unanswered one.
    fn pause(&mut self, wait: Option<Duration>, now: Instant) {
        self.paused_until = Some(now + wait.unwrap_or_else(|| jittered(PAUSE)));
        for sealed in &mut self.sealed {
            sealed.in_flight = false;
        }
    }

    /// Begins a new instance; what is sealed from index `from` on becomes drafts again. What comes before stays as it is.
    pub(super) fn end_instance(&mut self, from: usize) {
        for sealed in self.sealed.drain(from..).rev() {
            self.returned.push_front(sealed.draft);
        }
        self.instance = InstanceId(random());
        self.counter = 0;
        self.ending = !self.sealed.is_empty();
    }

    /// Everything sealed, taken out, after which a new instance begins: for a log that has begun anew.
    pub(super) fn take_sealed(&mut self) -> Vec<Sealed> {
        let sealed = self.sealed.drain(..).collect();
        self.end_instance(0);
        sealed
    }

    /// Puts drafts before all others.
    pub(super) fn put_back(&mut self, drafts: impl DoubleEndedIterator<Item = Draft>) {
        for draft in drafts.rev() {
            self.returned.push_front(draft);
        }
    }

    /// Everything, when nothing will be sent any more.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Draft> {
        self.sealed.drain(..).map(|sealed| sealed.draft).chain(self.returned.drain(..))
    }
}
