//! Mailboxes for moving to another device, in memory.

use snug_protocol::limits::MOVE_LIFE;

use super::{Mailbox, Memory, State, now_ms};
use crate::rules::{MOVES_MAX, ms};
use crate::{MovePart, OfferOutcome, StoreError};

impl State {
    /// The mailbox `id`, unless its time is over.
    fn mailbox(&mut self, id: [u8; 16]) -> Option<&mut Mailbox> {
        let since_ms = now_ms().saturating_sub(ms(MOVE_LIFE));
        self.moves.get_mut(&id).filter(|mailbox| mailbox.offered_at_ms > since_ms)
    }
}

impl Memory {
    pub fn put_offer(&self, id: [u8; 16], offer: &[u8]) -> Result<OfferOutcome, StoreError> {
        let mut state = self.open()?;
        if let Some(mailbox) = state.mailbox(id) {
            return Ok(if mailbox.offer == offer { OfferOutcome::Stored } else { OfferOutcome::Taken });
        }
        if state.moves.len() >= MOVES_MAX {
            return Err(StoreError::unavailable("too many moves are under way"));
        }
        state.moves.insert(id, Mailbox { offer: offer.to_vec(), parts: Vec::new(), offered_at_ms: now_ms() });
        Ok(OfferOutcome::Stored)
    }

    pub fn offer(&self, id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.open()?.mailbox(id).map(|mailbox| mailbox.offer.clone()))
    }

    pub fn put_move_part(&self, id: [u8; 16], part: MovePart, bytes: &[u8]) -> Result<bool, StoreError> {
        let mut state = self.open()?;
        let Some(mailbox) = state.mailbox(id) else { return Ok(false) };
        if mailbox.parts.len() == part as usize {
            mailbox.parts.push(bytes.to_vec());
        }
        Ok(mailbox.parts.get(part as usize).is_some_and(|there| there == bytes))
    }

    pub fn move_part(&self, id: [u8; 16], part: MovePart) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.open()?.mailbox(id).and_then(|mailbox| mailbox.parts.get(part as usize).cloned()))
    }
}
