//! From an HTTP request to a socket (RFC 6455 section 4.2).

use axum::extract::FromRequestParts;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio_util::task::TaskTracker;

use super::{Connection, Socket};

/// What the standard appends to a client's key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;

/// A request to speak WebSocket from here on.
pub struct Upgrade {
    accept: HeaderValue,
    protocols: Vec<String>,
    upgrade: OnUpgrade,
}

/// The request is none for a WebSocket.
#[derive(Debug)]
pub struct NotAnUpgrade;

impl IntoResponse for NotAnUpgrade {
    fn into_response(self) -> Response {
        StatusCode::BAD_REQUEST.into_response()
    }
}

/// The elements of a header that is a list, whether in one line or in several.
fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    listed(headers, name).any(|element| element.eq_ignore_ascii_case(wanted))
}

fn accept_of(key: &HeaderValue) -> Option<HeaderValue> {
    let is_key = STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES);
    let hash = Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize();
    is_key.then(|| HeaderValue::try_from(STANDARD.encode(hash)).expect("base64 is plain text"))
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = NotAnUpgrade;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotAnUpgrade> {
        let headers = &parts.headers;
        let is_upgrade = parts.method == Method::GET
            && lists(headers, &CONNECTION, "upgrade")
            && lists(headers, &UPGRADE, "websocket")
            && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
        let accept = headers.get(SEC_WEBSOCKET_KEY).and_then(accept_of).filter(|_| is_upgrade).ok_or(NotAnUpgrade)?;
        let protocols = listed(headers, &SEC_WEBSOCKET_PROTOCOL).map(ToOwned::to_owned).collect();
        let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or(NotAnUpgrade)?;
        Ok(Self { accept, protocols, upgrade })
    }
}

impl Upgrade {
    /// Whether the client offers to speak `protocol`.
    #[must_use]
    pub fn offers(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|offered| offered == protocol)
    }

    /// The answer that makes the connection a socket, in which `protocol` is spoken if one is named. `run` is then given the socket, in a
    /// task of its own, one of `tasks`. Messages have at most `message_max` bytes.
    pub fn accept<F: Future<Output = ()> + Send + 'static>(
        self,
        protocol: Option<&'static str>,
        message_max: usize,
        tasks: &TaskTracker,
        run: impl FnOnce(Socket) -> F + Send + 'static,
    ) -> Response {
        let Self { accept, upgrade, .. } = self;
        tasks.spawn(async move {
            match upgrade.await.map(Upgraded::downcast::<TokioIo<Connection>>) {
                Ok(Ok(parts)) => {
                    let socket = {
                        // Its buffer, of several KiB, must not live as long as the socket.
                        let hyper::upgrade::Parts { io, read_buf, .. } = parts;
                        Socket::new(io.into_inner().into_stream(), &read_buf, message_max)
                    };
                    run(socket).await;
                }
                Ok(Err(_)) => tracing::error!("an upgraded connection is not one of ours"),
                Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
            }
        });
        let headers = [
            (CONNECTION, HeaderValue::from_static("upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_ACCEPT, accept),
        ];
        let protocol = protocol.map(|protocol| [(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol))]);
        (StatusCode::SWITCHING_PROTOCOLS, headers, protocol, ()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_the_standards_example() {
        let accept = accept_of(&HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(accept, Some(HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
        assert_eq!(accept_of(&HeaderValue::from_static("dGhl")), None);
    }

    #[test]
    fn a_list_may_be_in_several_lines() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.append(CONNECTION, HeaderValue::from_static("other"));
        assert!(lists(&headers, &CONNECTION, "upgrade") && lists(&headers, &CONNECTION, "other"));
        assert!(!lists(&headers, &CONNECTION, "up"));
    }
}
