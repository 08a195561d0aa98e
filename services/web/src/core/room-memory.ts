//! What is remembered of one room between page loads: its record in the store, written at its own pace.

import { type RoomLog } from "./room-log.ts";
import { type RoomRecord, type Store } from "./store.ts";

const KEEP_PERIOD_MS = 1_000;

/** What the memory needs of its surroundings. */
export interface MemoryWorld {
  readonly store: Pick<Store, "changeRoom">;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

export class RoomMemory {
  #record: RoomRecord;
  readonly #world: MemoryWorld;
  #due: ((record: RoomRecord) => RoomRecord) | undefined;
  #stopped = false;

  constructor(record: RoomRecord, world: MemoryWorld) {
    this.#record = record;
    this.#world = world;
  }

  get record(): RoomRecord {
    return this.#record;
  }

  /** Writes what is due, and nothing more after that. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    if (this.#due !== undefined) this.change(this.#due);
    this.#due = undefined;
  }

  /** Changes the record here at once and in the store soon after. */
  change(change: (record: RoomRecord) => RoomRecord): void {
    this.#record = change(this.#record);
    const { room, life } = this.#record;
    // Another tab may have forgotten the room and entered it anew: nothing of this one is of that.
    const kept = (record: RoomRecord) => (record.life === life ? change(record) : record);
    void this.#world.store.changeRoom(room, kept).catch(() => undefined);
  }

  /** Like `change`, at most once a second: for what only saves work and helps to find fraud, so that losing it is no harm. */
  changeSoon(change: (record: RoomRecord) => RoomRecord): void {
    const waiting = this.#due !== undefined;
    this.#due = change;
    if (waiting) return;
    this.#world.setTimeout(() => {
      const due = this.#due;
      this.#due = undefined;
      if (due !== undefined && !this.#stopped) this.change(due);
    }, KEEP_PERIOD_MS);
  }

  /** Marks everything up to `seq` as seen; `false` when it was already. */
  seen(seq: number): boolean {
    if (seq <= this.#record.readSeq) return false;
    this.#record = { ...this.#record, readSeq: seq };
    return true;
  }

  /** Stores the log's cursor, the read mark and the time of the newest message before long. */
  keepPlace(log: RoomLog, lastAtMs: number | undefined): void {
    const cursor = log.newest === undefined ? undefined : log.cursor;
    const { readSeq } = this.#record;
    this.changeSoon((record) => ({
      ...record,
      readSeq: Math.max(record.readSeq, readSeq),
      ...(cursor && { cursor }),
      ...(lastAtMs && { lastAtMs }),
    }));
  }
}
