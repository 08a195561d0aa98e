//! What is pinned in a room, also where neither the pin nor its message is in the loaded part of the log.

import { ApiError, type Api } from "./api.ts";
import { type EntryOpener } from "./open-entry.ts";
import { type LogEntry } from "./log-entry.ts";
import { type RoomChanges } from "./room-changes.ts";
import { type RoomLog } from "./room-log.ts";
import { type RoomQuotes } from "./room-quotes.ts";

/** Pins shown; the server tells of as many. */
const PINS_SHOWN_MAX = 100;

export interface PinsWorld {
  readonly api: Pick<Api, "pins">;
  readonly log: RoomLog;
  readonly changes: RoomChanges;
  readonly quotes: RoomQuotes;
  readonly opener: EntryOpener;
  /** Takes entries that were opened and are not in the log. */
  readonly note: (entries: readonly LogEntry[]) => void;
  readonly changed: () => void;
}

export class RoomPins {
  readonly #room: string;
  readonly #world: PinsWorld;

  constructor(room: string, world: PinsWorld) {
    this.#room = room;
    this.#world = world;
  }

  /** The pinned messages, the one pinned last first. */
  get seqs(): readonly number[] {
    return this.#world.changes.pinned().slice(0, PINS_SHOWN_MAX);
  }

  /**
   * Fetches the newest pins, and the messages that are not loaded. Failing is no harm: what the log brings counts anyway,
   * and messages are asked for again when they are shown.
   */
  async load(): Promise<void> {
    const { api, log, opener, note, quotes, changed } = this.#world;
    try {
      const page = await api.pins(this.#room);
      const entries = await opener.openAll(page.entries);
      // The log has turned out to be of another life by now: then they are fetched again for it.
      if (log.history !== undefined && log.history !== page.history) return;
      log.compare(entries);
      note(entries);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
    for (const seq of this.seqs) if (log.at(seq) === undefined) quotes.get(seq);
    changed();
  }
}
