//! From a room to what the page shows of it. Facts only; nothing is changed here.

import { messageText } from "./bodies.ts";
import { fingerprint } from "./crypto/device.ts";
import { EntryType } from "./crypto/envelope.ts";
import { likeness } from "./names.ts";
import { type OutboxItem } from "./outbox.ts";
import { type LogEntry } from "./room-log.ts";
import { type Room } from "./room.ts";
import { type Entry, type MemberView, type MessageEntry, type ViolationView } from "../view.ts";

/** Draws one room. Keeps what it made, so that what has not changed stays the same object. */
export class Timeline {
  readonly #room: Room;
  #drawn = new WeakMap<LogEntry, Entry>();
  #pending = new Map<string, MessageEntry>();
  /** Devices by the likeness of each name they have or had. */
  #alike = new Map<string, Set<string>>();

  constructor(room: Room) {
    this.#room = room;
  }

  get room(): Room {
    return this.#room;
  }

  /** Everything in seq order, then what is not acknowledged yet in the order written, then what was lost. */
  entries(): Entry[] {
    this.#gatherNames();
    const { log, outbox, lost } = this.#room;
    const holes = new Map(log.holes.map((hole) => [hole.from, hole]));
    const entries: Entry[] = [];
    for (const run of log.runs) {
      for (const entry of run.entries) {
        const drawn = this.#draw(entry);
        if (drawn !== undefined) entries.push(drawn);
      }
      const hole = holes.get(run.to + 1);
      if (hole === undefined) continue;
      const state = this.#room.pages.holes.get(hole.from) ?? "idle";
      entries.push({ kind: "hole", key: `hole ${hole.from}`, from: hole.from, to: hole.to, state });
    }
    for (const { key, atMs, text } of lost) entries.push({ kind: "lost", key, atMs, text });
    for (const item of outbox.items) {
      const drawn = this.#drawPending(item);
      if (drawn !== undefined) entries.push(drawn);
    }
    return entries;
  }

  members(): MemberView[] {
    this.#gatherNames();
    const members: MemberView[] = [];
    for (const { device, role, state } of this.#room.members.values()) {
      if (state === "left") continue;
      const name = this.#nameOf(device, this.#room.directory.newestName(device));
      const nameShared = this.#isShared(device, name);
      const me = device === this.#room.me;
      const here = this.#room.presence.isHere(device);
      members.push({ device, name, fingerprint: fingerprint(device), nameShared, me, role, here });
    }
    return members.sort((a, b) => a.name.localeCompare(b.name) || (a.device < b.device ? -1 : 1));
  }

  typing(nowMs: number): string[] {
    const devices = this.#room.presence.typingAt(nowMs);
    return devices.map((device) => this.#nameOf(device, this.#room.directory.newestName(device)));
  }

  violations(): ViolationView[] {
    const { log, noticedAtMs } = this.#room;
    return log.violations.map(({ code, seq }, index) => ({ code, seq, noticedAtMs: noticedAtMs[index] ?? 0 }));
  }

  /** Messages of others that have not been seen, loaded or not. */
  unread(): number {
    const { log, record, me } = this.#room;
    const run = log.runs.at(-1);
    if (run === undefined) return 0;
    let unread = Math.max(0, run.from - 1 - record.readSeq);
    for (let index = run.entries.length - 1; index >= 0; index--) {
      const entry = run.entries[index];
      if (entry === undefined || entry.seq <= record.readSeq) break;
      if (entry.content.kind === "message" && entry.stream?.device !== me) unread++;
    }
    return unread;
  }

  #draw(entry: LogEntry): Entry | undefined {
    const drawn = this.#describe(entry);
    if (drawn === undefined) return undefined;
    const before = this.#drawn.get(entry);
    if (before !== undefined && isSame(before, drawn)) return before;
    this.#drawn.set(entry, drawn);
    return drawn;
  }

  #describe(entry: LogEntry): Entry | undefined {
    const { seq, atMs, content } = entry;
    const place = { key: this.#room.localNames.get(entry.hash) ?? entry.hash, seq, atMs };
    if (content.kind === "epoch_record") return undefined;
    if (content.kind === "unreadable" || content.kind === "erased") return { kind: "unreadable", ...place };
    const device = entry.stream?.device ?? "";
    const authorName = this.#nameOf(device, this.#room.directory.nameAt(device, seq));
    const shared = this.#isShared(device, authorName) ? fingerprint(device) : null;
    const by = { ...place, author: device, authorName, fingerprint: shared };
    if (content.kind === "message") {
      const mine = device === this.#room.me;
      return { kind: "message", ...by, mine, text: content.text, state: "sent", problem: null };
    }
    if (content.kind === "leave") return { kind: "notice", ...by, what: "left", previousName: null };
    if (content.joined) return { kind: "notice", ...by, what: "joined", previousName: null };
    const previousName = this.#room.directory.nameBefore(device, seq) ?? null;
    return previousName === content.name ? undefined : { kind: "notice", ...by, what: "renamed", previousName };
  }

  #drawPending(item: OutboxItem): MessageEntry | undefined {
    if (item.type !== EntryType.message || this.#isInLog(item)) return undefined;
    const device = this.#room.me;
    const authorName = this.#nameOf(device, this.#room.directory.newestName(device));
    const failed = item.state === "failed";
    const drawn: MessageEntry = {
      kind: "message",
      key: item.local,
      seq: item.state === "acknowledged" ? (item.seq ?? null) : null,
      atMs: item.writtenAtMs,
      author: device,
      authorName,
      fingerprint: this.#isShared(device, authorName) ? fingerprint(device) : null,
      mine: true,
      text: messageText(item.body),
      state: failed ? "failed" : item.state === "acknowledged" ? "sent" : "sending",
      problem: failed ? { code: item.failure ?? "unexpected" } : null,
    };
    const before = this.#pending.get(item.local);
    if (before !== undefined && before.problem?.code === drawn.problem?.code) {
      if (isSame(before, { ...drawn, problem: before.problem })) return before;
    }
    this.#pending.set(item.local, drawn);
    return drawn;
  }

  /** It has come back by the log before, or at the same time as, its acknowledgement. */
  #isInLog(item: OutboxItem): boolean {
    const { log } = this.#room;
    if (item.hash === undefined) return false;
    if (item.seq !== undefined) return log.at(item.seq)?.hash === item.hash || item.seq <= (log.newest?.seq ?? 0);
    const recent = log.runs.at(-1)?.entries ?? [];
    return recent.slice(-RECENT).some(({ hash }) => hash === item.hash);
  }

  #nameOf(device: string, name: string | undefined): string {
    return name ?? fingerprint(device);
  }

  #gatherNames(): void {
    this.#alike = new Map();
    for (const [device, name] of this.#room.directory.everyName()) {
      const like = likenessOf(name);
      const devices = this.#alike.get(like) ?? new Set();
      this.#alike.set(like, devices.add(device));
    }
  }

  #isShared(device: string, name: string): boolean {
    const devices = this.#alike.get(likenessOf(name));
    return devices !== undefined && (devices.size > 1 || !devices.has(device));
  }
}

/** An own entry that is not acknowledged yet can only be among so many of the newest. */
const RECENT = 500;

function isSame(a: Entry, b: Entry): boolean {
  const fields = Object.entries(b);
  return fields.every(([field, value]) => (a as unknown as Record<string, unknown>)[field] === value);
}

const likenesses = new Map<string, string>();

function likenessOf(name: string): string {
  let like = likenesses.get(name);
  if (like === undefined) {
    if (likenesses.size > 5_000) likenesses.clear();
    like = likeness(name);
    likenesses.set(name, like);
  }
  return like;
}
