//! A client: one device, its connection, its rooms. Creating, joining and coming back are here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{CreateRoom, Entered, Entry, JoinRequest, Member, RecoveryDevice, RoomInfo, RoomsAnswer};
use snug_protocol::limits::{MEMBERS_LISTED_MAX, MEMBERS_PAGE_MAX};
use snug_protocol::{DeviceId, Envelope, ErrorCode, GrantId, RoomId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::config::ClientConfig;
use crate::crypto::{
    Body, Device, GrantContent, GrantKeys, InviteLink, KDF, PublicKeys, RecoveryKey, RoomKey, Secret, decrypt,
    founding_record, random, seal_room_key, verify_record,
};
use crate::error::ClientError;
use crate::http::Http;
use crate::link::Link;
use crate::room::{self, ActorParts, Command, Governance, Reader, Room, RoomSecrets, RoomShared, now_ms};
use crate::text;

/// One device's client. Cheap to clone; all clones share one connection. Its tasks end with [`Client::close`], or when the last clone
/// and the last of its [`Room`]s are dropped.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

/// What clients and rooms share.
pub(crate) struct Inner {
    pub(crate) device: Arc<Device>,
    pub(crate) http: Http,
    config: Arc<ClientConfig>,
    link: Link,
    rooms: Mutex<HashMap<RoomId, Arc<RoomShared>>>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.device.id())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Argon2id takes some tenths of a second, so it runs beside the async threads.
pub(crate) async fn hash_password(password: &str, room: RoomId, grant: GrantId) -> Result<Secret, ClientError> {
    let password = Zeroizing::new(password.to_owned());
    tokio::task::spawn_blocking(move || Secret::of_password(&password, room, grant))
        .await
        .map_err(|_| ClientError::Closed)?
}

impl Client {
    /// A client for `device`. Connects when it enters its first room. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `address_invalid`.
    pub fn connect(config: ClientConfig, device: Device) -> Result<Self, ClientError> {
        let (config, device) = (Arc::new(config), Arc::new(device));
        let http = Http::new(&config, Arc::clone(&device))?;
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let link = Link::start(Arc::clone(&config), http.clone(), &tracker, stop.child_token());
        Ok(Self(Arc::new(Inner { device, http, config, link, rooms: Mutex::default(), tracker, stop })))
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Creates a room and enters it as its owner. The recovery key is nowhere else: show it once, to be saved.
    ///
    /// # Errors
    /// `room_name_…`, `password_…`, `member_name_…` at once; `room_name_taken` with a free variant; `network`: then the room may
    /// exist, and joining it by name and password tells; another server's code.
    pub async fn create_room(
        &self,
        name: &str,
        password: &str,
        member_name: &str,
    ) -> Result<(Room, RecoveryKey), ClientError> {
        let (name, member_name) = (text::room_name(name)?, text::member_name(member_name)?);
        let (room, grant) = (RoomId(random()), GrantId(random()));
        let keys = GrantKeys::derive(&hash_password(password, room, grant).await?, room, grant);
        let (key, recovery) = (RoomKey::generate(room, 0), RecoveryKey::generate());
        let saviour = *recovery.device().keys();
        let record = founding_record(&self.0.device, &key, &saviour, now_ms())?;
        let sealed = seal_room_key(&key, &saviour)?;
        let content = GrantContent { room_key: key.clone(), record_hash: record.hash() };
        let (auth, blob) = (keys.auth(), keys.seal(&content));
        let entered: Entered = self
            .0
            .http
            .signed("/api/rooms", room, grant, None, |sign_in| CreateRoom {
                name: name.clone(),
                room,
                grant,
                kdf: KDF,
                auth: auth.into(),
                blob: blob.clone().into(),
                epoch_record: record.bytes().to_vec().into(),
                recovery: RecoveryDevice {
                    sign_key: saviour.sign_key.into(),
                    agree_key: saviour.agree_key.into(),
                    key: sealed.into(),
                },
                sign_in,
            })
            .await?;
        if entered.room.room != room || entered.epoch_record.envelope.0 != *record.bytes() {
            return Err(ClientError::RecordRefused);
        }
        Ok((self.enter(entered, content, &member_name).await?, recovery))
    }

    /// Joins a room by its name and password. Joining again is allowed and gives the same room.
    ///
    /// # Errors
    /// `wrong_credentials`, also for a name that nobody has; `kdf_unknown`, `grant_refused`, `record_refused` if the server shows
    /// something else than the room; `too_many_attempts`; `network`, after which it is safe to repeat; another server's code.
    pub async fn join(&self, name: &str, password: &str, member_name: &str) -> Result<Room, ClientError> {
        let (name, member_name) = (text::room_name(name)?, text::member_name(member_name)?);
        text::password(password)?;
        let found = self.0.http.lookup(&name).await?;
        if found.kdf != KDF {
            return Err(ClientError::KdfUnknown);
        }
        let secret = hash_password(password, found.room, found.grant).await?;
        self.join_by(&secret, found.room, found.grant, Some(found.nonce), &member_name).await
    }

    /// Joins a room by an invite.
    ///
    /// # Errors
    /// `invite_expired`, `invite_used_up`, `wrong_credentials` for one that was revoked; otherwise as [`Client::join`].
    pub async fn join_by_link(&self, link: &InviteLink, member_name: &str) -> Result<Room, ClientError> {
        let member_name = text::member_name(member_name)?;
        self.join_by(&link.secret, link.room, link.grant, None, &member_name).await
    }

    async fn join_by(
        &self,
        secret: &Secret,
        room: RoomId,
        grant: GrantId,
        nonce: Option<String>,
        member_name: &str,
    ) -> Result<Room, ClientError> {
        let keys = GrantKeys::derive(secret, room, grant);
        let auth = keys.auth();
        let request = |sign_in| JoinRequest { room, grant, auth: auth.into(), sign_in };
        let entered: Entered = self.0.http.signed("/api/join", room, grant, nonce, request).await?;
        if entered.room.room != room {
            return Err(ClientError::RecordRefused);
        }
        let content = keys.open(&entered.blob.0)?;
        verify_record(&content, entered.epoch_record.envelope.0.clone().into())?;
        self.enter(entered, content, member_name).await
    }

    /// The rooms this device is a member of, in order of name; empty for a device the server does not know.
    ///
    /// # Errors
    /// `network`, or a server's code.
    pub async fn rooms(&self) -> Result<Vec<RoomInfo>, ClientError> {
        match self.0.http.authorised::<(), RoomsAnswer>(Method::GET, "/api/rooms", None).await {
            Ok(answer) => Ok(answer.rooms),
            Err(error) if error.server_code() == Some(ErrorCode::DeviceUnknown) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Comes back to a room without password or link, by what [`Room::secrets`] gave.
    ///
    /// # Errors
    /// `not_a_member`; `record_refused` if the server does not show the room that the secrets are of; `network`, or another server's code.
    pub async fn resume(&self, secrets: RoomSecrets) -> Result<Room, ClientError> {
        let room = secrets.key.room();
        let info = self.rooms().await?.into_iter().find(|info| info.room == room);
        Ok(self.open(info.ok_or(ErrorCode::NotAMember)?, &secrets, None).await?.0)
    }

    /// Opens the room and introduces the device if its members do not know it by this name.
    async fn enter(&self, entered: Entered, content: GrantContent, member_name: &str) -> Result<Room, ClientError> {
        self.0.http.keep_token(entered.token.clone());
        let secrets = RoomSecrets { key: content.room_key, record_hash: content.record_hash, older: Vec::new() };
        let (room, known) = self.open(entered.room, &secrets, Some(member_name)).await?;
        if secrets.key.epoch() > room.epoch() {
            // The room was open already, and lacked the key that came with the grant.
            let Entry { seq, at_ms, envelope } = entered.epoch_record;
            let (frame, key) = (EntryFrame::new(seq, at_ms, &envelope.0), Some(secrets.key));
            room.ask(|reply| Command::Govern { frame, key, reply }).await??;
        }
        if known.as_deref() != Some(member_name) {
            // Sent in the order of the outbox, so before anything the caller sends.
            drop(room.introduce(member_name.to_owned(), known.is_none()));
        }
        Ok(room)
    }

    /// The room, and the name by which its members know the device.
    async fn open(
        &self,
        info: RoomInfo,
        secrets: &RoomSecrets,
        member_name: Option<&str>,
    ) -> Result<(Room, Option<String>), ClientError> {
        let inner = &self.0;
        let own = inner.http.member(info.room, inner.device.id()).await.ok();
        let known = |governance: &Governance| {
            own.as_ref().and_then(|own| introduced(own, governance, inner.device.keys())).unzip()
        };
        if let Some(shared) = self.opened(info.room) {
            let (name, _) = known(&shared.governance.borrow());
            return Ok((Room { inner: Arc::clone(inner), shared }, name));
        }
        let reader = Reader { http: inner.http.clone(), device: Arc::clone(&inner.device), room: info.room };
        let (governance, faults) = reader.read(secrets).await?;
        let (name, introduced) = known(&governance);
        let ((commands, drafts), (command_queue, draft_queue)) = room::channels();
        let governance = Arc::new(governance);
        let (published, watched) = watch::channel(Arc::clone(&governance));
        let parts = ActorParts {
            room: info.room,
            governance,
            faults,
            published,
            own_name: member_name.map(str::to_owned).or_else(|| name.clone()),
            introduced,
            device: Arc::clone(&inner.device),
            http: inner.http.clone(),
            link: inner.link.clone(),
            config: Arc::clone(&inner.config),
            commands: command_queue,
            drafts: draft_queue,
        };
        let task = room::start(parts, inner.stop.child_token()).await?;
        inner.tracker.spawn(task);
        let shared = RoomShared { room: info.room, name: info.name, governance: watched, commands, drafts };
        let shared = Arc::new(shared);
        let mut rooms = inner.rooms.lock().expect("no code panics while it holds the rooms");
        rooms.insert(info.room, Arc::clone(&shared));
        drop(rooms);
        Ok((Room { inner: Arc::clone(inner), shared }, name))
    }

    /// A room whose task still runs.
    fn opened(&self, room: RoomId) -> Option<Arc<RoomShared>> {
        let rooms = self.0.rooms.lock().expect("no code panics while it holds the rooms");
        rooms.get(&room).filter(|shared| !shared.commands.is_closed()).cloned()
    }

    /// Ends the connection and all tasks, and waits for them. What is not acknowledged may or may not have been sent.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }
}

/// All members of a room, page by page; those who left too, as far as the server keeps them.
pub(crate) async fn all_members(http: &Http, room: RoomId) -> Result<Vec<Member>, ClientError> {
    let mut members: Vec<Member> = Vec::new();
    for _ in 0..=MEMBERS_LISTED_MAX / MEMBERS_PAGE_MAX {
        let after: Option<DeviceId> = members.last().map(|member| member.device);
        let page = http.members(room, after).await?;
        // A list that does not go forward would never end.
        if page.members.first().is_some_and(|first| Some(first.device) <= after) {
            return Err(ClientError::Answer);
        }
        members.extend(page.members);
        if !page.more {
            return Ok(members);
        }
    }
    Err(ClientError::Answer)
}

/// The name in a member's profile and the epoch it was sealed under, unless it is from before the device became a member again.
fn introduced(member: &Member, governance: &Governance, keys: &PublicKeys) -> Option<(String, u32)> {
    let profile = member.profile.as_ref().filter(|profile| profile.at_ms >= member.joined_at_ms)?;
    let envelope = Envelope::parse(profile.envelope.0.clone().into()).ok()?;
    let epoch = envelope.header().epoch;
    match decrypt(governance.keys.get(epoch)?, &envelope).ok()?.verify(keys).ok()?.body {
        Body::Profile(profile) => Some((profile.name, epoch)),
        _ => None,
    }
}
