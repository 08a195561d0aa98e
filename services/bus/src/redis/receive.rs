//! Receiving: from fred's channel to the node's receivers.

use std::sync::Arc;

use fred::types::{Message, Value};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::counters::MissedCause;
use super::encoding::{Carried, DecodeError, decode, peek};
use super::link::Link;

/// Messages that fred may be ahead of us.
pub(super) const MESSAGES_QUEUED_MAX: usize = 4_096;

/// Takes in messages of one connection until `broken`.
pub(super) async fn run(link: Arc<Link>, mut messages: Receiver<Message>, broken: CancellationToken) {
    loop {
        let message = tokio::select! {
            biased;
            () = broken.cancelled() => return,
            message = messages.recv() => message,
        };
        match message {
            Ok(message) => {
                link.counters.received.increment();
                link.heard();
                if let Err(error) = take(&link, &message.value) {
                    link.counters.undecodable.increment();
                    tracing::debug!(channel = &*message.channel, %error, "a message was not understood");
                }
            }
            Err(RecvError::Lagged(lost)) => {
                tracing::warn!(lost, "fell behind Redis");
                link.missed(None, MissedCause::Overrun);
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn take(link: &Link, value: &Value) -> Result<(), DecodeError> {
    let bytes: &[u8] = match value {
        Value::Bytes(bytes) => bytes,
        // What happens to be UTF-8.
        Value::String(text) => text.as_bytes(),
        _ => return Err(DecodeError::Length),
    };
    let (from, is_ephemeral) = peek(bytes)?;
    if is_ephemeral && link.is_crowded() {
        link.counters.shed.increment();
        return Ok(());
    }
    match decode(bytes)? {
        Carried::Probe(number) => {
            link.probe_heard.send_replace(number);
        }
        // Our own were handed on when they were published.
        Carried::Event(_) if from == link.node => {}
        Carried::Event(event) => link.deliver(event),
    }
    Ok(())
}
