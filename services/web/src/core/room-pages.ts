//! Loading older parts of a room's log, page by page.

import { type Api, type LogPage } from "./api.ts";
import { type EntryOpener } from "./open-entry.ts";
import { type LogEntry } from "./log-entry.ts";
import { type Hole, type RoomLog } from "./room-log.ts";
import { HISTORY_PAGE_MAX } from "../protocol.gen.ts";

const PAGE = 100;
/** A page may be shorter than asked for. So many are loaded to reach one message. */
const AROUND_PAGES_MAX = 10;

export interface PagesWorld {
  readonly api: Pick<Api, "history">;
  readonly log: RoomLog;
  readonly opener: EntryOpener;
  /** Takes entries that were opened, those that are not in the log included. */
  readonly note: (entries: readonly LogEntry[]) => void;
  /** Something was loaded or is being loaded. */
  readonly changed: () => void;
}

export class RoomPages {
  /** What loading before the oldest entry is doing. */
  older: "idle" | "loading" | "failed" = "idle";
  /** Holes being loaded, or whose loading failed, by their first seq. */
  readonly holes = new Map<number, "loading" | "failed">();
  readonly #room: string;
  readonly #world: PagesWorld;

  constructor(room: string, world: PagesWorld) {
    this.#room = room;
    this.#world = world;
  }

  /** Loads the page before the oldest loaded entry. Rejects with `ApiError`. */
  async loadOlder(): Promise<void> {
    const { oldest } = this.#world.log;
    if (oldest === undefined || this.#world.log.complete || this.older === "loading") return;
    this.older = "loading";
    this.#world.changed();
    try {
      await this.#load(oldest, PAGE);
      this.older = "idle";
    } catch (error) {
      this.older = "failed";
      throw error;
    } finally {
      this.#world.changed();
    }
  }

  /** Loads the newest part of a hole. Rejects with `ApiError`. */
  async loadHole({ from, to }: Hole): Promise<void> {
    if (this.holes.get(from) === "loading") return;
    this.holes.set(from, "loading");
    this.#world.changed();
    try {
      await this.#load(to + 1, Math.min(HISTORY_PAGE_MAX, to - from + 1));
      this.holes.delete(from);
    } catch (error) {
      this.holes.set(from, "failed");
      throw error;
    } finally {
      this.#world.changed();
    }
  }

  /** Loads what lies around `seq`, if it is not loaded. Rejects with `ApiError`. */
  async loadAround(seq: number): Promise<void> {
    const { log } = this.#world;
    for (let page = 0; page < AROUND_PAGES_MAX && log.at(seq) === undefined; page++) {
      const next = log.runs.find(({ from }) => from > seq);
      const wanted = page === 0 ? seq + PAGE / 2 : Infinity;
      const before = Math.min(wanted, next?.from ?? log.head + 1);
      if (before <= seq) return;
      await this.#load(before, PAGE);
    }
    this.#world.changed();
  }

  /** The entry at `seq` by itself; `undefined` when there is none. It is not put into the log. Rejects with `ApiError`. */
  async one(seq: number): Promise<LogEntry | undefined> {
    const opened = await this.#open(await this.#world.api.history(this.#room, seq + 1, 1));
    return opened?.find((entry) => entry.seq === seq);
  }

  async #load(before: number, limit: number): Promise<void> {
    const entries = await this.#open(await this.#world.api.history(this.#room, before, limit));
    if (entries !== undefined) this.#world.log.insert(entries);
  }

  /** Opens a page's range and notes what was said about it later; `undefined` when the log is of another life by now. */
  async #open(page: LogPage): Promise<LogEntry[] | undefined> {
    const { log, opener, note } = this.#world;
    const opened = await opener.openAll([...page.entries, ...page.about]);
    if (page.history !== log.history) return undefined;
    const about = opened.slice(page.entries.length);
    log.compare(about);
    note(opened);
    return opened.slice(0, page.entries.length);
  }
}
