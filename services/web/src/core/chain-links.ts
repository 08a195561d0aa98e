//! The entries of a chain with what became of each.

import { type RoomState } from "./chain/state.ts";
import { type LogEntry } from "./log-entry.ts";

/** So many pages of the chain are fetched, 200 entries each. */
export const CHAIN_PAGES_MAX = 100;

export interface ChainLink {
  readonly entry: LogEntry;
  /** False: it was not allowed, does not link or does not open, and changed nothing. */
  readonly counts: boolean;
  /** What held after it; `undefined` where that is not known. */
  readonly state: RoomState | undefined;
}

/** What shows that an entry has no place in the chain: itself, and the newest link before it that counted. */
export function chainFault(entry: LogEntry, links: readonly ChainLink[]): readonly LogEntry[] {
  const before = links.findLast((link) => link.counts && link.entry.seq < entry.seq);
  return before === undefined ? [entry] : [before.entry, entry];
}
