/**
 * What the page shows and what a user can do: the seam between the core and the components.
 *
 * The core keeps one object that implements `View` and one that implements `Actions`; `app.ts` makes both and `main.ts` hands them
 * to the root component as the props `view` and `actions`. For changes to reach the screen, the fields of `View` are runes:
 * `class PageState implements View` in a `.svelte.ts` file, each field `$state.raw`, each value replaced as a whole and never changed in
 * place (a timeline of thousands of entries must not become thousands of proxies). `RoomView` may be such a class as well, so that
 * a typing notice does not touch the entries.
 *
 * The core states facts. How they look is decided in `ui/`: grouping, day separators, squashed notices, the unread divider, wording
 * (a problem travels as a code), dates, and which screen is in front (with the browser's history behind it).
 *
 * Points in time are Unix milliseconds by this device's clock, except `atMs` of an entry, which is the server's.
 */

import type { ErrorCode } from "./protocol.gen.ts";

export type RoomId = string;
export type DeviceId = string;

// ---------------------------------------------------------------------------------------------------------------- problems

/** Codes that are found in the page and never cross the wire. */
export type LocalCode =
  | "offline" // no answer from the server at all
  | "name_empty"
  | "name_too_long"
  | "name_forbidden" // characters that could be taken for something else
  | "room_name_empty"
  | "room_name_too_long"
  | "room_name_forbidden"
  | "password_empty"
  | "password_weak"
  | "message_empty"
  | "message_too_long"
  | "message_forbidden" // control characters
  | "invite_malformed"
  | "recovery_malformed" // not a recovery key, or mistyped
  | "topic_too_long"
  | "topic_forbidden"
  | "key_missing" // this device has not received the room's newest key
  | "unanswered" // the room ended before the server had said whether it arrived
  | "room_untrusted" // the room's own records do not verify: wrong key, wrong signer, unknown kdf
  | "room_contradicted" // the server shows an older state of the room than this device knows, or another one
  | "local_storage" // IndexedDB refused
  | "unexpected"; // a bug of ours; never shown with internals

export type ProblemCode = ErrorCode | LocalCode;

/** Why something did not work. The wording is the page's. */
export interface Problem {
  readonly code: ProblemCode;
  /** When trying again can help. */
  readonly retryAtMs?: number;
  /** With `room_name_taken`: a name like it that is free. */
  readonly freeVariant?: string;
}

export type Result<T = void> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: Problem };

// ---------------------------------------------------------------------------------------------------------------- the page

/** What a browser lacks, by the name that documentation has for it, and the first versions with it. */
export interface MissingFeature {
  readonly name: string;
  readonly since: string;
}

/** Whether the page can work here at all. */
export type Boot =
  | { readonly state: "starting" }
  | { readonly state: "ready" }
  /** Something that encryption or the tabs' agreement takes is missing. */
  | { readonly state: "unsupported_browser"; readonly missing: readonly MissingFeature[] }
  /** Plain http beyond this machine: browsers give no encryption there. */
  | { readonly state: "needs_https" }
  | { readonly state: "storage_unavailable" }
  /** The first request got no answer and nothing is stored that could be shown without it. `Actions.retryNow` tries again. */
  | { readonly state: "server_unreachable" }
  /** The server does not answer to this host name. */
  | { readonly state: "wrong_host"; readonly host: string };

export type Connection =
  | { readonly state: "online" }
  /** `sinceMs` is when the connection was lost and stays the same until it is back. */
  | { readonly state: "connecting"; readonly sinceMs: number }
  | { readonly state: "waiting"; readonly sinceMs: number; readonly retryAtMs: number }
  /** The browser itself says that there is no network. */
  | { readonly state: "offline"; readonly sinceMs: number };

export type Role = "owner" | "moderator" | "member";

/** What the server does not have: the newest state of the `room` that is known here, or this `device` as a member of anything. */
export type Contradiction = "room" | "device";

/** One of *my* rooms, for the list and the switcher; newest activity first. */
export interface RoomSummary {
  readonly id: RoomId;
  readonly name: string;
  readonly role: Role;
  /** Messages of others after the last one seen here. */
  readonly unread: number;
  readonly lastAtMs: number | null;
  /** Set when the room cannot be entered any more; `Actions.forgetRoom` takes it off the list. */
  readonly ended: RoomEnd | null;
}

export type RoomEnd = "deleted" | "not_a_member" | "removed" | "banned";

export interface Limits {
  /** All three in Unicode code points. */
  readonly messageMax: number;
  readonly memberNameMax: number;
  readonly roomNameMax: number;
}

export interface View {
  readonly boot: Boot;
  readonly connection: Connection;
  /** The name used last on this device, else "". */
  readonly myName: string;
  /** True when the page was opened by an invite link that has not been used or dismissed yet. */
  readonly invited: boolean;
  readonly rooms: readonly RoomSummary[];
  /** The room last opened by `Actions.openRoom`. */
  readonly room: RoomView | null;
  /** A move to or from another device, while one is going on. */
  readonly move: MoveView | null;
  readonly limits: Limits;
}

// ---------------------------------------------------------------------------------------------------------------- a room

export interface RoomView {
  readonly id: RoomId;
  readonly name: string;
  readonly role: Role;
  /** `opening` until the first page is there; `failed` if it could not be had (then `problem` says why). */
  readonly state: "opening" | "ready" | "failed";
  readonly problem: Problem | null;
  readonly ended: RoomEnd | null;

  /** In seq order; what is not acknowledged yet stands at the end, in the order written. The founding record does not appear. */
  readonly entries: readonly Entry[];
  /** True once the entry after seq 1 is loaded: there is nothing older. */
  readonly complete: boolean;
  readonly older: "idle" | "loading" | "failed";
  /** The newest seq that had been seen when the room was opened; null if all had. Places the unread divider. */
  readonly unreadAfterSeq: number | null;

  /** Everybody who is a member now, me included. */
  readonly members: readonly MemberView[];
  /** How many of them are in the room now; right also where `here` is not known of each. */
  readonly hereCount: number;
  /** Names of those who are typing now, me excluded. */
  readonly typing: readonly string[];
  /** How many others are typing, in a room so full that it is not told who. */
  readonly typingCount: number;

  /** What the checks of the log found; empty in a healthy room. */
  readonly violations: readonly ViolationView[];
  /** What is in the composer; first, once it is decrypted, what was there when the room was last left. */
  readonly draft: string;

  /** Sealed like everything members write; "" if there is none. */
  readonly topic: string;
  readonly locked: boolean;
  /** Plain members may write one message in this time; 0: no limit. */
  readonly slowMs: number;
  /** Messages older than this are erased; 0: never. */
  readonly retentionMs: number;
  /** Newcomers read from this epoch on; 0: everything. */
  readonly historyFrom: number;
  /** The newest epoch whose key this device holds, for the trust panel. */
  readonly epoch: number;
  /** Newest first. */
  readonly pins: readonly PinView[];
  readonly banned: readonly BannedView[];
  /** What I may do here now. */
  readonly may: RoomPermissions;
  /** I may not write until then; `Infinity`: until it is lifted. */
  readonly mutedUntilMs: number | null;
  /** Slow mode: I may write again then. */
  readonly slowUntilMs: number | null;
  /** The room has a newer key that this device has not been given: it must join again with the new password. */
  readonly keyMissing: boolean;
  /** An admin's newest key was refused, or no key opens it. An owner goes on by closing the history; till then nobody can write. */
  readonly stalled: boolean;
  /** The server does not have what this device knows. */
  readonly contradicted: Contradiction | null;
  /** I own the room, and whoever made its recovery key owns it no more: they may still have the key, which makes owners. */
  readonly recoveryAstray: boolean;
  /** To be compared between members by another channel: the same for all, for the life of the room. Groups of digits. */
  readonly fingerprint: string;
}

export interface RoomPermissions {
  readonly topic: boolean;
  readonly lock: boolean;
  readonly slow: boolean;
  readonly mute: boolean;
  /** Remove, ban, unban, and a new key without removal. */
  readonly remove: boolean;
  readonly eraseMember: boolean;
  readonly password: boolean;
  readonly roles: boolean;
  readonly transfer: boolean;
  readonly retention: boolean;
  readonly history: boolean;
  /** Replace the recovery key. */
  readonly recovery: boolean;
  readonly deleteRoom: boolean;
  readonly invite: boolean;
}

export interface PinView {
  readonly seq: number;
  readonly byName: string;
  readonly message: QuoteView;
}

export interface BannedView {
  readonly device: DeviceId;
  readonly name: string;
  readonly fingerprint: string;
}

export interface MemberView {
  readonly device: DeviceId;
  readonly name: string;
  /** A short form of the device id. */
  readonly fingerprint: string;
  /** True if another member, now or in the loaded log, has the same name or one that looks like it. */
  readonly nameShared: boolean;
  readonly me: boolean;
  readonly role: Role;
  /** The role that the server goes by, where it is another: the chain's counts, and giving it once more sets the server right. */
  readonly serverRole: Role | null;
  readonly here: boolean;
  /** The whole device id as groups of digits, to be compared by another channel. */
  readonly safetyNumber: string;
  readonly mutedUntilMs: number | null;
  /** Made the room's recovery key or has owned the room, and so may have the key. */
  readonly mayHaveRecovery: boolean;
  /** What I may do to this member. */
  readonly may: { readonly mute: boolean; readonly remove: boolean; readonly erase: boolean; readonly role: boolean };
}

/** `key` is stable for the life of the page: an own message keeps it from `sending` to `sent`. */
export type Entry = MessageEntry | DeletedEntry | NoticeEntry | AdminEntry | UnreadableEntry | HoleEntry | LostEntry;

export interface MessageEntry {
  readonly kind: "message";
  readonly key: string;
  /** Null until acknowledged. */
  readonly seq: number | null;
  readonly atMs: number;
  readonly author: DeviceId;
  readonly authorName: string;
  /** Set when two members share a name (see `MemberView.nameShared`). */
  readonly fingerprint: string | null;
  readonly mine: boolean;
  readonly text: string;
  readonly state: "sending" | "sent" | "failed";
  /** With `failed`. */
  readonly problem: Problem | null;
  /** When its text was last changed; null if never. An own edit that is on its way shows at once. */
  readonly editedAtMs: number | null;
  readonly replyTo: QuoteView | null;
  /** Members named in the text as `@name`, who are told. */
  readonly mentions: readonly { readonly device: DeviceId; readonly name: string }[];
  readonly mentionsMe: boolean;
  readonly reactions: readonly ReactionView[];
  readonly pinned: boolean;
  readonly may: {
    readonly reply: boolean;
    readonly edit: boolean;
    readonly delete: boolean;
    readonly react: boolean;
    readonly pin: boolean;
  };
}

export interface ReactionView {
  readonly emoji: string;
  /** In the order they reacted. */
  readonly names: readonly string[];
  readonly mine: boolean;
}

/** Another message, as the log says it is now. */
export interface QuoteView {
  readonly seq: number;
  readonly state: "loading" | "here" | "deleted" | "unavailable";
  /** With `here` and `deleted`. */
  readonly authorName: string;
  /** With `here`; whole, the page shortens it. */
  readonly text: string;
}

/** A message that was deleted: what remains is who and when. */
export interface DeletedEntry {
  readonly kind: "deleted";
  readonly key: string;
  readonly seq: number;
  readonly atMs: number;
  readonly author: DeviceId;
  readonly authorName: string;
  readonly fingerprint: string | null;
  readonly mine: boolean;
  /** `age`: by the room's retention. `server`: nobody in the room asked for it. */
  readonly by: "author" | "admin" | "age" | "server";
  /** With `admin`. */
  readonly byName: string | null;
}

/** An administrative step. Also what the audit list shows. */
export interface AdminEntry {
  readonly kind: "admin";
  readonly key: string;
  readonly seq: number;
  readonly atMs: number;
  readonly author: DeviceId;
  readonly authorName: string;
  readonly fingerprint: string | null;
  /** Done with the room's recovery key, whose device has no name. */
  readonly byRecovery: boolean;
  /** Another recovery key took the place of the one there was, in the same step. */
  readonly newRecovery: boolean;
  readonly change: AdminChange;
  /** In the audit list, with a new key: names of those who had the one before and did not get it, and were not removed. */
  readonly dropped?: readonly string[];
}

export type AdminChange =
  | { readonly what: "created" }
  | { readonly what: "topic"; readonly topic: string }
  | { readonly what: "locked" | "unlocked" | "password" | "rotated" | "history" }
  | { readonly what: "slow"; readonly ms: number }
  | { readonly what: "retention"; readonly ms: number }
  | { readonly what: "muted"; readonly name: string; readonly untilMs: number }
  | { readonly what: "unmuted" | "unbanned" | "erased"; readonly name: string }
  | { readonly what: "role"; readonly name: string; readonly role: Role }
  | { readonly what: "transferred"; readonly name: string }
  | { readonly what: "removed" | "banned"; readonly names: readonly string[] }
  /** It was not allowed and changed nothing. */
  | { readonly what: "refused" };

export interface NoticeEntry {
  readonly kind: "notice";
  readonly key: string;
  readonly seq: number;
  readonly atMs: number;
  readonly what: "joined" | "left" | "renamed";
  readonly author: DeviceId;
  readonly authorName: string;
  readonly fingerprint: string | null;
  /** With `renamed`. */
  readonly previousName: string | null;
}

/** It did not open or did not verify. Why is not told apart. */
export interface UnreadableEntry {
  readonly kind: "unreadable";
  readonly key: string;
  readonly seq: number;
  readonly atMs: number;
}

/** Entries `from`..=`to` are not loaded. */
export interface HoleEntry {
  readonly kind: "hole";
  readonly key: string;
  readonly from: number;
  readonly to: number;
  readonly state: "idle" | "loading" | "failed";
}

/** A message of mine that the server had acknowledged and has lost since. */
export interface LostEntry {
  readonly kind: "lost";
  readonly key: string;
  readonly atMs: number;
  readonly text: string;
}

export type ViolationCode = "counter" | "prev" | "fork" | "substituted" | "dropped" | "epoch" | "authority";

export interface ViolationView {
  readonly code: ViolationCode;
  readonly seq: number;
  /** When this page noticed. */
  readonly noticedAtMs: number;
}

// ---------------------------------------------------------------------------------------------------------------- invites

export interface InviteView {
  readonly id: string;
  readonly mine: boolean;
  readonly madeByName: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly uses: number;
  readonly usesMax: number | null;
}

export interface NewInvite {
  readonly invite: InviteView;
  /** Holds the key. Shown once, never stored. */
  readonly link: string;
}

// ---------------------------------------------------------------------------------------------------------------- moving

/** A move to another device. The old one shows the link, the new one was opened by it. */
export type MoveView =
  | {
      readonly side: "old";
      readonly state: "waiting" | "confirm" | "sending" | "done" | "failed";
      /** Also as QR code. */
      readonly link: string;
      /** From `confirm` on: six digits that both devices show. */
      readonly code: string | null;
      /** With `done`: rooms that could not be moved, such as locked ones. */
      readonly left: readonly string[];
      readonly problem: Problem | null;
    }
  | {
      readonly side: "new";
      /** `meeting`: the other device is being asked. */
      readonly state: "opened" | "meeting" | "confirm" | "receiving" | "done" | "failed";
      readonly code: string | null;
      readonly problem: Problem | null;
    };

// ---------------------------------------------------------------------------------------------------------------- passwords

export interface PasswordRating {
  /** 0 (guessed at once) to 4. */
  readonly score: 0 | 1 | 2 | 3 | 4;
  /** Whether a room may be created with it. */
  readonly accepted: boolean;
  /** Why not, or what would be better; null if there is nothing to say. */
  readonly advice: PasswordAdvice | null;
}

export type PasswordAdvice =
  | "too_short"
  | "too_long"
  | "common" // in the lists of leaked passwords
  | "guessable" // words, names, dates, keyboard rows
  | "repeats" // "aaaa", "abcabc"
  | "contains_name"; // the room's or the member's

// ---------------------------------------------------------------------------------------------------------------- actions

/** What is being done while someone enters a room; deriving the key may take a second or more on a phone. */
export type EnterStep = "asking" | "deriving" | "entering";

export interface CreateRoom {
  readonly myName: string;
  readonly roomName: string;
  readonly password: string;
}

export interface JoinRoom {
  readonly myName: string;
  readonly roomName: string;
  readonly password: string;
}

export interface Created {
  readonly room: RoomId;
  /** The name as the server keeps it. */
  readonly roomName: string;
  /** A first invite; null if making it failed, which does not undo the room. */
  readonly invite: NewInvite | null;
  /** `snug-recovery-…`, shown once. */
  readonly recoveryKey: string;
}

export interface RecoverRoom {
  readonly myName: string;
  readonly roomName: string;
  readonly recoveryKey: string;
  /** Where the newest key cannot be used (`key_missing`): close the history and go on from before it. */
  readonly goOn?: boolean;
}

/** What is being done while a room gets a new key, in this order; again from `collecting` where people came or went meanwhile. */
export type RekeyStep =
  | { readonly step: "deriving" }
  | { readonly step: "collecting" }
  | { readonly step: "sealing"; readonly done: number; readonly all: number }
  | { readonly step: "committing" };

export interface Rekeyed {
  readonly revoked: readonly InviteView[];
  /** Members who never proved that they had the old key; they come back by the new password. */
  readonly excluded: readonly string[];
}

/** A file for the user to save. */
export interface SavedFile {
  readonly name: string;
  readonly type: string;
  readonly text: string;
}

export interface MessageExtras {
  /** The seq of the message that this one answers. */
  readonly replyTo?: number;
  readonly mentions?: readonly DeviceId[];
}

/** Everything a user can do. No action throws; each answers with a typed result once it is done. */
export interface Actions {
  // Checks without a server. Null means it is fine.
  checkMemberName(name: string): Problem | null;
  checkRoomName(name: string): Problem | null;
  checkMessage(text: string): Problem | null;
  ratePassword(password: string, roomName: string, myName: string): Promise<PasswordRating>;
  /** A passphrase that `ratePassword` accepts, made in this page. */
  suggestPassphrase(): Promise<string>;

  createRoom(room: CreateRoom, onStep: (step: EnterStep) => void): Promise<Result<Created>>;
  joinRoom(room: JoinRoom, onStep: (step: EnterStep) => void): Promise<Result<RoomId>>;
  /** Uses the invite link the page was opened with; on success `View.invited` becomes false. */
  joinByInvite(myName: string, onStep: (step: EnterStep) => void): Promise<Result<RoomId>>;
  /** A link pasted into the join form: takes the place of the one the page was opened with, or says that it is none. */
  useInviteLink(link: string): Result;
  dismissInvite(): void;

  /** Sets `View.room` at once, with what is stored, and goes on from there. Opening the open room again changes nothing. */
  openRoom(room: RoomId): void;
  /** Back to the list: `View.room` becomes null. The room goes on being followed, for its unread mark. */
  closeRoom(): void;
  /** Takes an ended room off the list. */
  forgetRoom(room: RoomId): Promise<Result>;
  /** Ends the membership. */
  leaveRoom(room: RoomId): Promise<Result>;
  /** Owner only; erases the room for everyone. */
  deleteRoom(room: RoomId): Promise<Result>;
  changeName(room: RoomId, name: string): Promise<Result>;

  /**
   * Puts the text into the outbox. `ok` means that it is safely stored on this device and shown as `sending`, and that the draft
   * is cleared; otherwise the text stays in the composer.
   */
  send(room: RoomId, text: string, extras?: MessageExtras): Promise<Result>;
  /** Mine only. The new text shows at once. */
  edit(room: RoomId, seq: number, text: string, mentions?: readonly DeviceId[]): Promise<Result>;
  /** Resolves when the server has erased it. */
  deleteMessage(room: RoomId, seq: number): Promise<Result>;
  react(room: RoomId, seq: number, emoji: string, on: boolean): Promise<Result>;
  pin(room: RoomId, seq: number, on: boolean): Promise<Result>;
  /** Loads what lies around `seq`, so that the page can scroll to it. */
  showMessage(room: RoomId, seq: number): Promise<Result>;
  /** For a message that failed, or one lost by the server. */
  sendAgain(room: RoomId, key: string): Promise<Result>;
  /** Takes a failed or lost message away. */
  discard(room: RoomId, key: string): Promise<Result>;
  /** Called at every change of the composer; the core stores it, encrypted, at its own pace. */
  saveDraft(room: RoomId, text: string): void;
  /** Called at every key stroke that adds text; the core throttles. */
  typing(room: RoomId): void;
  /** Everything up to `seq` has been on the screen while the page was visible. */
  seen(room: RoomId, seq: number): void;
  /** Resolves when the entries are in `RoomView.entries`. */
  loadOlder(room: RoomId): Promise<Result>;
  loadHole(room: RoomId, key: string): Promise<Result>;

  // Administration. Each resolves when the step is committed. `chain_moved` means that another admin was first: look, then retry.
  setTopic(room: RoomId, topic: string): Promise<Result>;
  setLocked(room: RoomId, locked: boolean): Promise<Result>;
  setSlow(room: RoomId, ms: number): Promise<Result>;
  setRetention(room: RoomId, ms: number): Promise<Result>;
  /** 0 lifts it, `Infinity` mutes until it is lifted. */
  mute(room: RoomId, device: DeviceId, untilMs: number): Promise<Result>;
  eraseMember(room: RoomId, device: DeviceId): Promise<Result>;
  unban(room: RoomId, device: DeviceId): Promise<Result>;
  setRole(room: RoomId, device: DeviceId, role: Role): Promise<Result>;
  transfer(room: RoomId, device: DeviceId): Promise<Result>;
  changePassword(room: RoomId, password: string, onStep: (step: EnterStep) => void): Promise<Result>;
  /** A fresh recovery key, to be saved before `rekey` puts it in the place of the one there is. */
  drawRecoveryKey(): Promise<Result<string>>;
  /**
   * A new key and password; everyone else stays in. `remove` may be empty: a new key only. `cutHistory` and `recoveryKey`, another
   * recovery key in the place of the one there is, are the owner's.
   */
  rekey(
    room: RoomId,
    change: {
      readonly remove: readonly DeviceId[];
      readonly ban: boolean;
      readonly cutHistory: boolean;
      readonly recoveryKey: string | null;
      readonly password: string;
    },
    onStep: (step: RekeyStep) => void,
  ): Promise<Result<Rekeyed>>;
  /** The whole chain, newest first. */
  audit(room: RoomId): Promise<Result<readonly AdminEntry[]>>;
  /** Gets in by the recovery key and makes this device an owner. */
  recoverRoom(room: RecoverRoom, onStep: (step: EnterStep) => void): Promise<Result<RoomId>>;

  /** On the old device: `View.move` shows the link. */
  startMove(): void;
  /** On the old device: the codes are the same. */
  confirmMove(): void;
  /** On the new device, which was opened by a move link; the name comes along. */
  acceptMove(): void;
  /** Ends or leaves a move. */
  dismissMove(): void;

  listInvites(room: RoomId): Promise<Result<readonly InviteView[]>>;
  createInvite(
    room: RoomId,
    limits: { readonly expiresInMs: number | null; readonly usesMax: number | null },
  ): Promise<Result<NewInvite>>;
  revokeInvite(room: RoomId, invite: string): Promise<Result>;

  /** Everything about the violations found in this room, for someone who can look into it. */
  exportEvidence(room: RoomId): Promise<Result<SavedFile>>;
  /** Ends the wait for the next attempt to connect, or starts again after `server_unreachable`. */
  retryNow(): void;
}
