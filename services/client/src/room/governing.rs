//! What a room's task does with the chain: folds what comes, asks for what is missing, and tells of what does not follow.

use std::sync::Arc;

use snug_protocol::frame::EntryFrame;

use super::Event;
use super::actor::Actor;
use super::governance::{Fault, Governance};
use super::keyring::Keyring;
use super::unlocking::Reader;
use crate::crypto::RoomKey;
use crate::error::ClientError;
use crate::log::{Evidence, ViolationCode};

impl Actor {
    fn reader(&self) -> Reader {
        Reader { http: self.http.clone(), device: Arc::clone(&self.device), room: self.room }
    }

    /// Folds a link of the chain that the log has, or holds it against the one known at its place.
    ///
    /// # Errors
    /// `network`, or a server's code, when a key or what lies between could not be had: then it is to be asked for again.
    pub(super) async fn govern(&mut self, frame: &EntryFrame) -> Result<(), ClientError> {
        let newest = self.governance.chain.newest().seq;
        if frame.seq() > newest {
            let follows = frame.header().is_ok_and(|header| header.target == newest);
            if follows && self.governance.settled() == newest {
                self.fold(std::slice::from_ref(frame), &Keyring::default()).await?;
            } else {
                // Links between were not among what was delivered, and must be in the chain; or this one has the key of one before it.
                self.read_chain().await?;
            }
        }
        let unknown = frame.seq() > self.governance.chain.newest().seq && self.governance.missing().is_none();
        if unknown || !self.governance.is_consistent(frame.seq(), frame.hash()) {
            self.accuse_of(frame);
        }
        if let Some(epoch) = frame.header().ok().map(|header| header.epoch)
            && unknown
            && self.governance.is_ahead(epoch)
        {
            self.withhold(epoch);
        }
        Ok(())
    }

    /// Makes sure that the epoch of an entry is known to have begun. If the server does not show what began it, that was withheld.
    ///
    /// # Errors
    /// As [`Actor::govern`].
    pub(super) async fn expect_epoch(&mut self, frame: &EntryFrame) -> Result<(), ClientError> {
        let Ok(header) = frame.header() else { return Ok(()) };
        let epoch = header.epoch;
        // Once it counts as missing, it is not asked for with every entry.
        if header.room != self.room || !self.governance.is_ahead(epoch) {
            return Ok(());
        }
        self.read_chain().await?;
        if self.governance.is_ahead(epoch) {
            self.accuse_of(frame);
            self.withhold(epoch);
        }
        Ok(())
    }

    /// From here on nothing is sealed under an older key than this epoch's, whose record the server does not show.
    pub(super) fn withhold(&mut self, epoch: u32) {
        Arc::make_mut(&mut self.governance).withhold(epoch);
        self.published.send_replace(Arc::clone(&self.governance));
        self.tell_missing();
    }

    /// Reads what the chain has beyond what is known for good, and asks again for the keys of what could not be opened.
    ///
    /// # Errors
    /// As [`Actor::govern`].
    pub(super) async fn read_chain(&mut self) -> Result<(), ClientError> {
        self.read_chain_with(&Keyring::default()).await
    }

    async fn read_chain_with(&mut self, more: &Keyring) -> Result<(), ClientError> {
        let mut known = self.governance.keys.clone();
        known.keep_all(more);
        let links = self.reader().links(self.governance.settled(), &known).await?;
        self.extend(&links.frames, &links.keys);
        self.check_records().await;
        Ok(())
    }

    /// Takes a link of our own that the server says is committed, or one that a grant names, with the key that it begins.
    ///
    /// # Errors
    /// As [`Actor::govern`].
    pub(super) async fn committed_link(&mut self, frame: &EntryFrame, key: Option<RoomKey>) -> Result<(), ClientError> {
        self.log.acknowledge(frame.seq(), frame.hash());
        self.tell_violations();
        let newest = self.governance.chain.newest().seq;
        if frame.seq() > newest && frame.header().is_ok_and(|header| header.target == newest) {
            return self.fold(std::slice::from_ref(frame), &key.into_iter().collect()).await;
        }
        if frame.seq() > self.governance.settled() && key.is_some() {
            // It counted as one that cannot be opened.
            self.read_chain_with(&key.into_iter().collect()).await?;
        }
        self.govern(frame).await
    }

    async fn fold(&mut self, frames: &[EntryFrame], more: &Keyring) -> Result<(), ClientError> {
        let mut known = self.governance.keys.clone();
        known.keep_all(more);
        let keys = self.reader().unlock(frames, &known).await?;
        self.extend(frames, &keys);
        self.check_records().await;
        Ok(())
    }

    fn extend(&mut self, frames: &[EntryFrame], keys: &Keyring) {
        let known = |governance: &Governance| (governance.chain.newest(), governance.chain.pin(), governance.missing());
        let before = known(&self.governance);
        let faults = Arc::make_mut(&mut self.governance).extend(frames, keys);
        self.accuse(faults);
        if known(&self.governance) != before {
            self.published.send_replace(Arc::clone(&self.governance));
        }
        self.tell_missing();
    }

    fn tell_missing(&mut self) {
        let missing = self.governance.missing();
        if let Some(epoch) = missing.filter(|_| self.told_missing != missing) {
            self.tell(Event::KeyMissing { epoch });
        }
        self.told_missing = missing;
    }

    /// Tells of entries of the chain that count for nothing.
    pub(super) fn accuse(&mut self, faults: Vec<Fault>) {
        for fault in faults {
            tracing::warn!(room = %self.room, seq = %fault.frame.seq(), why = fault.why.as_str(), "a link of the chain counts for nothing");
            self.accuse_of(&fault.frame);
        }
    }

    fn accuse_of(&mut self, frame: &EntryFrame) {
        let evidence = Evidence { seq: frame.seq(), envelope: frame.envelope_bytes() };
        self.log.accuse(ViolationCode::Authority, frame.seq(), vec![evidence]);
        self.tell_violations();
    }
}
