//! Roles that the server goes by and the chain does not know.
//!
//! What an admin's step does is in its sealed body; the server enforces what the request said beside it, which no other client sees. So an
//! owner may have left powers there that no step gave, or taken some away. Whoever owns the room sets them right by steps that change nothing
//! in the chain.

use snug_protocol::DeviceId;
use snug_protocol::http::{Member, MemberState, Role};
use snug_protocol::limits::ADMINS_MAX;

use super::{Governance, Room};
use crate::client::all_members;
use crate::crypto::{PublicKeys, Step};
use crate::error::ClientError;

/// A device that has another role by the server's list than by the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misplaced {
    /// Which.
    pub device: DeviceId,
    /// Its role, as the chain has it.
    pub role: Role,
    /// The role that the server goes by.
    pub server_role: Role,
}

impl Room {
    /// Who has another role by the server's list than by the chain, in order: the chain's is what counts, but the server enforces its own.
    /// [`Room::set_role`] with the role that is the device's anyway sets it right, and an owner's [`Room::rekey`] does so for all.
    ///
    /// # Errors
    /// `network`, or a server's code.
    pub async fn misplaced(&self) -> Result<Vec<Misplaced>, ClientError> {
        // The list first: what it has, the chain has by then.
        let members = all_members(&self.inner.http, self.id()).await?;
        self.read_chain().await?;
        Ok(misplaced(&self.governance(), &members).map(|(misplaced, _)| misplaced).collect())
    }

    /// As an owner, has the server go by the chain's roles, as far as it can be had. A server that lies about its list gets a few steps more
    /// that change nothing.
    pub(super) async fn set_roles_right(&self, members: &[Member]) {
        let governance = self.governance();
        if governance.state().role(self.inner.device.id()) != Role::Owner {
            return;
        }
        let mut wrong: Vec<_> = misplaced(&governance, members).collect();
        // Who gets a role first, so that the server is never without an owner.
        wrong.sort_by_key(|(misplaced, _)| std::cmp::Reverse(misplaced.role.rank()));
        for (Misplaced { device, role, .. }, keys) in wrong.into_iter().take(ADMINS_MAX) {
            if let Err(error) = self.take(Step::Role { device, keys, role }).await {
                // What cannot be set right may be in nobody's way: the server's answer to the record tells.
                tracing::debug!(%error, room = %self.id(), %device, "could not set a role right");
            }
        }
    }
}

/// With the keys that a step names it by. Those who were removed or banned have no role to hold on to, and are left out.
fn misplaced<'a>(
    governance: &'a Governance,
    members: &'a [Member],
) -> impl Iterator<Item = (Misplaced, PublicKeys)> + 'a {
    members.iter().filter_map(|member| {
        let (device, role) = (member.device, governance.state().role(member.device));
        let is_or_was_here = matches!(member.state, MemberState::Member | MemberState::Left);
        let keys = PublicKeys::parse(&member.sign_key, &member.agree_key).ok().filter(|keys| keys.id() == device)?;
        let is_misplaced = is_or_was_here && role != member.role && !governance.state().is_recovery(device);
        is_misplaced.then_some((Misplaced { device, role, server_role: member.role }, keys))
    })
}
