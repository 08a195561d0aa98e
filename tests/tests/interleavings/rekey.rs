//! Making a new epoch as a client does: in steps, between which anything may happen.

use std::collections::BTreeSet;

use snug_client::chain::{Membership, eligible};
use snug_client::crypto::{
    Cause, Device, GrantContent, GrantKeys, NextEpoch, PublicKeys, RoomKey, Secret, next_record, profile_of,
    seal_room_key,
};
use snug_client::protocol::http::MemberState;
use snug_client::protocol::{DeviceId, EnvelopeHash, GrantId, RoomId, recipients_hash};
use snug_store::{GrantSecret, NewEpoch, StepError, Store};

use super::person::{Person, Told, device_keys, random};

/// An epoch whose keys are sealed and which has not begun.
pub struct Prepared {
    pub by: DeviceId,
    pub told: Told,
    pub cause: Cause,
    /// The recovery device that takes the place of the one before, if one does.
    pub recovery: Option<Device>,
    /// Members that it knows will be put out.
    pub excluded: usize,
    pub new: NewEpoch,
    keys: Vec<(DeviceId, [u8; 80])>,
}

impl Prepared {
    /// Seals a new key to everyone who counts, as the admin sees the room now. `None` if the fold does not allow it.
    pub async fn new(
        admin: &Person,
        store: &Store,
        room: RoomId,
        cause: Cause,
        recovery: Option<Device>,
    ) -> Option<Self> {
        let (chain, record) = (admin.chain.as_ref()?, admin.record.as_ref()?);
        let (epoch, _) = chain.pin();
        let present = &admin.keys[&epoch];
        let fresh = recovery.as_ref().map(|device| *device.keys());
        let state = chain.next_state_with(admin.device.id(), &cause, fresh.as_ref(), 1).ok()?;

        let mut listed: Vec<(DeviceId, PublicKeys)> = Vec::new();
        let mut introduced = BTreeSet::new();
        for member in store.members(room, None, 1_000).await.expect("the store answers") {
            if member.state != MemberState::Member {
                continue;
            }
            let keys = PublicKeys { sign_key: member.keys.sign_key, agree_key: member.keys.agree_key };
            listed.push((member.keys.device, keys));
            if let Some(profile) = member.profile {
                introduced.extend(profile_of(present, profile.envelope_bytes()));
            }
        }
        let recipients = store.epoch_keys(room, epoch, admin.device.id()).await.expect("the store answers").recipients;
        let membership = Membership { listed: &listed, recipients: &recipients, introduced: &introduced };
        let who = eligible(record, &state, admin.device.id(), &cause, membership);

        let key = RoomKey::generate(room, epoch + 1);
        let sealed_to: Vec<DeviceId> = who.sealed_to.iter().map(|(device, _)| *device).collect();
        let next = NextEpoch {
            after: chain.newest(),
            previous_key: present,
            recipients: &sealed_to,
            cause: cause.clone(),
            recovery: fresh,
            state,
        };
        let envelope = next_record(&admin.device, &key, next, admin.newest(), 1).expect("in bounds");
        let told = Told { grant: GrantId(random()), secret: Secret::generate() };
        let grant_keys = GrantKeys::derive(&told.secret, room, told.grant);
        let content = GrantContent { room_key: key.clone(), record_hash: envelope.hash() };
        // What the gateway's pepper adds is left out: a thief of the database and the pepper has exactly this.
        let secret =
            GrantSecret { verifier: grant_keys.auth().to_vec(), sealed_blob: grant_keys.seal(&content), pepper: 0 };
        let staged = who.sealed_to.iter().filter(|(_, keys)| Some(*keys) != fresh);
        let keys = staged.map(|(device, keys)| (*device, seal_room_key(&key, keys).expect("usual keys")));
        let (remove, ban) = match &cause {
            Cause::Remove { devices, ban } => (devices.clone(), *ban),
            _ => (Vec::new(), false),
        };
        let (grant, recipients) = (told.grant, recipients_hash(sealed_to));
        let named = fresh.map(|keys| (device_keys(&keys), seal_room_key(&key, &keys).expect("usual keys")));
        Some(Self {
            by: admin.device.id(),
            keys: keys.collect(),
            told,
            cause,
            recovery,
            excluded: who.excluded.len(),
            new: NewEpoch {
                record: envelope,
                remove,
                ban,
                recipients,
                sent_at_ms: 1,
                recovery: named,
                grant,
                kdf: 1,
                secret,
            },
        })
    }

    fn hash(&self) -> EnvelopeHash {
        self.new.record.hash()
    }

    /// Stages the first `count` keys, in two requests as for a large room.
    pub async fn stage(&self, store: &Store, room: RoomId, count: usize) -> Result<(), StepError> {
        let epoch = self.new.record.header().epoch;
        let count = count.min(self.keys.len());
        for page in [&self.keys[..count / 2], &self.keys[count / 2..count]] {
            store.stage_epoch_keys(room, self.by, epoch, self.hash(), page.to_vec()).await?;
        }
        Ok(())
    }

    pub async fn begin(&self, store: &Store) -> Result<(), StepError> {
        store.begin_epoch(self.new.clone()).await.map(|_| ())
    }
}
