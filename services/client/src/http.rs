//! The HTTP calls, with node fail-over and a token that is renewed when it ends. No keys but the device's, which signs in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{
    EpochKeys, LogPageHead, LookupAnswer, LookupRequest, Member, NonceAnswer, SignIn, Signed, TokenRequest,
};
use snug_protocol::limits::HISTORY_PAGE_MAX;
use snug_protocol::{DeviceId, ErrorBody, ErrorCode, GrantId, Retry, RoomId, Seq};

use crate::backoff::jittered;
use crate::config::{ClientConfig, install_tls_provider, origin_of};
use crate::crypto::{Device, sign_in};
use crate::error::ClientError;

/// The most of an answer that is read; a full page of history has 1 MiB of envelopes.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often a call that may be repeated is made.
const REPEATS_MAX: u32 = 5;
/// The wait before a repetition when the server names none.
const REPEAT_PAUSE: Duration = Duration::from_millis(200);
/// A server that asks to wait longer is not waited for.
const REPEAT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A node as an index into the configured list, with its address.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    index: usize,
    pub(crate) origin: Arc<str>,
}

/// A page of a log, unopened.
#[derive(Debug)]
pub(crate) struct LogPage {
    pub(crate) head: LogPageHead,
    pub(crate) entries: Vec<EntryFrame>,
}

/// A page of the members list; members that cannot be read are a hostile server's, and refused by who uses them.
#[derive(Deserialize)]
pub(crate) struct MembersPage {
    pub(crate) members: Vec<Member>,
    pub(crate) more: bool,
}

/// The calls. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Http(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    nodes: Vec<Arc<str>>,
    current: AtomicUsize,
    origin: Option<String>,
    device: Arc<Device>,
    token: Mutex<Option<Arc<str>>>,
    renewing: tokio::sync::Mutex<()>,
}

fn network(error: &reqwest::Error) -> ClientError {
    // The address may hold what a link's fragment must not tell; it never does here, yet is left out.
    ClientError::Network(if error.is_timeout() { "no answer in time".into() } else { error.to_string() })
}

impl Http {
    pub(crate) fn new(config: &ClientConfig, device: Arc<Device>) -> Result<Self, ClientError> {
        install_tls_provider();
        let nodes: Vec<Arc<str>> =
            config.base_urls.iter().map(|url| origin_of(url).map(Arc::from)).collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(ClientError::AddressInvalid(String::new()));
        }
        let mut builder = reqwest::Client::builder()
            .timeout(config.timing.http_limit)
            .connect_timeout(config.timing.connect_limit)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(tls) = &config.tls {
            builder = builder.tls_backend_preconfigured(rustls::ClientConfig::clone(tls));
        }
        let http = builder.build().map_err(|error| ClientError::Network(error.to_string()))?;
        let origin = config.origin.as_deref().map(origin_of).transpose()?;
        Ok(Self(Arc::new(Shared {
            http,
            nodes,
            current: AtomicUsize::new(0),
            origin,
            device,
            token: Mutex::new(None),
            renewing: tokio::sync::Mutex::new(()),
        })))
    }

    /// The node that is asked now.
    pub(crate) fn node(&self) -> Node {
        let index = self.0.current.load(Ordering::Relaxed) % self.0.nodes.len();
        Node { index, origin: Arc::clone(&self.0.nodes[index]) }
    }

    /// `node` failed: the next one is asked from now on, unless that has been done.
    pub(crate) fn give_up(&self, node: &Node) {
        let next = (node.index + 1) % self.0.nodes.len();
        // Another task may have moved on already; then there is nothing to do.
        let _ = self.0.current.compare_exchange(node.index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The origin that sign-ins to `node` and links name.
    pub(crate) fn origin(&self, node: &Node) -> String {
        self.0.origin.clone().unwrap_or_else(|| node.origin.to_string())
    }

    fn kept_token(&self) -> Option<Arc<str>> {
        self.0.token.lock().expect("no code panics while it holds the token").clone()
    }

    /// Keeps a token that came with entering a room.
    pub(crate) fn keep_token(&self, token: Option<String>) {
        if let Some(token) = token {
            *self.0.token.lock().expect("no code panics while it holds the token") = Some(token.into());
        }
    }

    /// The token, signed in for if there is none.
    pub(crate) async fn token(&self) -> Result<Arc<str>, ClientError> {
        match self.kept_token() {
            Some(token) => Ok(token),
            None => self.renew(None).await,
        }
    }

    /// A token other than `refused`. Callers at one time share one sign-in.
    pub(crate) async fn renew(&self, refused: Option<&str>) -> Result<Arc<str>, ClientError> {
        let _turn = self.0.renewing.lock().await;
        if let Some(token) = self.kept_token().filter(|token| Some(token.as_ref()) != refused) {
            return Ok(token);
        }
        let body = |sign_in| TokenRequest { sign_in };
        let signed: Signed = self.signed("/api/token", RoomId::default(), GrantId::default(), None, body).await?;
        self.keep_token(signed.token);
        self.kept_token().ok_or(ClientError::Answer)
    }

    /// Which room has this name, and the node that said so.
    pub(crate) async fn lookup(&self, name: &str) -> Result<LookupAnswer, ClientError> {
        let request = LookupRequest { name: name.to_owned() };
        let bytes = self.call_anywhere(Method::POST, "/api/lookup", None, Some(&request)).await?;
        serde_json::from_slice(&bytes).map_err(|_| ClientError::Answer)
    }

    /// A call that proves the device: with the nonce given, or a fresh one, signed for the origin of the node that is asked.
    pub(crate) async fn signed<B: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        room: RoomId,
        grant: GrantId,
        nonce: Option<String>,
        body: impl Fn(SignIn) -> B,
    ) -> Result<A, ClientError> {
        let mut nonce = nonce;
        let mut last = ClientError::Closed;
        for _ in 0..self.0.nodes.len() {
            let node = self.node();
            match self.signed_at(&node, path, (room, grant), nonce.take(), &body).await {
                Err(Failure::Unreachable(error)) => last = self.failed(&node, error),
                Err(Failure::Final(error)) => return Err(error),
                Ok(bytes) => return serde_json::from_slice(&bytes).map_err(|_| ClientError::Answer),
            }
        }
        Err(last)
    }

    async fn signed_at<B: Serialize>(
        &self,
        node: &Node,
        path: &str,
        (room, grant): (RoomId, GrantId),
        nonce: Option<String>,
        body: &impl Fn(SignIn) -> B,
    ) -> Result<Bytes, Failure> {
        if let Some(nonce) = nonce {
            let proof = sign_in(&self.0.device, room, grant, &nonce, &self.origin(node))?;
            match self.call(node, Method::POST, path, None, Some(&body(proof))).await {
                // The password took longer than the nonce lives: a fresh one.
                Err(Failure::Final(error)) if error.server_code() == Some(ErrorCode::NonceExpired) => {}
                answer => return answer,
            }
        }
        let bytes = self.call::<()>(node, Method::POST, "/api/nonce", None, None).await?;
        let fresh: NonceAnswer = serde_json::from_slice(&bytes).map_err(|_| ClientError::Answer)?;
        let proof = sign_in(&self.0.device, room, grant, &fresh.nonce, &self.origin(node))?;
        self.call(node, Method::POST, path, None, Some(&body(proof))).await
    }

    /// A call that does nothing a second time, repeated while the server cannot be heard or asks to wait.
    pub(crate) async fn repeated<B: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<A, ClientError> {
        let mut tries = 1;
        loop {
            let error = match self.authorised(method.clone(), path, Some(body)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = match &error {
                ClientError::Network(_) | ClientError::Answer => REPEAT_PAUSE,
                ClientError::Server(body) if body.retry == Retry::Later => {
                    body.retry_after_ms.map_or(REPEAT_PAUSE, Duration::from_millis)
                }
                _ => return Err(error),
            };
            if tries == REPEATS_MAX || wait > REPEAT_PAUSE_MAX {
                return Err(error);
            }
            tries += 1;
            tokio::time::sleep(jittered(wait)).await;
        }
    }

    /// A call with the token, renewed once if the server asks for it.
    pub(crate) async fn authorised<B: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<A, ClientError> {
        let bytes = self.authorised_bytes(method, path, body).await?;
        // An answer without content is the unit type's.
        let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
        serde_json::from_slice(&bytes).map_err(|_| ClientError::Answer)
    }

    async fn authorised_bytes<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Bytes, ClientError> {
        let token = self.token().await?;
        match self.call_anywhere(method.clone(), path, Some(&token), body).await {
            Err(ClientError::Server(error)) if error.retry == Retry::SignIn => {
                let token = self.renew(Some(&token)).await?;
                self.call_anywhere(method, path, Some(&token), body).await
            }
            other => other,
        }
    }

    /// A page of history ending before `before`.
    pub(crate) async fn history(
        &self,
        room: RoomId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<LogPage, ClientError> {
        let query = before.map(|seq| format!("&before={seq}")).unwrap_or_default();
        let path = format!("/api/rooms/{room}/history?limit={limit}{query}");
        let bytes = self.authorised_bytes::<()>(Method::GET, &path, None).await?;
        let page = parse_page(bytes).filter(LogPage::is_whole).ok_or(ClientError::Answer)?;
        // A page ends where it was asked to, and is empty only before the first entry; otherwise it would hide entries.
        let whole = before.is_none_or(|before| {
            page.head.to >= before.back(1).min(page.head.head) && (page.head.from < before || before <= Seq(1))
        });
        if whole { Ok(page) } else { Err(ClientError::Answer) }
    }

    /// The newest entries of the chain before `before`, ascending; empty at its beginning.
    pub(crate) async fn chain(&self, room: RoomId, before: Option<Seq>) -> Result<Vec<EntryFrame>, ClientError> {
        let query = before.map(|seq| format!("&before={seq}")).unwrap_or_default();
        let path = format!("/api/rooms/{room}/chain?limit={HISTORY_PAGE_MAX}{query}");
        let bytes = self.authorised_bytes::<()>(Method::GET, &path, None).await?;
        let page = parse_page(bytes).ok_or(ClientError::Answer)?;
        let goes_back = page.entries.last().is_none_or(|last| before.is_none_or(|before| last.seq() < before));
        if goes_back && is_ascending(&page.entries) { Ok(page.entries) } else { Err(ClientError::Answer) }
    }

    /// Whom an epoch's key was sealed to, what was sealed to this device, and to those of `of`.
    pub(crate) async fn epoch_keys(&self, room: RoomId, epoch: u32, of: &[DeviceId]) -> Result<EpochKeys, ClientError> {
        let of: Vec<String> = of.iter().map(ToString::to_string).collect();
        let query = if of.is_empty() { String::new() } else { format!("?of={}", of.join(",")) };
        self.authorised::<(), _>(Method::GET, &format!("/api/rooms/{room}/epochs/{epoch}/keys{query}"), None).await
    }

    /// Members after a device id, in order.
    pub(crate) async fn members(&self, room: RoomId, after: Option<DeviceId>) -> Result<MembersPage, ClientError> {
        let after = after.map(|device| format!("?after={device}")).unwrap_or_default();
        self.authorised::<(), _>(Method::GET, &format!("/api/rooms/{room}/members{after}"), None).await
    }

    /// One member.
    pub(crate) async fn member(&self, room: RoomId, device: DeviceId) -> Result<Member, ClientError> {
        self.authorised::<(), _>(Method::GET, &format!("/api/rooms/{room}/members/{device}"), None).await
    }

    /// Asks one node after the other until one can be reached. A node that was reached and fell silent is not followed by another,
    /// since it may have done what was asked.
    async fn call_anywhere<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&B>,
    ) -> Result<Bytes, ClientError> {
        let mut last = ClientError::Closed;
        for _ in 0..self.0.nodes.len() {
            let node = self.node();
            match self.call(&node, method.clone(), path, token, body).await {
                Ok(bytes) => return Ok(bytes),
                Err(Failure::Unreachable(error)) => last = self.failed(&node, error),
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        Err(last)
    }

    fn failed(&self, node: &Node, error: ClientError) -> ClientError {
        self.give_up(node);
        error
    }

    async fn call<B: Serialize>(
        &self,
        node: &Node,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&B>,
    ) -> Result<Bytes, Failure> {
        let repeatable = method == Method::GET || method == Method::DELETE;
        let mut request = self.0.http.request(method, format!("{}{path}", node.origin));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let failed = |error: &reqwest::Error| {
            let unreachable = error.is_connect() || repeatable;
            if unreachable { Failure::Unreachable(network(error)) } else { Failure::Final(network(error)) }
        };
        let response = request.send().await.map_err(|error| failed(&error))?;
        let status = response.status();
        let bytes = read(response).await?;
        if status.is_success() {
            return Ok(bytes);
        }
        let error: Result<ErrorBody, _> = serde_json::from_slice(&bytes);
        Err(Failure::Final(error.map_or(ClientError::Answer, ClientError::from)))
    }
}

/// Why one node did not answer.
enum Failure {
    /// It did nothing: another may be asked.
    Unreachable(ClientError),
    /// It answered, or may have acted.
    Final(ClientError),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Final(error)
    }
}

async fn read(mut response: Response) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::Final(network(&error)))? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Failure::Final(ClientError::Answer));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

fn is_ascending(entries: &[EntryFrame]) -> bool {
    entries.windows(2).all(|pair| pair[0].seq() < pair[1].seq())
}

impl LogPage {
    /// Whether the range has no hole, which would pass for the log, and what follows it is later.
    fn is_whole(&self) -> bool {
        let range = self.entries.iter().map(EntryFrame::seq).take_while(|seq| *seq <= self.head.to);
        range.eq((self.head.from.0..=self.head.to.0).map(Seq)) && is_ascending(&self.entries)
    }
}

/// Reads a log page.
fn parse_page(mut bytes: Bytes) -> Option<LogPage> {
    let mut record = || -> Option<Option<Bytes>> {
        if bytes.is_empty() {
            return Some(None);
        }
        let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let _ = bytes.split_to(4);
        (length <= bytes.len()).then(|| Some(bytes.split_to(length)))
    };
    let head: LogPageHead = serde_json::from_slice(&record()??).ok()?;
    let mut entries = Vec::new();
    while let Some(record) = record()? {
        entries.push(EntryFrame::parse(&record).ok()?);
    }
    Some(LogPage { head, entries })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_cut_anywhere_is_refused() {
        let head = br#"{"history":"AwMDAwMDAwMDAwMDAwMDAw","head":2,"from":1,"to":2}"#;
        let mut page = Vec::new();
        let entries = [EntryFrame::new(Seq(1), 5, &[7; 348]), EntryFrame::new(Seq(2), 6, &[8; 348])];
        for record in [head.as_slice(), entries[0].bytes(), entries[1].bytes()] {
            page.extend_from_slice(&u32::try_from(record.len()).expect("short").to_be_bytes());
            page.extend_from_slice(record);
        }
        let read = parse_page(page.clone().into()).filter(LogPage::is_whole).expect("a page");
        assert_eq!((read.head.to, read.entries.as_slice()), (Seq(2), entries.as_slice()));
        for cut in 0..page.len() {
            assert!(parse_page(page[..cut].to_vec().into()).filter(LogPage::is_whole).is_none(), "cut at {cut}");
        }
    }
}
