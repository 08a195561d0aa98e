//! A stretch of a log without gaps, with what must go up in it.

import { type LogEntry, type ViolationCode } from "./log-entry.ts";
import { CounterTrack, EpochTrack } from "./log-tracks.ts";

export type Report = (code: ViolationCode, seq: number, entries: readonly LogEntry[]) => void;

export class Run {
  readonly from: number;
  #entries: LogEntry[] = [];
  #counters = new Map<string, CounterTrack>();
  #epochs = new EpochTrack();

  constructor(from: number) {
    this.from = from;
  }

  /** Oldest first. */
  get entries(): readonly LogEntry[] {
    return this.#entries;
  }

  get to(): number {
    return this.from + this.#entries.length - 1;
  }

  at(seq: number): LogEntry | undefined {
    return this.#entries[seq - this.from];
  }

  /** Appends the entry after the newest one. */
  extend(entry: LogEntry, report: Report): void {
    this.#entries.push(entry);
    this.#reportAt("epoch", this.#epochs.join(EpochTrack.of(entry)), report);
    if (entry.header === undefined) return;
    const { device, instance, counter } = entry.header;
    this.#reportAt("counter", this.#track(`${device} ${instance}`).join(CounterTrack.of(entry, counter)), report);
  }

  /** Appends a run that begins where this one ends. */
  join(later: Run, report: Report): void {
    this.#reportAt("epoch", this.#epochs.join(later.#epochs), report);
    for (const [stream, track] of later.#counters) this.#reportAt("counter", this.#track(stream).join(track), report);
    this.#entries = this.#entries.concat(later.#entries);
  }

  #track(stream: string): CounterTrack {
    let track = this.#counters.get(stream);
    if (track === undefined) {
      track = new CounterTrack(this.from === 1);
      this.#counters.set(stream, track);
    }
    return track;
  }

  #reportAt(code: "counter" | "epoch", shown: readonly LogEntry[] | undefined, report: Report): void {
    const last = shown?.at(-1);
    if (shown !== undefined && last !== undefined) report(code, last.seq, shown);
  }
}
