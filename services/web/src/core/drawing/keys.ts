//! The keys by which the page knows a room's entries, and what stands behind one.

import { type LogEntry } from "../log-entry.ts";
import { isFailedEdit } from "../room-sending.ts";
import { type Room } from "../room.ts";

/** The key of an entry in the log: an own message keeps the one it had on its way. */
export function keyOf(room: Pick<Room, "localNames">, { hash }: Pick<LogEntry, "hash">): string {
  return room.localNames.get(hash) ?? hash;
}

/**
 * What is to be sent again, or taken away, when the page says so of the entry with this key: a message in the log fails by its
 * refused edit, whose name in the outbox is another one.
 */
export function failedKey(room: Pick<Room, "localNames" | "log" | "outbox">, key: string): string {
  const edit = room.outbox.items.findLast((item) => {
    const message = isFailedEdit(item) ? room.log.at(item.target) : undefined;
    return message !== undefined && keyOf(room, message) === key;
  });
  return edit?.local ?? key;
}
