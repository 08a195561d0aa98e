//! What must go up inside a run: each sender's counters, and the epoch. Entries that could not be read are counted where
//! they fit and never held against anyone, since their headers are not authenticated.

import { EntryType } from "./crypto/envelope.ts";
import { isRead, type LogEntry } from "./log-entry.ts";

/** One sender's counters in a run. */
export class CounterTrack {
  /** Counters of unreadable entries before the first readable one. */
  #lead: number[] = [];
  #first: LogEntry | undefined;
  #firstCounter = 0;
  /** The counter that comes next, once anything is known. */
  #next: number | undefined;
  /** The newest entry that counted. */
  #last: LogEntry | undefined;

  /** `fromStart`: the run begins at seq 1, so that the first counter must be 0. */
  constructor(fromStart: boolean) {
    if (fromStart) this.#next = 0;
  }

  static of(entry: LogEntry, counter: number): CounterTrack {
    const track = new CounterTrack(false);
    if (entry.content.kind === "unreadable") {
      track.#lead.push(counter);
      return track;
    }
    // A tombstone's counter counts like a readable entry's.
    track.#first = track.#last = entry;
    track.#firstCounter = counter;
    track.#next = counter + 1;
    return track;
  }

  /** Appends what came later. Answers with the entries that show that it does not join. */
  join(later: CounterTrack): readonly LogEntry[] | undefined {
    if (this.#next === undefined) {
      this.#lead.push(...later.#lead);
      this.#first = later.#first;
      this.#firstCounter = later.#firstCounter;
      this.#next = later.#next;
      this.#last = later.#last;
      return undefined;
    }
    for (const counter of later.#lead) if (counter === this.#next) this.#next++;
    if (later.#first === undefined) return undefined;
    const joins = later.#firstCounter === this.#next;
    const shown = this.#last === undefined ? [later.#first] : [this.#last, later.#first];
    // What was repeated does not take the counter back.
    if (this.#first === undefined) this.#firstCounter = later.#firstCounter;
    this.#first ??= later.#first;
    this.#next = Math.max(this.#next, later.#next ?? 0);
    this.#last = later.#last;
    return joins ? undefined : shown;
  }
}

/** The epoch in a run: it stays the same, and goes up by one with each record. */
export class EpochTrack {
  /** Records that could not be read, before the first readable entry and after the last. */
  #before = 0;
  #after = 0;
  #first: LogEntry | undefined;
  #last: LogEntry | undefined;

  static of(entry: LogEntry): EpochTrack {
    const track = new EpochTrack();
    if (isRead(entry)) track.#first = track.#last = entry;
    else if (entry.header?.type === EntryType.epochRecord) track.#before = 1;
    return track;
  }

  /** Appends what came later. Answers with the entries that show that the epochs do not join. */
  join(later: EpochTrack): readonly LogEntry[] | undefined {
    if (this.#last === undefined) {
      this.#before += later.#before;
      this.#after = later.#after;
      this.#first = later.#first;
      this.#last = later.#last;
      return undefined;
    }
    const unread = this.#after + later.#before;
    if (later.#first === undefined) {
      this.#after = unread;
      return undefined;
    }
    const from = this.#last.header?.epoch ?? 0;
    const isRecord = later.#first.content.kind === "epoch_record";
    const to = (later.#first.header?.epoch ?? 0) - (isRecord ? 1 : 0);
    const shown = [this.#last, later.#first];
    this.#after = later.#after;
    this.#last = later.#last;
    return from <= to && to <= from + unread ? undefined : shown;
  }
}
