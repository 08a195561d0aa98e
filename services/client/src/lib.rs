//! The Rust SDK of Snug: private, password-protected, end-to-end encrypted chat rooms.
//!
//! [`Client`] and [`Room`] are what programs use. Below them, each usable alone: [`crypto`] is format v1 without I/O, [`chain`] who
//! governs a room, [`log`] a room's log with the receiver's checks, [`wire`] one raw socket for load generators and tests of the protocol.
//!
//! What is deliberately absent: storage. A program that wants to come back keeps [`crypto::DeviceSecrets`] and [`RoomSecrets`] where only
//! it can read them. Messages that were not acknowledged when the process ended are gone.

mod backoff;
pub mod chain;
mod client;
mod config;
pub mod crypto;
mod error;
mod http;
mod link;
pub mod log;
mod numbers;
mod recovering;
mod room;
pub mod text;
pub mod wire;

pub use client::Client;
pub use config::{ClientConfig, Timing};
pub use error::{ClientError, Field};
pub use numbers::safety_number;
pub use room::{
    AuditEntry, Change, DeletedBy, EVENTS_MAX, Event, Events, History, LostMessage, Misplaced, OUTBOX_MAX, Progress,
    Reactions, Rekey, RekeyCause, Rekeyed, Room, RoomMember, RoomSecrets, Sending, Sent,
};
pub use snug_protocol as protocol;
