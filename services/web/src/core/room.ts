//! One room while the page is open: its log, who is in it, and what waits to be sent. Carries entries from the socket
//! through decryption into the log, and from the composer into the outbox.

import { ApiError, type Api } from "./api.ts";
import { b64, fromB64 } from "./base64url.ts";
import { LEAVE_BODY, messageBody, profileBody } from "./bodies.ts";
import { type Bytes } from "./bytes.ts";
import { EntryType, envelopeHash, sealEnvelope } from "./crypto/envelope.ts";
import { Directory } from "./directory.ts";
import { type RawEntry } from "./frames.ts";
import { EntryOpener } from "./open-entry.ts";
import { RoomFeed, type FollowedFrame } from "./room-feed.ts";
import { RoomMemory } from "./room-memory.ts";
import { RoomPages } from "./room-pages.ts";
import { Outbox, type OutboxNews, type ToSeal } from "./outbox.ts";
import { Presence } from "./presence.ts";
import { RoomLog, type LogEntry } from "./room-log.ts";
import { type RoomRecord, type Store } from "./store.ts";
import {
  TYPING_PERIOD_MS,
  type Cursor,
  type ErrorCode,
  type Member,
  type Role,
  type ServerFrame,
} from "../protocol.gen.ts";

type SentFrame = Extract<ServerFrame, { type: "sent" }>;
type ErrorFrame = Extract<ServerFrame, { type: "error" }>;

/** What a room needs of the session it belongs to. */
export interface RoomWorld {
  readonly api: Api;
  readonly store: Store;
  /** Sends an envelope and answers with the request's id; `undefined` when not connected. */
  readonly transmit: (envelope: Bytes) => number | undefined;
  readonly sendTyping: () => void;
  /** Follows this room anew on the present connection, if it is among those to be followed. */
  readonly refollow: () => void;
  /** The socket seems deaf. */
  readonly reconnect: () => void;
  readonly lock: (name: string, signal: AbortSignal, hold: () => Promise<void>) => Promise<unknown>;
  readonly tell: (news: OutboxNews) => void;
  /** Something that is shown has changed. */
  readonly changed: () => void;
  readonly now: () => number;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

/** A message of this device that the server had acknowledged and has lost since. */
export interface LostMessage {
  readonly key: string;
  readonly atMs: number;
  readonly text: string;
}

export interface KnownMember {
  readonly device: string;
  readonly role: Role;
  readonly state: "member" | "left";
}

const DEAF_AFTER_MS = 10_000;
const REFOLLOW_AFTER_MS = 2_000;
const LEAVE_LIMIT_MS = 15_000;

export class Room {
  readonly id: string;
  readonly log = new RoomLog();
  readonly directory: Directory;
  readonly outbox: Outbox;
  readonly presence = new Presence();
  readonly members = new Map<string, KnownMember>();
  /** Page-stable name of an own message by its envelope hash. */
  readonly localNames = new Map<string, string>();
  lost: readonly LostMessage[] = [];
  readonly pages: RoomPages;
  /** Why the first page could not be had. */
  problem: ApiError | undefined;
  /** When this page noticed each of the log's violations, in their order. */
  readonly noticedAtMs: number[] = [];
  readonly #memory: RoomMemory;
  readonly #feed: RoomFeed;
  readonly #world: RoomWorld;
  readonly #opener: EntryOpener;
  readonly #bytes: Bytes;
  readonly #device: Bytes;
  #connected = false;
  #orphans: readonly LogEntry[] = [];
  #typedAtMs = -Infinity;
  #deafCheck = false;
  #stopped = false;

  constructor(record: RoomRecord, world: RoomWorld) {
    this.id = record.room;
    this.#memory = new RoomMemory(record, world);
    this.#world = world;
    this.#bytes = fromB64(record.room, 16);
    this.#device = fromB64(this.me, 16);
    this.directory = new Directory((device) => this.#fetchKeys(device));
    const keyOf = (epoch: number) => this.record.keys.find((key) => key.epoch === epoch)?.use;
    this.#opener = new EntryOpener(record.room, keyOf, this.directory);
    this.#feed = new RoomFeed(this.log, this.#opener, {
      followed: (frame, cursor) => this.#applyFollowed(frame, cursor),
      entries: (entries) => {
        for (const entry of entries) this.#applyLive(entry);
        this.#logChanged();
      },
    });
    this.pages = new RoomPages(this.id, world.api, this.log, this.#opener, () => this.#logChanged());
    if (record.cursor !== undefined) this.log.remember(record.cursor);
    this.outbox = new Outbox(record.room, {
      store: world.store,
      lock: world.lock,
      tell: world.tell,
      seal: (draft) => this.#seal(draft),
      transmit: world.transmit,
      acknowledged: (seq, hash) => this.log.acknowledge(seq, hash),
      changed: () => this.#outboxChanged(),
      now: world.now,
      setTimeout: world.setTimeout,
    });
  }

  /** This device's id. */
  get me(): string {
    return this.#world.store.identity.device.id;
  }

  get record(): RoomRecord {
    return this.#memory.record;
  }

  /** What is in the composer. */
  get draft(): string {
    return this.#memory.draft;
  }

  /** Whether the newest page has arrived since the page was loaded. */
  get ready(): boolean {
    return this.log.newest !== undefined;
  }

  async start(): Promise<void> {
    await this.#memory.start();
    await this.outbox.start();
    await this.loadMembers();
  }

  stop(): void {
    this.#stopped = true;
    this.#memory.stop();
    this.outbox.stop();
  }

  /** Fetches who is and was a member. Failing is no harm: what is missing is asked for when it is needed. */
  async loadMembers(): Promise<void> {
    try {
      const members = await this.#world.api.members(this.id);
      for (const member of members) await this.#learn(member);
      const profiles = members.flatMap(({ profile }) => (profile === undefined ? [] : [rawOf(profile)]));
      await this.#opener.openAll(profiles);
      this.#world.changed();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  async #learn(member: Member): Promise<void> {
    const keys = { signKey: fromB64(member.sign_key, 32), agreeKey: fromB64(member.agree_key, 32) };
    if (!(await this.directory.learnKeys(member.device, keys))) return;
    this.members.set(member.device, { device: member.device, role: member.role, state: member.state });
  }

  async #fetchKeys(device: string) {
    try {
      const member = await this.#world.api.member(this.id, device);
      return { signKey: fromB64(member.sign_key, 32), agreeKey: fromB64(member.agree_key, 32) };
    } catch {
      return undefined;
    }
  }

  // ---- following

  /** The cursor to follow from, for the request `id`. */
  follow(id: number): Cursor | undefined {
    return this.#feed.follow(id);
  }

  connected(): void {
    this.#connected = true;
    this.outbox.connected();
  }

  disconnected(): void {
    // Follows stay: the one of a socket that takes over may be unanswered still.
    this.#connected = false;
    this.outbox.disconnected();
  }

  followed(frame: FollowedFrame): void {
    if (!this.#feed.followed(frame)) return;
    this.problem = undefined;
    this.presence.set(frame.here, frame.here_count);
    if (frame.role !== this.record.role) this.#memory.change((record) => ({ ...record, role: frame.role }));
  }

  entry(entry: RawEntry): void {
    this.#feed.entry(entry);
  }

  /** A heartbeat tells of a new head. If it does not arrive, this socket does not deliver. */
  head(head: number): void {
    this.log.noteHead(head);
    if (this.log.caughtUp || this.#deafCheck) return;
    this.#deafCheck = true;
    const expected = head;
    this.#world.setTimeout(() => {
      this.#deafCheck = false;
      if (!this.#stopped && this.#connected && (this.log.newest?.seq ?? 0) < expected) this.#world.reconnect();
    }, DEAF_AFTER_MS);
  }

  #applyFollowed(frame: FollowedFrame, cursor: Cursor | undefined): void {
    const outcome = this.log.followed(frame, cursor);
    if (outcome !== undefined) {
      this.#orphans = outcome.reset;
      this.directory.forgetNames();
      this.outbox.startInstance();
      this.pages.holes.clear();
      void this.loadMembers();
    }
    this.#logChanged();
  }

  #applyLive(entry: LogEntry): void {
    const isNew = this.log.at(entry.seq) === undefined;
    this.log.append(entry);
    const device = entry.stream?.device;
    if (!isNew || device === undefined) return;
    if (entry.content.kind === "message") this.presence.wrote(device);
    if (entry.content.kind === "profile") {
      const role = this.members.get(device)?.role ?? "member";
      this.members.set(device, { device, role, state: "member" });
    }
    if (entry.content.kind === "leave") {
      const known = this.members.get(device);
      if (known !== undefined) this.members.set(device, { ...known, state: "left" });
    }
  }

  #logChanged(): void {
    while (this.noticedAtMs.length < this.log.violations.length) this.noticedAtMs.push(this.#world.now());
    const newest = this.log.newest;
    if (newest !== undefined) this.outbox.seen(newest.seq);
    if (this.log.caughtUp && this.#orphans.length > 0) this.#findLost();
    if (this.log.caughtUp) this.outbox.kick();
    this.#keepSoon();
    this.#world.changed();
  }

  /** After a resync: own messages that had been in the log and should be in the part loaded now, but are not. */
  #findLost(): void {
    const oldest = this.log.oldest ?? 1;
    for (const entry of this.#orphans) {
      if (entry.stream?.device !== this.me || entry.content.kind !== "message" || entry.seq < oldest) continue;
      if (this.log.at(entry.seq)?.hash === entry.hash) continue;
      this.lost = [...this.lost, { key: `lost ${entry.hash}`, atMs: entry.atMs, text: entry.content.text }];
    }
    this.#orphans = [];
  }

  // ---- sending

  async #seal(draft: ToSeal): Promise<{ envelope: Bytes; hash: string } | undefined> {
    const newest = this.log.newest;
    const { epoch } = this.record.pinned;
    const key = this.record.keys.find((one) => one.epoch === epoch);
    if (!this.#connected || !this.log.caughtUp || newest === undefined || key === undefined) return undefined;
    const envelope = await sealEnvelope(key.use, {
      type: draft.type,
      room: this.#bytes,
      epoch,
      device: this.#world.store.identity.device,
      deviceBytes: this.#device,
      instance: draft.instance,
      counter: draft.counter,
      targetSeq: 0,
      prev: { seq: newest.seq, hash: fromB64(newest.hash) },
      sentAtMs: this.#world.now(),
      body: draft.body,
    });
    return { envelope, hash: b64(await envelopeHash(envelope)) };
  }

  #outboxChanged(): void {
    for (const { local, hash } of this.outbox.items) if (hash !== undefined) this.localNames.set(hash, local);
    this.#world.changed();
  }

  /** Stores a checked text; it is on its way when this resolves. Rejects with `StorageRefused`. */
  async send(text: string): Promise<void> {
    await this.outbox.add(EntryType.message, messageBody(text));
    this.saveDraft("");
  }

  /** Takes another name, already checked, in this room. */
  async changeName(name: string): Promise<void> {
    await this.outbox.add(EntryType.profile, profileBody(name, false, this.#world.store.identity.device));
  }

  /** Ends the membership. Rejects with `ApiError` when the server refuses or does not answer within 15 s. */
  async leave(): Promise<void> {
    const local = await this.outbox.add(EntryType.leave, LEAVE_BODY);
    const until = this.#world.now() + LEAVE_LIMIT_MS;
    for (;;) {
      const item = this.outbox.items.find((one) => one.local === local);
      if (item === undefined || item.state === "acknowledged" || this.record.ended !== undefined) return;
      if (item.state === "failed") {
        await this.outbox.cancel(local);
        throw new ApiError({ code: item.failure ?? "unavailable" });
      }
      if (this.#world.now() > until && (await this.outbox.cancel(local))) throw new ApiError({ code: "offline" });
      await new Promise<void>((resolve) => this.#world.setTimeout(resolve, 50));
    }
  }

  sent(frame: SentFrame): void {
    void this.outbox.answered(frame.id, { ok: true, seq: frame.seq });
  }

  refused(frame: ErrorFrame): void {
    const { id, code } = frame;
    if (id === undefined) return;
    if (this.#feed.refused(id)) {
      this.problem = new ApiError(frame);
      this.closed(code);
      if (this.problem.retry === "later") {
        this.#world.setTimeout(() => this.#world.refollow(), this.problem.retryAfterMs ?? REFOLLOW_AFTER_MS);
      }
      return;
    }
    const { retry_after_ms: retryAfterMs, expected } = frame;
    void this.outbox.answered(id, { ok: false, code, retryAfterMs, expected });
  }

  /** Sends a message again that the server has lost, or that failed. Rejects with `StorageRefused`. */
  async sendAgain(key: string): Promise<void> {
    const lost = this.lost.find((one) => one.key === key);
    if (lost === undefined) return this.outbox.retry(key);
    await this.outbox.add(EntryType.message, messageBody(lost.text));
    this.lost = this.lost.filter((one) => one !== lost);
    this.#world.changed();
  }

  async discard(key: string): Promise<void> {
    if (this.lost.some((one) => one.key === key)) this.lost = this.lost.filter((one) => one.key !== key);
    else await this.outbox.cancel(key);
    this.#world.changed();
  }

  typingHere(): void {
    const now = this.#world.now();
    if (now - this.#typedAtMs < TYPING_PERIOD_MS) return;
    this.#typedAtMs = now;
    this.#world.sendTyping();
  }

  // ---- what others do

  presenceChanged(device: string, state: "here" | "gone", count: number): void {
    this.presence.change(device, state, count);
    this.#world.changed();
  }

  typing(device: string): void {
    if (device === this.me) return;
    const ms = this.presence.typing(device, this.#world.now());
    this.#world.setTimeout(() => this.#world.changed(), ms + 50);
    this.#world.changed();
  }

  /** The server follows this room no longer for us. */
  closed(code: ErrorCode): void {
    const ended = code === "room_deleted" || code === "room_not_found" ? "deleted" : code;
    if (ended === "deleted" || ended === "not_a_member") {
      this.outbox.stop();
      this.#memory.change((record) => ({ ...record, ended }));
    }
    this.#world.changed();
  }

  // ---- what is remembered

  /** Everything up to `seq` has been seen, here or in another tab; `false` when that was known. */
  seen(seq: number): boolean {
    if (!this.#memory.seen(seq)) return false;
    this.#keepSoon();
    this.#world.changed();
    return true;
  }

  saveDraft(text: string): void {
    this.#memory.saveDraft(text);
  }

  /** Stores cursor and read mark before long. */
  #keepSoon(): void {
    const cursor = this.log.newest === undefined ? undefined : this.log.cursor;
    const { lastAtMs } = this;
    const { readSeq } = this.record;
    this.#memory.changeSoon((record) => ({
      ...record,
      readSeq: Math.max(record.readSeq, readSeq),
      ...(cursor && { cursor }),
      ...(lastAtMs && { lastAtMs }),
    }));
  }

  /** Server time of the newest message; of before this page load if none is loaded. */
  get lastAtMs(): number | undefined {
    const messages = this.log.runs.at(-1)?.entries;
    return messages?.findLast(({ content }) => content.kind === "message")?.atMs ?? this.record.lastAtMs;
  }
}

function rawOf(entry: { seq: number; at_ms: number; envelope: string }): RawEntry {
  return { seq: entry.seq, atMs: entry.at_ms, envelope: fromB64(entry.envelope) };
}
