//! What a client still has to say in one room, by the rules of PROTOCOL.md: sealed once, sent again as the same bytes until answered, in
//! order, and sealed anew under another instance only after a refusal that ends this one.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use snug_client::protocol::limits::SENDS_IN_FLIGHT_MAX;
use snug_protocol::frame::SendFrame;
use snug_protocol::{DeviceId, EntryKind, Envelope, ErrorBody, ErrorCode, Header, InstanceId, Retry, RoomId, Seq};
use tokio::time::Instant;

use crate::dice::Dice;
use crate::ledger::{Acked, Ledger, Number, identity, seal};

struct Letter {
    number: Number,
    kind: EntryKind,
    target: Seq,
    sealed: Option<Envelope>,
    /// Of its transmission on this socket.
    id: Option<u32>,
    /// It has been transmitted before, on whichever socket.
    sent: bool,
}

pub struct Outbox {
    room: RoomId,
    device: DeviceId,
    instance: InstanceId,
    counter: u64,
    letters: VecDeque<Letter>,
    paused_until: Option<Instant>,
    /// The planted bug: what is sent again is sealed anew, so that no server can know it again.
    forgets: bool,
}

/// What a refusal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is sent again.
    Again,
    /// It is sealed again.
    Anew,
    /// It never will be said.
    Never,
    /// Nothing will be said here any more.
    Out,
}

impl Outbox {
    pub fn new(room: RoomId, device: DeviceId, instance: InstanceId, forgets: bool) -> Self {
        Self { room, device, instance, counter: 0, letters: VecDeque::new(), paused_until: None, forgets }
    }

    pub fn put(&mut self, number: Number, kind: EntryKind, target: Seq) {
        self.letters.push_back(Letter { number, kind, target, sealed: None, id: None, sent: false });
    }

    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// When there is something to send again.
    pub fn due(&self) -> Option<Instant> {
        self.paused_until.filter(|_| !self.letters.is_empty())
    }

    /// Another socket: nothing is on its way.
    pub fn begin_session(&mut self) {
        self.letters.iter_mut().for_each(|letter| letter.id = None);
        self.paused_until = None;
    }

    fn end_instance(&mut self, from: usize, instance: InstanceId) {
        (self.instance, self.counter) = (instance, 0);
        for letter in self.letters.iter_mut().skip(from) {
            (letter.sealed, letter.id, letter.sent) = (None, None, false);
        }
    }

    /// What goes out now.
    pub fn transmit(
        &mut self,
        epoch: u32,
        ledger: &mut Ledger,
        dice: &Dice,
        mut id: impl FnMut() -> u32,
    ) -> Vec<Bytes> {
        if self.paused_until.is_some_and(|until| until > Instant::now()) {
            return Vec::new();
        }
        self.paused_until = None;
        let again = self.letters.iter().position(|letter| letter.sent && letter.id.is_none());
        if let Some(again) = again.filter(|_| self.forgets) {
            self.end_instance(again, InstanceId(dice.bytes()));
        }
        let mut out = Vec::new();
        for letter in self.letters.iter_mut().take(SENDS_IN_FLIGHT_MAX).filter(|letter| letter.id.is_none()) {
            let envelope = letter.sealed.get_or_insert_with(|| {
                let (room, device, instance, counter) = (self.room, self.device, self.instance, self.counter);
                let header =
                    Header { kind: letter.kind, room, epoch, device, instance, counter, target: letter.target };
                self.counter += 1;
                ledger.sealed.insert(identity(&header), letter.number);
                Envelope::parse(seal(&header, letter.number).into()).expect("the smallest envelope")
            });
            let id = *letter.id.insert(id());
            letter.sent = true;
            out.push(SendFrame::encode(id, envelope.bytes()));
        }
        out
    }

    fn take(&mut self, id: u32) -> Option<Letter> {
        let at = self.letters.iter().position(|letter| letter.id == Some(id))?;
        self.letters.remove(at)
    }

    /// It is committed at `seq`.
    pub fn sent(&mut self, id: u32, seq: Seq, ledger: &mut Ledger) -> Option<Number> {
        let letter = self.take(id)?;
        let (envelope, at) = (letter.sealed.expect("it was transmitted"), Instant::now());
        ledger.ack(letter.number, Acked { seq, hash: envelope.hash(), at });
        if letter.kind == EntryKind::Deletion {
            ledger.erased.insert((self.room, letter.target), at);
        }
        Some(letter.number)
    }

    /// It was refused.
    pub fn refused(&mut self, id: u32, error: &ErrorBody, dice: &Dice) -> Option<Refused> {
        let at = self.letters.iter().position(|letter| letter.id == Some(id))?;
        let counter = |letter: &Letter| letter.sealed.as_ref().map(|envelope| envelope.header().counter);
        let is_here = |wanted| self.letters.iter().any(|letter| counter(letter) == Some(wanted));
        let anew = match error.code {
            ErrorCode::StaleEpoch => true,
            // One before it failed, and goes again first; or the log has lost what it had acknowledged.
            ErrorCode::OutOfOrder => !error.expected.is_some_and(is_here),
            _ => false,
        };
        if anew {
            self.end_instance(at, InstanceId(dice.bytes()));
            return Some(Refused::Anew);
        }
        match (error.code, error.retry) {
            (ErrorCode::OutOfOrder, _) | (_, Retry::Later) => {
                self.letters.iter_mut().skip(at).for_each(|letter| letter.id = None);
                let asked = Duration::from_millis(error.retry_after_ms.unwrap_or(0));
                self.paused_until = Some(Instant::now() + asked.max(dice.ms(100, 700)));
                Some(Refused::Again)
            }
            (ErrorCode::Removed | ErrorCode::Banned | ErrorCode::NotAMember, _) => {
                self.letters.clear();
                Some(Refused::Out)
            }
            // Acknowledged once, erased since.
            (ErrorCode::Gone, _) => self.letters.remove(at).map(|_| Refused::Never),
            _ => {
                self.letters.remove(at);
                self.end_instance(at, InstanceId(dice.bytes()));
                Some(Refused::Never)
            }
        }
    }
}
