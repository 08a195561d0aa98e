//! Administration by HTTP: seals links of the chain in an admin's name and hands them to the server. Used by a room's handle, and by the
//! recovery device, which has no room.

use std::sync::Arc;

use reqwest::Method;
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{Committed, Effect, Invite, NewEpoch, RecoveryDevice, SealedKey, StageKeys, StepRequest};
use snug_protocol::limits::EPOCH_KEYS_PAGE_MAX;
use snug_protocol::{DeviceId, Envelope, GrantId, RoomId, recipients_hash};

use super::rekeying::Progress;
use super::{Governance, now_ms};
use crate::chain::Eligible;
use crate::crypto::{
    Cause, Device, GrantContent, GrantKeys, KDF, NextEpoch, Prev, PublicKeys, RoomKey, Step, next_record,
    seal_room_key, seal_step,
};
use crate::error::ClientError;
use crate::http::Http;

/// An admin of a room.
pub(crate) struct Steward {
    pub(crate) http: Http,
    pub(crate) device: Arc<Device>,
    pub(crate) room: RoomId,
}

/// A new epoch as it shall be.
pub(crate) struct NewKey<'a> {
    pub(crate) cause: Cause,
    /// The recovery device that takes the place of the one there is.
    pub(crate) recovery: Option<PublicKeys>,
    pub(crate) eligible: &'a Eligible,
    /// The record's time.
    pub(crate) sent_at_ms: u64,
    /// The new password's grant, and its keys.
    pub(crate) grant: GrantId,
    pub(crate) grant_keys: &'a GrantKeys,
}

/// A record that is sealed, with its key.
pub(crate) struct Begun {
    pub(crate) record: Envelope,
    pub(crate) key: RoomKey,
}

/// What the server is told of a step. A new password's is made where the password is.
pub(crate) fn effect_of(step: &Step) -> Effect {
    match *step {
        Step::Topic { .. } | Step::Password { .. } => Effect::None {},
        Step::Lock { locked } => Effect::Lock { locked },
        Step::Slow { interval_ms } => Effect::Slow { interval_ms },
        Step::Mute { device, until_ms } => Effect::Mute { device, until_ms },
        Step::Erase { device } => Effect::Erase { device },
        Step::Unban { device } => Effect::Unban { device },
        Step::Retention { age_ms } => Effect::Retention { age_ms },
        Step::Role { device, role, .. } => Effect::Role { device, role },
        Step::Transfer { device, .. } => Effect::Transfer { device },
    }
}

impl Steward {
    /// The newest entry of the room's log, for one that has not loaded it.
    pub(crate) async fn newest(&self) -> Result<Prev, ClientError> {
        let page = self.http.history(self.room, None, 1).await?;
        let newest = page.entries.iter().rfind(|frame| frame.seq() <= page.head.to).ok_or(ClientError::Answer)?;
        Ok(Prev { seq: newest.seq(), hash: newest.hash() })
    }

    /// Takes a step upon the newest link that `governance` knows. The same envelope is sent until it is answered.
    ///
    /// # Errors
    /// What the fold refuses, by the code the server would give; `key_missing`; `chain_moved`; `network`: then it may be committed.
    pub(crate) async fn step(
        &self,
        governance: &Governance,
        prev: Prev,
        step: Step,
        effect: Effect,
    ) -> Result<EntryFrame, ClientError> {
        let key = governance.sealing_key().ok_or(ClientError::KeyMissing)?;
        let after = governance.chain.next_step(self.device.id(), &step)?;
        let envelope = seal_step(&self.device, key, after, step, prev, now_ms())?;
        let request = StepRequest { envelope: envelope.bytes().to_vec().into(), effect };
        let path = format!("/api/rooms/{}/steps", self.room);
        let committed: Committed = self.http.repeated(Method::POST, &path, &request).await?;
        Ok(EntryFrame::new(committed.seq, committed.at_ms, envelope.bytes()))
    }

    /// Seals the record of the next epoch.
    ///
    /// # Errors
    /// What the fold refuses; `key_missing`.
    pub(crate) fn seal(&self, governance: &Governance, prev: Prev, new: &NewKey<'_>) -> Result<Begun, ClientError> {
        let previous_key = governance.key_before(&new.cause).ok_or(ClientError::KeyMissing)?;
        let (signer, recovery) = (self.device.id(), new.recovery);
        let state = governance.chain.next_state_with(signer, &new.cause, recovery.as_ref(), new.sent_at_ms)?;
        let key = RoomKey::generate(self.room, governance.chain.next_epoch());
        let recipients: Vec<_> = new.eligible.sealed_to.iter().map(|(device, _)| *device).collect();
        let (after, cause) = (governance.chain.newest(), new.cause.clone());
        let next = NextEpoch { after, previous_key, recipients: &recipients, cause, recovery, state };
        let record = next_record(&self.device, &key, next, prev, new.sent_at_ms)?;
        Ok(Begun { record, key })
    }

    /// Seals the new key to everyone, a page at a time, and hands the pages to the server. A new recovery device, which the server does not
    /// know, gets its own with the record.
    pub(crate) async fn stage(
        &self,
        begun: &Begun,
        new: &NewKey<'_>,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), ClientError> {
        let path = format!("/api/rooms/{}/epochs/{}/keys", self.room, begun.key.epoch());
        let record = begun.record.hash().0;
        let known = |(_, keys): &&(DeviceId, PublicKeys)| Some(*keys) != new.recovery;
        let sealed_to: Vec<_> = new.eligible.sealed_to.iter().filter(known).copied().collect();
        let (mut staged, all) = (0, sealed_to.len());
        progress(Progress { staged, all });
        for page in sealed_to.chunks(EPOCH_KEYS_PAGE_MAX) {
            let keys = seal_page(begun.key.clone(), page.to_vec()).await?;
            let request = StageKeys { record: record.into(), keys };
            let () = self.http.repeated(Method::PUT, &path, &request).await?;
            staged += page.len();
            progress(Progress { staged, all });
        }
        Ok(())
    }

    /// Begins the epoch whose keys are staged. Returns the committed record and the invites that are no more.
    pub(crate) async fn begin(
        &self,
        begun: &Begun,
        new: &NewKey<'_>,
    ) -> Result<(EntryFrame, Vec<Invite>), ClientError> {
        let (remove, ban) = match &new.cause {
            Cause::Remove { devices, ban } => (devices.clone(), *ban),
            Cause::Created | Cause::Rotate | Cause::History => (Vec::new(), false),
        };
        let content = GrantContent { room_key: begun.key.clone(), record_hash: begun.record.hash() };
        let request = NewEpoch {
            record: begun.record.bytes().to_vec().into(),
            remove,
            ban,
            recipients: recipients_hash(new.eligible.sealed_to.iter().map(|(device, _)| *device)).into(),
            sent_at_ms: new.sent_at_ms,
            recovery: new.recovery.map(|keys| recovery_device(&begun.key, &keys)).transpose()?,
            grant: new.grant,
            kdf: KDF,
            auth: new.grant_keys.auth().into(),
            blob: new.grant_keys.seal(&content).into(),
        };
        let path = format!("/api/rooms/{}/epochs", self.room);
        let committed: Committed = self.http.repeated(Method::POST, &path, &request).await?;
        let frame = EntryFrame::new(committed.seq, committed.at_ms, begun.record.bytes());
        Ok((frame, committed.revoked.unwrap_or_default()))
    }
}

/// A recovery device with a room key sealed to it, as the server is told of it.
pub(crate) fn recovery_device(key: &RoomKey, keys: &PublicKeys) -> Result<RecoveryDevice, ClientError> {
    let (sign_key, agree_key) = (keys.sign_key.into(), keys.agree_key.into());
    Ok(RecoveryDevice { sign_key, agree_key, key: seal_room_key(key, keys)?.into() })
}

/// Sealing to hundreds takes a while, so it runs beside the async threads.
async fn seal_page(key: RoomKey, page: Vec<(DeviceId, PublicKeys)>) -> Result<Vec<SealedKey>, ClientError> {
    let seal = move || {
        let sealed = page.iter().map(|(device, keys)| {
            seal_room_key(&key, keys).map(|sealed| SealedKey { device: *device, key: sealed.into() })
        });
        sealed.collect()
    };
    tokio::task::spawn_blocking(seal).await.map_err(|_| ClientError::Closed)?
}
