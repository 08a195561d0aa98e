//! A room for tests of what is drawn: a real log, changes and chain, and plain values for what a network would bring.

import { type Content, type LogEntry } from "../log-entry.ts";
import { type Chain, type ChainEntry } from "../chain/chain.ts";
import { type Cause } from "../chain/record.ts";
import { type Step } from "../chain/step.ts";
import { type DeviceKeys } from "../chain/state.ts";
import { mutesOf, type ChainLink } from "../chain-links.ts";
import { EntryType } from "../crypto/envelope.ts";
import { Directory } from "../directory.ts";
import { RoomDrawing } from "../drawing/room-drawing.ts";
import { type OutboxItem } from "../outbox-items.ts";
import { Presence } from "../presence.ts";
import { RoomChanges } from "../room-changes.ts";
import { RoomLog } from "../room-log.ts";
import { type Quoted } from "../room-quotes.ts";
import { type LostMessage, type Room } from "../room.ts";
import { type RoomEnd } from "../store.ts";
import * as chains from "./chains.ts";
import type { Entry, MessageEntry, Role } from "../../view.ts";

const TYPES: Partial<Record<Content["kind"], number>> = {
  epoch_record: EntryType.epochRecord,
  profile: EntryType.profile,
  leave: EntryType.leave,
  edit: EntryType.edit,
  deletion: EntryType.deletion,
  reaction: EntryType.reaction,
  step: EntryType.step,
  pin: EntryType.pin,
};

/** Server time of the entry at `seq`. */
export const timeOf = (seq: number) => 1_000_000 + seq * 1_000;

interface Placed {
  readonly target?: number;
  readonly type?: number;
  readonly hash?: string;
}

/** Begins with the founding record of `chains.meet()`, by whom everybody is known. */
export class DrawnRoom {
  readonly id = "room";
  readonly me: string;
  readonly log = new RoomLog();
  readonly changes = new RoomChanges();
  readonly presence = new Presence();
  readonly directory = new Directory(() => Promise.resolve(undefined));
  readonly record: { name: string; role: Role; readSeq: number; ended?: RoomEnd } = {
    name: "Garden",
    role: "member",
    readSeq: 0,
  };
  readonly keys = {
    missing: false,
    epoch: 0,
    /** The oldest epoch whose key is here. */
    oldest: 0,
    of: (epoch: number) => (epoch >= this.keys.oldest && epoch <= this.keys.epoch ? "a key" : undefined),
  };
  readonly members = {
    present: [] as string[],
    serverRoles: new Map<string, Role>(),
    serverRole: (device: string): Role | undefined => this.members.serverRoles.get(device),
  };
  readonly pages = { holes: new Map<number, "loading" | "failed">(), older: "idle" };
  readonly localNames = new Map<string, string>();
  readonly outbox: { items: OutboxItem[] } = { items: [] };
  readonly noticedAtMs: number[] = [];
  readonly slow = { until: null as number | null, untilMs: () => this.slow.until };
  isStranger = false;
  readonly pins = { seqs: [] as readonly number[] };
  readonly asked: number[] = [];
  readonly quoted = new Map<number, Quoted>();
  readonly quotes = { get: (seq: number) => this.#quote(seq) };
  lost: LostMessage[] = [];
  /** What the chain says. `loaded` false: nothing yet; `adopted`: what begins later than the room. */
  readonly chain = {
    loaded: true,
    adopted: undefined as Chain | undefined,
    get fold(): Chain | undefined {
      return this.loaded ? (this.adopted ?? chains.chain) : undefined;
    },
    get state() {
      return this.fold?.state;
    },
    links: [] as ChainLink[],
    linkAt(seq: number) {
      return this.links.find(({ entry }) => entry.seq === seq);
    },
    get mutes() {
      return mutesOf(this.links);
    },
    founding: chains.founding.hash,
    isContradicted: false,
  };
  readonly draft = { text: "" };
  readonly drawing: RoomDrawing;
  nowMs = timeOf(1_000);

  constructor(me: DeviceKeys) {
    this.me = me.device;
    chains.found();
    this.log.followed({ history: "life", head: 0, from: 1, skipped: false }, undefined);
    this.#link(chains.founding, true);
    Object.defineProperty(this.pins, "seqs", { get: () => this.changes.pinned() });
    this.drawing = new RoomDrawing(this as unknown as Room);
  }

  get room(): Room {
    return this as unknown as Room;
  }

  get ready(): boolean {
    return this.log.newest !== undefined;
  }

  get next(): number {
    return (this.log.newest?.seq ?? 0) + 1;
  }

  #quote(seq: number): Quoted {
    this.asked.push(seq);
    return this.quoted.get(seq) ?? "loading";
  }

  /** An entry as it would come; it is put nowhere. */
  entry(device: string, content: Content, seq: number, placed: Placed = {}): LogEntry {
    const type = placed.type ?? TYPES[content.kind] ?? EntryType.message;
    const instance = chains.hash();
    const header = { type, epoch: chains.chain.epoch, device, instance, counter: 0, targetSeq: placed.target ?? 0 };
    return { seq, hash: placed.hash ?? chains.hash(), atMs: timeOf(seq), envelope: new Uint8Array(), header, content };
  }

  /** Appends an entry; its seq. */
  say({ device }: DeviceKeys, content: Content, placed: Placed = {}): number {
    const entry = this.entry(device, content, this.next, placed);
    if (content.kind === "profile") this.directory.learnName(device, entry.seq, content.name);
    this.#append(entry);
    return entry.seq;
  }

  message(who: DeviceKeys, text: string, more: { replyTo?: number; mentions?: readonly string[] } = {}): number {
    return this.say(who, { kind: "message", text, mentions: [], ...more });
  }

  /** Somebody joins by a name, or takes another one. */
  name(who: DeviceKeys, name: string, joined = true): number {
    if (!this.members.present.includes(who.device)) this.members.present.push(who.device);
    const keys = { signKey: new Uint8Array(32), agreeKey: new Uint8Array(32) };
    return this.say(who, { kind: "profile", name, joined, keys });
  }

  react(who: DeviceKeys, target: number, emoji: string, on = true): number {
    return this.say(who, { kind: "reaction", emoji, on }, { target });
  }

  edit(who: DeviceKeys, target: number, text: string, mentions: readonly string[] = []): number {
    return this.say(who, { kind: "edit", text, mentions }, { target });
  }

  delete(who: DeviceKeys, target: number): number {
    return this.say(who, { kind: "deletion" }, { target });
  }

  pin(who: DeviceKeys, target: number, on = true): number {
    return this.say(who, { kind: "pin", on }, { target });
  }

  /** A message of which only header and hash are left. */
  tombstone(who: DeviceKeys): number {
    return this.say(who, { kind: "erased" });
  }

  /** A step; whether it counted is for the chain to say. */
  step(signer: DeviceKeys, step: Step): number {
    const entry = chains.stepEntry(signer, step, { seq: this.next });
    return this.#link(entry, chains.chain.apply(entry).kind === "applied");
  }

  /** A new epoch; `sentAtMs` is the time of whoever makes it. */
  begin(signer: DeviceKeys, cause: Cause, sentAtMs = 2_000, recovery?: DeviceKeys): number {
    const entry = chains.nextRecord(signer, cause, { seq: this.next, sentAtMs }, undefined, recovery);
    return this.#link(entry, chains.chain.apply(entry).kind === "applied");
  }

  #link({ seq, hash, header, sentAtMs = 0, content }: ChainEntry, counts: boolean): number {
    const known = { ...header, instance: chains.hash() };
    const entry: LogEntry = {
      seq,
      hash,
      atMs: timeOf(seq),
      envelope: new Uint8Array(),
      header: known,
      sentAtMs,
      content,
    };
    this.chain.links.push({ entry, counts, state: chains.chain.state });
    this.#append(entry);
    return seq;
  }

  #append(entry: LogEntry): void {
    this.log.append(entry);
    this.changes.note(entry);
  }

  /** Puts something of mine on its way. */
  pending(type: number, body: string, more: Partial<OutboxItem> = {}): OutboxItem {
    const local = `local ${this.outbox.items.length}`;
    const item: OutboxItem = { local, type, target: 0, body, writtenAtMs: this.nowMs, state: "waiting", ...more };
    this.outbox.items = [...this.outbox.items, item];
    return item;
  }

  entries(): readonly Entry[] {
    this.drawing.refresh(this.nowMs);
    return this.drawing.entries();
  }

  at(seq: number): Entry | undefined {
    return this.entries().find((entry) => "seq" in entry && entry.seq === seq);
  }

  /** The message at `seq`, which must be one. */
  shown(seq: number): MessageEntry {
    const entry = this.at(seq);
    if (entry?.kind !== "message") throw new Error(`no message at ${seq}`);
    return entry;
  }

  /** What is drawn beside the entries, as it is now. */
  now(): RoomDrawing {
    this.drawing.refresh(this.nowMs);
    return this.drawing;
  }
}
