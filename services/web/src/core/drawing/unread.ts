//! How much of a room has not been seen.

import { type Room } from "../room.ts";
import { type Messages } from "./messages.ts";

/** Messages of others that have not been seen. Of what is not loaded, every entry counts as one. */
export function unreadCount(room: Room, messages: Messages): number {
  const { log, record, me } = room;
  const run = log.runs.at(-1);
  if (run === undefined) return 0;
  let unread = Math.max(0, run.from - 1 - record.readSeq);
  for (let index = run.entries.length - 1; index >= 0; index--) {
    const entry = run.entries[index];
    if (entry === undefined || entry.seq <= record.readSeq) break;
    if (entry.header?.device !== me && messages.of(entry)?.state === "here") unread++;
  }
  return unread;
}
