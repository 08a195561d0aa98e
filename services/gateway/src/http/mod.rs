//! HTTP: the table of all routes, what stands before them, and the shared handles.
//!
//! Each handler names the handles it uses. Errors become answers in `error`; who is calling is found in `extract`.

mod address;
mod assets;
mod chain;
mod create;
#[cfg(all(feature = "conformance", debug_assertions))]
mod echo;
mod entry;
mod epochs;
mod error;
mod extract;
mod guard;
mod health;
mod history;
mod invites;
mod members;
mod moves;
mod openapi;
mod password;
mod right;
mod rooms;
mod socket;
mod steps;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{any, delete, get, post, put};
use snug_bus::Bus;
use snug_protocol::limits::HTTP_BODY_BYTES_MAX;
use snug_store::Store;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::timeout::TimeoutLayer;

use crate::auth::{GrantSecrets, Nonces, Tokens};
use crate::chat::Chat;
use crate::clock::Clock;
use crate::config::{AddressRange, Identity};
use crate::limit::{Buckets, JoinLimiter};
use crate::session::SessionParts;
use crate::telemetry::HttpCounters;

pub use address::{RequestLimiter, governor};
pub use health::Readiness;

/// What enters a room: peppered secrets, nonces, limiters, the names' key.
#[derive(Clone)]
pub struct Door {
    /// Hashing.
    pub secrets: GrantSecrets,
    /// Sign-in nonces.
    pub nonces: Arc<Nonces>,
    /// Guesses.
    pub joins: Arc<JoinLimiter>,
    /// Sign-ins by address, right ones too: each costs a signature, a row, and for a password tens of milliseconds.
    pub sign_ins: Arc<Buckets<std::net::IpAddr>>,
    /// Offers to move by address: they need no token, and each takes a row.
    pub moves: Arc<Buckets<std::net::IpAddr>>,
    /// New rooms and new passwords by address.
    pub creates: Arc<Buckets<std::net::IpAddr>>,
    /// The time that nonces are dated by.
    pub clock: Clock,
    /// Makes ids for names that nobody has.
    pub unknown_names: Arc<zeroize::Zeroizing<[u8; 32]>>,
}

/// Everything handlers may ask for; each names what it uses.
#[derive(Clone, FromRef)]
pub struct Handles {
    /// The database.
    pub store: Store,
    /// Appends and events.
    pub chat: Chat,
    /// The bus, for its name.
    pub bus: Arc<dyn Bus>,
    /// Access tokens.
    pub tokens: Tokens,
    /// Joining.
    pub door: Door,
    /// Hosts, origins, cookie.
    pub identity: Arc<Identity>,
    /// Believed proxies.
    pub proxies: Arc<[AddressRange]>,
    /// Sessions.
    pub session: Arc<SessionParts>,
    /// Whether to send traffic here.
    pub readiness: Readiness,
    /// Requests, counted.
    pub http: Arc<HttpCounters>,
}

/// From a request's headers to its answer's, the body of the request included.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// The whole service of one node, behind a limiter of requests by address.
pub fn router(handles: Handles, governor: address::Governor) -> Router {
    // Ciphertext does not get smaller.
    let compressible = DefaultPredicate::new().and(NotForContentType::const_new(history::LOG_PAGE));
    let api = Router::new()
        .route("/nonce", post(entry::nonce))
        .route("/lookup", post(entry::lookup))
        .route("/rooms", post(create::create).get(rooms::list))
        .route("/join", post(entry::join))
        .route("/token", post(entry::renew).delete(entry::revoke))
        .route("/rooms/{room}", delete(rooms::erase))
        .route("/rooms/{room}/history", get(history::page))
        .route("/rooms/{room}/members", get(members::list))
        .route("/rooms/{room}/members/{device}", get(members::one))
        .route("/rooms/{room}/invites", get(invites::list).post(invites::create))
        .route("/rooms/{room}/invites/{grant}", delete(invites::revoke))
        .route("/rooms/{room}/chain", get(chain::chain))
        .route("/rooms/{room}/pins", get(chain::pins))
        .route("/rooms/{room}/steps", post(steps::take))
        .route("/rooms/{room}/epochs", post(epochs::begin))
        .route("/rooms/{room}/epochs/{epoch}/keys", put(epochs::stage).get(epochs::keys))
        .route("/moves/{id}/offer", put(moves::put_offer).get(moves::offer))
        .route("/moves/{id}/nonce", put(moves::put_nonce).get(moves::nonce))
        .route("/moves/{id}/reveal", put(moves::put_reveal).get(moves::reveal))
        .route("/moves/{id}/answer", put(moves::put_answer).get(moves::answer))
        .route("/openapi.json", get(openapi::document))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn(guard::no_store))
        .layer(middleware::from_fn(watched::trace));
    let sockets = Router::new().route("/ws", any(socket::upgrade));
    #[cfg(all(feature = "conformance", debug_assertions))]
    let sockets = sockets.route("/conformance/echo", any(echo::upgrade));
    // Layers that are one cost a request one box together; outermost first.
    let before_routes = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(Arc::clone(&handles.identity), guard::host_and_origin))
        .layer(middleware::from_fn_with_state(Arc::clone(&handles.http), watched::count))
        .layer(governor);
    let before_all = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(Arc::clone(&handles.identity), guard::security_headers))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_LIMIT))
        .layer(CompressionLayer::new().compress_when(compressible));
    sockets
        .nest("/api", api)
        .fallback(assets::serve)
        .layer(before_routes)
        // Probes come by address, not by name, and are not limited.
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .layer(before_all)
        .with_state(handles)
}
