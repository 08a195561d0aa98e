//! From the socket into the log: keeps the order in which things came in while entries are being decrypted.

import { type EntryOpener } from "./open-entry.ts";
import { type RawEntry } from "./frames.ts";
import { type LogEntry } from "./log-entry.ts";
import { type RoomLog } from "./room-log.ts";
import { type Cursor, type ServerFrame } from "../protocol.gen.ts";

export type FollowedFrame = Extract<ServerFrame, { type: "followed" }>;

/** Entries decrypted in one go. */
const BATCH_MAX = 200;
/** Follows of sockets that were lost are never answered; they are forgotten after so many more requests. */
const FOLLOWS_KEPT = 10_000;

/** Whom the feed feeds, in the order things came in. */
export interface FeedEvents {
  readonly followed: (frame: FollowedFrame, cursor: Cursor | undefined) => void;
  readonly entries: (entries: readonly LogEntry[]) => void;
  /** Whether a key must be received before this entry and those after it can be opened. */
  readonly mustReceive: (raw: RawEntry) => boolean;
  /** Receives it, or gives up within a limit; what came before has been applied. */
  readonly receive: (raw: RawEntry) => Promise<void>;
}

export class RoomFeed {
  readonly #log: RoomLog;
  readonly #opener: EntryOpener;
  readonly #events: FeedEvents;
  #follows = new Map<number, Cursor | undefined>();
  #incoming: ({ followed: FollowedFrame; cursor: Cursor | undefined } | { entry: RawEntry })[] = [];
  #draining = false;

  constructor(log: RoomLog, opener: EntryOpener, events: FeedEvents) {
    this.#log = log;
    this.#opener = opener;
    this.#events = events;
  }

  /** The cursor to follow from, for the request `id`. */
  follow(id: number): Cursor | undefined {
    const { cursor } = this.#log;
    this.#log.following();
    this.#follows.set(id, cursor);
    for (const old of this.#follows.keys()) if (old < id - FOLLOWS_KEPT) this.#follows.delete(old);
    return cursor;
  }

  /** Takes the answer to a follow; `false` when it was not asked for. */
  followed(frame: FollowedFrame): boolean {
    if (!this.#follows.has(frame.id)) return false;
    const cursor = this.#follows.get(frame.id);
    this.#follows.delete(frame.id);
    this.#incoming.push({ followed: frame, cursor });
    void this.#drain();
    return true;
  }

  /** A follow was refused; `false` when the request was none. */
  refused(id: number): boolean {
    return this.#follows.delete(id);
  }

  entry(entry: RawEntry): void {
    this.#incoming.push({ entry });
    void this.#drain();
  }

  async #drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    while (this.#incoming.length > 0) {
      const [first] = this.#incoming;
      if (first !== undefined && "followed" in first) {
        this.#incoming.shift();
        this.#events.followed(first.followed, first.cursor);
      } else {
        if (first !== undefined && this.#events.mustReceive(first.entry)) await this.#events.receive(first.entry);
        this.#events.entries(await this.#opener.openAll(this.#nextEntries()));
      }
    }
    this.#draining = false;
  }

  #nextEntries(): RawEntry[] {
    const raws: RawEntry[] = [];
    for (const next of this.#incoming) {
      if (!("entry" in next) || raws.length >= BATCH_MAX) break;
      if (raws.length > 0 && this.#events.mustReceive(next.entry)) break;
      raws.push(next.entry);
    }
    this.#incoming.splice(0, raws.length);
    return raws;
  }
}
