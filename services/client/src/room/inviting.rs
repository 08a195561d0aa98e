//! Links by which others can join.

use std::time::Duration;

use reqwest::Method;
use snug_protocol::http::{CreateInvite, Invite, InvitesAnswer};
use snug_protocol::{ErrorCode, GrantId};

use super::administering::TRIES_MAX;
use super::{Room, RoomSecrets};
use crate::crypto::{GrantContent, GrantKeys, InviteLink, Secret, random};
use crate::error::ClientError;
use crate::http::Http;

/// Makes an invite to the room that the secrets open, in the name of whose calls these are.
pub(crate) async fn make_invite(
    http: &Http,
    secrets: &RoomSecrets,
    expires_in: Option<Duration>,
    uses_max: Option<u32>,
) -> Result<(InviteLink, Invite), ClientError> {
    let (room, grant, secret) = (secrets.key.room(), GrantId(random()), Secret::generate());
    let keys = GrantKeys::derive(&secret, room, grant);
    let content = GrantContent { room_key: secrets.key.clone(), record_hash: secrets.record_hash };
    let request = CreateInvite {
        grant,
        auth: keys.auth().into(),
        blob: keys.seal(&content).into(),
        expires_in_ms: expires_in.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        uses_max,
    };
    let invite: Invite = http.authorised(Method::POST, &format!("/api/rooms/{room}/invites"), Some(&request)).await?;
    let origin = http.origin(&http.node());
    Ok((InviteLink { origin, room, grant, secret }, invite))
}

impl Room {
    /// Makes a link by which others can join: for `expires_in` (at most a year; `None`: until revoked), for at most `uses_max` devices.
    ///
    /// Dropping the future leaves open whether there is an invite; [`Room::invites`] tells.
    ///
    /// # Errors
    /// `key_missing`, `too_many_invites`, `chain_moved` if the room's key is replaced all the time, `network`, or another server's code.
    pub async fn create_invite(
        &self,
        expires_in: Option<Duration>,
        uses_max: Option<u32>,
    ) -> Result<(InviteLink, Invite), ClientError> {
        for _ in 0..TRIES_MAX {
            let governance = self.governance();
            governance.sealing_key().ok_or(ClientError::KeyMissing)?;
            let made = make_invite(&self.inner.http, &governance.secrets(), expires_in, uses_max).await?;
            // The server cannot see which key is in it. One that holds an older key leads nobody in.
            self.read_chain().await?;
            if self.epoch() == governance.epoch() {
                return Ok(made);
            }
            // Where the new key came after the invite, it is no more.
            let _ = self.revoke_invite(made.1.grant).await;
        }
        Err(ErrorCode::ChainMoved.into())
    }

    /// The room's invites, newest first.
    ///
    /// # Errors
    /// `network`, or a server's code.
    pub async fn invites(&self) -> Result<Vec<Invite>, ClientError> {
        let path = format!("/api/rooms/{}/invites", self.id());
        let answer: InvitesAnswer = self.inner.http.authorised::<(), _>(Method::GET, &path, None).await?;
        Ok(answer.invites)
    }

    /// Ends an invite. Its maker, or an owner.
    ///
    /// # Errors
    /// `not_allowed`, `network`, or another server's code.
    pub async fn revoke_invite(&self, grant: GrantId) -> Result<(), ClientError> {
        let path = format!("/api/rooms/{}/invites/{grant}", self.id());
        self.inner.http.authorised::<(), ()>(Method::DELETE, &path, None).await
    }
}
