//! One room while the page is open: its log, who is in it and governs it, and what waits to be sent. Wires the parts; each of
//! them is a noun of its own.

import { ApiError, type Api } from "./api.ts";
import { fromB64 } from "./base64url.ts";
import { messageBody } from "./bodies.ts";
import { type Bytes } from "./bytes.ts";
import { EntryType, type Header } from "./crypto/envelope.ts";
import { Directory } from "./directory.ts";
import { type RawEntry } from "./frames.ts";
import { type LogEntry } from "./log-entry.ts";
import { EntryOpener } from "./open-entry.ts";
import { Outbox } from "./outbox.ts";
import { type OutboxNews } from "./outbox-world.ts";
import { Presence } from "./presence.ts";
import { RoomChain } from "./room-chain.ts";
import { RoomChanges } from "./room-changes.ts";
import { endOf } from "./room-end.ts";
import { RoomFeed, type FollowedFrame } from "./room-feed.ts";
import { RoomHearing } from "./room-hearing.ts";
import { RoomIntroduction } from "./room-introduction.ts";
import { RoomKeys } from "./room-keys.ts";
import { RoomLog } from "./room-log.ts";
import { RoomLost, type LostMessage } from "./room-lost.ts";
import { RoomMembers } from "./room-members.ts";
import { RoomMemory } from "./room-memory.ts";
import { RoomPages } from "./room-pages.ts";
import { RoomPins } from "./room-pins.ts";
import { RoomQuotes } from "./room-quotes.ts";
import { RoomSending } from "./room-sending.ts";
import { SlowMode } from "./slow-mode.ts";
import { type RoomRecord, type Store } from "./store.ts";
import { type Cursor, type ErrorCode, type ServerFrame } from "../protocol.gen.ts";

export type { LostMessage } from "./room-lost.ts";

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
  /** Begins anew with what is remembered of this room: a key has come too late for what was read without it. */
  readonly reload: () => void;
  /** The socket seems deaf. */
  readonly reconnect: () => void;
  readonly lock: (name: string, signal: AbortSignal, hold: () => Promise<void>) => Promise<unknown>;
  readonly tell: (news: OutboxNews) => void;
  /** Something that is shown has changed. */
  readonly changed: () => void;
  readonly now: () => number;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

const REFOLLOW_AFTER_MS = 2_000;

export class Room {
  readonly id: string;
  readonly log = new RoomLog();
  readonly changes = new RoomChanges();
  readonly presence = new Presence();
  readonly slow: SlowMode;
  readonly directory: Directory;
  readonly keys: RoomKeys;
  readonly chain: RoomChain;
  readonly members: RoomMembers;
  readonly pages: RoomPages;
  readonly quotes: RoomQuotes;
  readonly pins: RoomPins;
  readonly outbox: Outbox;
  readonly sending: RoomSending;
  /** Page-stable name of an own message by its envelope hash. */
  readonly localNames = new Map<string, string>();
  /** Why the first page could not be had. */
  problem: ApiError | undefined;
  /** When this page noticed each of the log's violations, in their order. */
  readonly noticedAtMs: number[] = [];
  readonly #memory: RoomMemory;
  readonly #feed: RoomFeed;
  readonly #hearing: RoomHearing;
  readonly #introduction: RoomIntroduction;
  readonly #lost: RoomLost;
  readonly #opener: EntryOpener;
  readonly #world: RoomWorld;
  #connected = false;
  #stopped = false;

  constructor({ room: id, ...kept }: RoomRecord, world: RoomWorld) {
    this.id = id;
    this.#world = world;
    const { api, store, now, setTimeout } = world;
    const { device, local } = store.identity;
    const { log, changes } = this;
    const record = () => this.record;
    const changed = () => this.#logChanged();
    const change = (how: (record: RoomRecord) => RoomRecord) => this.#memory.change(how);
    this.#memory = new RoomMemory({ room: id, ...kept }, world);
    this.directory = new Directory((of) => this.#fetchKeys(of));
    this.keys = new RoomKeys(id, { api, device, local, record, change, setTimeout });
    this.#opener = new EntryOpener(
      id,
      (epoch) => this.keys.of(epoch),
      this.directory,
      (of) => this.#prepare(of),
    );
    const [opener, directory] = [this.#opener, this.directory];
    this.chain = new RoomChain(id, {
      api,
      log,
      keys: this.keys,
      openerWith: (keyOf) => new EntryOpener(id, keyOf, directory),
      pinned: () => this.record.pinned,
      changed: () => this.#chainChanged(),
    });
    this.members = new RoomMembers(id, { api, directory, opener, changed: world.changed });
    const note = (entries: readonly LogEntry[]) => this.#note(entries);
    this.pages = new RoomPages(id, { api, log, opener, note, changed });
    this.quotes = new RoomQuotes({ fetch: (seq) => this.pages.one(seq), changed: world.changed });
    this.pins = new RoomPins(id, { api, log, changes, quotes: this.quotes, opener, note, changed: world.changed });
    this.#feed = new RoomFeed(log, opener, {
      followed: (frame, cursor) => this.#applyFollowed(frame, cursor),
      entries: (entries) => this.#applyLive(entries),
      mustReceive: (raw) => this.keys.mustReceive(raw),
      receive: (raw) => this.#receiveKey(raw),
    });
    const connected = () => this.#connected && !this.#stopped;
    this.#hearing = new RoomHearing({ log, connected, reconnect: world.reconnect, setTimeout });
    this.#introduction = new RoomIntroduction({ device, store, directory, record, change });
    this.#lost = new RoomLost(device.id);
    if (kept.cursor !== undefined) log.remember(kept.cursor);
    this.slow = new SlowMode(() => this.#slowMs());
    this.outbox = new Outbox(id, {
      store,
      lock: world.lock,
      tell: world.tell,
      introduction: () => this.#introduction.body(this.keys.epoch),
      introduced: (epoch) => this.#introduction.made(epoch),
      messagesFromMs: () => this.slow.untilMs(now()),
      seal: (draft) => this.sending.seal(draft),
      transmit: world.transmit,
      acknowledged: (seq, hash) => log.acknowledge(seq, hash),
      changed: () => this.#outboxChanged(),
      now,
      setTimeout,
    });
    this.sending = new RoomSending({
      room: id,
      device,
      outbox: this.outbox,
      edge: () => (this.#connected && log.caughtUp ? log.newest : undefined),
      key: () => this.keys.current,
      isIntroduced: (epoch) => this.#introduction.isMade(epoch),
      hasEnded: () => this.record.ended !== undefined,
      now,
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

  get lost(): readonly LostMessage[] {
    return this.#lost.all;
  }

  /** Whether the newest page has arrived since the page was loaded. */
  get ready(): boolean {
    return this.log.newest !== undefined;
  }

  async start(): Promise<void> {
    await this.#memory.start();
    await this.outbox.start();
    await Promise.all([this.members.load(), this.chain.ready()]);
    await this.pins.load();
  }

  /** Ends it here; what is remembered stays. */
  stop(): void {
    this.#stopped = true;
    this.#memory.stop();
    this.outbox.stop();
  }

  async #fetchKeys(device: string) {
    try {
      const member = await this.#world.api.member(this.id, device);
      return { signKey: fromB64(member.sign_key, 32), agreeKey: fromB64(member.agree_key, 32) };
    } catch {
      return undefined;
    }
  }

  /** Older keys are reached through the chain, and who signs a step may be known from nowhere else. */
  async #prepare(headers: readonly Header[]): Promise<void> {
    const needsChain = ({ type, epoch }: Header) =>
      type === EntryType.step || (epoch < this.keys.epoch && this.keys.of(epoch) === undefined);
    if (headers.some(needsChain)) await this.chain.ready();
  }

  async #receiveKey(raw: RawEntry): Promise<void> {
    await this.chain.receive(raw);
    // Who was left out of the new epoch is no member any more.
    void this.members.load();
  }

  /** What this device must wait between two messages; `undefined` while that is not known. */
  #slowMs(): number | undefined {
    const { state, fold } = this.chain;
    return fold?.role(this.me) === "member" ? state?.slowMs : fold && 0;
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
    // A key that could not be had may be there by now.
    if (this.keys.missing) void this.chain.load().catch(() => undefined);
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
      this.changes.clear();
      this.quotes.clear();
      this.chain.forget();
      this.directory.forgetNames();
      this.outbox.startInstance();
      this.#introduction.forget();
      this.pages.holes.clear();
      void this.members.load();
      void this.pins.load();
    }
    void this.chain.followed(frame.history, frame.chain, frame.from);
    this.#logChanged();
  }

  #applyLive(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      const isNew = this.log.at(entry.seq) === undefined;
      this.log.append(entry);
      this.#note([entry]);
      this.chain.live(entry);
      const { content, header, seq, atMs } = entry;
      if (content.kind === "message" && header?.device === this.me) this.slow.wrote(atMs, this.#world.now());
      if (!isNew || (content.kind === "epoch_record" && this.chain.linkAt(seq)?.counts !== true)) continue;
      this.members.live(entry);
      if (content.kind === "message") this.presence.wrote(header?.device ?? "");
    }
    this.#logChanged();
  }

  #note(entries: readonly LogEntry[]): void {
    for (const entry of entries) this.changes.note(entry);
    this.chain.compare(entries);
  }

  #logChanged(): void {
    while (this.noticedAtMs.length < this.log.violations.length) this.noticedAtMs.push(this.#world.now());
    const role = this.chain.fold?.role(this.me);
    if (role !== undefined && role !== this.record.role) this.#memory.change((record) => ({ ...record, role }));
    const newest = this.log.newest;
    if (newest !== undefined) this.outbox.seen(newest.seq);
    this.#lost.find(this.log);
    if (this.log.caughtUp) this.outbox.kick();
    this.#keepSoon();
    this.#world.changed();
  }

  #chainChanged(): void {
    this.#logChanged();
    if (this.#stopped || ![...this.#opener.lacked].some((epoch) => this.keys.of(epoch) !== undefined)) return;
    this.#world.reload();
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
    if (code === "stale_epoch" && frame.epoch !== undefined) this.keys.expect(frame.epoch);
    if (code === "slow_mode") this.slow.refused(this.#world.now() + (retryAfterMs ?? 0));
    void this.outbox.answered(id, { ok: false, code, retryAfterMs, expected });
  }

  /** Sends a message or edit again that the server has lost, or that failed. Rejects with `StorageRefused`. */
  async sendAgain(key: string): Promise<void> {
    const lost = this.#lost.get(key);
    if (lost === undefined) return this.outbox.retry(key);
    await this.outbox.add(EntryType.message, messageBody(lost.text));
    this.#lost.drop(key);
    this.#world.changed();
  }

  async discard(key: string): Promise<void> {
    if (this.#lost.get(key) === undefined) await this.outbox.cancel(key);
    else this.#lost.drop(key);
    this.#world.changed();
  }

  typingHere(): void {
    if (this.presence.mayTell(this.#world.now())) this.#world.sendTyping();
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
    const ended = endOf(code);
    if (ended !== undefined) {
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
