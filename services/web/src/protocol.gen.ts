// Generated from the crate snug-protocol by its test `documents`; do not edit.

export type RoomId = string;

export type GrantId = string;

export type DeviceId = string;

export type InstanceId = string;

export type HistoryId = string;

export type Seq = number;

export type Base64Bytes = string;

export type Retry = "never" | "later" | "sign_in" | "changed";

export type ErrorCode = "bad_request" | "unknown_frame" | "hello_expected" | "too_large" | "unsupported_version" | "not_found" | "method_not_allowed" | "host_not_allowed" | "origin_not_allowed" | "nonce_expired" | "bad_signature" | "token_missing" | "token_invalid" | "device_unknown" | "wrong_credentials" | "invite_expired" | "invite_used_up" | "too_many_attempts" | "too_many_requests" | "too_fast" | "room_name_invalid" | "room_name_taken" | "id_taken" | "room_not_found" | "room_deleted" | "not_a_member" | "not_allowed" | "wrong_device" | "bad_envelope" | "entry_not_accepted" | "stale_epoch" | "out_of_order" | "gone" | "too_many_rooms" | "too_many_members" | "too_many_invites" | "too_many_sockets" | "timed_out" | "muted" | "slow_mode" | "target_invalid" | "target_gone" | "chain_moved" | "members_changed" | "last_owner" | "room_locked" | "removed" | "banned" | "recovery_replaced" | "too_many_entries" | "too_many_steps" | "clock_ahead" | "move_not_found" | "move_taken" | "storage_full" | "unavailable" | "draining" | "internal";

export type ErrorBody = { 
/**
 * What went wrong.
 */
code: ErrorCode, 
/**
 * One sentence for people, in English.
 */
message: string, 
/**
 * Whether repeating can help.
 */
retry: Retry, 
/**
 * How long to wait before repeating.
 */
retry_after_ms?: number, 
/**
 * With `out_of_order`: the counter that comes next.
 */
expected?: number, 
/**
 * With `stale_epoch`: the room's epoch.
 */
epoch?: number, 
/**
 * With `chain_moved`: the newest chain entry.
 */
chain?: number, 
/**
 * With `clock_ahead`: the server's time, Unix milliseconds.
 */
server_at_ms?: number, 
/**
 * With `room_name_taken`: a name like it that is free.
 */
free_variant?: string, };

export type Role = "owner" | "moderator" | "member";

export type MemberState = "member" | "left" | "removed" | "banned";

export type Cursor = { 
/**
 * Which life of the log.
 */
history: HistoryId, 
/**
 * The last entry applied.
 */
seq: Seq, 
/**
 * The first 8 bytes of that entry's envelope hash.
 */
hash: Base64Bytes, };

export type ClientFrame = { "type": "hello", 
/**
 * Name and version of the client, for the server's counters.
 */
client: string, } | { "type": "follow", 
/**
 * Comes back in the answer.
 */
id: number, 
/**
 * Which room.
 */
room: RoomId, 
/**
 * Absent: from the latest page.
 */
cursor?: Cursor, } | { "type": "unfollow", 
/**
 * Which room.
 */
room: RoomId, } | { "type": "typing", 
/**
 * Where.
 */
room: RoomId, } | { "type": "heartbeat", };

export type Resync = "other_history" | "other_hash" | "beyond_head";

export type PresenceState = "here" | "gone";

export type Head = { 
/**
 * Which room.
 */
room: RoomId, 
/**
 * Its largest seq.
 */
head: Seq, };

export type ServerFrame = { "type": "welcome", 
/**
 * The token's device.
 */
device: DeviceId, 
/**
 * The node, named anew at each start.
 */
node: string, 
/**
 * The server's clock.
 */
server_at_ms: number, 
/**
 * How often a heartbeat comes.
 */
heartbeat_ms: number, } | { "type": "followed", 
/**
 * The request's.
 */
id: number, 
/**
 * Which room.
 */
room: RoomId, 
/**
 * Which life of its log.
 */
history: HistoryId, 
/**
 * Its newest seq.
 */
head: Seq, 
/**
 * The first entry that will be sent.
 */
from: Seq, 
/**
 * Entries between the cursor and `from` were left out.
 */
skipped: boolean, 
/**
 * The cursor did not belong to this log.
 */
resync?: Resync, 
/**
 * The device's role in the room.
 */
role: Role, 
/**
 * The room's newest chain entry.
 */
chain: Seq, 
/**
 * Devices that are here now, at most `HERE_LISTED_MAX`.
 */
here: Array<DeviceId>, 
/**
 * How many are here.
 */
here_count: number, } | { "type": "sent", 
/**
 * The request's.
 */
id: number, 
/**
 * Its room.
 */
room: RoomId, 
/**
 * Its place.
 */
seq: Seq, 
/**
 * When it was committed.
 */
at_ms: number, 
/**
 * It had been committed before.
 */
duplicate: boolean, } | { "type": "error", 
/**
 * The request that failed; absent if it was none, or could not be read.
 */
id?: number, 
/**
 * The room it was about.
 */
room?: RoomId, 
/**
 * What went wrong.
 */
code: ErrorCode, 
/**
 * One sentence for people, in English.
 */
message: string, 
/**
 * Whether repeating can help.
 */
retry: Retry, 
/**
 * How long to wait before repeating.
 */
retry_after_ms?: number, 
/**
 * With `out_of_order`: the counter that comes next.
 */
expected?: number, 
/**
 * With `stale_epoch`: the room's epoch.
 */
epoch?: number, 
/**
 * With `chain_moved`: the newest chain entry.
 */
chain?: number, 
/**
 * With `clock_ahead`: the server's time, Unix milliseconds.
 */
server_at_ms?: number, 
/**
 * With `room_name_taken`: a name like it that is free.
 */
free_variant?: string, } | { "type": "presence", 
/**
 * Where.
 */
room: RoomId, 
/**
 * Who.
 */
device: DeviceId, 
/**
 * Which of the two.
 */
state: PresenceState, 
/**
 * How many are here now.
 */
here_count: number, } | { "type": "here", 
/**
 * Where.
 */
room: RoomId, 
/**
 * Everyone; absent when more than `HERE_LISTED_MAX` are: then only their number is told, until a list comes again.
 */
here?: Array<DeviceId>, 
/**
 * How many are here.
 */
here_count: number, } | { "type": "typing", 
/**
 * Where.
 */
room: RoomId, 
/**
 * Who.
 */
device: DeviceId, } | { "type": "typing_count", 
/**
 * Where.
 */
room: RoomId, 
/**
 * How many; not 0.
 */
count: number, } | { "type": "heartbeat", 
/**
 * The heads that changed since the last one.
 */
heads: Array<Head>, } | { "type": "room_closed", 
/**
 * Which room.
 */
room: RoomId, 
/**
 * Why.
 */
code: ErrorCode, } | { "type": "move", 
/**
 * How long this socket stays open.
 */
within_ms: number, };

export type NonceAnswer = { 
/**
 * To be signed as text.
 */
nonce: string, 
/**
 * How long it is good.
 */
expires_in_ms: number, };

export type LookupRequest = { 
/**
 * The room's name, as typed.
 */
name: string, };

export type LookupAnswer = { 
/**
 * The room.
 */
room: RoomId, 
/**
 * Its password grant, also the salt.
 */
grant: GrantId, 
/**
 * Which key derivation; 1 is the only one.
 */
kdf: number, 
/**
 * For the sign-in.
 */
nonce: string, };

export type SignIn = { 
/**
 * Ed25519 public key, 32 bytes.
 */
sign_key: Base64Bytes, 
/**
 * X25519 public key, 32 bytes.
 */
agree_key: Base64Bytes, 
/**
 * The server's nonce.
 */
nonce: string, 
/**
 * The origin the client believes it talks to.
 */
origin: string, 
/**
 * Ed25519 signature, 64 bytes (ENCRYPTION.md section 3).
 */
signature: Base64Bytes, 
/**
 * Return the token in the answer instead of a cookie.
 */
bearer: boolean, };

export type RecoveryDevice = { 
/**
 * Ed25519 public key, 32 bytes.
 */
sign_key: Base64Bytes, 
/**
 * X25519 public key, 32 bytes.
 */
agree_key: Base64Bytes, 
/**
 * The key of the epoch that begins with it, sealed to it, 80 bytes.
 */
key: Base64Bytes, };

export type CreateRoom = { 
/**
 * Its name.
 */
name: string, 
/**
 * Its id, 16 random bytes.
 */
room: RoomId, 
/**
 * Its password grant's id, 16 random bytes.
 */
grant: GrantId, 
/**
 * The password grant's key derivation.
 */
kdf: number, 
/**
 * Proves the password at later joins, 32 bytes.
 */
auth: Base64Bytes, 
/**
 * The grant's blob.
 */
blob: Base64Bytes, 
/**
 * The sealed record of epoch 0.
 */
epoch_record: Base64Bytes, 
/**
 * The device of the recovery key.
 */
recovery: RecoveryDevice, 
/**
 * Who creates it.
 */
sign_in: SignIn, };

export type JoinRequest = { 
/**
 * The room.
 */
room: RoomId, 
/**
 * Password grant or invite.
 */
grant: GrantId, 
/**
 * Proves the grant, 32 bytes.
 */
auth: Base64Bytes, 
/**
 * Who joins.
 */
sign_in: SignIn, };

export type TokenRequest = { 
/**
 * Whose.
 */
sign_in: SignIn, };

export type RoomInfo = { 
/**
 * Its id.
 */
room: RoomId, 
/**
 * Its name.
 */
name: string, 
/**
 * Which life of its log.
 */
history: HistoryId, 
/**
 * Its newest seq.
 */
head: Seq, 
/**
 * Its newest epoch.
 */
epoch: number, 
/**
 * Its newest chain entry.
 */
chain: Seq, 
/**
 * It lets no newcomers in.
 */
locked: boolean, 
/**
 * The asking device's role.
 */
role: Role, };

export type Entry = { 
/**
 * Its place.
 */
seq: Seq, 
/**
 * When it was committed.
 */
at_ms: number, 
/**
 * The envelope.
 */
envelope: Base64Bytes, };

export type Entered = { 
/**
 * The room.
 */
room: RoomInfo, 
/**
 * The device that signed in.
 */
device: DeviceId, 
/**
 * The grant's blob; empty for the creator.
 */
blob: Base64Bytes, 
/**
 * The record of the newest epoch.
 */
epoch_record: Entry, 
/**
 * The access token, if asked for.
 */
token?: string, 
/**
 * When it ends at the latest.
 */
token_expires_at_ms: number, };

export type Signed = { 
/**
 * The device that signed in.
 */
device: DeviceId, 
/**
 * The access token, if asked for.
 */
token?: string, 
/**
 * When it ends at the latest.
 */
token_expires_at_ms: number, };

export type RoomsAnswer = { 
/**
 * In order of name.
 */
rooms: Array<RoomInfo>, };

export type Member = { 
/**
 * Its id.
 */
device: DeviceId, 
/**
 * Ed25519 public key.
 */
sign_key: Base64Bytes, 
/**
 * X25519 public key.
 */
agree_key: Base64Bytes, 
/**
 * What it may do.
 */
role: Role, 
/**
 * Whether it is a member now.
 */
state: MemberState, 
/**
 * When it became one.
 */
joined_at_ms: number, 
/**
 * How it introduced itself last.
 */
profile?: Entry, };

export type MembersAnswer = { 
/**
 * In order of device id.
 */
members: Array<Member>, 
/**
 * There are more after the last one.
 */
more: boolean, };

export type CreateInvite = { 
/**
 * Its id, 16 random bytes.
 */
grant: GrantId, 
/**
 * Proves its secret, 32 bytes.
 */
auth: Base64Bytes, 
/**
 * The grant's blob.
 */
blob: Base64Bytes, 
/**
 * How long it is valid; absent: until revoked.
 */
expires_in_ms?: number, 
/**
 * How many devices may join by it; absent: any number.
 */
uses_max?: number, };

export type Invite = { 
/**
 * Its id.
 */
grant: GrantId, 
/**
 * Who made it.
 */
made_by: DeviceId, 
/**
 * When.
 */
created_at_ms: number, 
/**
 * Until when it is valid.
 */
expires_at_ms?: number, 
/**
 * How many devices joined by it.
 */
uses: number, 
/**
 * How many may.
 */
uses_max?: number, };

export type InvitesAnswer = { 
/**
 * Newest first.
 */
invites: Array<Invite>, };

export type LogPageHead = { 
/**
 * Which life of the log.
 */
history: HistoryId, 
/**
 * The room's newest seq.
 */
head: Seq, 
/**
 * The first seq of the page's range.
 */
from: Seq, 
/**
 * The last seq of the page's range.
 */
to: Seq, };

export type Effect = { "type": "none", } | { "type": "role", 
/**
 * Who.
 */
device: DeviceId, 
/**
 * Which.
 */
role: Role, } | { "type": "transfer", 
/**
 * Who.
 */
device: DeviceId, } | { "type": "lock", 
/**
 * Refused.
 */
locked: boolean, } | { "type": "slow", 
/**
 * At most one message in this time; 0: no limit.
 */
interval_ms: number, } | { "type": "mute", 
/**
 * Who.
 */
device: DeviceId, 
/**
 * Until when; 0 lifts it.
 */
until_ms: number, } | { "type": "erase", 
/**
 * Who.
 */
device: DeviceId, } | { "type": "unban", 
/**
 * Who.
 */
device: DeviceId, } | { "type": "retention", 
/**
 * At this age; 0: never.
 */
age_ms: number, } | { "type": "password", 
/**
 * Its grant's id, 16 random bytes.
 */
grant: GrantId, 
/**
 * The key derivation.
 */
kdf: number, 
/**
 * Proves it at later joins, 32 bytes.
 */
auth: Base64Bytes, 
/**
 * The grant's blob.
 */
blob: Base64Bytes, };

export type StepRequest = { 
/**
 * The sealed step.
 */
envelope: Base64Bytes, 
/**
 * What it does.
 */
effect: Effect, };

export type NewEpoch = { 
/**
 * The sealed record.
 */
record: Base64Bytes, 
/**
 * Whose membership an admin ends.
 */
remove: Array<DeviceId>, 
/**
 * They may not come back.
 */
ban: boolean, 
/**
 * SHA-256 of the devices that the key is sealed to, sorted and joined, as the record states it; 32 bytes: those that keys are
 * staged for, and the new recovery device, if there is one. Every other member is put out.
 */
recipients: Base64Bytes, 
/**
 * The time that the record states, Unix milliseconds: mutes that have ended by it are forgotten.
 */
sent_at_ms: number, 
/**
 * The recovery device from now on, in place of the one before; its key comes here and is not staged. Owners.
 */
recovery?: RecoveryDevice, 
/**
 * The new password's grant, 16 random bytes.
 */
grant: GrantId, 
/**
 * The key derivation.
 */
kdf: number, 
/**
 * Proves the new password at later joins, 32 bytes.
 */
auth: Base64Bytes, 
/**
 * The grant's blob.
 */
blob: Base64Bytes, };

export type Committed = { 
/**
 * Its place.
 */
seq: Seq, 
/**
 * When it was committed.
 */
at_ms: number, 
/**
 * It had been committed before.
 */
duplicate: boolean, 
/**
 * With a new epoch: the invites that are no more.
 */
revoked?: Array<Invite>, };

export type SealedKey = { 
/**
 * To whom.
 */
device: DeviceId, 
/**
 * 80 bytes.
 */
key: Base64Bytes, };

export type StageKeys = { 
/**
 * The hash of the record's envelope.
 */
record: Base64Bytes, 
/**
 * At most 200.
 */
keys: Array<SealedKey>, };

export type EpochKeys = { 
/**
 * In order of device id.
 */
recipients: Array<DeviceId>, 
/**
 * What was sealed to those that were asked for, as far as it was sealed to them.
 */
seals: Array<SealedKey>, 
/**
 * The caller's own.
 */
key?: Base64Bytes, };

export const ERROR_RETRY: Record<ErrorCode, Retry> = {
  bad_request: "never",
  unknown_frame: "never",
  hello_expected: "never",
  too_large: "never",
  unsupported_version: "never",
  not_found: "never",
  method_not_allowed: "never",
  host_not_allowed: "never",
  origin_not_allowed: "never",
  nonce_expired: "changed",
  bad_signature: "never",
  token_missing: "sign_in",
  token_invalid: "sign_in",
  device_unknown: "never",
  wrong_credentials: "changed",
  invite_expired: "never",
  invite_used_up: "never",
  too_many_attempts: "later",
  too_many_requests: "later",
  too_fast: "later",
  room_name_invalid: "changed",
  room_name_taken: "changed",
  id_taken: "changed",
  room_not_found: "never",
  room_deleted: "never",
  not_a_member: "never",
  not_allowed: "never",
  wrong_device: "never",
  bad_envelope: "never",
  entry_not_accepted: "never",
  stale_epoch: "changed",
  out_of_order: "changed",
  gone: "never",
  too_many_rooms: "changed",
  too_many_members: "never",
  too_many_invites: "changed",
  too_many_sockets: "later",
  timed_out: "later",
  muted: "never",
  slow_mode: "later",
  target_invalid: "never",
  target_gone: "never",
  chain_moved: "changed",
  members_changed: "changed",
  last_owner: "changed",
  room_locked: "never",
  removed: "never",
  banned: "never",
  recovery_replaced: "never",
  too_many_entries: "changed",
  too_many_steps: "changed",
  clock_ahead: "changed",
  move_not_found: "never",
  move_taken: "never",
  storage_full: "later",
  unavailable: "later",
  draining: "later",
  internal: "later",
};

export const FRAME_BYTES_MAX = 65536;
export const ENVELOPE_BYTES_MAX = 24668;
export const BODY_BYTES_MAX = 16384;
export const TEXT_CHARS_MAX = 4000;
export const MEMBER_NAME_CHARS_MAX = 40;
export const ROOM_NAME_CHARS_MAX = 64;
export const PASSWORD_CHARS_MAX = 256;
export const ROOMS_PER_SESSION_MAX = 20;
export const MEMBERS_LISTED_MAX = 100000;
export const MEMBERS_PAGE_MAX = 500;
export const INVITES_PER_ROOM_MAX = 100;
export const INVITE_LIFE_MAX_MS = 31536000000;
export const HISTORY_PAGE_MAX = 200;
export const HERE_LISTED_MAX = 100;
export const LATEST_PAGE = 50;
export const BACKLOG_MAX = 1000;
export const SENDS_IN_FLIGHT_MAX = 8;
export const SILENCE_LIMIT_MS = 40000;
export const TYPING_PERIOD_MS = 3000;
export const GRANT_BLOB_BYTES = 129;
export const MENTIONS_MAX = 50;
export const EMOJI_CHARS_MAX = 10;
export const EMOJI_BYTES_MAX = 40;
export const TOPIC_CHARS_MAX = 200;
export const ADMINS_MAX = 20;
export const BANNED_MAX = 200;
export const MUTED_MAX = 80;
export const REMOVALS_MAX = 50;
export const SLOW_INTERVAL_MAX_MS = 3600000;
export const RETENTION_MIN_MS = 3600000;
export const RETENTION_MAX_MS = 315360000000;
export const EPOCH_KEYS_PAGE_MAX = 200;
export const EPOCH_KEY_BYTES = 80;
export const MOVE_OFFER_BYTES = 64;
export const MOVE_NONCE_BYTES = 64;
export const MOVE_REVEAL_BYTES = 128;
export const MOVE_ANSWER_BYTES_MAX = 49152;
export const MOVE_LIFE_MS = 600000;
export const PLAINTEXT_BUCKETS = [256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576] as const;
export const SUBPROTOCOL = "snug.v1";
