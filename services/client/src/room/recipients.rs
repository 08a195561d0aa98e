//! To whom the room's keys were sealed: whether all who must have one do, and who dropped out.
//!
//! A record states no more than the hash of them; the server has the list. A list that is another, or that lacks somebody whom the record's
//! signer could not put out, is a violation.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, ErrorCode, Retry};
use tokio::time::timeout;

use super::actor::Actor;
use super::{Command, Room};
use crate::crypto::{Admin, Cause, EpochRecord, names_recipients};
use crate::error::ClientError;
use crate::log::{Evidence, ViolationCode};

/// Records that are checked at one time; of more, the oldest are passed over. Who was put out and still is lacks the newest key too.
const CHECKED_AT_ONCE_MAX: usize = 50;
/// How long a check holds up what else the room has to do.
const CHECK_LIMIT: Duration = Duration::from_secs(5);
/// Lists that are kept, to be compared with the next.
const LISTS_MAX: usize = 2;

/// What an accepted record states of those that its key was sealed to.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    frame: EntryFrame,
    hash: Option<[u8; 32]>,
    /// These must be among them.
    governing: Vec<DeviceId>,
    /// These its signer removed.
    removed: Vec<DeviceId>,
    /// The recovery devices from then on.
    recovery: Vec<DeviceId>,
}

impl Statement {
    pub(super) fn of(frame: &EntryFrame, signer: DeviceId, record: &EpochRecord) -> Self {
        let removed = match &record.cause {
            Cause::Remove { devices, .. } => devices.clone(),
            Cause::Created | Cause::Rotate | Cause::History => Vec::new(),
        };
        let governing = record.state.governing(signer).map(Admin::device).collect();
        let recovery = record.state.admins.iter().filter(|admin| admin.recovery).map(Admin::device).collect();
        Self { frame: frame.clone(), hash: record.recipients, governing, removed, recovery }
    }

    fn evidence(&self) -> Evidence {
        Evidence { seq: self.frame.seq(), envelope: self.frame.envelope_bytes() }
    }
}

/// What is known of recipients.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    /// The newest epoch whose record was checked.
    checked: Option<u32>,
    /// Lists that are those which the records name, by epoch.
    lists: Vec<(u32, Arc<BTreeSet<DeviceId>>)>,
}

impl Actor {
    /// Checks the records that were accepted since the last time. What cannot be had now is asked for the next time.
    pub(super) async fn check_records(&mut self) {
        let epochs = self.governance.epochs_to_check(self.recipients.checked);
        for epoch in &epochs[epochs.len().saturating_sub(CHECKED_AT_ONCE_MAX)..] {
            // Cancelled, it has changed nothing.
            let Ok(answer) = timeout(CHECK_LIMIT, self.recipients(*epoch)).await else { return };
            match answer {
                Err(ClientError::Server(error)) if error.retry == Retry::Never => {}
                Err(error) => {
                    tracing::debug!(%error, room = %self.room, epoch, "could not look at who got a key");
                    return;
                }
                Ok(_) => {}
            }
            self.recipients.checked = Some(*epoch);
        }
    }

    /// Whom the key of an accepted epoch was sealed to. `None` if that is not known: the record names nobody, as the first one, or the
    /// server shows others than it names, which is a violation.
    ///
    /// # Errors
    /// `network`, or a server's code.
    async fn recipients(&mut self, epoch: u32) -> Result<Option<Arc<BTreeSet<DeviceId>>>, ClientError> {
        if let Some((_, known)) = self.recipients.lists.iter().find(|(known, _)| *known == epoch) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(stated) = self.governance.statement(epoch).filter(|stated| stated.hash.is_some()).cloned() else {
            return Ok(None);
        };
        let listed = self.http.epoch_keys(self.room, epoch).await?.recipients;
        if !names_recipients(stated.hash.as_ref(), &listed) {
            self.accuse_record(epoch, &stated);
            return Ok(None);
        }
        let listed: Arc<BTreeSet<DeviceId>> = Arc::new(listed.into_iter().collect());
        if !stated.governing.iter().all(|device| listed.contains(device)) {
            self.accuse_record(epoch, &stated);
        }
        let lists = &mut self.recipients.lists;
        if lists.len() == LISTS_MAX {
            lists.remove(0);
        }
        lists.push((epoch, Arc::clone(&listed)));
        Ok(Some(listed))
    }

    fn accuse_record(&mut self, epoch: u32, stated: &Statement) {
        let before = self.governance.epoch_before(epoch).and_then(|epoch| self.governance.statement(epoch));
        let evidence = before.map(Statement::evidence).into_iter().chain([stated.evidence()]).collect();
        self.log.accuse(ViolationCode::Authority, stated.frame.seq(), evidence);
        self.tell_violations();
    }

    /// See [`Room::dropped_out`].
    pub(super) async fn dropped_out(&mut self, epoch: u32) -> Result<Vec<DeviceId>, ClientError> {
        let Some(stated) = self.governance.statement(epoch) else { return Err(ErrorCode::NotFound.into()) };
        let Some(before) = self.governance.epoch_before(epoch) else { return Ok(Vec::new()) };
        // Those in the place of which another recovery device has come were not put out of the room.
        let recovery = self.governance.statement(before).map_or(&[][..], |before| &before.recovery);
        let replaced = recovery.iter().filter(|device| !stated.recovery.contains(device));
        let no_more: BTreeSet<DeviceId> = stated.removed.iter().chain(replaced).copied().collect();
        let (Some(before), Some(now)) = (self.recipients(before).await?, self.recipients(epoch).await?) else {
            return Ok(Vec::new());
        };
        Ok(before.difference(&now).filter(|device| !no_more.contains(device)).copied().collect())
    }
}

impl Room {
    /// Who had the key of the epoch before this one and did not get this one's, besides those whom its record removes and an old recovery
    /// device: they left before it, or were put out by it. In order. Nobody where that is not known: the record before is the room's first, which names nobody, or is
    /// not to be had, or the server's lists are not those that the records name, which is told as a violation.
    ///
    /// # Errors
    /// `not_found` for an epoch that is not in [`Room::audit`]; `closed`, `network`, or another server's code.
    pub async fn dropped_out(&self, epoch: u32) -> Result<Vec<DeviceId>, ClientError> {
        self.ask(|reply| Command::DroppedOut { epoch, reply }).await?
    }
}
