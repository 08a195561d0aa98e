//! Access tokens in memory.

use std::time::Duration;

use snug_protocol::DeviceId;
use snug_protocol::limits::MOVE_LIFE;

use super::{Memory, now_ms};
use crate::rules::epoch::STAGED_KEPT;
use crate::rules::{TokenEnds, ms};
use crate::{GrantKind, Quotas, StoreError, Swept, Token};

impl Memory {
    pub fn issue_token(
        &self,
        hash: [u8; 32],
        device: DeviceId,
        idle: Duration,
        absolute: Duration,
    ) -> Result<Token, StoreError> {
        let ends = TokenEnds::issued(now_ms(), idle, absolute);
        self.open()?.tokens.insert(hash, (device, ends));
        Ok(ends.token(device))
    }

    pub fn token(&self, hash: [u8; 32]) -> Result<Option<Token>, StoreError> {
        let mut state = self.open()?;
        let now_ms = now_ms();
        let Some((device, ends)) = state.tokens.get_mut(&hash).filter(|(_, ends)| ends.expires_at_ms > now_ms) else {
            return Ok(None);
        };
        if let Some(expires_at_ms) = ends.slide(now_ms) {
            ends.expires_at_ms = expires_at_ms;
        }
        Ok(Some(ends.token(*device)))
    }

    pub fn revoke_token(&self, hash: [u8; 32]) -> Result<Option<DeviceId>, StoreError> {
        let mut state = self.open()?;
        let Some((device, _)) = state.tokens.remove(&hash) else { return Ok(None) };
        for log in state.rooms.values_mut().filter(|log| log.role(device).is_some()) {
            log.room.access_version += 1;
        }
        Ok(Some(device))
    }

    pub fn sweep(&self, quotas: &Quotas) -> Result<Swept, StoreError> {
        let mut state = self.open()?;
        let now_ms = now_ms();
        let tokens = state.tokens.extract_if(|_, (_, ends)| ends.expires_at_ms <= now_ms).count() as u64;
        let mut swept = Swept { tokens, ..Swept::default() };
        let kept_since_ms = now_ms.saturating_sub(ms(quotas.expired_invites_kept));
        for log in state.rooms.values_mut() {
            let old = log.grants.extract_if(|_, grant| {
                grant.kind == GrantKind::Invite && grant.expires_at_ms.is_some_and(|end| end <= kept_since_ms)
            });
            swept.invites += old.count() as u64;
            swept.expired_entries += log.erase_by_age(now_ms);
            swept.staged_keys += log.forget_stagings(now_ms.saturating_sub(ms(STAGED_KEPT)));
        }
        let opened_since_ms = now_ms.saturating_sub(ms(MOVE_LIFE));
        swept.moves = state.moves.extract_if(|_, mailbox| mailbox.offered_at_ms <= opened_since_ms).count() as u64;
        Ok(swept)
    }
}
