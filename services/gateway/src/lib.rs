//! A gateway node: ends sockets, authenticates joins, appends to the store, fans out. Stateless but for caches; kill it at any time.
//!
//! # Layout
//! - `config`: settings. `server`: listening, draining. `http`: routes. `session`: one socket. `room`: followed rooms and their tails.
//! - `chat`: one message's path. `presence`: who is here. `auth`: peppers, sign-ins, tokens. `limit`: rates. `wire`: WebSockets.
//! - For operators: `checkup` looks whether a node could start, `healthcheck` whether one runs.
//!
//! What is absent: SQL (in `snug-store`), anything that opens an envelope, and environment variables outside `config`.

pub mod auth;
pub mod chat;
pub mod checkup;
mod clock;
pub mod config;
pub mod events;
pub mod healthcheck;
pub mod http;
pub mod limit;
pub mod presence;
pub mod room;
mod sabotage;
pub mod server;
pub mod session;
pub mod telemetry;
mod tls;
pub mod wire;

pub use config::Settings;
#[cfg(all(feature = "sabotage", debug_assertions))]
pub use sabotage::Sabotage;
pub use server::{Server, StartError};
