//! Receiving: from fred's channel to the node's listeners.

use std::sync::Arc;

use fred::clients::SubscriberClient;
use fred::types::{Message, Value};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::coop::unconstrained;

use super::counters::MissedCause;
use super::encoding::{Carried, DecodeError, decode, peek};
use super::link::Link;
use super::side::Current;

/// Messages that fred may be ahead of us.
pub(super) const MESSAGES_QUEUED_MAX: usize = 8_192;
/// So far behind, ephemeral events are dropped, so that they cannot push out what matters.
const CROWDED: usize = MESSAGES_QUEUED_MAX / 2;

/// Bytes of messages that are taken before others get their turn: about a millisecond's work. By itself tokio has a task give way after 128
/// messages, and on a node that has much to do its next turn is far away.
const TAKEN_AT_ONCE: usize = 512 * 1024;
/// What a message counts for at least.
const MESSAGE_BYTES_MIN: usize = 512;

/// Takes in messages of one connection until it is broken.
pub(super) async fn run(link: Arc<Link>, mut messages: Receiver<Message>, current: Current<SubscriberClient>) {
    let mut taken = 0;
    loop {
        if taken >= TAKEN_AT_ONCE {
            taken = 0;
            tokio::task::yield_now().await;
        }
        let message = tokio::select! {
            biased;
            () = current.broken.cancelled() => return,
            message = unconstrained(messages.recv()) => message,
        };
        match message {
            Ok(message) => {
                taken += bytes_of(&message.value).map_or(0, <[u8]>::len).max(MESSAGE_BYTES_MIN);
                link.counters.received.increment();
                link.heard();
                current.note_life();
                if let Err(error) = take(&link, &message.value, messages.len() >= CROWDED) {
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

fn bytes_of(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        // What happens to be UTF-8.
        Value::String(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn take(link: &Link, value: &Value, is_crowded: bool) -> Result<(), DecodeError> {
    let bytes = bytes_of(value).ok_or(DecodeError::Length)?;
    let seen = peek(bytes)?;
    if seen.from == link.node && !seen.is_probe {
        // Whoever published it told of it.
        return Ok(());
    }
    if seen.is_ephemeral && is_crowded {
        link.counters.shed.increment();
        return Ok(());
    }
    match decode(bytes)? {
        Carried::Probe(number) => {
            link.probe_heard.send_replace(number);
        }
        Carried::Event(event) => link.listeners.tell(&event),
    }
    Ok(())
}
