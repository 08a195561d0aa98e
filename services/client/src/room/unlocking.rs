//! Reads a room's chain from the server, and finds the keys that open its records.

use std::sync::Arc;

use snug_protocol::frame::EntryFrame;
use snug_protocol::limits::HISTORY_PAGE_MAX;
use snug_protocol::{EntryKind, Retry, RoomId, Seq};

use super::RoomSecrets;
use super::governance::{Fault, Governance, Links};
use super::keyring::Keyring;
use crate::crypto::{Cause, Device, RoomKey, decrypt, open_record, open_room_key};
use crate::error::ClientError;
use crate::http::Http;

/// Entries of the chain that are read, at most, once there are those that are needed; of a longer one the oldest are left unread, and so is
/// what was said before them.
const CHAIN_ENTRIES_MAX: usize = 10_000;
/// No more than this in any case. The server's limits of steps and new passwords put the needed ones far below it.
const CHAIN_NEEDED_MAX: usize = 500_000;
/// Epochs whose keys are asked for in one reading.
const KEYS_ASKED_MAX: usize = 200;

/// Who asks, and of which room.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) http: Http,
    pub(crate) device: Arc<Device>,
    pub(crate) room: RoomId,
}

impl Reader {
    /// Reads the whole chain and folds it from the record that the secrets name. Cancel safe.
    ///
    /// # Errors
    /// `record_refused` if the server does not show that record; `network`, or a server's code.
    pub(crate) async fn read(&self, secrets: &RoomSecrets) -> Result<(Governance, Vec<Fault>), ClientError> {
        let keys = secrets.older.iter().chain([&secrets.key]).cloned().collect();
        let is_pinned = |frame: &EntryFrame| frame.hash() == secrets.record_hash;
        let links = self.links_with(Seq::ZERO, is_pinned, &keys).await?;
        Governance::begin(&links, is_pinned).ok_or(ClientError::RecordRefused)
    }

    /// Reads the whole chain and folds it from the record that made this device the room's recovery device, for one that nothing but its
    /// key leads here: the room's first, or the one by which an owner replaced the key.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub(crate) async fn read_as_recovery(&self) -> Result<(Governance, Vec<Fault>), ClientError> {
        // However long the chain is: which record it was shows only with its key.
        let links = self.links(Seq::ZERO, &Keyring::default()).await?;
        let keys = *self.device.keys();
        let made_it = |frame: &&EntryFrame| {
            let key = frame.header().ok().and_then(|header| links.keys.get(header.epoch));
            let record = key.and_then(|key| open_record(key, frame.envelope_bytes()).ok()).map(|it| it.record);
            record.is_some_and(|record| match record.cause {
                Cause::Created => record.state.is_recovery(keys.id()),
                _ => record.recovery == Some(keys),
            })
        };
        let base = links.frames.iter().find(made_it).map(EntryFrame::seq);
        Governance::begin(&links, |frame| Some(frame.seq()) == base).ok_or(ClientError::RecordRefused)
    }

    /// The chain's entries after `after`, and the keys of its records as far as they can be had.
    ///
    /// # Errors
    /// `network`, `answer_invalid`, or a server's code.
    pub(crate) async fn links(&self, after: Seq, known: &Keyring) -> Result<Links, ClientError> {
        self.links_with(after, |_| false, known).await
    }

    /// As [`Reader::links`]; a chain that is longer than what is usually read is read at least back to the one that is needed.
    async fn links_with(
        &self,
        after: Seq,
        is_needed: impl Fn(&EntryFrame) -> bool,
        known: &Keyring,
    ) -> Result<Links, ClientError> {
        let frames = self.frames(after, is_needed).await?;
        let keys = self.unlock(&frames, known).await?;
        Ok(Links { frames, keys })
    }

    async fn frames(
        &self,
        after: Seq,
        is_needed: impl Fn(&EntryFrame) -> bool,
    ) -> Result<Vec<EntryFrame>, ClientError> {
        // Pages come newest first, and so the entries stand until all have come.
        let (mut found, mut has_needed): (Vec<EntryFrame>, bool) = (Vec::new(), false);
        loop {
            let page = self.http.chain(self.room, found.last().map(EntryFrame::seq)).await?;
            let Some(first) = page.first().map(EntryFrame::seq) else { break };
            has_needed |= page.iter().any(&is_needed);
            found.extend(page.into_iter().rev().filter(|frame| frame.seq() > after));
            let is_enough = has_needed && found.len() + HISTORY_PAGE_MAX > CHAIN_ENTRIES_MAX;
            if first <= after.next() || is_enough {
                break;
            }
            if found.len() + HISTORY_PAGE_MAX > CHAIN_NEEDED_MAX {
                return Err(ClientError::Answer);
            }
        }
        found.reverse();
        Ok(found)
    }

    /// Newest first, since a record has the key before its own; what is found nowhere else is asked for.
    pub(crate) async fn unlock(&self, frames: &[EntryFrame], known: &Keyring) -> Result<Keyring, ClientError> {
        let (mut keys, mut asked) = (Keyring::default(), 0);
        let mut before: Option<RoomKey> = None;
        for frame in frames.iter().rev().filter(|frame| frame.kind() == Some(EntryKind::EpochRecord)) {
            let (Ok(header), Ok(envelope)) = (frame.header(), frame.envelope()) else { continue };
            let at_hand = [known.get(header.epoch).cloned(), before.take()];
            // Whether the record counts is the fold's question.
            let opens = |key: &RoomKey| decrypt(key, &envelope).is_ok();
            let mut found = at_hand.into_iter().flatten().find(opens);
            if found.is_none() && asked < KEYS_ASKED_MAX {
                asked += 1;
                found = self.key_of(header.epoch).await?.filter(opens);
            }
            if let Some(key) = found {
                let record = open_record(&key, envelope.bytes().clone()).ok();
                before = record.and_then(|record| record.previous_key(&key));
                keys.keep(key);
            }
        }
        Ok(keys)
    }

    /// The key of an epoch, if it was sealed to this device. It proves nothing by itself.
    async fn key_of(&self, epoch: u32) -> Result<Option<RoomKey>, ClientError> {
        match self.http.epoch_keys(self.room, epoch, &[]).await {
            Ok(answer) => {
                let sealed = answer.key.filter(|sealed| !sealed.0.is_empty());
                Ok(sealed.and_then(|sealed| open_room_key(&self.device, self.room, epoch, &sealed.0).ok()))
            }
            Err(ClientError::Server(error)) if error.retry == Retry::Never => Ok(None),
            Err(error) => Err(error),
        }
    }
}
