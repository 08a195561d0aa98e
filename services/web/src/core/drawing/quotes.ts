//! Messages as others quote them, and the pinned ones.

import { EntryType } from "../crypto/envelope.ts";
import { talkOf, type Message } from "../room-messages.ts";
import { type Room } from "../room.ts";
import { type LogEntry } from "../log-entry.ts";
import { type OutboxItem } from "../outbox-items.ts";
import { type Names } from "./names.ts";
import type { PinView, QuoteView } from "../../view.ts";

export class Quotes {
  readonly #room: Room;
  readonly #names: Names;
  readonly #message: (entry: LogEntry) => Message | undefined;

  /** `message` says what became of an entry; `undefined` when it is no message. */
  constructor(room: Room, names: Names, message: (entry: LogEntry) => Message | undefined) {
    this.#room = room;
    this.#names = names;
    this.#message = message;
  }

  /** The message at `seq`, as the log says it is now. What is not loaded is asked for. */
  at(seq: number): QuoteView {
    const held = this.#room.log.at(seq) ?? this.#room.quotes.get(seq);
    if (typeof held === "string") return { seq, state: held, authorName: "", text: "" };
    const message = this.#message(held);
    if (message === undefined) return unavailable(seq);
    const authorName = this.#names.at(message.author, seq);
    if (message.state === "deleted") return { seq, state: "deleted", authorName, text: "" };
    return { seq, state: "here", authorName, text: message.text };
  }

  /** What the message at `of` answers, which must be older; `of` is null while it is on its way. */
  answeredBy(of: number | null, replyTo: number | undefined): QuoteView | null {
    if (replyTo === undefined) return null;
    return of !== null && replyTo >= of ? unavailable(replyTo) : this.at(replyTo);
  }

  /** The pinned messages, the one pinned last first. `pending` is what this device has on its way. */
  pins(pending: readonly OutboxItem[]): PinView[] {
    const { changes, me, pins: known } = this.#room;
    const pinned = new Map<number, string>();
    for (const seq of known.seqs.toReversed()) pinned.set(seq, changes.about(seq)?.pin?.header?.device ?? "");
    for (const item of pending) {
      const body = item.type === EntryType.pin && item.state !== "failed" ? talkOf(item) : undefined;
      if (body?.kind !== "pin") continue;
      pinned.delete(item.target);
      if (body.on) pinned.set(item.target, me);
    }
    const shown = [...pinned].map(([seq, by]) => ({ seq, byName: this.#names.newest(by), message: this.at(seq) }));
    // A pin ends with its message.
    return shown.filter(({ message }) => message.state !== "deleted").reverse();
  }
}

function unavailable(seq: number): QuoteView {
  return { seq, state: "unavailable", authorName: "", text: "" };
}
