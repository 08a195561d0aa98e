//! The parts of a log that are not for this device: what was closed to newcomers, and what came after a key it was not given.

import { type LogEntry } from "../log-entry.ts";
import { type Room } from "../room.ts";

/** Whether an entry that could not be read was not meant to be. The room says so as a whole; a line for each says nothing. */
export function isClosed({ chain: { fold }, keys }: Room, { header, seq }: LogEntry): boolean {
  if (fold === undefined || header === undefined || keys.of(header.epoch) !== undefined) return false;
  // Where the chain has been followed, a header that names another epoch hides nothing.
  if (seq < fold.beginsAt) return true;
  // The record itself, which no key here opens, has a place in the chain.
  return keys.missing && (seq > fold.newest.seq || header.epoch > fold.epoch);
}

/** Whether nothing older is for this device to read: the log begins there, or what newcomers may read does. */
export function isComplete({ chain: { fold }, log }: Room): boolean {
  const closedBefore = (fold?.state.historyFrom ?? 0) > 0 ? (fold?.beginsAt ?? 1) : 1;
  return log.complete || (log.oldest ?? Infinity) <= closedBefore;
}
