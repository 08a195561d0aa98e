//! A room: the handle that programs hold, and the task behind it.
//!
//! `actor` is the task: one per room, owning log, directory and outbox. `following` is what it does with news, `sending` with drafts.
//! Calls that need only HTTP run in the caller's task. What is absent: any queue without a limit, and any copy of the room key beyond
//! the directory and the handle.

mod actor;
mod directory;
mod event;
mod following;
mod outbox;
#[cfg(test)]
mod outbox_tests;
mod sending;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use reqwest::Method;
use snug_protocol::http::{CreateInvite, Invite, InvitesAnswer, Member, Role};
use snug_protocol::limits::HISTORY_PAGE_MAX;
use snug_protocol::{DeviceId, EnvelopeHash, GrantId, RoomId, Seq};
use tokio::sync::{mpsc, oneshot};

use crate::client::Inner;
use crate::crypto::{Body, GrantContent, GrantKeys, InviteLink, Message, Profile, RoomKey, Secret, random};
use crate::error::ClientError;
use crate::http::LogPage;
use crate::log::Violation;
use crate::text;
pub(crate) use actor::{ActorParts, start};
pub use directory::RoomMember;
pub use event::{EVENTS_MAX, Event, Events, LostMessage};
pub(crate) use outbox::Draft;

/// Messages that wait to be sealed; beyond it sending fails with `outbox_full`.
pub const OUTBOX_MAX: usize = 1_000;
/// Calls that wait for a room's task.
const COMMANDS_MAX: usize = 32;

/// A message is committed durably.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its place in the room.
    pub seq: Seq,
    /// The server's time of commit, Unix milliseconds.
    pub at_ms: u64,
}

/// A message on its way. Resolves when the server has committed it, or says that it never will.
///
/// Dropping it does not take the message back.
#[derive(Debug)]
pub struct Sending(Result<oneshot::Receiver<Result<Sent, ClientError>>, Option<ClientError>>);

impl Future for Sending {
    type Output = Result<Sent, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(done) => Pin::new(done).poll(context).map(|answer| answer.unwrap_or(Err(ClientError::Closed))),
            Err(error) => Poll::Ready(Err(error.take().unwrap_or(ClientError::Closed))),
        }
    }
}

/// What a program keeps to come back to a room without password or link. Whoever has it can read the room.
#[derive(Clone, Debug)]
pub struct RoomSecrets {
    /// The newest room key.
    pub key: RoomKey,
    /// The hash of that epoch's record.
    pub record_hash: EnvelopeHash,
}

/// What the handle asks of the room's task.
pub(crate) enum Command {
    Events { events: mpsc::Sender<Event> },
    Loaded { reply: oneshot::Sender<Vec<Event>> },
    OlderFrom { reply: oneshot::Sender<Option<Seq>> },
    Page { page: LogPage, reply: oneshot::Sender<Result<Vec<Event>, ClientError>> },
    Members { members: Vec<Member>, reply: oneshot::Sender<Result<Vec<RoomMember>, ClientError>> },
    Here { reply: oneshot::Sender<Vec<DeviceId>> },
    Violations { reply: oneshot::Sender<Vec<Violation>> },
    Typing,
    Close { code: &'static str },
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
    pub(crate) role: Role,
    pub(crate) secrets: RoomSecrets,
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

    /// What this device may do, as of entering.
    #[must_use]
    pub fn role(&self) -> Role {
        self.shared.role
    }

    /// What to keep for [`crate::Client::resume`].
    #[must_use]
    pub fn secrets(&self) -> RoomSecrets {
        self.shared.secrets.clone()
    }

    /// Sends a message. The call itself does not wait; the order of calls is the order in the room.
    ///
    /// The message survives any loss of connection: its sealed bytes are sent again, to any node, until they are answered, and are
    /// applied once. It does not survive the end of this process.
    ///
    /// # Errors
    /// By the returned future: `text_…`, `outbox_full` at once; a server's code if it refuses for good; `closed`.
    pub fn send(&self, text: &str) -> Sending {
        match text::message_text(text) {
            Ok(()) => self.draft(Body::Message(Message::of(text))),
            Err(error) => Sending(Err(Some(error))),
        }
    }

    pub(crate) fn draft(&self, body: Body) -> Sending {
        let (done, answer) = oneshot::channel();
        Sending(match self.shared.drafts.try_send(Draft { body, done }) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Some(ClientError::OutboxFull)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Some(ClientError::Closed)),
        })
    }

    pub(crate) fn introduce(&self, name: String, joined: bool) -> Sending {
        let keys = self.inner.device.keys();
        self.draft(Body::Profile(Profile {
            name,
            joined,
            sign_key: keys.sign_key.into(),
            agree_key: keys.agree_key.into(),
        }))
    }

    /// Goes by another name from now on.
    ///
    /// # Errors
    /// By the returned future: `member_name_…`, or as [`Room::send`].
    pub fn rename(&self, name: &str) -> Sending {
        match text::member_name(name) {
            Ok(name) => self.introduce(name, false),
            Err(error) => Sending(Err(Some(error))),
        }
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

    async fn command(&self, command: Command) -> Result<(), ClientError> {
        self.shared.commands.send(command).await.map_err(|_| ClientError::Closed)
    }

    async fn ask<A>(&self, command: impl FnOnce(oneshot::Sender<A>) -> Command) -> Result<A, ClientError> {
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

    /// Up to `limit` (at most 200) entries before `seq` as events, oldest first; empty at the beginning of the room.
    ///
    /// They are joined to the log and checked with it; a violation is told by [`Room::events`].
    ///
    /// # Errors
    /// `closed`, `network`, `answer_invalid`, or a server's code.
    pub async fn history_before(&self, seq: Seq, limit: usize) -> Result<Vec<Event>, ClientError> {
        let limit = limit.clamp(1, HISTORY_PAGE_MAX);
        let page = self.inner.http.history(self.id(), Some(seq), limit).await?;
        self.ask(|reply| Command::Page { page, reply }).await?
    }

    /// The page before what was loaded so far: before the newest loaded run at first and after [`Room::events`] or [`Event::Hole`],
    /// then before the last page. Empty at the beginning of the room.
    ///
    /// So the whole room can be read, also one with more entries than [`Room::loaded`] keeps. To read again what was forgotten, use
    /// [`Room::history_before`].
    ///
    /// # Errors
    /// As [`Room::history_before`].
    pub async fn load_older(&self) -> Result<Vec<Event>, ClientError> {
        let from = self.ask(|reply| Command::OlderFrom { reply }).await?;
        match from {
            Some(from) if from > Seq(1) => self.history_before(from, HISTORY_PAGE_MAX).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Everyone who is or was a member, in order of device id, at most 10,000.
    ///
    /// # Errors
    /// `device_keys_refused` if the server shows keys that are not a device's; `closed`, `network`, or a server's code.
    pub async fn members(&self) -> Result<Vec<RoomMember>, ClientError> {
        let members = self.inner.all_members(self.id()).await?;
        self.ask(|reply| Command::Members { members, reply }).await?
    }

    /// The devices that are here now, as far as the server tells; at most 100 from the beginning, and those that came since.
    ///
    /// # Errors
    /// `closed`.
    pub async fn here(&self) -> Result<Vec<DeviceId>, ClientError> {
        self.ask(|reply| Command::Here { reply }).await
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
        self.draft(Body::Leave).await?;
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

    /// Makes a link by which others can join: for `expires_in` (at most a year; `None`: until revoked), for at most `uses_max` devices.
    ///
    /// # Errors
    /// `too_many_invites`, `network`, or another server's code.
    pub async fn create_invite(
        &self,
        expires_in: Option<Duration>,
        uses_max: Option<u32>,
    ) -> Result<(InviteLink, Invite), ClientError> {
        let secrets = &self.shared.secrets;
        let (room, grant, secret) = (self.id(), GrantId(random()), Secret::generate());
        let keys = GrantKeys::derive(&secret, room, grant);
        let content = GrantContent { room_key: secrets.key.clone(), record_hash: secrets.record_hash };
        let request = CreateInvite {
            grant,
            auth: keys.auth().into(),
            blob: keys.seal(&content).into(),
            expires_in_ms: expires_in.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            uses_max,
        };
        let http = &self.inner.http;
        let invite: Invite =
            http.authorised(Method::POST, &format!("/api/rooms/{room}/invites"), Some(&request)).await?;
        let origin = http.origin(&http.node());
        Ok((InviteLink { origin, room, grant, secret }, invite))
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
