//! A room: the handle that programs hold, and the task behind it.
//!
//! `actor` is the task: one per room, owning log, governance, directory and outbox. `following` is what it does with news, `governing`
//! with the chain, `sending` with drafts; `showing` is what entries mean to a reader. Calls that need only HTTP run in the caller's task.
//! What is absent: any queue without a limit.

mod actor;
mod administering;
mod directory;
mod event;
mod following;
mod governance;
mod governing;
mod inviting;
mod keyring;
mod marks;
mod misplacing;
mod outbox;
#[cfg(test)]
mod outbox_tests;
mod recipients;
mod rekeying;
mod retention;
mod saying;
mod sending;
mod showing;
mod stewarding;
mod unlocking;

use std::sync::Arc;

use reqwest::Method;
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{Member, Role};
use snug_protocol::limits::HISTORY_PAGE_MAX;
use snug_protocol::{DeviceId, EnvelopeHash, RoomId, Seq};
use tokio::sync::{mpsc, oneshot, watch};

use crate::client::{Inner, all_members};
use crate::crypto::{Body, Prev, Profile, PublicKeys, RoomKey, RoomState};
use crate::error::ClientError;
use crate::http::LogPage;
use crate::log::Violation;
use crate::numbers::fingerprint;
pub(crate) use actor::{ActorParts, start};
pub use directory::RoomMember;
pub use event::{DeletedBy, EVENTS_MAX, Event, Events, History, LostMessage};
pub(crate) use governance::Governance;
pub use governance::{AuditEntry, Change};
pub(crate) use inviting::make_invite;
pub(crate) use keyring::Keyring;
pub use marks::Reactions;
pub use misplacing::Misplaced;
pub(crate) use outbox::Draft;
pub use rekeying::{Progress, Rekey, RekeyCause, Rekeyed};
pub use saying::{Sending, Sent};
pub(crate) use showing::now_ms;
pub(crate) use stewarding::{NewKey, Steward, effect_of};
pub(crate) use unlocking::Reader;

/// Messages that wait to be sealed; beyond it sending fails with `outbox_full`.
pub const OUTBOX_MAX: usize = 1_000;
/// Calls that wait for a room's task.
const COMMANDS_MAX: usize = 32;

/// What a program keeps to come back to a room without password or link. Whoever has it can read the room.
#[derive(Clone, Debug)]
pub struct RoomSecrets {
    /// The newest room key.
    pub key: RoomKey,
    /// The hash of that epoch's record.
    pub record_hash: EnvelopeHash,
    /// Keys of epochs that newer ones do not lead back to, oldest first; none where history was never cut.
    pub older: Vec<RoomKey>,
}

/// What the handle asks of the room's task.
pub(crate) enum Command {
    Events {
        events: mpsc::Sender<Event>,
    },
    Loaded {
        reply: oneshot::Sender<Vec<Event>>,
    },
    OlderFrom {
        reply: oneshot::Sender<Option<Seq>>,
    },
    Page {
        page: LogPage,
        reply: oneshot::Sender<Result<History, ClientError>>,
    },
    Members {
        members: Vec<Member>,
        reply: oneshot::Sender<Result<Vec<RoomMember>, ClientError>>,
    },
    /// The newest entry of the run that reaches the live edge.
    Edge {
        reply: oneshot::Sender<Option<Prev>>,
    },
    /// A link of the chain of our own, committed; with the key that it begins.
    Govern {
        frame: EntryFrame,
        key: Option<RoomKey>,
        reply: oneshot::Sender<Result<(), ClientError>>,
    },
    /// Read what the chain has beyond what is known.
    ReadChain {
        reply: oneshot::Sender<Result<(), ClientError>>,
    },
    /// Who had the key before this epoch's and did not get this one's.
    DroppedOut {
        epoch: u32,
        reply: oneshot::Sender<Result<Vec<DeviceId>, ClientError>>,
    },
    Here {
        reply: oneshot::Sender<Vec<DeviceId>>,
    },
    HereCount {
        reply: oneshot::Sender<u32>,
    },
    Violations {
        reply: oneshot::Sender<Vec<Violation>>,
    },
    Typing,
    Close {
        code: &'static str,
    },
}

/// A room this device is a member of. Cheap to clone; all clones are the same room.
#[derive(Clone)]
pub struct Room {
    pub(crate) inner: Arc<Inner>,
    pub(crate) shared: Arc<RoomShared>,
}

/// What the handle holds of a room.
pub(crate) struct RoomShared {
    pub(crate) room: RoomId,
    pub(crate) name: String,
    pub(crate) governance: watch::Receiver<Arc<Governance>>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) drafts: mpsc::Sender<Draft>,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Room({})", self.shared.room)
    }
}

/// The handle's ends of its channels to the task.
pub(crate) type Handles = (mpsc::Sender<Command>, mpsc::Sender<Draft>);
/// The task's ends.
pub(crate) type Queues = (mpsc::Receiver<Command>, mpsc::Receiver<Draft>);

/// The channels between a handle and its task.
pub(crate) fn channels() -> (Handles, Queues) {
    let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
    let (drafts, draft_queue) = mpsc::channel(OUTBOX_MAX);
    ((commands, drafts), (command_queue, draft_queue))
}

impl Room {
    /// The room's id.
    #[must_use]
    pub fn id(&self) -> RoomId {
        self.shared.room
    }

    /// The room's name, as the server keeps it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What this device may do now, by the room's chain. Whether it still is a member is another question.
    #[must_use]
    pub fn role(&self) -> Role {
        self.state().role(self.inner.device.id())
    }

    /// Who governs and what holds now, by the room's chain.
    #[must_use]
    pub fn state(&self) -> RoomState {
        self.governance().state().clone()
    }

    /// What admins did, oldest first: the accepted part of the room's chain, as far back as this device can read it.
    #[must_use]
    pub fn audit(&self) -> Vec<AuditEntry> {
        self.governance().audit().cloned().collect()
    }

    /// The room's fingerprint, for comparing it with other members by another channel: eight groups of five digits. `None` for who came
    /// after a cut of the history, since nothing but the server's word would say which entry was the first.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        self.governance().founding().map(fingerprint)
    }

    /// The newest epoch whose record was accepted.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.governance().epoch()
    }

    /// What to keep for [`crate::Client::resume`]. It changes with every epoch: keep it again after an [`Event::Administered`] that
    /// begins one.
    #[must_use]
    pub fn secrets(&self) -> RoomSecrets {
        self.governance().secrets()
    }

    pub(crate) fn governance(&self) -> Arc<Governance> {
        Arc::clone(&self.shared.governance.borrow())
    }

    /// The room's events, beginning with the entries loaded already. A later call takes over: the earlier stream ends.
    ///
    /// # Errors
    /// `closed`.
    pub async fn events(&self) -> Result<Events, ClientError> {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        self.command(Command::Events { events: sender }).await?;
        Ok(Events(receiver))
    }

    /// Reads what the chain has beyond what is known.
    pub(crate) async fn read_chain(&self) -> Result<(), ClientError> {
        self.ask(|reply| Command::ReadChain { reply }).await?
    }

    pub(crate) async fn command(&self, command: Command) -> Result<(), ClientError> {
        self.shared.commands.send(command).await.map_err(|_| ClientError::Closed)
    }

    pub(crate) async fn ask<A>(&self, command: impl FnOnce(oneshot::Sender<A>) -> Command) -> Result<A, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.command(command(reply)).await?;
        answer.await.map_err(|_| ClientError::Closed)
    }

    /// The loaded entries as events, oldest first; at most 5,000 and some.
    ///
    /// # Errors
    /// `closed`.
    pub async fn loaded(&self) -> Result<Vec<Event>, ClientError> {
        self.ask(|reply| Command::Loaded { reply }).await
    }

    /// Up to `limit` (at most 200) entries before `seq` as they stand now. They may all be of a kind that is not shown: where the room
    /// begins, [`History::is_beginning`] tells.
    ///
    /// They are joined to the log and checked with it; a violation is told by [`Room::events`].
    ///
    /// # Errors
    /// `closed`, `network`, `answer_invalid`, or a server's code.
    pub async fn history_before(&self, seq: Seq, limit: usize) -> Result<History, ClientError> {
        let limit = limit.clamp(1, HISTORY_PAGE_MAX);
        let page = self.inner.http.history(self.id(), Some(seq), limit).await?;
        self.ask(|reply| Command::Page { page, reply }).await?
    }

    /// The page before what was loaded so far: before the newest loaded run at first and after [`Room::events`] or [`Event::Hole`],
    /// then before the last page. Go on until [`History::is_beginning`].
    ///
    /// So the whole room can be read, also one with more entries than [`Room::loaded`] keeps. To read again what was forgotten, use
    /// [`Room::history_before`].
    ///
    /// # Errors
    /// As [`Room::history_before`].
    pub async fn load_older(&self) -> Result<History, ClientError> {
        let from = self.ask(|reply| Command::OlderFrom { reply }).await?;
        match from {
            Some(from) if from > Seq(1) => self.history_before(from, HISTORY_PAGE_MAX).await,
            from => Ok(History { events: Vec::new(), from: from.unwrap_or(Seq::ZERO) }),
        }
    }

    /// Everyone who is or was a member, in order of device id; of who left without a word, nothing is known.
    ///
    /// # Errors
    /// `device_keys_refused` if the server shows keys that are not a device's; `closed`, `network`, or a server's code.
    pub async fn members(&self) -> Result<Vec<RoomMember>, ClientError> {
        let members = all_members(&self.inner.http, self.id()).await?;
        self.ask(|reply| Command::Members { members, reply }).await?
    }

    /// The devices that are here now, as far as the server tells. Where more than 100 are, it only tells how many: [`Room::here_count`].
    ///
    /// # Errors
    /// `closed`.
    pub async fn here(&self) -> Result<Vec<DeviceId>, ClientError> {
        self.ask(|reply| Command::Here { reply }).await
    }

    /// How many devices are here now, as far as the server tells.
    ///
    /// # Errors
    /// `closed`.
    pub async fn here_count(&self) -> Result<u32, ClientError> {
        self.ask(|reply| Command::HereCount { reply }).await
    }

    /// Every violation found so far, at most 100.
    ///
    /// # Errors
    /// `closed`.
    pub async fn violations(&self) -> Result<Vec<Violation>, ClientError> {
        self.ask(|reply| Command::Violations { reply }).await
    }

    /// Tells others that this member is writing. May be lost; the server passes on one every 3 s.
    ///
    /// # Errors
    /// `closed`.
    pub async fn typing(&self) -> Result<(), ClientError> {
        self.command(Command::Typing).await
    }

    /// Ends the membership, once everything sent before is committed.
    ///
    /// # Errors
    /// As [`Room::send`].
    pub async fn leave(&self) -> Result<(), ClientError> {
        self.draft(Body::Leave, Seq::ZERO).await?;
        // The server may have closed the room first.
        let _ = self.command(Command::Close { code: "left" }).await;
        Ok(())
    }

    /// Erases the room for everyone. Owner only.
    ///
    /// # Errors
    /// `not_allowed`, `network`, or another server's code.
    pub async fn delete(&self) -> Result<(), ClientError> {
        let path = format!("/api/rooms/{}", self.id());
        self.inner.http.authorised::<(), ()>(Method::DELETE, &path, None).await?;
        let _ = self.command(Command::Close { code: "room_deleted" }).await;
        Ok(())
    }
}

/// How a device introduces itself.
pub(crate) fn introduction(keys: &PublicKeys, name: String, joined: bool) -> Body {
    Body::Profile(Profile { name, joined, sign_key: keys.sign_key.into(), agree_key: keys.agree_key.into() })
}
