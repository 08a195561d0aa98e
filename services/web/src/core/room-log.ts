//! One room's log as this page holds it: runs of entries without gaps, the holes between them, and the receiver's
//! checks. Pure: no clock, no I/O, no decryption. The same entries in any order and chunking give the same log.

import { b64, fromB64 } from "./base64url.ts";
import { type LogEntry, type Place, type Violation, type ViolationCode } from "./log-entry.ts";
import { Run } from "./log-run.ts";
import { type Cursor, type Resync } from "../protocol.gen.ts";

export interface Hole {
  readonly from: number;
  readonly to: number;
}

/** How a server answered a follow. */
export interface Followed {
  readonly history: string;
  readonly head: number;
  readonly from: number;
  readonly skipped: boolean;
  readonly resync?: Resync;
}

const NO_HASH = "A".repeat(43);
const CURSOR_HASH_BYTES = 8;
/** Violations kept; the first ones show how it began. */
const VIOLATIONS_MAX = 500;

function shortHash(hash: string): string {
  return b64(fromB64(hash).subarray(0, CURSOR_HASH_BYTES));
}

export class RoomLog {
  #history: string | undefined;
  #runs: Run[] = [];
  /** Where the run that reaches the live edge begins or goes on. */
  #liveFrom = Infinity;
  #head = 0;
  /** prev checks that wait for the entry at the key to be loaded. */
  #pending = new Map<number, { by: LogEntry; hash: string }[]>();
  #acknowledged = new Map<number, string>();
  #promised: number[] = [];
  #remembered: Cursor | undefined;
  #violations: Violation[] = [];

  get history(): string | undefined {
    return this.#history;
  }

  /** Loaded runs, oldest first. */
  get runs(): readonly { readonly from: number; readonly to: number; readonly entries: readonly LogEntry[] }[] {
    return this.#runs;
  }

  get violations(): readonly Violation[] {
    return this.#violations;
  }

  /** Whether nothing older than what is loaded exists. */
  get complete(): boolean {
    return this.#runs[0]?.from === 1;
  }

  /** The oldest loaded seq; `undefined` when nothing is loaded. */
  get oldest(): number | undefined {
    return this.#runs[0]?.from;
  }

  /** The largest seq known to exist. */
  get head(): number {
    return Math.max(this.#head, this.#runs.at(-1)?.to ?? 0);
  }

  /** What lies between loaded runs, oldest first. */
  get holes(): Hole[] {
    const holes: Hole[] = [];
    let before: Run | undefined;
    for (const run of this.#runs) {
      if (before !== undefined) holes.push({ from: before.to + 1, to: run.from - 1 });
      before = run;
    }
    if (before !== undefined && before.to + 1 < this.#liveFrom && this.#liveFrom !== Infinity) {
      holes.push({ from: before.to + 1, to: this.#liveFrom - 1 });
    }
    return holes;
  }

  /** The newest entry of the run that reaches the live edge: what a new envelope's `prev` names. */
  get newest(): Place | undefined {
    const last = this.#runs.at(-1);
    if (last === undefined || last.to + 1 < this.#liveFrom) return undefined;
    return last.entries.at(-1);
  }

  /** Whether everything up to the head that the server told of has arrived. */
  get caughtUp(): boolean {
    return this.newest !== undefined && (this.#runs.at(-1)?.to ?? 0) >= this.#head;
  }

  /** The cursor to follow from, after the newest entry; `undefined` when there is none. */
  get cursor(): Cursor | undefined {
    const newest = this.#runs.at(-1)?.entries.at(-1);
    if (newest === undefined || this.#history === undefined) return undefined;
    return { history: this.#history, seq: newest.seq, hash: shortHash(newest.hash) };
  }

  /** The loaded entry at `seq`. */
  at(seq: number): LogEntry | undefined {
    return this.#runs.find(({ from, to }) => from <= seq && seq <= to)?.at(seq);
  }

  /** Takes the cursor kept from an earlier visit: in the same history, the same entry must stand there. */
  remember(cursor: Cursor): void {
    this.#remembered = cursor;
  }

  /** Call when a follow is sent: what was acknowledged by now must lie at or below the head of the answer. */
  following(): void {
    this.#promised = [...this.#acknowledged.keys()];
  }

  /**
   * Takes the answer to a follow that was sent with `cursor`. `reset` means that everything held was of another life of
   * the log: it has been dropped and is returned for the caller to look for its own lost messages.
   */
  followed(answer: Followed, cursor: Cursor | undefined): { reset: readonly LogEntry[] } | undefined {
    const other = this.#history !== undefined && this.#history !== answer.history;
    let reset: { reset: readonly LogEntry[] } | undefined;
    if (answer.resync !== undefined || other) {
      reset = { reset: this.#runs.flatMap(({ entries }) => entries) };
      this.#runs = [];
      this.#pending.clear();
      this.#acknowledged.clear();
      this.#remembered = undefined;
    } else {
      if (this.#remembered?.history !== answer.history) this.#remembered = undefined;
      this.#checkHead(answer.head, cursor);
    }
    this.#history = answer.history;
    this.#head = reset === undefined ? Math.max(this.#head, answer.head) : answer.head;
    this.#liveFrom = answer.from;
    return reset;
  }

  /** A server that acknowledged or delivered an entry cannot later have a head below it, unless it says `resync`. */
  #checkHead(head: number, cursor: Cursor | undefined): void {
    if (this.#remembered !== undefined && this.#remembered.seq > head) {
      this.#violate("fork", this.#remembered.seq, []);
    }
    if (cursor !== undefined && cursor.seq > head) {
      const entry = this.at(cursor.seq);
      this.#violate("fork", cursor.seq, entry === undefined ? [] : [entry]);
    }
    for (const seq of this.#promised) {
      const hash = this.#acknowledged.get(seq);
      if (hash === undefined || seq <= head) continue;
      this.#acknowledged.delete(seq);
      this.#violate("dropped", seq, [], hash);
    }
  }

  /** Notes that the room's head is at least `head`, as a heartbeat tells. */
  noteHead(head: number): void {
    this.#head = Math.max(this.#head, head);
  }

  /** Applies the next live entry. An entry that is loaded already changes nothing, if it is the same. */
  append(entry: LogEntry): void {
    const last = this.#runs.at(-1);
    const expected = Math.max((last?.to ?? 0) + 1, this.#liveFrom);
    if (entry.seq > expected && this.#liveFrom !== Infinity) {
      // The server left entries out without saying so. What follows is a run of its own.
      this.#violate("fork", entry.seq, last === undefined ? [entry] : [...last.entries.slice(-1), entry]);
      for (const [seq, hash] of this.#acknowledged) {
        if (seq < expected || seq >= entry.seq) continue;
        this.#acknowledged.delete(seq);
        this.#violate("dropped", seq, [], hash);
      }
      this.#liveFrom = entry.seq;
    }
    this.insert([entry]);
  }

  /** Applies entries whose seqs go up by one, from any place of the log. */
  insert(entries: readonly LogEntry[]): void {
    let piece: LogEntry[] = [];
    for (const entry of entries) {
      const held = this.at(entry.seq);
      if (held === undefined) {
        piece.push(entry);
        continue;
      }
      if (held.hash !== entry.hash) this.#violate("fork", entry.seq, [held, entry]);
      this.#insertPiece(piece);
      piece = [];
    }
    this.#insertPiece(piece);
  }

  /**
   * Compares entries that came another way, such as pins or what was said about a page later, with what is loaded in
   * their places.
   */
  compare(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      const held = this.at(entry.seq);
      if (held !== undefined && held.hash !== entry.hash) this.#violate("fork", entry.seq, [held, entry]);
    }
  }

  /** Something is wrong that the log alone does not show. */
  report(code: "authority" | "fork", seq: number, entries: readonly LogEntry[]): void {
    this.#violate(code, seq, entries);
  }

  /** The server says that this device's envelope is committed at `seq`. It must be found there. */
  acknowledge(seq: number, hash: string): void {
    const held = this.at(seq);
    if (held === undefined) this.#acknowledged.set(seq, hash);
    else if (held.hash !== hash) this.#violate("substituted", seq, [held], hash);
  }

  #insertPiece(piece: readonly LogEntry[]): void {
    const [first] = piece;
    if (first === undefined) return;
    const last = this.#runs.at(-1);
    if (last?.to === first.seq - 1) {
      for (const entry of piece) last.extend(entry, this.#report);
    } else {
      const run = new Run(first.seq);
      for (const entry of piece) run.extend(entry, this.#report);
      const at = this.#runs.findIndex(({ from }) => from > run.from);
      const index = at < 0 ? this.#runs.length : at;
      this.#runs.splice(index, 0, run);
      this.#join(index);
      this.#join(index - 1);
    }
    for (const entry of piece) this.#checkPlace(entry);
  }

  /** Joins the run at `index` and the next one if they touch. */
  #join(index: number): void {
    const [older, newer] = [this.#runs[index], this.#runs[index + 1]];
    if (older === undefined || newer === undefined || older.to + 1 !== newer.from) return;
    older.join(newer, this.#report);
    this.#runs.splice(index + 1, 1);
  }

  /** The checks that concern what stands at one seq: prev, whoever names it as prev, and our own acknowledgement. */
  #checkPlace(entry: LogEntry): void {
    this.#checkPrev(entry);
    if (this.#remembered?.seq === entry.seq && this.#remembered.hash !== shortHash(entry.hash)) {
      this.#violate("fork", entry.seq, [entry], this.#remembered.hash);
    }
    for (const { by, hash } of this.#pending.get(entry.seq) ?? []) {
      if (hash !== entry.hash) this.#violate("prev", by.seq, [entry, by], hash);
    }
    this.#pending.delete(entry.seq);
    const acknowledged = this.#acknowledged.get(entry.seq);
    if (acknowledged !== undefined && acknowledged !== entry.hash) {
      this.#violate("substituted", entry.seq, [entry], acknowledged);
    }
    this.#acknowledged.delete(entry.seq);
  }

  #checkPrev(entry: LogEntry): void {
    const { prev } = entry;
    if (prev === undefined) return;
    const first = entry.seq === 1;
    if (first ? prev.seq !== 0 || prev.hash !== NO_HASH : prev.seq < 1 || prev.seq >= entry.seq) {
      this.#violate("prev", entry.seq, [entry]);
      return;
    }
    if (first) return;
    const held = this.at(prev.seq);
    if (held === undefined) {
      const waiting = this.#pending.get(prev.seq) ?? [];
      waiting.push({ by: entry, hash: prev.hash });
      this.#pending.set(prev.seq, waiting);
    } else if (held.hash !== prev.hash) {
      this.#violate("prev", entry.seq, [held, entry], prev.hash);
    }
  }

  readonly #report = (code: ViolationCode, seq: number, entries: readonly LogEntry[]): void =>
    this.#violate(code, seq, entries);

  #violate(code: ViolationCode, seq: number, entries: readonly LogEntry[], expectedHash?: string): void {
    if (this.#violations.length >= VIOLATIONS_MAX) return;
    if (this.#violations.some((known) => known.code === code && known.seq === seq)) return;
    const violation = { code, seq, entries, ...(expectedHash === undefined ? {} : { expectedHash }) };
    this.#violations = [...this.#violations, violation];
  }
}
