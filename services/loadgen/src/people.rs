//! Rooms and their members, made through the real calls: a founder creates the room and an invite, everyone else joins by it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use snug_client::crypto::{
    Device, GrantContent, GrantKeys, KDF, RecoveryKey, RoomKey, Secret, founding_record, seal_room_key, sign_in,
};
use snug_protocol::http::{
    CreateInvite, CreateRoom, Entered, Invite, JoinRequest, NonceAnswer, RecoveryDevice, SignIn,
};
use snug_protocol::{GrantId, RoomId};
use tokio::sync::Mutex;

/// Calls under way at one time.
const CALLS_AT_ONCE: usize = 32;
/// How long a nonce is used again; it is good for twice as long.
const NONCE_USED: Duration = Duration::from_secs(60);
/// How long a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// A way into a room.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Its id.
    pub grant: GrantId,
    /// What proves it.
    pub auth: [u8; 32],
}

/// A room.
#[derive(Debug)]
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// Its key.
    pub key: RoomKey,
    /// In by an invite, which costs a server no hashing.
    pub invite: Way,
    /// In by the password, which does.
    pub password: Way,
    /// Who has joined, the founder first.
    pub members: Vec<Member>,
}

/// A device in a room.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its keys.
    pub device: Arc<Device>,
    /// Its access token, good on every node.
    pub token: Arc<str>,
}

/// Makes rooms and members at one node.
#[derive(Debug)]
pub struct Registrar {
    http: reqwest::Client,
    origin: String,
    nonce: Mutex<Option<(String, Instant)>>,
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

impl Registrar {
    /// At the node with this address, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(origin: &str) -> anyhow::Result<Self> {
        // An error says that the process has a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(CALL_LIMIT).no_proxy().build()?;
        Ok(Self { http, origin: origin.trim_end_matches('/').to_owned(), nonce: Mutex::default() })
    }

    /// The client, for other calls.
    #[must_use]
    pub const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The node's address.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    async fn post<B: Serialize + Sync, A: DeserializeOwned>(
        &self,
        path: &str,
        token: Option<&str>,
        body: &B,
    ) -> anyhow::Result<A> {
        let mut request = self.http.post(format!("{}{path}", self.origin)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| format!("POST {path}"))?;
        let status = response.status();
        if !status.is_success() {
            bail!("POST {path}: {status}: {}", response.text().await.unwrap_or_default());
        }
        Ok(response.json().await?)
    }

    async fn sign_in(&self, device: &Device, room: RoomId, grant: GrantId) -> anyhow::Result<SignIn> {
        let mut kept = self.nonce.lock().await;
        let nonce = match kept.as_ref().filter(|(_, since)| since.elapsed() < NONCE_USED) {
            Some((nonce, _)) => nonce.clone(),
            None => {
                let answer: NonceAnswer = self.post("/api/nonce", None, &()).await?;
                kept.insert((answer.nonce, Instant::now())).0.clone()
            }
        };
        drop(kept);
        Ok(sign_in(device, room, grant, &nonce, &self.origin)?)
    }

    /// A room with one member, a new device, and an invite that any number may use.
    ///
    /// # Errors
    /// A call failed.
    pub async fn found(&self) -> anyhow::Result<Room> {
        let (room, grant) = (RoomId(random()), GrantId(random()));
        let (device, recovery) = (Device::generate(), RecoveryKey::generate());
        let key = RoomKey::generate(room, 0);
        let saviour = *recovery.device().keys();
        let record = founding_record(&device, &key, &saviour, 0)?;
        let content = GrantContent { room_key: key.clone(), record_hash: record.hash() };
        let way = |grant| {
            // Not of a password: a server cannot tell, and hashing one is the client's cost.
            let keys = GrantKeys::derive(&Secret::generate(), room, grant);
            (Way { grant, auth: keys.auth() }, keys.seal(&content))
        };
        let (password, blob) = way(grant);
        let create = CreateRoom {
            name: format!("load {}", snug_protocol::encode_base64(&random::<12>()).replace(['-', '_'], "x")),
            room,
            grant,
            kdf: KDF,
            auth: password.auth.into(),
            blob: blob.into(),
            epoch_record: record.bytes().to_vec().into(),
            recovery: RecoveryDevice {
                sign_key: saviour.sign_key.into(),
                agree_key: saviour.agree_key.into(),
                key: seal_room_key(&key, &saviour)?.into(),
            },
            sign_in: self.sign_in(&device, room, grant).await?,
        };
        let entered: Entered = self.post("/api/rooms", None, &create).await?;
        let founder = Member { device: Arc::new(device), token: entered.token.context("no token came")?.into() };
        let (invite, blob) = way(GrantId(random()));
        let make = CreateInvite {
            grant: invite.grant,
            auth: invite.auth.into(),
            blob: blob.into(),
            expires_in_ms: None,
            uses_max: None,
        };
        let path = format!("/api/rooms/{room}/invites");
        let _made: Invite = self.post(&path, Some(&founder.token), &make).await?;
        Ok(Room { id: room, key, invite, password, members: vec![founder] })
    }

    /// A new device joins.
    ///
    /// # Errors
    /// A call failed.
    pub async fn join(&self, room: RoomId, way: Way) -> anyhow::Result<Member> {
        self.join_as(Arc::new(Device::generate()), room, way).await
    }

    async fn join_as(&self, device: Arc<Device>, room: RoomId, way: Way) -> anyhow::Result<Member> {
        let sign_in = self.sign_in(&device, room, way.grant).await?;
        let request = JoinRequest { room, grant: way.grant, auth: way.auth.into(), sign_in };
        let entered: Entered = self.post("/api/join", None, &request).await?;
        Ok(Member { device, token: entered.token.context("no token came")?.into() })
    }

    async fn found_all(&self, rooms: usize) -> anyhow::Result<Vec<Room>> {
        stream::iter(0..rooms).map(|_| self.found()).buffer_unordered(CALLS_AT_ONCE).try_collect().await
    }

    /// These devices join the rooms at these places.
    async fn admit(&self, rooms: &mut [Room], devices: Vec<(usize, Arc<Device>)>) -> anyhow::Result<()> {
        let wanted: Vec<_> =
            devices.into_iter().map(|(place, device)| (place, device, rooms[place].id, rooms[place].invite)).collect();
        let joining = stream::iter(wanted).map(|(place, device, room, way)| async move {
            anyhow::Ok((place, self.join_as(device, room, way).await?))
        });
        let joined: Vec<(usize, Member)> = joining.buffer_unordered(CALLS_AT_ONCE).try_collect().await?;
        for (place, member) in joined {
            rooms[place].members.push(member);
        }
        Ok(())
    }

    /// So many rooms of so many members, each a device of its own.
    ///
    /// # Errors
    /// A call failed.
    pub async fn rooms(&self, rooms: usize, members: usize) -> anyhow::Result<Vec<Room>> {
        let mut founded = self.found_all(rooms).await?;
        let places = (0..rooms).flat_map(|place| std::iter::repeat_n(place, members.saturating_sub(1)));
        let devices = places.map(|place| (place, Arc::new(Device::generate()))).collect();
        self.admit(&mut founded, devices).await?;
        Ok(founded)
    }

    /// Circles of so many devices, who are in as many rooms together and have founded one each: the rooms of one circle, then those of
    /// the next.
    ///
    /// # Errors
    /// A call failed.
    pub async fn circles(&self, circles: usize, size: usize) -> anyhow::Result<Vec<Room>> {
        let mut founded = self.found_all(circles * size).await?;
        let founders: Vec<Arc<Device>> = founded.iter().map(|room| Arc::clone(&room.members[0].device)).collect();
        let circle = |place: usize| (place - place % size..).take(size);
        let guests = (0..founders.len()).flat_map(|place| {
            let others = circle(place).filter(move |other| *other != place);
            others.map(move |other| (place, other))
        });
        let devices = guests.map(|(place, other)| (place, Arc::clone(&founders[other]))).collect();
        self.admit(&mut founded, devices).await?;
        Ok(founded)
    }
}
