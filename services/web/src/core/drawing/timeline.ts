//! A room's entries as the page shows them. What has not changed stays the same object, so that it is not drawn again.

import { EntryType } from "../crypto/envelope.ts";
import { isRead, type LogEntry } from "../log-entry.ts";
import { type Room } from "../room.ts";
import { same } from "../same.ts";
import { drawAdmin } from "./admin.ts";
import { isClosed } from "./closed.ts";
import { keyOf } from "./keys.ts";
import { type Messages } from "./messages.ts";
import { type Names } from "./names.ts";
import { drawNotice } from "./notices.ts";
import { type Rights } from "./rights.ts";
import type { Entry } from "../../view.ts";

/** What leaves no more than a header behind when the message it is about is erased. */
const ABOUT_MESSAGES: ReadonlySet<number> = new Set([
  EntryType.edit,
  EntryType.deletion,
  EntryType.reaction,
  EntryType.pin,
]);

export class Timeline {
  readonly #room: Room;
  readonly #names: Names;
  readonly #messages: Messages;
  /** What was drawn last, by key. */
  #drawn = new Map<string, Entry>();

  constructor(room: Room, names: Names, messages: Messages) {
    this.#room = room;
    this.#names = names;
    this.#messages = messages;
  }

  /** Everything in seq order, then what was lost, then what is not acknowledged yet in the order written. */
  entries(rights: Rights): readonly Entry[] {
    const before = this.#drawn;
    this.#drawn = new Map();
    for (const entry of this.#drawAll(rights)) {
      // An envelope that was replayed stands at two places. Both are shown, and found to be wrong by the log.
      const key = this.#drawn.has(entry.key) ? `${entry.key} ${"seq" in entry ? entry.seq : ""}` : entry.key;
      const named = key === entry.key ? entry : { ...entry, key };
      const known = before.get(key);
      this.#drawn.set(key, known !== undefined && same(known, named) ? known : named);
    }
    return [...this.#drawn.values()];
  }

  *#drawAll(rights: Rights): Iterable<Entry> {
    const { log, lost, pages } = this.#room;
    const holes = new Map(log.holes.map((hole) => [hole.from, hole]));
    for (const run of log.runs) {
      for (const entry of run.entries) {
        const drawn = this.#draw(entry, rights);
        if (drawn !== undefined) yield drawn;
      }
      const hole = holes.get(run.to + 1);
      if (hole === undefined) continue;
      const state = pages.holes.get(hole.from) ?? "idle";
      yield { kind: "hole", key: `hole ${hole.from}`, from: hole.from, to: hole.to, state };
    }
    for (const { key, atMs, text } of lost) yield { kind: "lost", key, atMs, text };
    for (const item of this.#messages.pending) {
      const drawn = this.#messages.drawPending(item);
      if (drawn !== undefined) yield drawn;
    }
  }

  #draw(entry: LogEntry, rights: Rights): Entry | undefined {
    const { seq, atMs, content, header } = entry;
    const key = keyOf(this.#room, entry);
    const message = this.#messages.draw(entry, key, rights);
    if (message !== undefined) return message;
    const link = this.#linkOf(entry);
    if (link !== undefined) return isFounding(link.entry) ? undefined : drawAdmin(link, key, this.#names);
    if (isRead(entry)) return drawNotice(entry, key, this.#names);
    if (content.kind === "erased" && header !== undefined && ABOUT_MESSAGES.has(header.type)) return undefined;
    if (isClosed(this.#room, entry)) return undefined;
    return { kind: "unreadable", key, seq, atMs };
  }

  /** What became of a chain entry. Its key may have been found only after this place of the log was loaded. */
  #linkOf(entry: LogEntry) {
    const link = this.#room.chain.linkAt(entry.seq);
    return link !== undefined && link.entry.hash === entry.hash && isRead(link.entry) ? link : undefined;
  }
}

function isFounding({ content }: LogEntry): boolean {
  return content.kind === "epoch_record" && content.record.cause.type === "created";
}
