//! A device that speaks the raw protocol, so that tests can say what a well-behaved client never would.
//!
//! Its envelopes are sealed and signed, but their bodies are whatever the test says: the server cannot read them.

mod admin;
mod socket;

use std::net::SocketAddr;
use std::sync::LazyLock;

use bytes::Buf;
use serde::Serialize;
use serde_json::{Value, json};
use snug_client::crypto::{Content, Device, GrantKeys, Prev, PublicKeys, RoomKey, Secret, seal, sign_in};
use snug_client::wire::RawSocket;
use snug_protocol::envelope::Header;
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{CreateInvite, CreateRoom, Entered, JoinRequest, LogPageHead, NonceAnswer, RecoveryDevice};
use snug_protocol::limits::{EPOCH_KEY_BYTES, GRANT_BLOB_BYTES};
use snug_protocol::{EntryKind, Envelope, GrantId, InstanceId, RoomId, Seq};
use tokio::net::TcpStream;

use crate::{http, in_time};

pub use admin::{DraftEpoch, seq};
pub use socket::Socket;

/// Random bytes.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// A room that a guest is in, with its key.
pub struct GuestRoom {
    /// Its id.
    pub room: RoomId,
    /// Its password grant.
    pub grant: GrantId,
    /// What stands for the password: any 256 bits do, and cost no Argon2.
    pub secret: Secret,
    /// The room key of the epoch it seals under.
    pub key: RoomKey,
    /// The epoch it seals under.
    pub epoch: u32,
    /// The answer that let the guest in.
    pub entered: Entered,
    instance: InstanceId,
    counter: u64,
    /// What the next envelope says it has seen.
    pub prev: Prev,
}

/// The recovery device of all rooms that guests create in this process.
pub fn recovery_device() -> &'static Device {
    static RECOVERY: LazyLock<Device> = LazyLock::new(Device::generate);
    &RECOVERY
}

/// A device with a token.
pub struct Guest {
    /// The node.
    pub url: String,
    /// Its keys.
    pub device: Device,
    /// Its access token, once it has one.
    pub token: Option<String>,
    http: reqwest::Client,
}

/// An HTTP answer: status, and JSON.
pub type Answer = (u16, Value);

impl Guest {
    /// A new device that talks to the node at `url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self::of(url, Device::generate())
    }

    /// This device, which talks to the node at `url`.
    #[must_use]
    pub fn of(url: &str, device: Device) -> Self {
        Self { url: url.to_owned(), device, token: None, http: http() }
    }

    /// A new token for a device that is known.
    pub async fn renew(&mut self) {
        let sign_in = self.sign_in(RoomId::default(), GrantId::default()).await;
        let (status, answer) = self.post("/api/token", &json!({ "sign_in": sign_in })).await;
        assert_eq!(status, 200, "{answer}");
        self.token = answer["token"].as_str().map(str::to_owned);
    }

    /// One HTTP call with this guest's token.
    pub async fn call(&self, method: &str, path: &str, body: Option<&impl Serialize>) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let (status, bytes) = bytes_of(path, request).await;
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// One HTTP call with this guest's token, whose bodies are bytes.
    pub async fn call_bytes(&self, method: &str, path: &str, body: Vec<u8>) -> (u16, bytes::Bytes) {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        bytes_of(path, request).await
    }

    /// A log page: its head and its entries.
    pub async fn page(&self, path: &str) -> (LogPageHead, Vec<EntryFrame>) {
        let (status, mut bytes) = self.call_bytes("GET", path, Vec::new()).await;
        assert_eq!(status, 200, "{path}: {bytes:?}");
        let mut records = Vec::new();
        while bytes.has_remaining() {
            let length = usize::try_from(bytes.get_u32()).expect("small");
            records.push(bytes.split_to(length));
        }
        let head = serde_json::from_slice(&records[0]).expect("the page's head");
        let entries = records[1..].iter().map(|record| EntryFrame::parse(record).expect("an entry frame"));
        (head, entries.collect())
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None::<&()>).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None::<&()>).await
    }

    /// PUT.
    pub async fn put(&self, path: &str, body: &impl Serialize) -> Answer {
        self.call("PUT", path, Some(body)).await
    }

    /// POST.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        self.call("POST", path, Some(body)).await
    }

    /// A sign-in for `room` and `grant`.
    pub async fn sign_in(&self, room: RoomId, grant: GrantId) -> snug_protocol::http::SignIn {
        let (status, answer) = self.post("/api/nonce", &()).await;
        assert_eq!(status, 200, "{answer}");
        let nonce: NonceAnswer = serde_json::from_value(answer).expect("a nonce");
        sign_in(&self.device, room, grant, &nonce.nonce, &self.url).expect("a nonce of the usual length")
    }

    /// The request that creates a room, and the room as it will be.
    pub async fn draft_room(&self, name: &str) -> (CreateRoom, Secret, RoomKey) {
        self.draft_room_with(name, recovery_device().keys()).await
    }

    /// The same, with this recovery device.
    pub async fn draft_room_with(&self, name: &str, recovery: &PublicKeys) -> (CreateRoom, Secret, RoomKey) {
        let (room, grant, secret) = (RoomId(random()), GrantId(random()), Secret::generate());
        let key = RoomKey::generate(room, 0);
        let header = Header {
            kind: EntryKind::EpochRecord,
            room,
            epoch: 0,
            device: self.device.id(),
            instance: InstanceId(random()),
            counter: 0,
            target: Seq::ZERO,
        };
        let record = self.seal_under(&key, &header, Prev::default(), &json!({}));
        let request = CreateRoom {
            name: name.to_owned(),
            room,
            grant,
            kdf: 1,
            auth: GrantKeys::derive(&secret, room, grant).auth().into(),
            blob: random::<GRANT_BLOB_BYTES>().into(),
            epoch_record: record.bytes().to_vec().into(),
            recovery: RecoveryDevice {
                sign_key: recovery.sign_key.into(),
                agree_key: recovery.agree_key.into(),
                key: random::<EPOCH_KEY_BYTES>().into(),
            },
            sign_in: self.sign_in(room, grant).await,
        };
        (request, secret, key)
    }

    /// Creates a room.
    pub async fn create(&mut self, name: &str) -> GuestRoom {
        let (request, secret, key) = self.draft_room(name).await;
        let (status, answer) = self.post("/api/rooms", &request).await;
        assert_eq!(status, 201, "{answer}");
        self.entered(request.room, request.grant, secret, key, answer)
    }

    /// Creates a room, asking again each time that the node cannot: it may be without its database, say.
    pub async fn create_in_time(&mut self, name: &str) -> GuestRoom {
        let (request, secret, key) = self.draft_room(name).await;
        let (status, answer) = self.post_in_time("/api/rooms", &request).await;
        assert_eq!(status, 201, "{answer}");
        self.entered(request.room, request.grant, secret, key, answer)
    }

    /// Joins a room in the same way.
    pub async fn join_in_time(&mut self, other: &GuestRoom) -> GuestRoom {
        let request = self.draft_join(other.room, other.grant, &other.secret).await;
        let (status, answer) = self.post_in_time("/api/join", &request).await;
        assert_eq!(status, 200, "{answer}");
        self.entered(other.room, other.grant, other.secret.clone(), other.key.clone(), answer)
    }

    async fn post_in_time(&self, path: &str, body: &impl Serialize) -> Answer {
        let asking = async {
            loop {
                let answer = self.post(path, body).await;
                if answer.0 != 503 {
                    return answer;
                }
                tokio::time::sleep(socket::AGAIN).await;
            }
        };
        in_time(path, asking).await
    }

    /// The request to join by this proof.
    pub async fn draft_join(&self, room: RoomId, grant: GrantId, secret: &Secret) -> JoinRequest {
        let auth = GrantKeys::derive(secret, room, grant).auth().into();
        JoinRequest { room, grant, auth, sign_in: self.sign_in(room, grant).await }
    }

    /// Joins a room that another guest is in.
    pub async fn join(&mut self, other: &GuestRoom) -> GuestRoom {
        let request = self.draft_join(other.room, other.grant, &other.secret).await;
        let (status, answer) = self.post("/api/join", &request).await;
        assert_eq!(status, 200, "{answer}");
        self.entered(other.room, other.grant, other.secret.clone(), other.key.clone(), answer)
    }

    /// Joins the room that this request created.
    pub async fn join_drafted(&mut self, request: &CreateRoom, secret: Secret, key: RoomKey) -> GuestRoom {
        let join = self.draft_join(request.room, request.grant, &secret).await;
        let (status, answer) = self.post("/api/join", &join).await;
        assert_eq!(status, 200, "{answer}");
        self.entered(request.room, request.grant, secret, key, answer)
    }

    fn entered(&mut self, room: RoomId, grant: GrantId, secret: Secret, key: RoomKey, answer: Value) -> GuestRoom {
        let entered: Entered = serde_json::from_value(answer).expect("the answer's form");
        self.token.clone_from(&entered.token);
        let epoch = entered.room.epoch;
        GuestRoom {
            room,
            grant,
            secret,
            key,
            epoch,
            entered,
            instance: InstanceId(random()),
            counter: 0,
            prev: Prev::default(),
        }
    }

    /// The request for an invite, and its secret.
    #[must_use]
    pub fn draft_invite(
        &self,
        room: &GuestRoom,
        expires_in_ms: Option<u64>,
        uses_max: Option<u32>,
    ) -> (CreateInvite, Secret) {
        let (grant, secret) = (GrantId(random()), Secret::generate());
        let auth = GrantKeys::derive(&secret, room.room, grant).auth().into();
        (CreateInvite { grant, auth, blob: random::<GRANT_BLOB_BYTES>().into(), expires_in_ms, uses_max }, secret)
    }

    /// A socket that has said hello and been welcomed.
    pub async fn socket(&self) -> Socket {
        self.raw_socket().await.greeted().await
    }

    /// The same at the node that listens on `node`, whatever stands before it.
    pub async fn socket_at(&self, node: SocketAddr) -> Socket {
        let connecting = TcpStream::connect(node);
        self.socket_over(in_time("a node listens", connecting).await.expect("a connection")).await
    }

    /// The same, tried until the node can: it may be without its database, say.
    pub async fn socket_in_time_at(&self, node: SocketAddr) -> Socket {
        let trying = async {
            loop {
                if let Some(socket) = self.try_socket_at(node).await {
                    return socket;
                }
                tokio::time::sleep(socket::AGAIN).await;
            }
        };
        in_time("a node welcomes a socket", trying).await
    }

    async fn try_socket_at(&self, node: SocketAddr) -> Option<Socket> {
        let stream = TcpStream::connect(node).await.ok()?;
        let raw = RawSocket::over(stream, &self.url, self.token.as_deref(), None).await.ok()?;
        Socket { raw }.welcomed().await
    }

    /// The same over a connection that the test has made.
    pub async fn socket_over(&self, stream: TcpStream) -> Socket {
        let opening = RawSocket::over(stream, &self.url, self.token.as_deref(), None);
        let raw = in_time("a socket opens", opening).await.expect("a socket");
        Socket { raw }.greeted().await
    }

    /// A socket that has said nothing.
    pub async fn raw_socket(&self) -> Socket {
        let connecting = RawSocket::connect(&self.url, self.token.as_deref(), None);
        Socket { raw: in_time("a socket opens", connecting).await.expect("a socket") }
    }

    /// Seals the next message of this guest's instance.
    #[must_use]
    pub fn message(&self, room: &mut GuestRoom, text: &str) -> Envelope {
        self.seal(room, EntryKind::Message, Seq::ZERO, &json!({ "text": text }))
    }

    /// Seals how this guest introduces itself.
    #[must_use]
    pub fn profile(&self, room: &mut GuestRoom, name: &str) -> Envelope {
        self.seal(room, EntryKind::Profile, Seq::ZERO, &json!({ "name": name }))
    }

    /// Seals an entry about the message at `target`.
    #[must_use]
    pub fn about(&self, room: &mut GuestRoom, kind: EntryKind, target: Seq) -> Envelope {
        self.seal(room, kind, target, &json!({}))
    }

    /// Seals the next envelope of this guest's instance.
    #[must_use]
    pub fn seal(&self, room: &mut GuestRoom, kind: EntryKind, target: Seq, body: &Value) -> Envelope {
        let header = Header { target, ..room.next_header(self.device.id(), kind) };
        self.seal_under(&room.key, &header, room.prev, body)
    }

    fn seal_under(&self, key: &RoomKey, header: &Header, prev: Prev, body: &Value) -> Envelope {
        let body = serde_json::to_vec(body).expect("JSON");
        seal(&self.device, key, header, &Content { prev, sent_at_ms: 0, body: &body }).expect("a small body")
    }
}

async fn bytes_of(path: &str, request: reqwest::RequestBuilder) -> (u16, bytes::Bytes) {
    let response = in_time(path, request.send()).await.expect("an answer");
    let status = response.status().as_u16();
    (status, in_time(path, response.bytes()).await.expect("a body"))
}

impl GuestRoom {
    /// The header of the instance's next envelope.
    pub fn next_header(&mut self, device: snug_protocol::DeviceId, kind: EntryKind) -> Header {
        let counter = self.counter;
        self.counter += 1;
        Header { kind, room: self.room, epoch: self.epoch, device, instance: self.instance, counter, target: Seq::ZERO }
    }

    /// The same room in another tab: an instance of its own, so that what is refused there ends nothing here.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        Self {
            secret: self.secret.clone(),
            key: self.key.clone(),
            entered: self.entered.clone(),
            instance: InstanceId(random()),
            counter: 0,
            ..*self
        }
    }

    /// Starts a new instance, as after a reload.
    pub fn new_instance(&mut self) {
        (self.instance, self.counter) = (InstanceId(random()), 0);
    }

    /// Skips a counter.
    pub fn skip(&mut self) {
        self.counter += 1;
    }
}
