//! A room's messages as the log says they are now: edits, deletions, reactions and pins applied by the rules of who may, and
//! what this device has on its way laid over them. Pure but for asking for messages that are quoted and not loaded.

import { parseTalk, type TalkBody } from "./bodies.ts";
import { EntryType } from "./crypto/envelope.ts";
import { type LogEntry } from "./log-entry.ts";
import { type OutboxItem } from "./outbox-items.ts";
import { type Changes, type RoomChanges } from "./room-changes.ts";
import { type Erasure } from "./room-erasure.ts";

export interface Reacted {
  readonly emoji: string;
  /** In the order they reacted. */
  readonly devices: readonly string[];
}

export type Message =
  | {
      readonly state: "here";
      readonly entry: LogEntry;
      readonly author: string;
      readonly text: string;
      readonly mentions: readonly string[];
      readonly replyTo: number | undefined;
      readonly editedAtMs: number | null;
      readonly reactions: readonly Reacted[];
      readonly pinned: boolean;
      /** My edit of it that was refused; its text is shown. */
      readonly failedEdit: OutboxItem | undefined;
    }
  | { readonly state: "deleted"; readonly entry: LogEntry; readonly author: string; readonly erasure: Erasure };

export interface MessagesWorld {
  readonly me: string;
  readonly changes: RoomChanges;
  /** Whether a deletion by `device` at `seq` of a message by `author` counts; an own one always does. */
  readonly deletionCounts: (device: string, author: string, seq: number) => boolean;
  /** Why a message is gone that nobody deleted by itself; `undefined` when it is not. */
  readonly erasureOf: (entry: LogEntry, author: string) => Erasure | undefined;
  /** What this device has on its way about messages, in the order written and not in the log yet. */
  readonly pending: () => readonly OutboxItem[];
}

export class RoomMessages {
  readonly #world: MessagesWorld;
  #pending = new Map<number, OutboxItem[]>();

  constructor(world: MessagesWorld) {
    this.#world = world;
  }

  /** Takes what is on its way now. Call before a series of `of`. */
  refresh(): void {
    this.#pending.clear();
    for (const item of this.#world.pending()) {
      if (item.target === 0) continue;
      const items = this.#pending.get(item.target) ?? [];
      items.push(item);
      this.#pending.set(item.target, items);
    }
  }

  /** The message in `entry` as it is now; `undefined` when it is none. */
  of(entry: LogEntry): Message | undefined {
    const { content, header } = entry;
    const author = header?.device;
    if (author === undefined || header?.type !== EntryType.message) return undefined;
    const changes = this.#world.changes.about(entry.seq);
    const isMessage = content.kind === "message";
    const deletion = this.#deletion(changes, author);
    const erasure =
      deletion ?? (isMessage || content.kind === "erased" ? this.#world.erasureOf(entry, author) : undefined);
    if (erasure !== undefined) return { state: "deleted", entry, author, erasure };
    if (!isMessage) return undefined;
    const pending = this.#pending.get(entry.seq) ?? [];
    return {
      state: "here",
      entry,
      author,
      replyTo: content.replyTo,
      ...this.#said(content, changes, author, pending),
      reactions: this.#reactions(changes, pending),
      pinned: this.#pinned(changes, pending),
    };
  }

  /** Of several deletions that count, the first. */
  #deletion(changes: Changes | undefined, author: string): Erasure | undefined {
    let first: LogEntry | undefined;
    for (const [seq, entry] of changes?.deletions ?? []) {
      if (entry.header === undefined || (first !== undefined && first.seq < seq)) continue;
      if (this.#world.deletionCounts(entry.header.device, author, seq)) first = entry;
    }
    const by = first?.header?.device;
    if (by === undefined) return undefined;
    return by === author ? { by: "author" } : { by: "admin", device: by };
  }

  #said(
    content: { readonly text: string; readonly mentions: readonly string[] },
    changes: Changes | undefined,
    author: string,
    pending: readonly OutboxItem[],
  ) {
    let { text, mentions } = content;
    let editedAtMs: number | null = null;
    const edit = changes?.edits.get(author);
    if (edit?.content.kind === "edit") {
      ({ text, mentions } = edit.content);
      editedAtMs = edit.atMs;
    }
    const mine = pending.findLast(({ type }) => type === EntryType.edit);
    const body = mine === undefined ? undefined : talkOf(mine);
    if (mine !== undefined && body?.kind === "edit") {
      ({ text, mentions } = body);
      editedAtMs = mine.writtenAtMs;
    }
    return { text, mentions, editedAtMs, failedEdit: mine?.state === "failed" ? mine : undefined };
  }

  #reactions(changes: Changes | undefined, pending: readonly OutboxItem[]): Reacted[] {
    const standing = [...(changes?.reactions.values() ?? [])].sort((a, b) => a.seq - b.seq);
    const reacted = new Map<string, Set<string>>();
    const apply = (device: string, emoji: string, on: boolean) => {
      const devices = reacted.get(emoji) ?? new Set();
      if (on) devices.add(device);
      else devices.delete(device);
      reacted.set(emoji, devices);
    };
    for (const { content, header } of standing) {
      if (content.kind === "reaction" && content.on) apply(header?.device ?? "", content.emoji, true);
    }
    for (const item of pending) {
      const body = talkOf(item);
      if (body?.kind === "reaction" && item.state !== "failed") apply(this.#world.me, body.emoji, body.on);
    }
    return [...reacted].flatMap(([emoji, devices]) => (devices.size === 0 ? [] : [{ emoji, devices: [...devices] }]));
  }

  #pinned(changes: Changes | undefined, pending: readonly OutboxItem[]): boolean {
    const mine = pending.findLast(({ type, state }) => type === EntryType.pin && state !== "failed");
    const body = mine === undefined ? changes?.pin?.content : talkOf(mine);
    return body?.kind === "pin" && body.on;
  }
}

/** What an item of the outbox says; `undefined` when its body could not be opened. */
export function talkOf(item: OutboxItem): TalkBody | undefined {
  try {
    return parseTalk(item.type, item.body);
  } catch {
    return undefined;
  }
}
