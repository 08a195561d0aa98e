/** Where one is in a log: what is new, how far one has read, and on which side of the list rows came in. */

import type { Entry, MessageEntry } from "../../view.ts";
import type { Row } from "./arrange.ts";

/** The largest seq in `entries`, 0 for none. What is not acknowledged has none and stands at the end. */
export function newestSeq(entries: readonly Entry[]): number {
  for (let index = entries.length - 1; index >= 0; index -= 1) {
    const entry = entries[index];
    if (entry === undefined || entry.kind === "lost") continue;
    const seq = entry.kind === "hole" ? entry.to : entry.seq;
    if (seq !== null) return seq;
  }
  return 0;
}

/** How many messages of others came after `seq`. */
export function countNew(entries: readonly Entry[], seq: number): number {
  let count = 0;
  for (let index = entries.length - 1; index >= 0; index -= 1) {
    const entry = entries[index];
    if (entry?.kind === "hole" && entry.to <= seq) break;
    if (entry?.kind !== "message" || entry.seq === null) continue;
    if (entry.seq <= seq) break;
    if (!entry.mine) count += 1;
  }
  return count;
}

/** The newest seq that a row shows; null if it shows none. */
export function seqOf(row: Row | undefined): number | null {
  switch (row?.kind) {
    case "message":
      return row.message.seq;
    case "notices":
      return row.notices.at(-1)?.seq ?? null;
    case "deleted":
      return row.entries.at(-1)?.seq ?? null;
    case "unreadable":
      return row.entry.seq;
    default:
      return null;
  }
}

/** Where `seq` is shown; -1 if it is not. */
export function rowWith(rows: readonly Row[], seq: number): number {
  return rows.findIndex((row) => {
    if (row.kind === "message") return row.message.seq === seq;
    if (row.kind === "deleted") return row.entries.some((entry) => entry.seq === seq);
    if (row.kind === "notices") return row.notices.some((entry) => entry.seq === seq);
    return row.kind === "unreadable" && row.entry.seq === seq;
  });
}

/** What only separates rows says nothing that one could do something with. */
const canFocus = (row: Row) => !["day", "unread", "beginning"].includes(row.kind);

/** Where a key leads from the row at `from`; null beyond the ends, and undefined if it is none of these keys. */
export function rowByKey(rows: readonly Row[], from: number, key: string): number | null | undefined {
  const up = (before: number) => rows.findLastIndex((row, index) => index < before && canFocus(row));
  const down = (after: number) => rows.findIndex((row, index) => index > after && canFocus(row));
  const targets: Record<string, () => number> = {
    ArrowUp: () => up(from),
    ArrowDown: () => down(from),
    Home: () => down(-1),
    End: () => up(rows.length),
  };
  const found = targets[key]?.();
  return found === -1 ? null : found;
}

/** The newest message that I may edit. */
export function lastEditable(entries: readonly Entry[]): MessageEntry | null {
  const found = entries.findLast(
    (entry) => entry.kind === "message" && entry.mine && entry.may.edit && entry.seq !== null,
  );
  return found?.kind === "message" ? found : null;
}

export interface Change {
  /** The rows to show first: what came in above, and nothing of what came in below. Null if nothing came in above. */
  readonly above: readonly Row[] | null;
  readonly below: boolean;
}

/** Rows that are made by what surrounds them come and go with it, so they do not tell where something was added. */
const isAnchor = (row: Row) => row.kind === "message" || row.kind === "unreadable" || row.kind === "lost";

export function followChange(before: readonly Row[], after: readonly Row[]): Change {
  const first = before.find(isAnchor);
  const last = before.findLast(isAnchor);
  if (first === undefined || last === undefined) return { above: null, below: after.length > before.length };
  const firstNow = after.findIndex((row) => row.key === first.key);
  const lastNow = after.findLastIndex((row) => row.key === last.key);
  const grewAbove = firstNow > before.indexOf(first);
  // What stood behind the last anchor (a notice, say) is still there in its place.
  const end = lastNow === -1 ? after.length : Math.min(after.length, lastNow + before.length - before.indexOf(last));
  const below = after.length > end || lastNow === -1;
  return { above: grewAbove ? after.slice(0, end) : null, below };
}
