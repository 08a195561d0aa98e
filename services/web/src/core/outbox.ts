//! What waits to be sent in one room. Any tab may add to it; only the tab that holds the room's lock seals and sends:
//! seal, store, transmit. What is sealed is sent with the same bytes until it is answered, also by the next tab.

import { OutboxDrafts } from "./outbox-drafts.ts";
import { OutboxFlight, type InFlight } from "./outbox-flight.ts";
import { OutboxInstance } from "./outbox-instance.ts";
import { draftAgain, outboxDraft, OutboxItems, wantedAgain, type OutboxItem, type Settled } from "./outbox-items.ts";
import { type Answer, type OutboxNews, type OutboxWorld } from "./outbox-world.ts";
import { type OutboxRow } from "./store.ts";
import { ERROR_RETRY, SENDS_IN_FLIGHT_MAX, type ErrorCode } from "../protocol.gen.ts";

type Sealed = NonNullable<OutboxRow["sealed"]>;

/** How long to wait when a server says `later` without saying when, or says the same again. */
const PAUSE_MS = 1_000;

/**
 * Refusals that are nobody's fault: what was refused was not committed, and is sealed again when it can be. A stale epoch
 * once the new key is here; a message that came too early for slow mode when its time has come, so that nothing else has to
 * wait for it.
 */
const SEALED_AGAIN: ReadonlySet<ErrorCode> = new Set(["out_of_order", "stale_epoch", "slow_mode"]);

export class Outbox {
  readonly #room: string;
  readonly #world: OutboxWorld;
  readonly #stopping = new AbortController();
  readonly #items: OutboxItems;
  #holding = false;
  #ended = false;
  #pumping = false;
  #pumpAgain = false;
  #waking = false;
  /** What has to pass before anything is sent; each goes when its timer says so. A clock may say that it is too early still. */
  readonly #pauses = new Set<symbol>();
  /** Refusals whose consequences are being drawn: meanwhile nothing is sent, lest what is refused be accepted after all. */
  #refusals = 0;
  /** An epoch was refused as stale, and nothing was delivered since. */
  #stale = false;
  readonly #flight = new OutboxFlight();
  readonly #drafts: OutboxDrafts;
  readonly #instance: OutboxInstance;

  constructor(room: string, world: OutboxWorld) {
    this.#room = room;
    this.#world = world;
    this.#items = new OutboxItems(room, world);
    this.#instance = new OutboxInstance(room, world);
    this.#drafts = new OutboxDrafts(room, world);
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

  /** Shows what was left, and asks for nothing: the room has ended. */
  recall(): Promise<void> {
    return this.#items.refresh();
  }

  /**
   * The room has ended for this device by `code`: nothing is sent any more, and what waits has failed. What is sealed may have
   * been committed: it stays sealed until it is answered, found in the log, or sent again with the same bytes.
   */
  async end(code: ErrorCode): Promise<void> {
    this.#ended = true;
    this.stop();
    await this.#change((row) => (row.state === "failed" ? row : { ...row, state: "failed", failure: code }));
  }

  /** The log holds the own envelope with this hash: it was not known whether it had arrived. */
  async arrived(hash: string): Promise<void> {
    const isIt = (one: { readonly state: string; readonly hash?: string }) =>
      one.state === "failed" && one.hash === hash;
    if (!this.items.some(isIt)) return;
    await this.#change((row) => (row.state === "failed" && row.sealed?.hash === hash ? null : row));
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
    await this.#change((row) => (row.local === local && row.state === "failed" ? wantedAgain(row) : row));
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
    this.#instance.renew();
    this.#items.forgetAcknowledged();
  }

  /** A new connection: everything unanswered goes again. */
  connected(): void {
    this.#flight.begin();
    this.#pauses.clear();
    this.kick();
  }

  disconnected(): void {
    this.#flight.clear();
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
        this.#instance.renew();
        this.#pause(PAUSE_MS);
      }
    }
    this.#pumping = false;
  }

  async #pump(): Promise<void> {
    const rows = await this.#world.store.outbox(this.#room);
    const sealed = unanswered(rows);
    if (this.#refusals > 0 || this.#pauses.size > 0) return;
    if (!this.#flight.send(sealed, this.#world.transmit)) return;
    if (sealed.length >= SENDS_IN_FLIGHT_MAX) return;
    // What an earlier instance sealed is answered first, so that the order of writing is kept.
    const { name } = this.#instance;
    if (sealed.some((row) => row.sealed?.instance !== name)) return;
    const draft = await this.#drafts.next(rows);
    if (draft === "held") this.#wakeWhenFree();
    else if (draft !== undefined && (await this.#seal(draft, name))) this.#pumpAgain = true;
  }

  /** Messages go on when slow mode lets them; if that is earlier than it seemed, the room says so. */
  #wakeWhenFree(): void {
    if (this.#waking) return;
    this.#waking = true;
    const wake = () => ((this.#waking = false), this.kick());
    this.#world.setTimeout(wake, this.#drafts.heldMs);
  }

  /** Seals a draft; whether to go on. */
  async #seal(draft: OutboxRow, name: string): Promise<boolean> {
    const sealing = await this.#instance.seal(draft, name);
    if (sealing === "unreadable") await this.#change((row) => (row.local === draft.local ? null : row));
    // The hash is known to the page before the entry can come back: one message is never shown as two.
    if (sealing === "sealed") await this.#items.refresh();
    return sealing !== "later";
  }

  /** The answer to what was transmitted as `id`. Ids of before a loss are unknown and mean nothing. */
  async answered(id: number, answer: Answer): Promise<void> {
    const sent = this.#flight.get(id);
    if (sent === undefined) return;
    if (answer.ok || answer.code === "gone") {
      // It counts as on its way until it is off the list, lest it be sent again in between.
      this.#flight.delivered();
      this.#stale = false;
      await this.#delivered(sent, answer.ok ? answer.seq : undefined);
      this.#flight.answered(id);
    } else {
      this.#flight.answered(id);
      this.#refusals++;
      try {
        if (this.#ended) await this.#notSent(sent);
        else if (!sent.overtaken) await this.#refused(id, sent, answer);
      } finally {
        this.#refusals--;
      }
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

  /** What was refused after the room had ended has failed for certain. */
  async #notSent({ hash: sent }: InFlight): Promise<void> {
    await this.#change((row) => {
      if (row.state !== "failed" || row.sealed?.hash !== sent) return row;
      const { sealed: _sealed, ...failed } = row;
      return failed;
    });
  }

  async #refused(id: number, { local, hash }: InFlight, answer: Answer & { ok: false }): Promise<void> {
    this.#flight.overtake(id);
    const { code } = answer;
    const retry = ERROR_RETRY[code];
    if (code !== "slow_mode" && (retry === "later" || retry === "sign_in")) {
      this.#flight.narrow();
      this.#pause(answer.retryAfterMs ?? PAUSE_MS);
      return;
    }
    const rows = await this.#world.store.outbox(this.#room);
    const sealed = unanswered(rows);
    const row = sealed.find((one) => one.local === local);
    if (row?.sealed?.hash !== hash) return;
    if (code === "out_of_order") {
      const first = sealed.find((one) => one.sealed?.instance === row.sealed?.instance);
      // Something before it is unanswered still, and goes first. Its answer is waited for, so that nothing is sent in haste.
      if (first?.local !== local) return this.#flight.narrow();
    }
    if (code === "slow_mode") this.#drafts.hold(PAUSE_MS);
    if (code === "stale_epoch") {
      if (this.#stale) this.#pause(PAUSE_MS);
      this.#stale = true;
    }
    await this.#endInstance(row.sealed, SEALED_AGAIN.has(code) ? undefined : local, code);
  }

  /**
   * A permanent refusal ends an instance: `failed` failed, what was sealed after it is sealed again under the next one.
   * What was sealed before it may be committed already: it stays as it is until it is answered.
   */
  async #endInstance(at: Sealed, failed: string | undefined, code: ErrorCode): Promise<void> {
    if (this.#instance.name === at.instance) this.#instance.renew();
    const ended = new Set<string>();
    await this.#change((row) => {
      if (row.sealed?.instance !== at.instance || row.sealed.counter < at.counter) return row;
      ended.add(row.sealed.hash);
      return row.local === failed ? { ...draftAgain(row), state: "failed", failure: code } : draftAgain(row);
    });
    this.#flight.forget(ended);
  }

  #pause(ms: number): void {
    const pause = Symbol();
    this.#pauses.add(pause);
    this.#world.setTimeout(() => {
      if (this.#pauses.delete(pause)) this.kick();
    }, ms);
  }

  /** Changes rows in one transaction, shows them and tells the other tabs. */
  async #change(change: (row: OutboxRow) => OutboxRow | null): Promise<void> {
    await this.#world.store.changeOutbox(this.#room, change);
    await this.#items.refresh();
    this.#world.tell({ room: this.#room });
  }
}

/** Sealed rows in the order they were sealed. */
function unanswered(rows: readonly OutboxRow[]): OutboxRow[] {
  const sealed = rows.filter((row) => row.sealed !== undefined && row.state === "sealed");
  return sealed.sort((a, b) => (a.sealed?.counter ?? 0) - (b.sealed?.counter ?? 0));
}
