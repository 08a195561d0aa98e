//! Messages that are shown beside others and are not in the loaded part of the log: quoted in replies, or pinned.

import { ApiError } from "./api.ts";
import { type LogEntry } from "./log-entry.ts";

/** Messages kept. What is asked for beyond them is not shown. */
const QUOTES_MAX = 500;
/** Fetched at one time. */
const FETCHES_MAX = 4;

export type Quoted = LogEntry | "loading" | "unavailable";

export interface QuotesWorld {
  /** The log page of this one entry, opened; what was said about it later is noted by the caller. Rejects with `ApiError`. */
  readonly fetch: (seq: number) => Promise<LogEntry | undefined>;
  readonly changed: () => void;
}

export class RoomQuotes {
  readonly #world: QuotesWorld;
  #quotes = new Map<number, Quoted>();
  #waiting: number[] = [];
  #fetching = 0;

  constructor(world: QuotesWorld) {
    this.#world = world;
  }

  /** The entry at `seq`, which is asked for if it is not known. */
  get(seq: number): Quoted {
    const known = this.#quotes.get(seq);
    if (known !== undefined) return known;
    if (this.#quotes.size >= QUOTES_MAX) return "unavailable";
    this.#quotes.set(seq, "loading");
    this.#waiting.push(seq);
    void this.#fetchWaiting();
    return "loading";
  }

  /** What could not be had is asked for again when it is next wanted. */
  retry(): void {
    for (const [seq, quote] of this.#quotes) if (quote === "unavailable") this.#quotes.delete(seq);
  }

  /** The log is of another life. */
  clear(): void {
    this.#quotes.clear();
    this.#waiting = [];
  }

  async #fetchWaiting(): Promise<void> {
    // What is wanted is found out while the page is drawn: nothing of it may change before that is over.
    await Promise.resolve();
    while (this.#fetching < FETCHES_MAX) {
      const seq = this.#waiting.shift();
      if (seq === undefined) return;
      this.#fetching++;
      void this.#fetch(seq);
    }
  }

  async #fetch(seq: number): Promise<void> {
    let quote: Quoted;
    try {
      quote = (await this.#world.fetch(seq)) ?? "unavailable";
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      quote = "unavailable";
    } finally {
      this.#fetching--;
    }
    if (this.#quotes.has(seq)) this.#quotes.set(seq, quote);
    void this.#fetchWaiting();
    this.#world.changed();
  }
}
