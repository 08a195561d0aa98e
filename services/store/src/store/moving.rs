//! Mailboxes for moving to another device. Each lives `MOVE_LIFE` from its offer; what is older is not there.

use super::{Store, on};
use crate::{OfferOutcome, StoreError};

impl Store {
    /// Opens the mailbox `id` with an offer of `MOVE_OFFER_BYTES` bytes. The same offer again changes nothing.
    ///
    /// # Errors
    /// The store failed. `Unavailable` also when there are as many mailboxes as there may be.
    pub async fn put_offer(&self, id: [u8; 16], offer: &[u8]) -> Result<OfferOutcome, StoreError> {
        on!(self, backend => backend.put_offer(id, offer))
    }

    /// The offer in the mailbox `id`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn offer(&self, id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        on!(self, backend => backend.offer(id))
    }

    /// Puts an answer of at most `MOVE_ANSWER_BYTES_MAX` bytes into the mailbox `id`. Whether it is there now: false without an offer,
    /// or when another answer is there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn put_answer(&self, id: [u8; 16], answer: &[u8]) -> Result<bool, StoreError> {
        on!(self, backend => backend.put_answer(id, answer))
    }

    /// The answer in the mailbox `id`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn answer(&self, id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        on!(self, backend => backend.answer(id))
    }
}
