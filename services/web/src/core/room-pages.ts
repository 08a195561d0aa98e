//! Loading older parts of a room's log, page by page.

import { type Api } from "./api.ts";
import { type EntryOpener } from "./open-entry.ts";
import { type Hole, type RoomLog } from "./room-log.ts";
import { HISTORY_PAGE_MAX } from "../protocol.gen.ts";

const PAGE = 100;

export class RoomPages {
  /** What loading before the oldest entry is doing. */
  older: "idle" | "loading" | "failed" = "idle";
  /** Holes being loaded, or whose loading failed, by their first seq. */
  readonly holes = new Map<number, "loading" | "failed">();
  readonly #room: string;
  readonly #api: Pick<Api, "history">;
  readonly #log: RoomLog;
  readonly #opener: EntryOpener;
  readonly #changed: () => void;

  /** `changed` is called when something was loaded or is being loaded. */
  constructor(room: string, api: Pick<Api, "history">, log: RoomLog, opener: EntryOpener, changed: () => void) {
    this.#room = room;
    this.#api = api;
    this.#log = log;
    this.#opener = opener;
    this.#changed = changed;
  }

  /** Loads the page before the oldest loaded entry. Rejects with `ApiError`. */
  async loadOlder(): Promise<void> {
    const { oldest } = this.#log;
    if (oldest === undefined || this.#log.complete || this.older === "loading") return;
    this.older = "loading";
    this.#changed();
    try {
      await this.#load(oldest, PAGE);
      this.older = "idle";
    } catch (error) {
      this.older = "failed";
      throw error;
    } finally {
      this.#changed();
    }
  }

  /** Loads the newest part of a hole. Rejects with `ApiError`. */
  async loadHole({ from, to }: Hole): Promise<void> {
    if (this.holes.get(from) === "loading") return;
    this.holes.set(from, "loading");
    this.#changed();
    try {
      await this.#load(to + 1, Math.min(HISTORY_PAGE_MAX, to - from + 1));
      this.holes.delete(from);
    } catch (error) {
      this.holes.set(from, "failed");
      throw error;
    } finally {
      this.#changed();
    }
  }

  async #load(before: number, limit: number): Promise<void> {
    const page = await this.#api.history(this.#room, before, limit);
    const entries = await this.#opener.openAll(page.entries);
    // The log may have been replaced meanwhile; the page is of the old one then.
    if (page.history === this.#log.history) this.#log.insert(entries);
  }
}
