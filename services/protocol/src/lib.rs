//! What crosses a socket or an HTTP call: ids, envelope headers, frames, bodies, limits, error codes, names.
//!
//! `PROTOCOL.md` and `ENCRYPTION.md` beside this crate are the reference. Nothing here does I/O, keeps time or knows a key; sealing
//! lives in `snug-client`, since a server has no use for it. The browser client's types (`services/web/src/protocol.gen.ts`)
//! are written by this crate's tests under the feature `typescript`.

mod base64;
pub mod envelope;
pub mod error;
pub mod frame;
pub mod http;
pub mod ids;
pub mod limits;
pub mod names;

pub use base64::{Base64Bytes, decode as decode_base64, encode as encode_base64};
pub use envelope::{EntryKind, Envelope, EnvelopeError, EnvelopeHash, Header, recipients_hash};
pub use error::{ErrorBody, ErrorCode, Retry};
pub use ids::{DeviceId, GrantId, HistoryId, InstanceId, RoomId, Seq};

/// The WebSocket sub-protocol of this version.
pub const SUBPROTOCOL: &str = "snug.v1";
