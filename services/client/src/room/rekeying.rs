//! Another key for the room: to remove somebody, to be rid of a password that got about, or to keep newcomers from reading back.

use std::collections::BTreeSet;

use snug_protocol::http::{Invite, Member, MemberState};
use snug_protocol::{DeviceId, Envelope, ErrorCode, GrantId, Retry, Seq};

use super::administering::TRIES_MAX;
use super::stewarding::NewKey;
use super::{Change, Governance, Room, Steward};
use crate::chain::{Eligible, Membership, eligible};
use crate::client::{all_members, hash_password};
use crate::crypto::{Cause, GrantKeys, PublicKeys, RecoveryKey, RoomKey, Step, profile_of, random};
use crate::error::ClientError;
use crate::text;

/// Why the room gets another key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RekeyCause {
    /// These devices, 1 to 50, shall not read on. Moderators and owners, on lower roles.
    Remove {
        /// Which.
        devices: Vec<DeviceId>,
        /// They may not come back either.
        ban: bool,
    },
    /// The password or an invite got about. Moderators and owners.
    Rotate,
    /// Newcomers shall not read what was said before. Owners. After a record that was refused, or that nobody could open, it is all that
    /// goes on.
    CutHistory,
}

/// Another key, and the password that goes with it.
#[derive(Clone, Copy, Debug)]
pub struct Rekey<'a> {
    /// Why.
    pub cause: &'a RekeyCause,
    /// The new password: 1 to 256 code points. Those who stay need not type it.
    pub password: &'a str,
}

/// How far the new key has been handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Devices that it has been sealed to.
    pub staged: usize,
    /// Devices that it will be sealed to.
    pub all: usize,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rekeyed {
    /// The new epoch.
    pub epoch: u32,
    /// The place of its record.
    pub seq: Seq,
    /// Invites that are no more. Empty where the server's first answer was lost.
    pub revoked: Vec<Invite>,
    /// Members that had never shown that they have the room's key, so that they were put out; they may join by the new password.
    pub excluded: Vec<DeviceId>,
}

impl From<&RekeyCause> for Cause {
    fn from(cause: &RekeyCause) -> Self {
        match cause {
            RekeyCause::Remove { devices, ban } => {
                let devices: BTreeSet<DeviceId> = devices.iter().copied().collect();
                Self::Remove { devices: devices.into_iter().collect(), ban: *ban }
            }
            RekeyCause::Rotate => Self::Rotate,
            RekeyCause::CutHistory => Self::History,
        }
    }
}

impl Room {
    /// Gives the room another key and password, seals the key to everyone who stays, and revokes all invites, in one commit.
    ///
    /// Members who stay read on without doing anything. `progress` is called before the first and after each page of 200 devices. Who comes
    /// while it is under way gets no key, and may join by the new password. When others administer meanwhile, it is done again upon that, at
    /// most 3 times; `chain_moved` means that another key or password came first: look at the room, and decide again. Dropping the future
    /// leaves open whether it is done; what was handed to the server before does no harm.
    ///
    /// # Errors
    /// `password_…`, `bad_request` for none or too many devices, `not_allowed`, `key_missing`, `chain_moved`, `members_changed` (this device
    /// begins another epoch at the same time), `too_many_entries`, `closed`, `network` (then it may be done, and [`Room::epoch`] will tell), or another server's
    /// code. An owner has the server's roles set right first ([`Room::misplaced`]); `not_allowed` or `members_changed` all the same means
    /// that the server holds another recovery device than the chain, or that the chain's is to be an old one: [`Room::rekey_with_recovery`]
    /// ends that.
    pub async fn rekey(&self, rekey: Rekey<'_>, progress: impl FnMut(Progress) + Send) -> Result<Rekeyed, ClientError> {
        self.rekey_and(rekey, None, progress).await
    }

    /// As [`Room::rekey`], and puts a fresh recovery key in the place of the one there is, in the same commit. Owners.
    ///
    /// Whoever has the old one can neither come back by it nor read what is written from then on. Show the new one, to be saved, before
    /// or when it is done: it is nowhere else.
    ///
    /// # Errors
    /// As [`Room::rekey`].
    pub async fn rekey_with_recovery(
        &self,
        rekey: Rekey<'_>,
        recovery: &RecoveryKey,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Rekeyed, ClientError> {
        self.rekey_and(rekey, Some(*recovery.device().keys()), progress).await
    }

    async fn rekey_and(
        &self,
        rekey: Rekey<'_>,
        recovery: Option<PublicKeys>,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Rekeyed, ClientError> {
        let cause = Cause::from(rekey.cause);
        if !cause.is_in_bounds() {
            return Err(ErrorCode::BadRequest.into());
        }
        text::password(rekey.password)?;
        let seen = self.governance();
        seen.chain.next_state_with(self.inner.device.id(), &cause, recovery.as_ref(), super::now_ms())?;
        let (room, grant) = (self.id(), GrantId(random()));
        let grant_keys = GrantKeys::derive(&hash_password(rekey.password, room, grant).await?, room, grant);
        let (steward, mut tries, mut ahead_ms, mut is_set_right) = (self.steward(), 1, 0, false);
        loop {
            let members = all_members(&self.inner.http, self.id()).await?;
            if !std::mem::replace(&mut is_set_right, true) {
                self.set_roles_right(&members).await;
            }
            let governance = self.governance();
            if !leaves_alone(&seen, &governance) {
                return Err(ErrorCode::ChainMoved.into());
            }
            let sent_at_ms = super::now_ms().saturating_sub(ahead_ms);
            let eligible = steward.eligible(&governance, &cause, (recovery.as_ref(), &members), sent_at_ms).await?;
            let new = NewKey {
                cause: cause.clone(),
                recovery,
                eligible: &eligible,
                sent_at_ms,
                grant,
                grant_keys: &grant_keys,
            };
            let error = match self.begin(&governance, &new, &mut progress).await {
                Ok((epoch, seq, revoked)) => return Ok(Rekeyed { epoch, seq, revoked, excluded: eligible.excluded }),
                Err(error) => error,
            };
            let moved = Some(ErrorCode::ChainMoved) == error.server_code()
                || Some(ErrorCode::StaleEpoch) == error.server_code();
            if let (ClientError::Server(body), true) = (&error, ahead_ms == 0)
                && let (ErrorCode::ClockAhead, Some(server_at_ms)) = (body.code, body.server_at_ms)
            {
                // Server and chain are to forget the same mutes, so the record's time is one that both can believe.
                ahead_ms = super::now_ms().saturating_sub(server_at_ms).max(1);
                continue;
            }
            if !moved && error.server_code() != Some(ErrorCode::MembersChanged) {
                return Err(error);
            }
            self.read_chain().await?;
            // A server that says that the chain moved must show how.
            let shown = self.governance().chain.newest() != governance.chain.newest();
            if tries == TRIES_MAX || (moved && !shown) {
                return Err(error);
            }
            tries += 1;
        }
    }

    async fn begin(
        &self,
        governance: &Governance,
        new: &NewKey<'_>,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(u32, Seq, Vec<Invite>), ClientError> {
        let steward = self.steward();
        let prev = self.edge(&steward).await?;
        let begun = steward.seal(governance, prev, new)?;
        steward.stage(&begun, new, progress).await?;
        let epoch = begun.key.epoch();
        match steward.begin(&begun, new).await {
            Ok((frame, revoked)) => {
                let seq = frame.seq();
                self.govern(frame, Some(begun.key)).await;
                Ok((epoch, seq, revoked))
            }
            // The answer may be lost, or the server not know itself, and the epoch begun: the chain tells, if it can be had.
            Err(error) if may_be_done(&error) => {
                let _ = self.read_chain().await;
                let newest = self.governance();
                let place = newest.chain.newest();
                if newest.chain.pin() == (epoch, begun.record.hash()) {
                    return Ok((epoch, place.seq, Vec::new()));
                }
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

impl Steward {
    /// To whom the new key is sealed.
    ///
    /// # Errors
    /// What the fold refuses; `key_missing`; `network`, or a server's code.
    pub(crate) async fn eligible(
        &self,
        governance: &Governance,
        cause: &Cause,
        (recovery, members): (Option<&PublicKeys>, &[Member]),
        sent_at_ms: u64,
    ) -> Result<Eligible, ClientError> {
        let own = self.device.id();
        let next = governance.chain.next_state_with(own, cause, recovery, sent_at_ms)?;
        let key = governance.key_before(cause).ok_or(ClientError::KeyMissing)?;
        let present = members.iter().filter(|member| member.state == MemberState::Member);
        let listed: Vec<(DeviceId, PublicKeys)> = present.map(|member| (member.device, keys_of(member))).collect();
        let introduced = members.iter().filter(|member| has_introduced_itself(key, member));
        let introduced: BTreeSet<DeviceId> = introduced.map(|member| member.device).collect();
        let recipients = match governance.record().recipients {
            Some(_) => self.http.epoch_keys(self.room, governance.epoch(), &[]).await?.recipients,
            None => Vec::new(),
        };
        let members = Membership { listed: &listed, recipients: &recipients, introduced: &introduced };
        Ok(eligible(governance.record(), &next, own, cause, members))
    }
}

/// Whether what was asked for may have been done all the same.
fn may_be_done(error: &ClientError) -> bool {
    match error {
        ClientError::Network(_) | ClientError::Answer => true,
        ClientError::Server(error) => error.retry == Retry::Later,
        _ => false,
    }
}

/// A member's keys as the server lists them. Such as are no keys hash to no device, so that it will not count.
fn keys_of(member: &Member) -> PublicKeys {
    let nobody = PublicKeys { sign_key: [0; 32], agree_key: [0; 32] };
    PublicKeys::parse(&member.sign_key, &member.agree_key).unwrap_or(nobody)
}

fn has_introduced_itself(key: &RoomKey, member: &Member) -> bool {
    let envelope = member.profile.as_ref().map(|profile| profile.envelope.0.clone());
    envelope.is_some_and(|envelope| {
        let room = Envelope::parse(envelope.clone().into()).ok().map(|envelope| envelope.header().room);
        room == Some(key.room()) && profile_of(key, envelope.into()) == Some(member.device)
    })
}

/// Whether nobody began an epoch or replaced the password since then.
fn leaves_alone(before: &Governance, now: &Governance) -> bool {
    now.since(before).all(|change| matches!(change, Change::Step(step) if !matches!(step, Step::Password { .. })))
}
