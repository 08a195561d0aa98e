//! What an admin does: steps, and epochs in their three parts.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::{Value, json};
use snug_client::crypto::{GrantKeys, Prev, PublicKeys, RoomKey, Secret};
use snug_protocol::envelope::Header;
use snug_protocol::http::{Effect, NewEpoch, SealedKey, StageKeys, StepRequest};
use snug_protocol::limits::{EPOCH_KEY_BYTES, GRANT_BLOB_BYTES};
use snug_protocol::{DeviceId, EntryKind, Envelope, EnvelopeHash, GrantId, InstanceId, Seq, recipients_hash};

use super::{Answer, Guest, GuestRoom, random, recovery_device};

/// An epoch to begin, and what opens it.
pub struct DraftEpoch {
    /// The request.
    pub request: NewEpoch,
    /// The new password.
    pub secret: Secret,
    /// Its room key.
    pub key: RoomKey,
    /// Whom keys were staged for.
    staged: Mutex<BTreeSet<DeviceId>>,
}

impl Guest {
    /// Seals a chain entry of the present epoch, or for a record of the next, after the chain entry at `after`.
    #[must_use]
    pub fn chain_entry(&self, room: &GuestRoom, kind: EntryKind, after: Seq) -> Envelope {
        let epoch = if kind == EntryKind::EpochRecord { room.epoch + 1 } else { room.epoch };
        let header = Header {
            kind,
            room: room.room,
            epoch,
            device: self.device.id(),
            instance: InstanceId(random()),
            counter: 0,
            target: after,
        };
        self.seal_under(&RoomKey::generate(room.room, epoch), &header, Prev::default(), &json!({}))
    }

    /// A step after the chain entry at `after`, with its effect.
    #[must_use]
    pub fn draft_step(&self, room: &GuestRoom, after: Seq, effect: Effect) -> StepRequest {
        let envelope = self.chain_entry(room, EntryKind::Step, after);
        StepRequest { envelope: envelope.bytes().to_vec().into(), effect }
    }

    /// Takes a step.
    pub async fn step(&self, room: &GuestRoom, after: Seq, effect: Effect) -> Answer {
        self.post(&format!("/api/rooms/{}/steps", room.room), &self.draft_step(room, after, effect)).await
    }

    /// Takes a step that must succeed; returns its place.
    pub async fn stepped(&self, room: &GuestRoom, after: Seq, effect: Effect) -> Seq {
        let (status, answer) = self.step(room, after, effect).await;
        assert_eq!(status, 200, "{answer}");
        seq(&answer)
    }

    /// An effect that replaces the password, and the new one.
    #[must_use]
    pub fn draft_password(&self, room: &GuestRoom) -> (Effect, GrantId, Secret) {
        let (grant, secret) = (GrantId(random()), Secret::generate());
        let auth = GrantKeys::derive(&secret, room.room, grant).auth().into();
        (Effect::Password { grant, kdf: 1, auth, blob: random::<GRANT_BLOB_BYTES>().into() }, grant, secret)
    }

    /// The request for the next epoch.
    #[must_use]
    pub fn draft_epoch(&self, room: &GuestRoom, after: Seq, remove: &[DeviceId]) -> DraftEpoch {
        let (grant, secret) = (GrantId(random()), Secret::generate());
        let record = self.chain_entry(room, EntryKind::EpochRecord, after);
        let request = NewEpoch {
            record: record.bytes().to_vec().into(),
            remove: remove.to_vec(),
            ban: false,
            recipients: Vec::new().into(),
            sent_at_ms: 0,
            recovery: None,
            grant,
            kdf: 1,
            auth: GrantKeys::derive(&secret, room.room, grant).auth().into(),
            blob: random::<GRANT_BLOB_BYTES>().into(),
        };
        let key = RoomKey::generate(room.room, room.epoch + 1);
        DraftEpoch { request, secret, key, staged: Mutex::default() }
    }

    /// Stages keys for these devices and the recovery device, if none takes its place.
    pub async fn stage(&self, room: &GuestRoom, draft: &DraftEpoch, devices: &[DeviceId]) -> Answer {
        let spare = draft.request.recovery.is_none().then(|| recovery_device().id());
        let devices: BTreeSet<DeviceId> = devices.iter().copied().chain(spare).collect();
        let keys = devices.iter().map(|device| SealedKey { device: *device, key: [7; EPOCH_KEY_BYTES].into() });
        let keys: Vec<SealedKey> = keys.collect();
        draft.staged.lock().expect("no panic").extend(devices);
        let record = EnvelopeHash::of(&draft.request.record.0).0.into();
        let request = StageKeys { record, keys };
        self.put(&format!("/api/rooms/{}/epochs/{}/keys", room.room, room.epoch + 1), &request).await
    }

    /// Begins the epoch, for those whom keys were staged for and the new recovery device if the request does not say otherwise.
    pub async fn begin_epoch(&self, room: &GuestRoom, draft: &DraftEpoch) -> Answer {
        let mut request = draft.request.clone();
        if request.recipients.0.is_empty() {
            let fresh = request.recovery.as_ref().and_then(|it| PublicKeys::parse(&it.sign_key, &it.agree_key).ok());
            let staged = draft.staged.lock().expect("no panic").clone();
            request.recipients = recipients_hash(staged.into_iter().chain(fresh.map(|keys| keys.id()))).into();
        }
        self.post(&format!("/api/rooms/{}/epochs", room.room), &request).await
    }

    /// Removes a device: stages keys for `stay`, begins the epoch, and seals under it from now on. Returns the record's place.
    pub async fn remove(&self, room: &mut GuestRoom, after: Seq, stay: &[DeviceId], gone: DeviceId, ban: bool) -> Seq {
        let mut draft = self.draft_epoch(room, after, &[gone]);
        draft.request.ban = ban;
        let (status, answer) = self.stage(room, &draft, stay).await;
        assert_eq!(status, 204, "{answer}");
        let (status, answer) = self.begin_epoch(room, &draft).await;
        assert_eq!(status, 200, "{answer}");
        room.enter_epoch(&draft);
        seq(&answer)
    }
}

impl GuestRoom {
    /// Seals under the new epoch, as a new instance, and joins by the new password.
    pub fn enter_epoch(&mut self, draft: &DraftEpoch) {
        (self.epoch, self.key) = (self.epoch + 1, draft.key.clone());
        (self.grant, self.secret) = (draft.request.grant, draft.secret.clone());
        self.new_instance();
    }
}

/// The place that an answer tells.
///
/// # Panics
/// When it tells none.
#[must_use]
pub fn seq(answer: &Value) -> Seq {
    Seq(answer["seq"].as_u64().unwrap_or_else(|| panic!("no place in {answer}")))
}
