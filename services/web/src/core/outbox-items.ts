//! What waits to be sent in one room, as the page shows it: the stored rows with their bodies opened, and what is
//! acknowledged but has not come back by the log yet.

import { b64 } from "./base64url.ts";
import { random } from "./bytes.ts";
import { type OutboxRow, type Store } from "./store.ts";
import { type ErrorCode } from "../protocol.gen.ts";

/** One thing to be sent, as the page shows it. */
export interface OutboxItem {
  readonly local: string;
  readonly type: number;
  /** The seq of the message it is about; 0 for none. */
  readonly target: number;
  /** The body's JSON text. */
  readonly body: string;
  readonly writtenAtMs: number;
  /** `acknowledged`: committed at `seq`, and not yet applied from the log. */
  readonly state: "waiting" | "acknowledged" | "failed";
  readonly seq?: number;
  /** Of what is sealed. One that failed with it may have been committed: the room ended before the answer. */
  readonly hash?: string;
  readonly failure?: ErrorCode;
}

/** What became of an item. `waiting`: it is neither delivered nor refused within the limit. */
export type Settled =
  { readonly state: "delivered" | "waiting" } | { readonly state: "failed"; readonly code: ErrorCode };

export interface ItemsWorld {
  readonly store: Pick<Store, "outbox" | "openText">;
  /** The items have changed. */
  readonly changed: () => void;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

export class OutboxItems {
  readonly #room: string;
  readonly #world: ItemsWorld;
  #stored: readonly OutboxItem[] = [];
  #acknowledged: readonly OutboxItem[] = [];
  #reading = 0;
  #waiters = new Map<string, Set<(settled: Settled) => void>>();

  constructor(room: string, world: ItemsWorld) {
    this.#room = room;
    this.#world = world;
  }

  /** What waits, what failed, and what is acknowledged but not yet seen in the log; in the order written. */
  get all(): readonly OutboxItem[] {
    const done = new Set(this.#acknowledged.map(({ local }) => local));
    return [...this.#acknowledged, ...this.#stored.filter(({ local }) => !done.has(local))];
  }

  /** The stored item of this name. */
  find(local: string): OutboxItem | undefined {
    return this.#stored.find((item) => item.local === local);
  }

  /** Whether someone waits to hear what becomes of it. */
  isAwaited(local: string): boolean {
    return this.#waiters.has(local);
  }

  /** Shows an item as acknowledged until the log has it. */
  acknowledge(item: OutboxItem): void {
    this.#acknowledged = [...this.#acknowledged, item];
  }

  /** The log holds everything up to `seq`: what was acknowledged there is shown from the log now. */
  seen(seq: number): void {
    if (this.#acknowledged.length === 0) return;
    this.#acknowledged = this.#acknowledged.filter((item) => (item.seq ?? 0) > seq);
  }

  forgetAcknowledged(): void {
    this.#acknowledged = [];
  }

  /** Shows what is stored. Of several at a time the one begun last counts: it has read the newest rows. */
  async refresh(): Promise<void> {
    const reading = ++this.#reading;
    const known = new Map(this.#stored.map((item) => [item.local, item.body]));
    const items: OutboxItem[] = [];
    for (const row of await this.#world.store.outbox(this.#room)) {
      const body = known.get(row.local) ?? (await this.#world.store.openText(`outbox ${row.local}`, row.body)) ?? "{}";
      items.push(itemOf(row, body));
    }
    if (reading !== this.#reading) return;
    this.#stored = items;
    for (const local of this.#waiters.keys()) this.#settle(local);
    this.#world.changed();
  }

  /** Waits at most `limitMs` for an item to be delivered or refused. One that is gone counts as delivered. */
  settled(local: string, limitMs: number): Promise<Settled> {
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(local) ?? new Set();
      this.#waiters.set(local, waiters.add(resolve));
      this.#world.setTimeout(() => {
        waiters.delete(resolve);
        if (waiters.size === 0 && this.#waiters.get(local) === waiters) this.#waiters.delete(local);
        resolve({ state: "waiting" });
      }, limitMs);
      this.#settle(local);
    });
  }

  #settle(local: string): void {
    const item = this.find(local);
    if (item?.state === "waiting") return;
    const settled: Settled =
      item === undefined ? { state: "delivered" } : { state: "failed", code: item.failure ?? "internal" };
    for (const resolve of this.#waiters.get(local) ?? []) resolve(settled);
    this.#waiters.delete(local);
  }
}

function itemOf(row: OutboxRow, body: string): OutboxItem {
  const { local, type, target, writtenAtMs } = row;
  const shown = { local, type, target, body, writtenAtMs };
  const sealed = row.sealed && { hash: row.sealed.hash };
  if (row.state === "failed")
    return { ...shown, state: "failed", ...(row.failure && { failure: row.failure }), ...sealed };
  return { ...shown, state: "waiting", ...sealed };
}

/** A new draft about the message at `target` (0: none), its body sealed under the local key. */
export async function outboxDraft(
  store: Pick<Store, "sealText">,
  room: string,
  draft: { readonly type: number; readonly body: string; readonly target?: number },
  writtenAtMs: number,
): Promise<OutboxRow> {
  const local = b64(random(12));
  const body = await store.sealText(`outbox ${local}`, draft.body);
  return { local, room, type: draft.type, target: draft.target ?? 0, body, writtenAtMs, state: "draft" };
}

/** A failed row that is wanted after all. One that may have been committed goes again as it is, so that it is not said twice. */
export function wantedAgain(row: OutboxRow): OutboxRow {
  const { failure: _failure, ...plain } = row;
  return { ...plain, state: row.sealed === undefined ? "draft" : "sealed" };
}

/** The row without its sealed bytes: to be sealed again. */
export function draftAgain(row: OutboxRow): OutboxRow {
  const { sealed: _sealed, failure: _failure, ...plain } = row;
  return { ...plain, state: "draft" };
}
