//! Messages as the page shows them: those in the log, those that were deleted, and own ones on their way.

import { EntryType } from "../crypto/envelope.ts";
import { type LogEntry } from "../log-entry.ts";
import { type OutboxItem } from "../outbox-items.ts";
import { Erasures } from "../room-erasure.ts";
import { RoomMessages, talkOf, type Message, type Reacted } from "../room-messages.ts";
import { type Room } from "../room.ts";
import { mentionsIn } from "./mentions.ts";
import { type Names } from "./names.ts";
import { Quotes } from "./quotes.ts";
import { type Rights } from "./rights.ts";
import type { DeletedEntry, MessageEntry, ReactionView, UnreadableEntry } from "../../view.ts";

/** An own entry that is not acknowledged yet can only be among so many of the newest. */
const RECENT = 500;

const NOTHING = { reply: false, edit: false, delete: false, react: false, pin: false };

export class Messages {
  readonly quotes: Quotes;
  readonly #room: Room;
  readonly #names: Names;
  readonly #messages: RoomMessages;
  #nowMs = 0;
  #erasures = new Erasures([], 0);
  #pending: readonly OutboxItem[] = [];

  constructor(room: Room, names: Names) {
    this.#room = room;
    this.#names = names;
    this.#messages = new RoomMessages({
      me: room.me,
      changes: room.changes,
      // Where it is not known who governed, nothing counts that takes a right.
      deletionCounts: (device, author, seq) =>
        device === author || room.chain.fold?.mayDeleteAt(device, author, seq) === true,
      erasureOf: (entry, author) => this.#erasures.of(entry, author),
      pending: () => this.#pending,
    });
    this.quotes = new Quotes(room, names, (entry) => this.of(entry));
  }

  /** What this device has on its way, without what has come back by the log. */
  get pending(): readonly OutboxItem[] {
    return this.#pending;
  }

  /** Takes what holds now. Call before a series of questions. */
  refresh(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#erasures = new Erasures(this.#room.chain.links, nowMs);
    this.#pending = this.#room.outbox.items.filter((item) => !this.#isInLog(item));
    this.#messages.refresh();
  }

  /** What became of the message in `entry`; `undefined` when it is none. */
  of(entry: LogEntry): Message | undefined {
    return this.#messages.of(entry);
  }

  /** When the next loaded message becomes too old to be kept; `Infinity` if none does. */
  nextAtMs(): number {
    let next = Infinity;
    for (const { entries } of this.#room.log.runs) {
      for (const { content, atMs } of entries) {
        const at = content.kind === "message" ? this.#erasures.reachesAtMs(atMs) : Infinity;
        if (at > this.#nowMs && at < next) next = at;
      }
    }
    return next;
  }

  /** The message in `entry`; `undefined` when it is none. */
  draw(entry: LogEntry, key: string, rights: Rights): MessageEntry | DeletedEntry | UnreadableEntry | undefined {
    const message = this.of(entry);
    if (message === undefined) return undefined;
    return message.state === "here" ? this.#here(message, key, rights) : this.#deleted(message, key);
  }

  #here(message: Extract<Message, { state: "here" }>, key: string, rights: Rights): MessageEntry {
    const { entry, author, text, mentions, failedEdit } = message;
    const { seq, atMs } = entry;
    const mine = author === this.#room.me;
    return {
      kind: "message",
      key,
      seq,
      atMs,
      ...this.#author(author, seq),
      mine,
      text,
      state: failedEdit === undefined ? "sent" : "failed",
      problem: failedEdit === undefined ? null : problemOf(failedEdit),
      editedAtMs: message.editedAtMs,
      replyTo: this.quotes.answeredBy(seq, message.replyTo),
      mentions: mentionsIn(text, mentions, seq, this.#names),
      mentionsMe: !mine && mentions.includes(this.#room.me),
      reactions: message.reactions.map((reacted) => this.#reaction(reacted)),
      pinned: message.pinned,
      may: rights.onMessageBy(author),
    };
  }

  #deleted(message: Extract<Message, { state: "deleted" }>, key: string): DeletedEntry | UnreadableEntry {
    const { entry, author, erasure } = message;
    const { seq, atMs } = entry;
    // The server is blamed only once it is known that nobody in the room asked for it.
    if (erasure.by === "server" && this.#room.chain.fold === undefined) return { kind: "unreadable", key, seq, atMs };
    return {
      kind: "deleted",
      key,
      seq,
      atMs,
      ...this.#author(author, seq),
      mine: author === this.#room.me,
      by: erasure.by,
      byName: erasure.by === "admin" ? this.#names.newest(erasure.device) : null,
    };
  }

  /** An own message that is not in the log yet; `undefined` when the item is something else. */
  drawPending(item: OutboxItem): MessageEntry | undefined {
    const body = item.type === EntryType.message ? talkOf(item) : undefined;
    if (body?.kind !== "message") return undefined;
    const { me } = this.#room;
    const seq = item.state === "acknowledged" ? (item.seq ?? null) : null;
    const authorName = this.#names.newest(me);
    return {
      kind: "message",
      key: item.local,
      seq,
      atMs: item.writtenAtMs,
      author: me,
      authorName,
      fingerprint: this.#names.mark(me, authorName),
      mine: true,
      text: body.text,
      state: item.state === "failed" ? "failed" : item.state === "acknowledged" ? "sent" : "sending",
      problem: item.state === "failed" ? problemOf(item) : null,
      editedAtMs: null,
      replyTo: this.quotes.answeredBy(seq, body.replyTo),
      mentions: mentionsIn(body.text, body.mentions, null, this.#names),
      mentionsMe: false,
      reactions: [],
      pinned: false,
      may: NOTHING,
    };
  }

  #author(device: string, seq: number) {
    const authorName = this.#names.at(device, seq);
    return { author: device, authorName, fingerprint: this.#names.mark(device, authorName) };
  }

  #reaction({ emoji, devices }: Reacted): ReactionView {
    const names = devices.map((device) => this.#names.newest(device));
    return { emoji, names, mine: devices.includes(this.#room.me) };
  }

  /** It has come back by the log before, or at the same time as, its acknowledgement. */
  #isInLog({ hash, seq }: OutboxItem): boolean {
    const { log } = this.#room;
    if (hash === undefined) return false;
    if (seq !== undefined) return log.at(seq)?.hash === hash || seq <= (log.newest?.seq ?? 0);
    const recent = log.runs.at(-1)?.entries ?? [];
    return recent.slice(-RECENT).some((entry) => entry.hash === hash);
  }
}

/** Of an item that failed. One with a hash had been sealed when the room ended, and was not answered. */
function problemOf({ failure, hash }: OutboxItem) {
  return { code: hash === undefined ? (failure ?? ("unexpected" as const)) : ("unanswered" as const) };
}
