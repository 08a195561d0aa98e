//! Limits that both sides of the socket obey. Rates and quotas that an operator may change are the gateway's configuration.

use std::time::Duration;

/// A WebSocket frame, bytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// An HTTP request body, bytes.
pub const HTTP_BODY_BYTES_MAX: usize = 64 * 1024;
/// The sizes a sealed plaintext is padded to, bytes.
pub const PLAINTEXT_BUCKETS: [usize; 14] =
    [256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384, 24_576];
/// A whole envelope: header, largest plaintext, tag; bytes.
pub const ENVELOPE_BYTES_MAX: usize = 76 + 24_576 + 16;
/// The JSON body inside an envelope, bytes.
pub const BODY_BYTES_MAX: usize = 16_384;
/// A message's text, Unicode code points.
pub const TEXT_CHARS_MAX: usize = 4_000;
/// A member's name, Unicode code points.
pub const MEMBER_NAME_CHARS_MAX: usize = 40;
/// A room's name, Unicode code points.
pub const ROOM_NAME_CHARS_MAX: usize = 64;
/// A room's password, Unicode code points. The least is a matter of strength, not length.
pub const PASSWORD_CHARS_MAX: usize = 256;
/// Rooms that one socket may follow.
pub const ROOMS_PER_SESSION_MAX: usize = 20;
/// Rooms that one device may be a member of.
pub const ROOMS_PER_DEVICE_MAX: usize = 200;
/// Members of a room at one time.
pub const MEMBERS_PER_ROOM_MAX: usize = 10_000;
/// Members that a client reads the list of, those who left included. Of who left without a word nothing is listed.
pub const MEMBERS_LISTED_MAX: usize = 100_000;
/// Members in one page of the members list.
pub const MEMBERS_PAGE_MAX: usize = 500;
/// Invites of a room that exist at one time.
pub const INVITES_PER_ROOM_MAX: usize = 100;
/// The longest an invite may be valid, when it has an expiry.
pub const INVITE_LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Entries in one page of history, at most.
pub const HISTORY_PAGE_MAX: usize = 200;
/// Entries in one page of history, when the request does not say.
pub const HISTORY_PAGE_DEFAULT: usize = 100;
/// Bytes of envelopes in one page of history, at most (one entry is always returned).
pub const HISTORY_PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Entries of the latest page, which a follow without a usable cursor begins with.
pub const LATEST_PAGE: u64 = 50;
/// How far behind the head a cursor may be and still be sent everything after it.
pub const BACKLOG_MAX: u64 = 1_000;
/// Devices named in `followed.here`. With more than these here, arrivals and notices of typing are told as numbers.
pub const HERE_LISTED_MAX: usize = 100;
/// Between two such numbers.
pub const CROWD_PERIOD: Duration = Duration::from_secs(3);
/// Envelopes that a client has in flight in one room.
pub const SENDS_IN_FLIGHT_MAX: usize = 8;
/// From the upgrade to `hello`.
pub const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// Between two heartbeats of the server.
pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(25);
/// From a heartbeat to its answer.
pub const HEARTBEAT_ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a client hears nothing before it reconnects.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(40);
/// How long a socket may take nothing before it is closed.
pub const SLOW_READER_LIMIT: Duration = Duration::from_secs(10);
/// Between two `typing` frames of a device in a room.
pub const TYPING_PERIOD: Duration = Duration::from_secs(3);
/// How long a device may be away without it being told.
pub const PRESENCE_GRACE: Duration = Duration::from_secs(10);
/// How long a sign-in nonce is good.
pub const NONCE_LIFE: Duration = Duration::from_secs(120);
/// A grant blob, bytes.
pub const GRANT_BLOB_BYTES: usize = 129;
/// Mentions in one message.
pub const MENTIONS_MAX: usize = 50;
/// A reaction, Unicode code points.
pub const EMOJI_CHARS_MAX: usize = 10;
/// A reaction, bytes of UTF-8.
pub const EMOJI_BYTES_MAX: usize = 40;
/// A room's topic, Unicode code points.
pub const TOPIC_CHARS_MAX: usize = 200;
/// Admins of a room, the recovery device included.
pub const ADMINS_MAX: usize = 20;
/// Banned devices of a room.
pub const BANNED_MAX: usize = 200;
/// Muted devices of a room. With the lists above at their limits, an epoch record still fits its body.
pub const MUTED_MAX: usize = 80;
/// Devices that one epoch record removes.
pub const REMOVALS_MAX: usize = 50;
/// Steps that one device takes in an epoch. More would make the chain longer than newcomers can read; the next epoch begins anew.
pub const STEPS_PER_EPOCH_MAX: u64 = 500;
/// How far ahead of the server's clock a record's time may be.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(60);
/// The longest pause that slow mode asks for.
pub const SLOW_INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// The shortest time after which messages may be erased by age.
pub const RETENTION_MIN: Duration = Duration::from_secs(3600);
/// The longest.
pub const RETENTION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Sealed keys in one request.
pub const EPOCH_KEYS_PAGE_MAX: usize = 200;
/// A room key sealed to a device: HPKE's `enc` and ciphertext, bytes.
pub const EPOCH_KEY_BYTES: usize = 80;
/// Pins in one answer.
pub const PINS_PAGE_MAX: usize = 100;
/// The plaintext of a reaction or pin, bytes.
pub const SMALL_PLAINTEXT_MAX: usize = 512;
/// An offer to move to another device, bytes.
pub const MOVE_OFFER_BYTES: usize = 64;
/// The old device's nonce with its proof, bytes.
pub const MOVE_NONCE_BYTES: usize = 64;
/// What the offer committed to, with its proof, bytes.
pub const MOVE_REVEAL_BYTES: usize = 128;
/// The answer to it, bytes.
pub const MOVE_ANSWER_BYTES_MAX: usize = 48 * 1024;
/// How long a move may take, from its offer.
pub const MOVE_LIFE: Duration = Duration::from_secs(600);
