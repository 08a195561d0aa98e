//! Coming back to a room by its recovery key, when every owner's device is lost.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use snug_protocol::http::Role;
use snug_protocol::{GrantId, RoomId};

use crate::client::Client;
use crate::crypto::{InviteLink, RecoveryKey, Step};
use crate::error::ClientError;
use crate::http::Http;
use crate::room::{Governance, Keyring, Reader, Room, Steward, effect_of, make_invite};
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
