//! Pages of a room's log as the server answers with them.

import { fromB64 } from "./base64url.ts";
import { splitLogPage, type RawEntry } from "./frames.ts";
import { type LogPageHead } from "../protocol.gen.ts";

/** A page of a room's log. */
export interface LogPage extends LogPageHead {
  /** The range `from..=to`, ascending, without gaps. */
  readonly entries: readonly RawEntry[];
  /** Later entries about one of the range, ascending. */
  readonly about: readonly RawEntry[];
}

/** A page of entries of some kinds only. */
export interface SparsePage extends LogPageHead {
  /** Ascending. */
  readonly entries: readonly RawEntry[];
}

/** Reads a page that ends before `before`. Throws on what is not one. */
export function logPage(bytes: Uint8Array, before: number): LogPage {
  const { head, entries } = pageOf(bytes);
  const count = Math.max(0, head.to - head.from + 1);
  const range = entries.slice(0, count);
  const about = entries.slice(count);
  const gapless = range.length === count && range.every(({ seq }, index) => seq === head.from + index);
  if (!gapless || (count > 0 && (head.from < 1 || head.to !== before - 1))) throw new TypeError("not a page");
  if (!ascends(about) || about.some(({ seq }) => seq <= head.to)) throw new TypeError("not a page");
  return { ...head, entries: range, about };
}

/** Reads a page of some entries, all before `before`. Throws on what is not one. */
export function sparsePage(bytes: Uint8Array, before: number): SparsePage {
  const { head, entries } = pageOf(bytes);
  if (!ascends(entries) || entries.some(({ seq }) => seq < 1 || seq >= before)) throw new TypeError("not a page");
  return { ...head, entries };
}

function pageOf(bytes: Uint8Array): { head: LogPageHead; entries: RawEntry[] } {
  const { head: json, entries } = splitLogPage(bytes);
  const head = json as LogPageHead;
  fromB64(head.history, 16);
  if (![head.head, head.from, head.to].every(Number.isSafeInteger)) throw new TypeError("not a page");
  return { head, entries };
}

function ascends(entries: readonly RawEntry[]): boolean {
  return entries.every(({ seq }, index) => index === 0 || seq > (entries[index - 1]?.seq ?? 0));
}
