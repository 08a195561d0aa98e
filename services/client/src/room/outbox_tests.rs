//! The outbox against a model of the server that loses answers, refuses, and breaks connections.

use bytes::Bytes;
use proptest::prelude::*;
use snug_protocol::{DeviceId, EntryKind, Envelope, ErrorBody, ErrorCode, Header, InstanceId, RoomId, Seq};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::outbox::{Draft, Outbox, Refusal};
use super::*;
use crate::crypto::Message;

fn draft(text: &str) -> (Draft, oneshot::Receiver<Result<Sent, ClientError>>) {
    let (done, answer) = oneshot::channel();
    (Draft { body: Body::Message(Message::of(text)), target: Seq::ZERO, done }, answer)
}

/// Seals without a cipher: the filler carries the text, so that the model can read it.
fn seal(outbox: &mut Outbox, draft: Draft, now: Instant) {
    let (instance, counter) = outbox.next_place();
    let header = Header {
        kind: EntryKind::Message,
        room: RoomId([1; 16]),
        epoch: 0,
        device: DeviceId([2; 16]),
        instance,
        counter,
        target: Seq::ZERO,
    };
    let Body::Message(Message { text, .. }) = &draft.body else { panic!("only messages here") };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(76 + 256 + 16, 0);
    let envelope = Envelope::parse(Bytes::from(bytes)).expect("an envelope");
    outbox.keep(draft, envelope, now);
}

fn text_of(envelope: &Envelope) -> String {
    String::from_utf8(envelope.bytes()[76..].iter().copied().take_while(|byte| *byte != 0).collect()).expect("text")
}

/// The log, with the server's rule: the counter decides.
#[derive(Default)]
struct Server {
    log: Vec<Envelope>,
    next: std::collections::HashMap<InstanceId, u64>,
}

impl Server {
    fn append(&mut self, envelope: &Envelope) -> Result<Seq, ErrorBody> {
        let header = envelope.header();
        let next = self.next.entry(header.instance).or_default();
        match header.counter.cmp(next) {
            std::cmp::Ordering::Less => {
                let known = self.log.iter().position(|known| known.header() == header).expect("it was appended");
                Ok(Seq(known as u64 + 1))
            }
            std::cmp::Ordering::Greater => Err(ErrorBody { expected: Some(*next), ..ErrorCode::OutOfOrder.into() }),
            std::cmp::Ordering::Equal => {
                *next += 1;
                self.log.push(envelope.clone());
                Ok(Seq(self.log.len() as u64))
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        self.log.iter().map(text_of).collect()
    }
}

/// What befalls one transmission.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Committed,
    CommittedAndAnswerLost,
    Lost,
    TooFast,
    Refused,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        6 => Just(Fate::Committed),
        1 => Just(Fate::CommittedAndAnswerLost),
        1 => Just(Fate::Lost),
        2 => Just(Fate::TooFast),
        1 => Just(Fate::Refused),
    ];
    proptest::collection::vec(fate, 0..60)
}

proptest! {
    #[test]
    fn every_message_is_stored_once_and_in_order_or_its_sender_is_told(count in 1usize..25, fates in fates()) {
        let (mut outbox, mut server, mut ids) = (Outbox::new(), Server::default(), 0u32);
        let mut now = Instant::now();
        let mut waiting: Vec<_> = (0..count).map(|n| draft(&format!("message {n}"))).collect();
        let mut drafts: std::collections::VecDeque<Draft> = Vec::new().into();
        let mut answers = Vec::new();
        for (draft, answer) in waiting.drain(..) {
            drafts.push_back(draft);
            answers.push(answer);
        }
        let mut fates = fates.into_iter();
        let mut refused = Vec::new();
        for _round in 0..500 {
            while outbox.has_room() {
                let Some(draft) = outbox.take_returned().or_else(|| drafts.pop_front()) else { break };
                seal(&mut outbox, draft, now);
            }
            let mut broken = false;
            for (id, envelope) in outbox.transmit(now, || { ids += 1; ids }) {
                if broken {
                    continue;
                }
                let answer = match fates.next().unwrap_or(Fate::Committed) {
                    Fate::Committed => server.append(&envelope),
                    fate @ (Fate::CommittedAndAnswerLost | Fate::Lost) => {
                        if matches!(fate, Fate::CommittedAndAnswerLost) {
                            let _ = server.append(&envelope);
                        }
                        broken = true;
                        continue;
                    }
                    Fate::TooFast => Err(ErrorBody { retry_after_ms: Some(100), ..ErrorCode::TooFast.into() }),
                    // A server refuses for good before it looks at the counter only what it never appended.
                    Fate::Refused if server.texts().contains(&text_of(&envelope)) => server.append(&envelope),
                    Fate::Refused => Err(ErrorCode::NotAllowed.into()),
                };
                match answer {
                    Ok(seq) => if let Some(sealed) = outbox.sent(id) {
                        let _ = sealed.draft.done.send(Ok(Sent { seq, at_ms: 0 }));
                    },
                    Err(error) => if let Refusal::Failed(sealed) = outbox.refused(id, &error, now) {
                        refused.push(text_of(&sealed.envelope));
                        let _ = sealed.draft.done.send(Err(error.into()));
                    },
                }
            }
            if broken {
                outbox.disconnected();
            }
            now += std::time::Duration::from_secs(1);
        }
        let wanted: Vec<String> =
            (0..count).map(|n| format!("message {n}")).filter(|text| !refused.contains(text)).collect();
        prop_assert_eq!(server.texts(), wanted);
        for mut answer in answers {
            prop_assert!(answer.try_recv().is_ok(), "every sender has its answer");
        }
    }
}

#[test]
fn a_server_that_lost_what_it_acknowledged_gets_the_rest_under_a_new_instance() {
    let (mut outbox, now) = (Outbox::new(), Instant::now());
    for text in ["a", "b"] {
        let (draft, _answer) = draft(text);
        seal(&mut outbox, draft, now);
    }
    let first = outbox.transmit(now, || 1);
    assert!(outbox.sent(1).is_some());
    let error = ErrorBody { expected: Some(0), ..ErrorCode::OutOfOrder.into() };
    assert!(matches!(outbox.refused(1, &error, now), Refusal::Handled));
    assert!(outbox.has_returned());
    let (instance, counter) = outbox.next_place();
    assert_ne!(instance, first[0].1.header().instance);
    assert_eq!(counter, 0);
}

#[test]
fn a_message_erased_since_fails_alone() {
    let (mut outbox, now, mut ids) = (Outbox::new(), Instant::now(), 0);
    for text in ["a", "b"] {
        let (draft, _answer) = draft(text);
        seal(&mut outbox, draft, now);
    }
    let _ = outbox.transmit(now, || {
        ids += 1;
        ids
    });
    assert!(matches!(outbox.refused(1, &ErrorCode::Gone.into(), now), Refusal::Failed(_)));
    assert!(!outbox.has_returned(), "what follows may be committed already and is not sealed again");
    assert_eq!(outbox.len(), 1);
}
