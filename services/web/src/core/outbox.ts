//! What waits to be sent in one room. Any tab may add to it; only the tab that holds the room's lock seals and sends:
//! seal, store, transmit. What is sealed is sent with the same bytes until it is answered, also by the next tab.

import { b64 } from "./base64url.ts";
import { random, type Bytes } from "./bytes.ts";
import { EntryType } from "./crypto/envelope.ts";
import { draftAgain, outboxDraft, OutboxItems, type OutboxItem, type Settled } from "./outbox-items.ts";
import { type OutboxRow, type Store } from "./store.ts";
import { ERROR_RETRY, SENDS_IN_FLIGHT_MAX, type ErrorCode } from "../protocol.gen.ts";

export interface ToSeal {
  readonly type: number;
  /** The seq of the message it is about; 0 for none. */
  readonly target: number;
  readonly body: string;
  readonly instance: Bytes;
  readonly counter: number;
}

/** What a server said about an envelope. */
export type Answer =
  | { readonly ok: true; readonly seq: number }
  | {
      readonly ok: false;
      readonly code: ErrorCode;
      readonly retryAfterMs?: number | undefined;
      readonly expected?: number | undefined;
    };

/** What the outbox needs of its surroundings. */
export interface OutboxWorld {
  readonly store: Pick<Store, "outbox" | "addToOutbox" | "changeOutbox" | "sealText" | "openText">;
  /** Web Locks, as far as used: holds `name` for this tab until the callback's promise ends. */
  readonly lock: (name: string, signal: AbortSignal, hold: () => Promise<void>) => Promise<unknown>;
  /** Tells the other tabs. They get it by `told`. */
  readonly tell: (news: OutboxNews) => void;
  /**
   * The body of a profile that must be sealed before anything else, as in an epoch in which this device has said nothing
   * yet; `undefined` when there is no need.
   */
  readonly introduction: () => Promise<string | undefined>;
  /** A profile is sealed and stored. */
  readonly introduced: () => void;
  /** Seals under the newest place of the log; `undefined` while the log has not reached its live edge or lacks its key. */
  readonly seal: (draft: ToSeal) => Promise<{ envelope: Bytes; hash: string } | undefined>;
  /** Sends an envelope; the answer comes by `answered` with the same id. Returns `undefined` when not connected. */
  readonly transmit: (envelope: Bytes) => number | undefined;
  /** An envelope of this device is committed. */
  readonly acknowledged: (seq: number, hash: string) => void;
  /** The items have changed. */
  readonly changed: () => void;
  readonly now: () => number;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

/** What tabs tell one another. */
export interface OutboxNews {
  readonly room: string;
  /** What has just been acknowledged; else rows have been added or changed. */
  readonly acknowledged?: OutboxItem;
}

interface InFlight {
  readonly local: string;
  /** What was sent, in short: the item may have been sealed again since, and then this answer is not about it. */
  readonly hash: string;
  /** Something before it was refused, so it will be too, or has been. Only a `sent` still means anything. */
  overtaken: boolean;
}

type Sealing = NonNullable<OutboxRow["sealed"]>;

/** How long to wait when a server says `later` without saying when. */
const PAUSE_MS = 1_000;

export class Outbox {
  readonly #room: string;
  readonly #world: OutboxWorld;
  readonly #stopping = new AbortController();
  readonly #items: OutboxItems;
  #holding = false;
  #pumping = false;
  #pumpAgain = false;
  #pausedUntilMs = 0;
  /** What was sent on this connection and is unanswered, by request id. Empty after a loss: all goes again. */
  #inFlight = new Map<number, InFlight>();
  /** How many envelopes may be unanswered. A refusal for haste makes it 1; each success makes it one larger. */
  #window = SENDS_IN_FLIGHT_MAX;
  /** The instance that is sealed under, and its next counter. A page load begins a new one. */
  #instance = random(16);
  #counter = 0;

  constructor(room: string, world: OutboxWorld) {
    this.#room = room;
    this.#world = world;
    this.#items = new OutboxItems(room, world);
  }

  /** What waits, what failed, and what is acknowledged but not yet seen in the log; in the order written. */
  get items(): readonly OutboxItem[] {
    return this.#items.all;
  }

  /** Waits at most `limitMs` for an item to be delivered or refused. */
  settled(local: string, limitMs: number): Promise<Settled> {
    return this.#items.settled(local, limitMs);
  }

  /** Whether someone waits to hear what becomes of it. */
  isAwaited(local: string): boolean {
    return this.#items.isAwaited(local);
  }

  /** Reads what waits and asks for the lock. */
  async start(): Promise<void> {
    await this.#items.refresh();
    const { signal } = this.#stopping;
    void this.#world
      .lock(`snug-outbox-${this.#room}`, signal, async () => {
        if (signal.aborted) return;
        this.#holding = true;
        this.kick();
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
        this.#holding = false;
      })
      .catch(() => undefined);
  }

  /** Gives the lock back. What waits stays stored. */
  stop(): void {
    this.#stopping.abort();
  }

  /**
   * Stores a draft about the message at `target` (0: none); it is on its way once this resolves. Rejects with
   * `StorageRefused`. Answers with its name.
   */
  async add(type: number, body: string, target = 0): Promise<string> {
    const row = await outboxDraft(this.#world.store, this.#room, { type, body, target }, this.#world.now());
    await this.#world.store.addToOutbox(row);
    await this.#items.refresh();
    this.#world.tell({ room: this.#room });
    this.kick();
    return row.local;
  }

  /** Takes a draft or a failed message away; `false` when it is sealed already and so may have been sent. */
  async cancel(local: string): Promise<boolean> {
    let cancelled = false;
    await this.#change((row) => {
      if (row.local !== local || row.state === "sealed") return row;
      cancelled = true;
      return null;
    });
    return cancelled;
  }

  /** Wants a failed message sent after all. */
  async retry(local: string): Promise<void> {
    await this.#change((row) => (row.local === local && row.state === "failed" ? draftAgain(row) : row));
    this.kick();
  }

  /** Another tab changed the outbox. */
  async told(news: OutboxNews): Promise<void> {
    if (news.room !== this.#room) return;
    if (news.acknowledged !== undefined) this.#items.acknowledge(news.acknowledged);
    await this.#items.refresh();
    this.kick();
  }

  /** The log holds everything up to `seq`: what was acknowledged there is shown from the log now. */
  seen(seq: number): void {
    this.#items.seen(seq);
  }

  /** The log is of another life: whatever is sealed from now is of a new instance. */
  startInstance(): void {
    this.#beginInstance();
    this.#items.forgetAcknowledged();
  }

  #beginInstance(): void {
    this.#instance = random(16);
    this.#counter = 0;
  }

  /** A new connection: everything unanswered goes again. */
  connected(): void {
    this.#inFlight.clear();
    this.#window = SENDS_IN_FLIGHT_MAX;
    this.#pausedUntilMs = 0;
    this.kick();
  }

  disconnected(): void {
    this.#inFlight.clear();
  }

  /** Goes on where something may have become possible: a connection, the live edge, an answer. */
  kick(): void {
    if (!this.#holding || this.#stopping.signal.aborted) return;
    this.#pumpAgain = true;
    void this.#pumpWhileAsked();
  }

  async #pumpWhileAsked(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#pumpAgain && !this.#stopping.signal.aborted) {
      this.#pumpAgain = false;
      try {
        await this.#pump();
      } catch {
        // Storage refused, or sealing failed. Nothing was sent that is not stored; what waits is tried again.
        this.#beginInstance();
        this.#pause(PAUSE_MS);
      }
    }
    this.#pumping = false;
  }

  async #pump(): Promise<void> {
    const rows = await this.#world.store.outbox(this.#room);
    const sealed = this.#unanswered(rows);
    if (!this.#transmit(sealed)) return;
    if (sealed.length >= SENDS_IN_FLIGHT_MAX) return;
    // What an earlier instance sealed is answered first, so that the order of writing is kept.
    const instance = this.#instance;
    const name = b64(instance);
    if (sealed.some((row) => row.sealed?.instance !== name)) return;
    const draft = await this.#nextDraft(rows);
    if (draft !== undefined && (await this.#seal(draft, instance))) this.#pumpAgain = true;
  }

  /** The oldest draft, or the introduction that must come before it. */
  async #nextDraft(rows: readonly OutboxRow[]): Promise<OutboxRow | undefined> {
    const drafts = rows.filter(({ state }) => state === "draft");
    const [oldest] = drafts;
    if (oldest === undefined || oldest.type === EntryType.profile) return oldest;
    const body = await this.#world.introduction();
    if (body === undefined) return oldest;
    const waiting = drafts.find(({ type }) => type === EntryType.profile);
    if (waiting !== undefined) return waiting;
    const row = await outboxDraft(this.#world.store, this.#room, { type: EntryType.profile, body }, this.#world.now());
    await this.#world.store.addToOutbox(row);
    return row;
  }

  /** Sealed rows in the order they were sealed. */
  #unanswered(rows: readonly OutboxRow[]): OutboxRow[] {
    const sealed = rows.filter((row) => row.sealed !== undefined && row.state === "sealed");
    return sealed.sort((a, b) => (a.sealed?.counter ?? 0) - (b.sealed?.counter ?? 0));
  }

  /** Sends what is not in flight; returns whether the way is free for more. */
  #transmit(sealed: readonly OutboxRow[]): boolean {
    if (this.#world.now() < this.#pausedUntilMs) return false;
    const inFlight = new Set<string>();
    for (const { local, overtaken } of this.#inFlight.values()) if (!overtaken) inFlight.add(local);
    for (const row of sealed) {
      if (row.sealed === undefined || inFlight.has(row.local)) continue;
      if (inFlight.size >= this.#window) return false;
      const id = this.#world.transmit(row.sealed.envelope);
      if (id === undefined) return false;
      this.#inFlight.set(id, { local: row.local, hash: row.sealed.hash, overtaken: false });
      inFlight.add(row.local);
    }
    return true;
  }

  /**
   * Seals one draft and stores the bytes. Only then may they be sent. An instance that has ended since the rows were read
   * has set free what was written before this draft: then nothing is sealed, and the rows are read again.
   */
  async #seal(draft: OutboxRow, instance: Bytes): Promise<boolean> {
    const body = await this.#world.store.openText(`outbox ${draft.local}`, draft.body);
    if (body === undefined) {
      // The local key it was sealed under is gone; nobody can read it any more.
      await this.#change((row) => (row.local === draft.local ? null : row));
      return true;
    }
    if (this.#instance !== instance) return true;
    const counter = this.#counter;
    const made = await this.#world.seal({ type: draft.type, target: draft.target, body, instance, counter });
    if (made === undefined || this.#instance !== instance) return this.#instance !== instance;
    this.#counter++;
    let stored = false;
    const sealed = { instance: b64(instance), counter, ...made };
    await this.#world.store.changeOutbox(this.#room, (row) => {
      if (row.local !== draft.local || row.state !== "draft") return row;
      stored = true;
      return { ...row, state: "sealed", sealed };
    });
    // Cancelled at the last moment: the counter is used up and was never sent, so the instance ends here.
    if (!stored) this.#beginInstance();
    else if (draft.type === EntryType.profile) this.#world.introduced();
    // The hash is known to the page before the entry can come back: one message is never shown as two.
    await this.#items.refresh();
    return true;
  }

  /** The answer to what was transmitted as `id`. Ids of before a loss are unknown and mean nothing. */
  async answered(id: number, answer: Answer): Promise<void> {
    const sent = this.#inFlight.get(id);
    if (sent === undefined) return;
    this.#inFlight.delete(id);
    if (answer.ok || answer.code === "gone") {
      this.#window = Math.min(SENDS_IN_FLIGHT_MAX, this.#window + 1);
      await this.#delivered(sent, answer.ok ? answer.seq : undefined);
    } else if (!sent.overtaken) {
      await this.#refused(id, sent, answer);
    }
    this.kick();
  }

  async #delivered({ local, hash: sent }: InFlight, seq: number | undefined): Promise<void> {
    let done: OutboxRow | undefined;
    await this.#world.store.changeOutbox(this.#room, (row) => {
      if (row.local !== local || row.sealed?.hash !== sent) return row;
      done = row;
      return null;
    });
    const hash = done?.sealed?.hash;
    if (done !== undefined && hash !== undefined && seq !== undefined) {
      const shown = this.#items.find(local);
      if (shown !== undefined) {
        const acknowledged: OutboxItem = { ...shown, state: "acknowledged", seq, hash };
        this.#items.acknowledge(acknowledged);
        this.#world.tell({ room: this.#room, acknowledged });
      }
      this.#world.acknowledged(seq, hash);
    }
    await this.#items.refresh();
  }

  async #refused(id: number, { local, hash }: InFlight, answer: Answer & { ok: false }): Promise<void> {
    const retry = ERROR_RETRY[answer.code];
    if (retry === "later" || retry === "sign_in") {
      this.#goBack(id, answer.retryAfterMs);
      return;
    }
    const rows = await this.#world.store.outbox(this.#room);
    const unanswered = this.#unanswered(rows);
    const row = unanswered.find((one) => one.local === local);
    if (row?.sealed?.hash !== hash) return;
    if (answer.code === "out_of_order") {
      const first = unanswered.find((one) => one.sealed?.instance === row.sealed?.instance);
      if (first?.local !== local) {
        this.#goBack(id, undefined);
        return;
      }
    }
    // A stale epoch is nobody's fault: the draft is sealed again, under the new epoch, once its key is here.
    const fails = answer.code !== "out_of_order" && answer.code !== "stale_epoch";
    await this.#endInstance(row.sealed, fails ? local : undefined, answer.code);
  }

  /** After a pause, sends again from request `id` on. What was sent before it may still be answered. */
  #goBack(id: number, retryAfterMs: number | undefined): void {
    for (const [other, sent] of this.#inFlight) if (other > id) sent.overtaken = true;
    this.#window = 1;
    this.#pause(retryAfterMs ?? PAUSE_MS);
  }

  /**
   * A permanent refusal ends an instance: `failed` failed, what was sealed after it is sealed again under the next one.
   * What was sealed before it may be committed already: it stays as it is until it is answered.
   */
  async #endInstance(at: Sealing, failed: string | undefined, code: ErrorCode): Promise<void> {
    if (b64(this.#instance) === at.instance) this.#beginInstance();
    const ended = new Set<string>();
    await this.#change((row) => {
      if (row.sealed?.instance !== at.instance || row.sealed.counter < at.counter) return row;
      ended.add(row.sealed.hash);
      return row.local === failed ? { ...draftAgain(row), state: "failed", failure: code } : draftAgain(row);
    });
    for (const [id, { hash }] of this.#inFlight) if (ended.has(hash)) this.#inFlight.delete(id);
  }

  #pause(ms: number): void {
    this.#pausedUntilMs = this.#world.now() + ms;
    this.#world.setTimeout(() => this.kick(), ms);
  }

  /** Changes rows in one transaction, shows them and tells the other tabs. */
  async #change(change: (row: OutboxRow) => OutboxRow | null): Promise<void> {
    await this.#world.store.changeOutbox(this.#room, change);
    await this.#items.refresh();
    this.#world.tell({ room: this.#room });
  }
}
