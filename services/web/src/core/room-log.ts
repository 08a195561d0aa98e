//! One room's log as this page holds it: runs of entries without gaps, the holes between them, and the receiver's
//! checks. Pure: no clock, no I/O, no decryption. The same entries in any order and chunking give the same log.

import { b64, fromB64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { type Cursor, type Resync } from "../protocol.gen.ts";

/** What an entry turned out to be. */
export type Content =
  | { readonly kind: "epoch_record" }
  | { readonly kind: "profile"; readonly name: string; readonly joined: boolean }
  | { readonly kind: "message"; readonly text: string }
  | { readonly kind: "leave" }
  /** It did not open or did not verify, or its type is of a later version. */
  | { readonly kind: "unreadable" }
  /** Erased; only header and hash are left. */
  | { readonly kind: "erased" };

/** A place in the log with the hash of the envelope there (base64url of 32 bytes). */
export interface Place {
  readonly seq: number;
  readonly hash: string;
}

export interface LogEntry extends Place {
  /** The server's time of commit. */
  readonly atMs: number;
  readonly envelope: Bytes;
  /** Where the header says it stands in its sender's stream; absent when the header is not of this room or version. */
  readonly stream?: { readonly device: string; readonly instance: string; readonly counter: number };
  /** What the sender had seen; only of entries that opened and verified. */
  readonly prev?: Place;
  readonly content: Content;
}

export type ViolationCode = "counter" | "prev" | "fork" | "substituted" | "dropped";

/** Proof that entries were dropped, replayed, reordered or forked, with the envelopes that show it. */
export interface Violation {
  readonly code: ViolationCode;
  readonly seq: number;
  readonly entries: readonly LogEntry[];
  /** The hash that should have been at `seq`, where there is one. */
  readonly expectedHash?: string;
}

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

interface StreamEnds {
  first: LogEntry;
  firstCounter: number;
  last: LogEntry;
  lastCounter: number;
}

/** Entries without a gap, oldest first. */
interface Run {
  from: number;
  to: number;
  entries: LogEntry[];
  streams: Map<string, StreamEnds>;
}

const NO_HASH = "A".repeat(43);
const CURSOR_HASH_BYTES = 8;

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
    const run = this.#runs.find(({ from, to }) => from <= seq && seq <= to);
    return run?.entries[seq - run.from];
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
      for (const entry of piece) this.#extend(last, entry);
    } else {
      const run: Run = { from: first.seq, to: first.seq - 1, entries: [], streams: new Map() };
      for (const entry of piece) this.#extend(run, entry);
      const at = this.#runs.findIndex(({ from }) => from > run.from);
      const index = at < 0 ? this.#runs.length : at;
      this.#runs.splice(index, 0, run);
      this.#join(index);
      this.#join(index - 1);
    }
    for (const entry of piece) this.#checkPlace(entry);
  }

  #extend(run: Run, entry: LogEntry): void {
    run.entries.push(entry);
    run.to = entry.seq;
    if (entry.stream === undefined) return;
    const { device, instance, counter } = entry.stream;
    const key = `${device} ${instance}`;
    const ends = run.streams.get(key);
    if (ends === undefined) {
      if (run.from === 1 && counter !== 0) this.#violate("counter", entry.seq, [entry]);
      run.streams.set(key, { first: entry, firstCounter: counter, last: entry, lastCounter: counter });
      return;
    }
    if (counter !== ends.lastCounter + 1) this.#violate("counter", entry.seq, [ends.last, entry]);
    if (counter > ends.lastCounter) {
      ends.last = entry;
      ends.lastCounter = counter;
    }
  }

  /** Joins the run at `index` and the next one if they touch. */
  #join(index: number): void {
    const [older, newer] = [this.#runs[index], this.#runs[index + 1]];
    if (older === undefined || newer === undefined || older.to + 1 !== newer.from) return;
    for (const [key, ends] of newer.streams) {
      const before = older.streams.get(key);
      if (before === undefined) {
        if (older.from === 1 && ends.firstCounter !== 0) this.#violate("counter", ends.first.seq, [ends.first]);
        older.streams.set(key, ends);
        continue;
      }
      if (ends.firstCounter !== before.lastCounter + 1) {
        this.#violate("counter", ends.first.seq, [before.last, ends.first]);
      }
      if (ends.lastCounter > before.lastCounter) {
        before.last = ends.last;
        before.lastCounter = ends.lastCounter;
      }
    }
    const joined = { ...older, to: newer.to, entries: older.entries.concat(newer.entries) };
    this.#runs.splice(index, 2, joined);
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

  #violate(code: ViolationCode, seq: number, entries: readonly LogEntry[], expectedHash?: string): void {
    if (this.#violations.some((known) => known.code === code && known.seq === seq)) return;
    const violation = { code, seq, entries, ...(expectedHash === undefined ? {} : { expectedHash }) };
    this.#violations = [...this.#violations, violation];
  }
}
