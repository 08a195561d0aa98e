//! Coming back to a room by its recovery key, when every owner's device is lost.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use snug_protocol::http::Role;
use snug_protocol::{GrantId, RoomId};

use crate::client::{Client, all_members};
use crate::crypto::{Cause, GrantKeys, InviteLink, RecoveryKey, Secret, Step, random};
use crate::error::ClientError;
use crate::http::Http;
use crate::room::{Governance, Keyring, NewKey, Reader, Room, Steward, effect_of, make_invite, now_ms};
use crate::text;

/// How long the invite is good that leads this device into the room.
const INVITE_LIFE: Duration = Duration::from_secs(3600);

/// The recovery device at work.
struct Saviour {
    steward: Steward,
    governance: Governance,
}

impl Client {
    /// Makes this device an owner of a room by the recovery key that was shown when the room was created, or that has taken that one's
    /// place. A lock does not keep it out. The key stays good.
    ///
    /// The recovery key proves the holder to the server, not the server to the holder: the room is the one that the server shows under
    /// this name. Repeating it after an error is safe.
    ///
    /// # Errors
    /// `device_unknown` if no room here has this key; `recovery_replaced` if another has taken its place; `room_name_…`, `member_name_…`; `record_refused` or `key_missing` if the room under
    /// this name is not one of the key's; `banned`; `chain_moved` if somebody administers at the same time; `network`, or another
    /// server's code.
    pub async fn recover_room(&self, name: &str, key: &RecoveryKey, member_name: &str) -> Result<Room, ClientError> {
        self.recover(name, key, member_name, false).await
    }

    /// As [`Client::recover_room`], also into a room whose newest record was refused or cannot be opened, where that one says `key_missing`:
    /// nobody can come in by it. Closes the history first, upon the state before that record.
    ///
    /// It is the server's word that there is no fitting key: where it lies, all who have one refuse what is done here. Set a password
    /// afterwards ([`Room::change_password`]), since the room has none then that anybody knows.
    ///
    /// # Errors
    /// As [`Client::recover_room`].
    pub async fn recover_stalled_room(
        &self,
        name: &str,
        key: &RecoveryKey,
        member_name: &str,
    ) -> Result<Room, ClientError> {
        self.recover(name, key, member_name, true).await
    }

    async fn recover(
        &self,
        name: &str,
        key: &RecoveryKey,
        member_name: &str,
        goes_on: bool,
    ) -> Result<Room, ClientError> {
        let (name, member_name) = (text::room_name(name)?, text::member_name(member_name)?);
        let device = Arc::new(key.device());
        let http = Http::new(self.config(), Arc::clone(&device))?;
        let room = http.lookup(&name).await?.room;
        let reader = Reader { http: http.clone(), device: Arc::clone(&device), room };
        let (governance, _) = reader.read_as_recovery().await?;
        if !governance.state().is_recovery(device.id()) {
            return Err(ClientError::RecordRefused);
        }
        let mut saviour = Saviour { steward: Steward { http, device, room }, governance };
        if goes_on && !saviour.governance.is_current() {
            saviour.go_on().await?;
        }
        let room = self.come_back(&mut saviour, &member_name).await?;
        room.read_chain().await?;
        Ok(room)
    }

    async fn come_back(&self, saviour: &mut Saviour, member_name: &str) -> Result<Room, ClientError> {
        let (link, grant) = saviour.invite().await?;
        let room = self.join_by_link(&link, member_name).await?;
        saviour.revoke(room.id(), grant).await;
        let (device, keys) = (self.device().id(), *self.device().keys());
        if saviour.governance.state().role(device) != Role::Owner {
            saviour.take(Step::Role { device, keys, role: Role::Owner }).await?;
        }
        Ok(room)
    }
}

impl Saviour {
    async fn take(&mut self, step: Step) -> Result<(), ClientError> {
        let prev = self.steward.newest().await?;
        let effect = effect_of(&step);
        let frame = self.steward.step(&self.governance, prev, step, effect).await?;
        self.governance.extend(&[frame], &Keyring::default());
        Ok(())
    }

    /// Goes on from a record that was refused or that nobody could open, since nobody can come in by it. It closes the history, which is all
    /// that is left there, and the password is one that nobody knows until the owner names another.
    async fn go_on(&mut self) -> Result<(), ClientError> {
        let (cause, sent_at_ms) = (Cause::History, now_ms());
        let refused = self.governance.chain.next_epoch().saturating_sub(1);
        // A device for which there is no key at all is no recovery device any more, or the server withholds it.
        self.steward.http.epoch_keys(self.steward.room, refused, &[]).await?.key.ok_or(ClientError::KeyMissing)?;
        let members = all_members(&self.steward.http, self.steward.room).await?;
        let eligible = self.steward.eligible(&self.governance, &cause, (None, &members), sent_at_ms).await?;
        let (grant, secret) = (GrantId(random()), Secret::generate());
        let grant_keys = GrantKeys::derive(&secret, self.steward.room, grant);
        let new = NewKey { cause, recovery: None, eligible: &eligible, sent_at_ms, grant, grant_keys: &grant_keys };
        let prev = self.steward.newest().await?;
        let begun = self.steward.seal(&self.governance, prev, &new)?;
        self.steward.stage(&begun, &new, &mut |_| {}).await?;
        let (frame, _) = self.steward.begin(&begun, &new).await?;
        self.governance.extend(&[frame], &std::iter::once(begun.key).collect());
        Ok(())
    }

    async fn invite(&self) -> Result<(InviteLink, GrantId), ClientError> {
        self.governance.sealing_key().ok_or(ClientError::KeyMissing)?;
        let secrets = self.governance.secrets();
        let (link, invite) = make_invite(&self.steward.http, &secrets, Some(INVITE_LIFE), Some(1)).await?;
        Ok((link, invite.grant))
    }

    async fn revoke(&self, room: RoomId, grant: GrantId) {
        let path = format!("/api/rooms/{room}/invites/{grant}");
        // It is used up anyway.
        let _ = self.steward.http.authorised::<(), ()>(Method::DELETE, &path, None).await;
    }
}
