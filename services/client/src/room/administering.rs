//! What admins do by one step: topic, lock, slow mode, muting, erasing, roles, the password.

use std::sync::Arc;
use std::time::Duration;

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{Effect, Role};
use snug_protocol::{DeviceId, ErrorCode, GrantId};

use super::stewarding::effect_of;
use super::{Change, Command, Governance, Room, Steward};
use crate::client::hash_password;
use crate::crypto::{GrantContent, GrantKeys, KDF, Prev, PublicKeys, RoomKey, Step, random, room_topic};
use crate::error::{ClientError, Field};

/// How often an act is tried while others administer at the same time.
pub(super) const TRIES_MAX: u32 = 3;

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Each is committed when the call returns. When others administered first and did not touch the same, it is done again upon theirs;
/// otherwise it fails with `chain_moved`: look at the room, and decide again. Dropping the future leaves open whether it is done.
///
/// # Errors
/// All of them: `not_allowed`, `last_owner`, `too_many_entries`, `bad_request` for a number out of its bounds, `chain_moved`,
/// `key_missing`, `network` (then it may be done, and [`Room::audit`] will tell), `closed`, or another server's code.
impl Room {
    /// Says what the room is about: at most 200 code points, or nothing. Moderators and owners.
    ///
    /// # Errors
    /// `topic_…`.
    pub async fn set_topic(&self, topic: &str) -> Result<(), ClientError> {
        let topic = room_topic(topic).map_err(|reason| ClientError::Text { field: Field::Topic, reason })?;
        self.take(Step::Topic { topic }).await
    }

    /// Refuses newcomers, or lets them in. Moderators and owners.
    ///
    /// # Errors
    /// As all of these.
    pub async fn set_locked(&self, locked: bool) -> Result<(), ClientError> {
        self.take(Step::Lock { locked }).await
    }

    /// Lets members write one message in this time, at most an hour; zero: as they like. Moderators and owners.
    ///
    /// # Errors
    /// As all of these.
    pub async fn set_slow(&self, interval: Duration) -> Result<(), ClientError> {
        self.take(Step::Slow { interval_ms: millis(interval) }).await
    }

    /// Keeps a device with a lower role from writing until a time in Unix milliseconds; 0 lifts it. Moderators and owners.
    ///
    /// # Errors
    /// As all of these.
    pub async fn mute(&self, device: DeviceId, until_ms: u64) -> Result<(), ClientError> {
        self.take(Step::Mute { device, until_ms }).await
    }

    /// Erases all that a device with a lower role wrote so far. Moderators and owners.
    ///
    /// # Errors
    /// As all of these.
    pub async fn erase(&self, device: DeviceId) -> Result<(), ClientError> {
        self.take(Step::Erase { device }).await
    }

    /// Lets a banned device come back, by the password or an invite. Moderators and owners.
    ///
    /// # Errors
    /// As all of these.
    pub async fn unban(&self, device: DeviceId) -> Result<(), ClientError> {
        self.take(Step::Unban { device }).await
    }

    /// Has messages erased at this age, an hour to ten years; `None`: never. Owners.
    ///
    /// # Errors
    /// As all of these.
    pub async fn set_retention(&self, age: Option<Duration>) -> Result<(), ClientError> {
        self.take(Step::Retention { age_ms: age.map_or(0, millis) }).await
    }

    /// Gives a member another role. Owners.
    ///
    /// # Errors
    /// As all of these; `device_keys_refused` if the server shows keys that are not the device's, or such as no key can be sealed to.
    pub async fn set_role(&self, device: DeviceId, role: Role) -> Result<(), ClientError> {
        let keys = self.keys_of(device).await?;
        if role != Role::Member {
            demand_sealable(&keys)?;
        }
        self.take(Step::Role { device, keys, role }).await
    }

    /// Makes a member owner, and this device a moderator. Owners.
    ///
    /// # Errors
    /// As [`Room::set_role`].
    pub async fn transfer(&self, device: DeviceId) -> Result<(), ClientError> {
        let keys = self.keys_of(device).await?;
        demand_sealable(&keys)?;
        self.take(Step::Transfer { device, keys }).await
    }

    /// Replaces the password; the key, the members and the invites stay. Who shall not read on must be removed: [`Room::rekey`]. Owners.
    ///
    /// # Errors
    /// `password_…`.
    pub async fn change_password(&self, password: &str) -> Result<(), ClientError> {
        let (room, grant, seen) = (self.id(), GrantId(random()), self.governance());
        let keys = GrantKeys::derive(&hash_password(password, room, grant).await?, room, grant);
        let secrets = seen.secrets();
        let content = GrantContent { room_key: secrets.key, record_hash: secrets.record_hash };
        let (auth, blob) = (keys.auth().into(), keys.seal(&content).into());
        self.administer(seen, Step::Password { grant }, Effect::Password { grant, kdf: KDF, auth, blob }).await
    }

    async fn keys_of(&self, device: DeviceId) -> Result<PublicKeys, ClientError> {
        let member = self.inner.http.member(self.id(), device).await?;
        let keys = PublicKeys::parse(&member.sign_key, &member.agree_key)?;
        if keys.id() == device { Ok(keys) } else { Err(ClientError::DeviceKeysRefused) }
    }

    pub(super) async fn take(&self, step: Step) -> Result<(), ClientError> {
        if !step.is_in_bounds() {
            return Err(ErrorCode::BadRequest.into());
        }
        let effect = effect_of(&step);
        self.administer(self.governance(), step, effect).await
    }

    /// Takes a step upon what the caller has `seen`, or upon what others did since then if it leaves this matter alone.
    async fn administer(&self, seen: Arc<Governance>, step: Step, effect: Effect) -> Result<(), ClientError> {
        let steward = self.steward();
        let (mut governance, mut tries) = (seen, 1);
        loop {
            let prev = self.edge(&steward).await?;
            let error = match steward.step(&governance, prev, step.clone(), effect.clone()).await {
                Ok(frame) => {
                    self.govern(frame, None).await;
                    return Ok(());
                }
                Err(error) => error,
            };
            if !matches!(error.server_code(), Some(ErrorCode::ChainMoved | ErrorCode::StaleEpoch)) {
                return Err(error);
            }
            self.read_chain().await?;
            let now = self.governance();
            if tries == TRIES_MAX || !leaves_alone(&governance, &now, &step) {
                return Err(error);
            }
            governance = now;
            tries += 1;
        }
    }

    pub(super) fn steward(&self) -> Steward {
        let inner = &self.inner;
        Steward { http: inner.http.clone(), device: Arc::clone(&inner.device), room: self.id() }
    }

    /// What this device has seen: the live edge, or what the server says is newest while it is not loaded.
    pub(super) async fn edge(&self, steward: &Steward) -> Result<Prev, ClientError> {
        match self.ask(|reply| Command::Edge { reply }).await? {
            Some(edge) => Ok(edge),
            None => steward.newest().await,
        }
    }

    /// Hands a committed link to the room's task, so that it holds when the call returns.
    pub(super) async fn govern(&self, frame: EntryFrame, key: Option<RoomKey>) {
        // It is committed whatever becomes of this; the log brings it too.
        let _ = self.ask(|reply| Command::Govern { frame, key, reply }).await;
    }
}

/// An admin to whom nothing can be sealed would be out with the next key, and by the server's rules keep its equals from making one.
fn demand_sealable(keys: &PublicKeys) -> Result<(), ClientError> {
    if keys.can_agree() { Ok(()) } else { Err(ClientError::DeviceKeysRefused) }
}

/// Whether what others did since then is something else than this step, so that it may be taken upon theirs without asking.
fn leaves_alone(before: &Governance, now: &Governance, step: &Step) -> bool {
    let mut since = now.since(before).peekable();
    since.peek().is_some() && since.all(|change| matches!(change, Change::Step(other) if !is_same_matter(step, other)))
}

fn is_same_matter(step: &Step, other: &Step) -> bool {
    let about = |step: &Step| match step {
        Step::Mute { device, .. } | Step::Role { device, .. } | Step::Transfer { device, .. } => Some(*device),
        _ => None,
    };
    let governs = |step: &Step| matches!(step, Step::Role { .. } | Step::Transfer { .. });
    (std::mem::discriminant(step) == std::mem::discriminant(other) && about(step) == about(other))
        || (governs(step) && governs(other))
}
