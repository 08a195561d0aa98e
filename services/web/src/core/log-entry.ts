//! An entry of a room's log as this page holds it: what the server delivered, and what could be read of it.

import { type Body } from "./bodies.ts";
import { type Bytes } from "./bytes.ts";
import { type Header } from "./crypto/envelope.ts";

/** What an entry turned out to be. */
export type Content =
  | Body
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
  /** Absent when it is not of this room or version. Authenticated only where the entry opened. */
  readonly header?: Readonly<Omit<Header, "room">>;
  /** What the sender had seen; only of entries that opened and verified. */
  readonly prev?: Place;
  /** By the sender's clock; only of entries that opened and verified. */
  readonly sentAtMs?: number;
  readonly content: Content;
}

/** Whether the entry opened and its signature verified. */
export function isRead(entry: LogEntry): boolean {
  return entry.content.kind !== "unreadable" && entry.content.kind !== "erased";
}

export type ViolationCode = "counter" | "prev" | "fork" | "substituted" | "dropped" | "epoch" | "authority";

/** Proof that entries were dropped, replayed, reordered or forked, with the envelopes that show it. */
export interface Violation {
  readonly code: ViolationCode;
  readonly seq: number;
  readonly entries: readonly LogEntry[];
  /** The hash that should have been at `seq`, where there is one. */
  readonly expectedHash?: string;
}
