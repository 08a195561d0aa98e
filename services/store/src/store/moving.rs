//! Mailboxes for moving to another device. Each lives `MOVE_LIFE` from its offer; what is older is not there.

use super::{Store, on};
use crate::{MovePart, OfferOutcome, StoreError};

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

    /// Puts a part into the mailbox `id`. Whether it is there now: false without the one before it, or when another one is there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn put_move_part(&self, id: [u8; 16], part: MovePart, bytes: &[u8]) -> Result<bool, StoreError> {
        on!(self, backend => backend.put_move_part(id, part, bytes))
    }

    /// A part in the mailbox `id`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn move_part(&self, id: [u8; 16], part: MovePart) -> Result<Option<Vec<u8>>, StoreError> {
        on!(self, backend => backend.move_part(id, part))
    }
}
