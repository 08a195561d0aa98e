//! To whom the room's keys were sealed: whether all who must have one do, and who dropped out.
//!
//! A record states no more than the hash of them; the server has the list. A list that is another, or that lacks somebody whom the record's
//! signer could not put out, is a violation. So is a list that names them while other bytes than the key were sealed to them, and a server that
//! shows none at all while it goes on serving the room.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::EpochKeys;
use snug_protocol::{DeviceId, ErrorCode, Retry};
use tokio::time::{Instant, timeout};

use super::actor::Actor;
use super::following::Following;
use super::{Command, Room};
use crate::backoff::Backoff;
use crate::config::Timing;
use crate::crypto::{Admin, Cause, EpochRecord, PublicKeys, names_recipients, seal_room_key};
use crate::error::ClientError;
use crate::log::{Evidence, ViolationCode};

/// Records that are checked at one time; of more, the oldest are passed over. Who was put out and still is lacks the newest key too.
const CHECKED_AT_ONCE_MAX: usize = 50;
/// How long a check holds up what else the room has to do.
const CHECK_LIMIT: Duration = Duration::from_secs(5);
/// Lists that are kept, to be compared with the next.
const LISTS_MAX: usize = 2;
/// So often in a row a server that serves the room may fail to say to whom a key was sealed: some minutes, since the waits between grow.
const UNANSWERED_MAX: u32 = 10;

/// What an accepted record states of those that its key was sealed to.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    frame: EntryFrame,
    hash: Option<[u8; 32]>,
    /// These must be among them, and have this very key.
    governing: Vec<PublicKeys>,
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
        let governing = record.state.governing(signer).map(|admin| admin.keys).collect();
        let recovery = record.state.admins.iter().filter(|admin| admin.recovery).map(Admin::device).collect();
        Self { frame: frame.clone(), hash: record.recipients, governing, removed, recovery }
    }

    fn evidence(&self) -> Evidence {
        Evidence { seq: self.frame.seq(), envelope: self.frame.envelope_bytes() }
    }
}

/// What is known of recipients.
#[derive(Debug)]
pub(super) struct Recipients {
    /// The newest epoch whose record was checked.
    checked: Option<u32>,
    /// Lists that are those which the records name, by epoch.
    lists: Vec<(u32, Arc<BTreeSet<DeviceId>>)>,
    /// How often in a row the server did not say whom a key was sealed to, though the room was followed.
    unanswered: u32,
    /// When it is asked again, and not before.
    again: Option<Instant>,
    backoff: Backoff,
}

impl Recipients {
    pub(super) const fn new(timing: &Timing) -> Self {
        let backoff = Backoff::new(timing.backoff_first, timing.backoff_max);
        Self { checked: None, lists: Vec::new(), unanswered: 0, again: None, backoff }
    }

    /// When the server is to be asked again.
    pub(super) const fn again_at(&self) -> Option<Instant> {
        self.again
    }

    fn checked(&mut self, epoch: u32) {
        self.checked = Some(epoch);
        (self.unanswered, self.again) = (0, None);
        self.backoff.reset();
    }

    /// Notes one more time without an answer. Whether that is enough.
    fn unanswered(&mut self, is_followed: bool) -> bool {
        self.unanswered += u32::from(is_followed);
        self.again = Some(Instant::now() + self.backoff.next());
        self.unanswered >= UNANSWERED_MAX
    }
}

/// Whether a server that serves the room says by this that it will never show whom a key was sealed to. What says that this device has no
/// part in the room any more is told in another way, unless it is served all the same.
fn is_refusal(error: &ClientError) -> bool {
    const PARTED: [ErrorCode; 5] = [
        ErrorCode::NotAMember,
        ErrorCode::Removed,
        ErrorCode::Banned,
        ErrorCode::RecoveryReplaced,
        ErrorCode::RoomDeleted,
    ];
    matches!(error, ClientError::Server(error) if error.retry == Retry::Never && !PARTED.contains(&error.code))
}

impl Actor {
    /// Checks the records that were accepted since the last time. What cannot be had now is asked for again after a while; a server that
    /// refuses it, or does not answer it for long while it serves the room, has something to hide.
    pub(super) async fn check_records(&mut self) {
        if self.recipients.again.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let epochs = self.governance.epochs_to_check(self.recipients.checked);
        for epoch in &epochs[epochs.len().saturating_sub(CHECKED_AT_ONCE_MAX)..] {
            // Cancelled, it has changed nothing.
            let answer = timeout(CHECK_LIMIT, self.recipients(*epoch)).await;
            if let Err(error) = answer.unwrap_or(Err(ClientError::Answer)) {
                tracing::debug!(%error, room = %self.room, epoch, "could not look at who got a key");
                let is_followed = self.following == Following::Live;
                if !is_refusal(&error) && !self.recipients.unanswered(is_followed) {
                    return;
                }
                if let Some(stated) = self.governance.statement(*epoch).cloned() {
                    self.accuse_record(*epoch, &stated);
                }
            }
            self.recipients.checked(*epoch);
        }
        // Nothing is left to be asked for.
        self.recipients.again = None;
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
        let governing: Vec<DeviceId> = stated.governing.iter().map(PublicKeys::id).collect();
        let answer = self.http.epoch_keys(self.room, epoch, &governing).await?;
        if !names_recipients(stated.hash.as_ref(), &answer.recipients) {
            self.accuse_record(epoch, &stated);
            return Ok(None);
        }
        let is_sealed_to_all = stated.governing.iter().all(|keys| self.is_sealed_to(epoch, keys, &answer));
        let listed: Arc<BTreeSet<DeviceId>> = Arc::new(answer.recipients.into_iter().collect());
        if !is_sealed_to_all {
            self.accuse_record(epoch, &stated);
        }
        let lists = &mut self.recipients.lists;
        if lists.len() == LISTS_MAX {
            lists.remove(0);
        }
        lists.push((epoch, Arc::clone(&listed)));
        Ok(Some(listed))
    }

    /// Whether the server's answer names the device, and what was sealed to it is the epoch's key: there is one way to seal it.
    fn is_sealed_to(&self, epoch: u32, keys: &PublicKeys, answer: &EpochKeys) -> bool {
        let device = keys.id();
        let sealed = answer.seals.iter().find(|sealed| sealed.device == device).map(|sealed| &sealed.key.0);
        // A record counts only with its key.
        let key = self.governance.keys.get(epoch).and_then(|key| seal_room_key(key, keys).ok());
        answer.recipients.contains(&device)
            && key.is_some()
            && key.as_ref().map(|key| key.as_slice()) == sealed.map(Vec::as_slice)
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
