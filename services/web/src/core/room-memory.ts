//! What is remembered of one room between page loads: its record in the store, written at its own pace.

import { type RoomLog } from "./room-log.ts";
import { type RoomRecord, type Store } from "./store.ts";

const KEEP_PERIOD_MS = 1_000;
const DRAFT_PERIOD_MS = 500;

/** What the memory needs of its surroundings. */
export interface MemoryWorld {
  readonly store: Pick<Store, "changeRoom" | "sealText" | "openText">;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

export class RoomMemory {
  /** What is in the composer. */
  draft = "";
  #record: RoomRecord;
  readonly #world: MemoryWorld;
  #due: ((record: RoomRecord) => RoomRecord) | undefined;
  #draftDue = false;
  #written = false;
  #stopped = false;

  /** `written`: what this page had in the composer of the same room before it took the room up anew. */
  constructor(record: RoomRecord, world: MemoryWorld, written?: string) {
    this.#record = record;
    this.#world = world;
    if (written === undefined) return;
    this.draft = written;
    this.#written = true;
  }

  /** What this page has in the composer; undefined if nothing was typed here. */
  get written(): string | undefined {
    return this.#written ? this.draft : undefined;
  }

  get record(): RoomRecord {
    return this.#record;
  }

  /** Opens the draft of the last visit. What has been typed in the meantime takes its place. */
  async start(): Promise<void> {
    const { draft, room } = this.#record;
    if (draft === undefined) return;
    const text = await this.#world.store.openText(`draft ${room}`, draft);
    if (!this.#written) this.draft = text ?? "";
  }

  /** Writes what is due, and nothing more after that. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    if (this.#due !== undefined) this.change(this.#due);
    this.#due = undefined;
    if (this.#draftDue) void this.#keepDraft().catch(() => undefined);
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

  saveDraft(text: string): void {
    this.draft = text;
    this.#written = true;
    if (this.#draftDue) return;
    this.#draftDue = true;
    this.#world.setTimeout(() => {
      this.#draftDue = false;
      if (!this.#stopped) void this.#keepDraft().catch(() => undefined);
    }, DRAFT_PERIOD_MS);
  }

  async #keepDraft(): Promise<void> {
    const { room } = this.#record;
    const draft = this.draft === "" ? undefined : await this.#world.store.sealText(`draft ${room}`, this.draft);
    this.change(({ draft: _old, ...record }) => ({ ...record, ...(draft && { draft }) }));
  }
}
