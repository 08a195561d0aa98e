//! Messages of this device that the server had acknowledged and has lost since.

import { type LogEntry } from "./log-entry.ts";
import { type RoomLog } from "./room-log.ts";

export interface LostMessage {
  readonly key: string;
  readonly atMs: number;
  readonly text: string;
}

export class RoomLost {
  readonly #me: string;
  #orphans: readonly LogEntry[] = [];
  #all: readonly LostMessage[] = [];

  constructor(me: string) {
    this.#me = me;
  }

  get all(): readonly LostMessage[] {
    return this.#all;
  }

  get(key: string): LostMessage | undefined {
    return this.#all.find((one) => one.key === key);
  }

  drop(key: string): void {
    this.#all = this.#all.filter((one) => one.key !== key);
  }

  /** The log is of another life: `entries` were held of the earlier one. */
  reset(entries: readonly LogEntry[]): void {
    this.#orphans = entries;
  }

  /** After a reset: own messages that had been in the log and should be in the part loaded now, but are not. */
  find(log: RoomLog): void {
    if (this.#orphans.length === 0 || !log.caughtUp) return;
    const oldest = log.oldest ?? 1;
    for (const { header, content, seq, hash, atMs } of this.#orphans) {
      if (header?.device !== this.#me || content.kind !== "message" || seq < oldest) continue;
      if (log.at(seq)?.hash === hash) continue;
      this.#all = [...this.#all, { key: `lost ${hash}`, atMs, text: content.text }];
    }
    this.#orphans = [];
  }
}
