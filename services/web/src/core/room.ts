//! One room while the page is open: its log, who is in it and governs it, and what waits to be sent. Wires the parts; each of
//! them is a noun of its own.

import { ApiError } from "./api.ts";
import { type RawEntry } from "./frames.ts";
import { type LogEntry } from "./log-entry.ts";
import { Outbox } from "./outbox.ts";
import { Presence } from "./presence.ts";
import { endOf } from "./room-end.ts";
import { RoomFeed, type FollowedFrame } from "./room-feed.ts";
import { RoomHearing } from "./room-hearing.ts";
import { RoomIntroduction } from "./room-introduction.ts";
import { RoomLost, type LostMessage } from "./room-lost.ts";
import { RoomDraft } from "./room-draft.ts";
import { RoomMemory } from "./room-memory.ts";
import { RoomReading } from "./room-reading.ts";
import { RoomSending } from "./room-sending.ts";
import { type RoomWorld } from "./room-world.ts";
import { SlowMode } from "./slow-mode.ts";
import { type RoomRecord } from "./store.ts";
import { type Cursor, type ErrorCode, type ServerFrame } from "../protocol.gen.ts";

export type { LostMessage } from "./room-lost.ts";
export type { RoomWorld } from "./room-world.ts";

type SentFrame = Extract<ServerFrame, { type: "sent" }>;
type ErrorFrame = Extract<ServerFrame, { type: "error" }>;

const REFOLLOW_AFTER_MS = 2_000;

export class Room {
  readonly id: string;
  readonly log: RoomReading["log"];
  readonly changes: RoomReading["changes"];
  readonly directory: RoomReading["directory"];
  readonly keys: RoomReading["keys"];
  readonly chain: RoomReading["chain"];
  readonly recipients: RoomReading["recipients"];
  readonly members: RoomReading["members"];
  readonly pages: RoomReading["pages"];
  readonly quotes: RoomReading["quotes"];
  readonly pins: RoomReading["pins"];
  readonly presence = new Presence();
  readonly slow: SlowMode;
  readonly outbox: Outbox;
  readonly sending: RoomSending;
  /** Page-stable name of an own message by its envelope hash. */
  readonly localNames = new Map<string, string>();
  /** Why the first page could not be had. */
  problem: ApiError | undefined;
  /** When this page noticed each of the log's violations, in their order. */
  readonly noticedAtMs: number[] = [];
  /** The server says that this device has never been a member of a room there. */
  isStranger = false;
  readonly #reading: RoomReading;
  readonly draft: RoomDraft;
  readonly #memory: RoomMemory;
  readonly #feed: RoomFeed;
  readonly #hearing: RoomHearing;
  readonly #introduction: RoomIntroduction;
  readonly #lost: RoomLost;
  readonly #world: RoomWorld;
  #connected = false;
  #stopped = false;

  /** `draft`: of the same room, where this page was writing in it before it took it up anew. */
  constructor(kept: RoomRecord, world: RoomWorld, draft = new RoomDraft(kept, world)) {
    const { room: id, cursor } = kept;
    const { api, store, now, setTimeout, changed } = world;
    const { device, local } = store.identity;
    this.id = id;
    this.#world = world;
    this.#memory = new RoomMemory(kept, world);
    this.draft = draft;
    const record = () => this.record;
    const change = (how: (record: RoomRecord) => RoomRecord) => this.#memory.change(how);
    const logChanged = () => this.#logChanged();
    const reload = () => {
      if (!this.#stopped) world.reload();
    };
    const followed = () => this.#connected && !this.#stopped && this.record.ended === undefined;
    const outside = { api, device, local, setTimeout, changed, followed };
    const reading = new RoomReading(id, { ...outside, record, change, logChanged, reload });
    const { log, directory } = reading;
    this.#reading = reading;
    [this.log, this.changes, this.directory, this.keys] = [log, reading.changes, directory, reading.keys];
    [this.chain, this.members, this.pages] = [reading.chain, reading.members, reading.pages];
    [this.quotes, this.pins, this.recipients] = [reading.quotes, reading.pins, reading.recipients];
    this.#feed = new RoomFeed(log, reading.opener, {
      followed: (frame, from) => this.#applyFollowed(frame, from),
      entries: (entries) => this.#applyLive(entries),
      mustReceive: (raw) => this.keys.mustReceive(raw),
      receive: (raw) => reading.receiveKey(raw),
    });
    const connected = () => this.#connected && !this.#stopped;
    this.#hearing = new RoomHearing({ log, connected, reconnect: world.reconnect, setTimeout });
    this.#introduction = new RoomIntroduction({ device, store, directory, record, change });
    this.#lost = new RoomLost(device.id);
    if (cursor !== undefined) log.remember(cursor);
    this.slow = new SlowMode(() => this.chain.slowMs(device.id));
    this.outbox = new Outbox(id, {
      ...{ store, now, setTimeout, lock: world.lock, tell: world.tell, transmit: world.transmit },
      introduction: () => this.#introduction.body(this.keys.epoch),
      introduced: (epoch) => this.#introduction.made(epoch),
      introducesItself: () => this.#introduction.isDue(this.chain.state?.historyFrom ?? 0, this.members.present.length),
      messagesFromMs: () => this.slow.untilMs(now()),
      seal: (draft) => this.sending.seal(draft),
      acknowledged: (seq, hash) => log.acknowledge(seq, hash),
      changed: () => this.#outboxChanged(),
    });
    this.sending = new RoomSending({
      room: id,
      device,
      outbox: this.outbox,
      lost: this.#lost,
      edge: () => (this.#connected && log.caughtUp ? log.newest : undefined),
      key: () => this.keys.current,
      isIntroduced: (epoch) => this.#introduction.isMade(epoch),
      hasEnded: () => this.record.ended !== undefined,
      clearDraft: () => draft.save(""),
      now,
      changed,
    });
  }

  /** This device's id. */
  get me(): string {
    return this.#world.store.identity.device.id;
  }

  get record(): RoomRecord {
    return this.#memory.record;
  }

  get lost(): readonly LostMessage[] {
    return this.#lost.all;
  }

  /** Whether the newest page has arrived since the page was loaded. */
  get ready(): boolean {
    return this.log.newest !== undefined;
  }

  /** For a room that has ended: shows what was written there and not sent, and asks the server for nothing. */
  async recall(): Promise<void> {
    await this.draft.open();
    await this.outbox.recall();
    this.#world.changed();
  }

  async start(): Promise<void> {
    await this.draft.open();
    await this.outbox.start();
    await this.#reading.load();
  }

  /** Ends it here; what is remembered stays. */
  stop(): void {
    this.#stopped = true;
    this.#memory.stop();
    this.draft.flush();
    this.outbox.stop();
  }

  // ---- following

  /** The cursor to follow from, for the request `id`. */
  follow(id: number): Cursor | undefined {
    return this.#feed.follow(id);
  }

  connected(): void {
    this.#connected = true;
    this.outbox.connected();
    this.quotes.retry();
    void this.recipients.check();
    // A key that could not be had may be there by now.
    if (this.keys.behind) void this.chain.load().catch(() => undefined);
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
  }

  entry(entry: RawEntry): void {
    this.#feed.entry(entry);
  }

  head(head: number): void {
    this.#hearing.head(head);
  }

  #applyFollowed(frame: FollowedFrame, cursor: Cursor | undefined): void {
    const outcome = this.log.followed(frame, cursor);
    this.keys.followed();
    if (outcome !== undefined) {
      this.#lost.reset(outcome.reset);
      this.outbox.startInstance();
      this.#introduction.forget();
      this.#reading.reset();
    } else if (frame.skipped) void this.#reading.load();
    void this.chain.followed(frame.history, frame.chain, frame.from);
    this.#logChanged();
  }

  #applyLive(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      const isNew = this.#reading.live(entry);
      const { content, header, atMs, hash } = entry;
      if (header?.device === this.me) void this.outbox.arrived(hash).catch(() => undefined);
      if (content.kind !== "message" || header === undefined) continue;
      if (header.device === this.me) this.slow.wrote(atMs, this.#world.now());
      if (isNew) this.presence.wrote(header.device);
    }
    this.#logChanged();
  }

  #logChanged(): void {
    while (this.noticedAtMs.length < this.log.violations.length) this.noticedAtMs.push(this.#world.now());
    const role = this.chain.fold?.role(this.me);
    if (role !== undefined && role !== this.record.role) this.#memory.change((record) => ({ ...record, role }));
    const newest = this.log.newest;
    if (newest !== undefined) this.outbox.seen(newest.seq);
    this.#lost.find(this.log);
    if (this.log.caughtUp) this.outbox.kick();
    this.#memory.keepPlace(this.log, this.lastAtMs);
    this.#world.changed();
  }

  // ---- sending

  #outboxChanged(): void {
    for (const { local, hash } of this.outbox.items) if (hash !== undefined) this.localNames.set(hash, local);
    void this.sending.dropRefused().catch(() => undefined);
    this.#world.changed();
  }

  sent(frame: SentFrame): void {
    void this.outbox.answered(frame.id, { ok: true, seq: frame.seq });
  }

  refused(frame: ErrorFrame): void {
    const { id, code, retry_after_ms: retryAfterMs, expected } = frame;
    if (id === undefined) return;
    if (this.#feed.refused(id)) {
      this.problem = new ApiError(frame);
      this.closed(code);
      if (this.problem.retry === "later") {
        this.#world.setTimeout(() => this.#world.refollow(), this.problem.retryAfterMs ?? REFOLLOW_AFTER_MS);
      }
      return;
    }
    if (code === "stale_epoch" && frame.epoch !== undefined) this.#reading.expectEpoch(frame.epoch);
    if (code === "slow_mode") this.slow.refused(this.#world.now() + (retryAfterMs ?? 0));
    void this.outbox.answered(id, { ok: false, code, retryAfterMs, expected });
  }

  typingHere(): void {
    if (this.presence.mayTell(this.#world.now())) this.#world.sendTyping();
  }

  // ---- what others do

  presenceChanged(device: string, state: "here" | "gone", count: number): void {
    this.presence.change(device, state, count);
    this.#world.changed();
  }

  stands(here: readonly string[] | undefined, count: number): void {
    this.presence.set(here, count);
    this.#world.changed();
  }

  typing(device: string): void {
    if (device !== this.me) this.#showTyping(this.presence.typing(device, this.#world.now()));
  }

  typingCounted(count: number): void {
    this.#showTyping(this.presence.typingCounted(count, this.#world.now()));
  }

  #showTyping(ms: number): void {
    this.#world.setTimeout(() => this.#world.changed(), ms + 50);
    this.#world.changed();
  }

  /** The server follows this room no longer for us. */
  closed(code: ErrorCode): void {
    const ended = endOf(code);
    if (ended !== undefined) {
      void this.outbox.end(code).catch(() => undefined);
      this.#memory.change((record) => ({ ...record, ended }));
    }
    this.#world.changed();
  }

  // ---- what is remembered

  /** Everything up to `seq` has been seen, here or in another tab; `false` when that was known. */
  seen(seq: number): boolean {
    if (!this.#memory.seen(seq)) return false;
    this.#memory.keepPlace(this.log, this.lastAtMs);
    this.#world.changed();
    return true;
  }

  /** Server time of the newest message; of before this page load if none is loaded. */
  get lastAtMs(): number | undefined {
    const messages = this.log.runs.at(-1)?.entries;
    return messages?.findLast(({ content }) => content.kind === "message")?.atMs ?? this.record.lastAtMs;
  }
}
