//! A device that speaks the raw protocol, so that tests can say what a well-behaved client never would.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use snug_client::crypto::{
    Body, Content, Device, GrantContent, GrantKeys, Prev, Profile, RecoveryKey, RoomKey, Secret, founding_record, seal,
    sign_in,
};
use snug_client::wire::{Incoming, RawSocket};
use snug_protocol::envelope::Header;
use snug_protocol::frame::{ClientFrame, Cursor, EntryFrame, ServerFrame};
use snug_protocol::http::{CreateInvite, CreateRoom, Entered, JoinRequest, NonceAnswer};
use snug_protocol::{EntryKind, Envelope, ErrorBody, GrantId, InstanceId, RoomId, Seq};

use crate::{http, in_time};

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
    /// The room key of epoch 0.
    pub key: RoomKey,
    /// The answer that let the guest in.
    pub entered: Entered,
    instance: InstanceId,
    counter: u64,
    /// What the next envelope says it has seen.
    pub prev: Prev,
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
        Self { url: url.to_owned(), device: Device::generate(), token: None, http: http() }
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
        let response = in_time(path, request.send()).await.expect("an answer");
        let status = response.status().as_u16();
        let bytes = response.bytes().await.expect("a body");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None::<&()>).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None::<&()>).await
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
        let (room, grant, secret) = (RoomId(random()), GrantId(random()), Secret::generate());
        let key = RoomKey::generate(room, 0);
        let record = founding_record(&self.device, &key, RecoveryKey::generate().device().keys(), 0).expect("epoch 0");
        let keys = GrantKeys::derive(&secret, room, grant);
        let content = GrantContent { room_key: key.clone(), record_hash: record.hash() };
        let request = CreateRoom {
            name: name.to_owned(),
            room,
            grant,
            kdf: 1,
            auth: keys.auth().into(),
            blob: keys.seal(&content).into(),
            epoch_record: record.bytes().to_vec().into(),
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
        GuestRoom {
            room,
            grant,
            secret,
            key,
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
        let keys = GrantKeys::derive(&secret, room.room, grant);
        let record = snug_protocol::EnvelopeHash::of(&room.entered.epoch_record.envelope.0);
        let blob = keys.seal(&GrantContent { room_key: room.key.clone(), record_hash: record });
        (CreateInvite { grant, auth: keys.auth().into(), blob: blob.into(), expires_in_ms, uses_max }, secret)
    }

    /// A socket that has said hello and been welcomed.
    pub async fn socket(&self) -> Socket {
        let mut socket = self.raw_socket().await;
        socket.say(&ClientFrame::Hello { client: "test".into() }).await;
        assert!(matches!(socket.hear().await, ServerFrame::Welcome { .. }));
        socket
    }

    /// A socket that has said nothing.
    pub async fn raw_socket(&self) -> Socket {
        let connecting = RawSocket::connect(&self.url, self.token.as_deref(), None);
        Socket { raw: in_time("a socket opens", connecting).await.expect("a socket") }
    }

    /// Seals the next message of this guest's instance.
    #[must_use]
    pub fn message(&self, room: &mut GuestRoom, text: &str) -> Envelope {
        self.seal(room, &Body::Message { text: text.into() })
    }

    /// Seals how this guest introduces itself.
    #[must_use]
    pub fn profile(&self, room: &mut GuestRoom, name: &str) -> Envelope {
        let keys = self.device.keys();
        let profile = Profile {
            name: name.into(),
            joined: true,
            sign_key: keys.sign_key.into(),
            agree_key: keys.agree_key.into(),
        };
        self.seal(room, &Body::Profile(profile))
    }

    /// Seals the next envelope of this guest's instance.
    #[must_use]
    pub fn seal(&self, room: &mut GuestRoom, body: &Body) -> Envelope {
        let header = room.next_header(self.device.id(), body.kind());
        seal(&self.device, &room.key, &header, &Content { prev: room.prev, sent_at_ms: 0, body: &body.to_json() })
            .expect("a small body")
    }
}

impl GuestRoom {
    /// The header of the instance's next envelope.
    pub fn next_header(&mut self, device: snug_protocol::DeviceId, kind: EntryKind) -> Header {
        let counter = self.counter;
        self.counter += 1;
        Header { kind, room: self.room, epoch: 0, device, instance: self.instance, counter, target: Seq::ZERO }
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

/// A socket that panics when what must come does not.
pub struct Socket {
    raw: RawSocket,
}

impl Socket {
    /// Sends a control frame.
    pub async fn say(&mut self, frame: &ClientFrame) {
        self.raw.send(frame).await.expect("the socket is open");
    }

    /// Sends any text.
    pub async fn say_text(&mut self, text: &str) {
        self.raw.send_text(text).await.expect("the socket is open");
    }

    /// Sends any bytes.
    pub async fn say_bytes(&mut self, bytes: impl Into<Bytes>) {
        self.raw.send_bytes(bytes.into()).await.expect("the socket is open");
    }

    /// Sends an envelope.
    pub async fn send(&mut self, id: u32, envelope: &Envelope) {
        self.raw.send_envelope(id, envelope.bytes()).await.expect("the socket is open");
    }

    /// Whatever comes next.
    pub async fn next(&mut self) -> Incoming {
        in_time("a frame comes", self.raw.next()).await
    }

    /// The next control frame; entries and presence before it are passed over.
    pub async fn hear(&mut self) -> ServerFrame {
        loop {
            match self.next().await {
                Incoming::Frame(ServerFrame::Presence { .. }) | Incoming::Entry(_) | Incoming::Other => {}
                Incoming::Frame(frame) => return frame,
                Incoming::Closed { code } => panic!("the socket closed with {code:?} instead of saying something"),
            }
        }
    }

    /// The next entry; control frames before it are passed over.
    pub async fn entry(&mut self) -> EntryFrame {
        loop {
            match self.next().await {
                Incoming::Entry(entry) => return entry,
                Incoming::Frame(_) | Incoming::Other => {}
                Incoming::Closed { code } => panic!("the socket closed with {code:?} instead of sending an entry"),
            }
        }
    }

    /// The error that comes next.
    pub async fn error(&mut self) -> ErrorBody {
        match self.hear().await {
            ServerFrame::Error { error, .. } => error,
            other => panic!("expected an error, heard {other:?}"),
        }
    }

    /// The acknowledgement of `id`.
    pub async fn sent(&mut self, id: u32) -> (Seq, bool) {
        match self.hear().await {
            ServerFrame::Sent { id: heard, seq, duplicate, .. } if heard == id => (seq, duplicate),
            other => panic!("expected the acknowledgement of {id}, heard {other:?}"),
        }
    }

    /// Follows a room; returns the answer.
    pub async fn follow(&mut self, room: RoomId, cursor: Option<Cursor>) -> ServerFrame {
        self.say(&ClientFrame::Follow { id: 1, room, cursor }).await;
        self.hear().await
    }

    /// The code the socket closes with; whatever comes before is passed over.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Incoming::Closed { code } = self.next().await {
                return code;
            }
        }
    }
}
