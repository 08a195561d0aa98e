//! A server with one room, for tests: keeps the log, answers calls as the protocol says, and delivers what is appended. What
//! it hands out can be changed, as a hostile one would.

import { type Api, ApiError, type LogPage, type SparsePage } from "../api.ts";
import { b64, fromB64 } from "../base64url.ts";
import { random, type Bytes } from "../bytes.ts";
import { Chain } from "../chain/chain.ts";
import { type Cause } from "../chain/record.ts";
import { stepBody, type Step } from "../chain/step.ts";
import { type Device } from "../crypto/device.ts";
import { EntryType, readHeader, sealEnvelope, type Header } from "../crypto/envelope.ts";
import { createEpochRecord, deviceKeys, sealNextRecord } from "../crypto/epoch-record.ts";
import { hkdfKey } from "../crypto/primitives.ts";
import { sealRoomKey } from "../crypto/sealed-key.ts";
import { Directory } from "../directory.ts";
import { type RawEntry } from "../frames.ts";
import { type LogEntry } from "../log-entry.ts";
import { EntryOpener } from "../open-entry.ts";
import { type Answer } from "../outbox-world.ts";
import { type Entry, type ErrorCode, type Member, type MemberState, type Role } from "../../protocol.gen.ts";

/** Somebody who writes into the room. */
export interface Author {
  readonly device: Device;
  instance: Bytes;
  counter: number;
}

export function author(device: Device): Author {
  return { device, instance: random(16), counter: 0 };
}

export interface At {
  readonly target?: number;
  readonly epoch?: number;
  readonly previous?: string;
}

export class RoomServer {
  readonly bytes = random(16);
  readonly id = b64(this.bytes);
  history = b64(random(16));
  readonly keys: Bytes[] = [];
  readonly log: LogEntry[] = [];
  readonly sealed = new Map<number, Map<string, string>>();
  /** Whoever listens to the log. */
  readonly listeners = new Set<(raw: RawEntry) => void>();
  /** Changes what calls are answered with, by the name of the call, and what the socket delivers (`live`). */
  tamper: (call: string, entries: readonly RawEntry[]) => readonly RawEntry[] = (_, entries) => entries;
  /** Whether a call gets no answer. */
  down: (call: string) => boolean = () => false;
  /** Who is given other bytes than a new key, sealed as it is. */
  deceived: string | undefined;
  /** What is said to who asks about the keys of an epoch a second time, having got its own. */
  hiding: ErrorCode | undefined;
  /** What an answer waits for once it has been decided. */
  late: (call: string) => Promise<unknown> = () => Promise.resolve();
  /** Refuses an envelope. */
  refuse: (header: Header) => Answer | undefined = () => undefined;
  /** Entries in a page of the chain, whatever is asked for. */
  chainPageMax = Infinity;
  /** The time of commit. */
  atMs = 1_790_000_000_000;
  #chain: Chain | undefined;
  #members = new Map<string, Member>();
  #next = new Map<string, number>();
  #erased = new Set<number>();
  #turn: Promise<unknown> = Promise.resolve();
  #directory = new Directory((device) => {
    const member = this.#members.get(device);
    if (member === undefined) return Promise.resolve(undefined);
    return Promise.resolve({ signKey: fromB64(member.sign_key), agreeKey: fromB64(member.agree_key) });
  });

  static async found(owner: Author, recovery: Device): Promise<RoomServer> {
    const server = new RoomServer();
    server.join(owner.device);
    const key = random(32);
    server.keys.push(key);
    const use = await hkdfKey(key);
    const at = server.atMs;
    await server.append(await createEpochRecord(use, server.bytes, random(16), owner.device, recovery, at));
    return server;
  }

  get chain(): Chain {
    if (this.#chain === undefined) throw new Error("the room has no chain");
    return this.#chain;
  }

  get epoch(): number {
    return this.keys.length - 1;
  }

  get head(): number {
    return this.log.length;
  }

  /** The roles that the server goes by, where they are not the chain's. */
  readonly roles = new Map<string, Role>();

  join(device: Device, state: MemberState = "member"): void {
    const { id, signKey, agreeKey } = device;
    const keys = { device: id, sign_key: b64(signKey), agree_key: b64(agreeKey) };
    this.#members.set(id, { ...keys, role: "member", state, joined_at_ms: 0 });
  }

  /** Members for whom there is no key have left. */
  putOut(keys: ReadonlyMap<string, string>): void {
    for (const [device, member] of this.#members) {
      if (member.state === "member" && !keys.has(device)) this.#members.set(device, { ...member, state: "left" });
    }
  }

  // ---- writing

  /** Seals as an honest member, in the author's stream. */
  async seal(by: Author, type: number, body: string, at: At = {}): Promise<Bytes> {
    const epoch = at.epoch ?? this.epoch;
    const key = await hkdfKey(this.keys[epoch] ?? random(32));
    const isChain = type === EntryType.step;
    const last = this.log.at(-1);
    return sealEnvelope(key, {
      type,
      room: this.bytes,
      epoch,
      device: by.device,
      deviceBytes: fromB64(by.device.id),
      instance: isChain ? random(16) : by.instance,
      counter: isChain ? 0 : by.counter++,
      targetSeq: at.target ?? 0,
      prev: { seq: last?.seq ?? 0, hash: fromB64(last?.hash ?? "") },
      sentAtMs: this.atMs,
      body,
    });
  }

  async say(by: Author, type: number, body: string, at: At = {}): Promise<number> {
    return this.append(await this.seal(by, type, body, at));
  }

  async step(by: Author, what: Step, at: At = {}): Promise<number> {
    const { seq, hash } = this.chain.newest;
    return this.say(by, EntryType.step, stepBody(at.previous ?? hash, what), { target: seq, ...at });
  }

  /** Begins an epoch; its key is sealed to `to`. `recovery` becomes the recovery device, if it is given. */
  async rekey(by: Author, cause: Cause, to: readonly Device[], recovery?: Device): Promise<number> {
    const epoch = this.epoch + 1;
    const key = random(32);
    const keysOf = recovery && (await deviceKeys(recovery));
    const state = this.chain.nextState(by.device.id, cause, this.atMs, keysOf);
    if (typeof state === "string") throw new Error(state);
    const last = this.log.at(-1);
    const record = await sealNextRecord({
      room: this.bytes,
      instance: random(16),
      signer: by.device,
      epoch,
      roomKey: await hkdfKey(key),
      previousKey: this.keys[epoch - 1] ?? random(32),
      cause,
      ...(keysOf && { recovery: keysOf }),
      state,
      newest: this.chain.newest,
      prev: { seq: last?.seq ?? 0, hash: fromB64(last?.hash ?? "") },
      recipients: to.map(({ id }) => id),
      sentAtMs: this.atMs,
    });
    this.keys.push(key);
    const keys = new Map<string, string>();
    for (const device of to) {
      const given = device.id === this.deceived ? random(32) : key;
      keys.set(device.id, b64(await sealRoomKey(await deviceKeys(device), this.bytes, epoch, given)));
    }
    this.sealed.set(epoch, keys);
    if (cause.type === "remove") {
      for (const device of cause.devices) {
        const member = this.#members.get(device);
        if (member !== undefined) this.#members.set(device, { ...member, state: cause.ban ? "banned" : "removed" });
      }
    }
    return this.append(record);
  }

  /** An admin begins an epoch with a record that nobody can open, and hands out noise as its keys. */
  async spoil(by: Author, to: readonly Device[]): Promise<number> {
    const epoch = this.epoch + 1;
    const record = await sealEnvelope(await hkdfKey(random(32)), {
      type: EntryType.epochRecord,
      room: this.bytes,
      epoch,
      device: by.device,
      deviceBytes: fromB64(by.device.id),
      instance: random(16),
      counter: 0,
      targetSeq: this.chain.newest.seq,
      prev: { seq: 0, hash: random(32) },
      sentAtMs: this.atMs,
      body: "{}",
    });
    this.keys.push(random(32));
    this.sealed.set(epoch, new Map(to.map(({ id }) => [id, b64(random(80))])));
    return this.append(record);
  }

  /** Appends without a question, and delivers. Answers with the seq. */
  append(envelope: Bytes): Promise<number> {
    const seq = this.#turn.then(() => this.#append(envelope));
    this.#turn = seq;
    return seq;
  }

  async #append(envelope: Bytes): Promise<number> {
    const raw: RawEntry = { seq: this.head + 1, atMs: ++this.atMs, envelope };
    const uses = await Promise.all(this.keys.map((key) => hkdfKey(key)));
    const [entry] = await new EntryOpener(this.id, (epoch) => uses[epoch], this.#directory).openAll([raw]);
    if (entry?.header === undefined) throw new Error("not an envelope");
    this.log.push(entry);
    const { header } = entry;
    const placed = { ...entry, header };
    if (this.#chain === undefined) this.#chain = Chain.found(placed);
    else this.#chain.apply(placed);
    if (header.type === EntryType.deletion) this.erase(header.targetSeq);
    for (const shown of this.delivered(entry.seq)) for (const listener of this.listeners) listener(shown);
    return entry.seq;
  }

  /** Leaves a tombstone, with those of its edits and reactions. */
  erase(seq: number): void {
    this.#erased.add(seq);
    for (const { header, seq: later } of this.log) {
      const about = header?.type === EntryType.edit || header?.type === EntryType.reaction;
      if (about && header.targetSeq === seq) this.#erased.add(later);
    }
  }

  /** As a socket's send: with the rules of the protocol on epochs and counters. */
  receive(envelope: Bytes): Promise<Answer> {
    const answer = this.#turn.then(() => this.#receive(envelope));
    this.#turn = answer;
    return answer;
  }

  async #receive(envelope: Bytes): Promise<Answer> {
    const header = readHeader(envelope);
    const next = this.#next.get(header.instance) ?? 0;
    if (header.counter < next) return { ok: true, seq: this.#seqOf(header) };
    if (header.epoch !== this.epoch) return { ok: false, code: "stale_epoch" };
    if (header.counter > next) return { ok: false, code: "out_of_order", expected: next };
    const refusal = this.refuse(header);
    if (refusal !== undefined) return refusal;
    this.#next.set(header.instance, next + 1);
    return { ok: true, seq: await this.#append(envelope) };
  }

  #seqOf({ instance, counter }: Header): number {
    return this.log.find(({ header }) => header?.instance === instance && header.counter === counter)?.seq ?? 0;
  }

  // ---- answering

  raw(seq: number): RawEntry {
    const entry = this.log[seq - 1];
    if (entry === undefined) throw new Error("no such entry");
    const { atMs, envelope, hash } = entry;
    if (!this.#erased.has(seq)) return { seq, atMs, envelope };
    return { seq, atMs, envelope: envelope.slice(0, 76), erased: fromB64(hash) };
  }

  /** What a socket brings for the entry at `seq`. */
  delivered(seq: number): readonly RawEntry[] {
    return this.tamper("live", [this.raw(seq)]);
  }

  /** What `device` gets from the calls that a room makes. */
  api(device: Device): Api {
    const answer = async <T>(call: string, give: () => T): Promise<T> => {
      if (this.down(call)) throw new ApiError({ code: "offline" });
      const given = give();
      await this.late(call);
      return given;
    };
    const asked = new Set<number>();
    const calls = {
      history: (_: string, before: number, limit: number) => answer("history", () => this.#history(before, limit)),
      chain: (_: string, before = Infinity, limit: number) => answer("chain", () => this.#chainPage(before, limit)),
      pins: () => answer("pins", () => this.#sparse("pins", this.#pins())),
      members: () => answer("members", () => [...this.#members.values()].map((member) => this.#shown(member))),
      member: (_: string, of: string) =>
        answer("member", () => {
          const member = this.#members.get(of);
          if (member === undefined) throw new ApiError({ code: "not_found", retry: "never" });
          return member;
        }),
      epochKeys: (_: string, epoch: number, of: readonly string[] = []) =>
        answer("epochKeys", () => {
          if (asked.has(epoch) && this.hiding !== undefined) throw new ApiError({ code: this.hiding });
          asked.add(epoch);
          const keys = this.sealed.get(epoch);
          const key = keys?.get(device.id);
          const seals = of.flatMap((one) => {
            const sealed = keys?.get(one);
            return sealed === undefined ? [] : [{ device: one, key: sealed }];
          });
          return { recipients: [...(keys?.keys() ?? [])], seals, ...(key !== undefined && { key }) };
        }),
    };
    return calls as unknown as Api;
  }

  #shown(of: Member): Member {
    const member = { ...of, role: this.roles.get(of.device) ?? this.#chain?.role(of.device) ?? "member" };
    const profile = this.log.findLast(
      ({ header }) => header?.type === EntryType.profile && header.device === member.device,
    );
    if (profile === undefined) return member;
    const entry: Entry = { seq: profile.seq, at_ms: profile.atMs, envelope: b64(profile.envelope) };
    return { ...member, profile: entry };
  }

  #history(before: number, limit: number): LogPage {
    const to = Math.min(before - 1, this.head);
    const from = Math.max(1, to - limit + 1);
    const seqs = this.log.map(({ seq }) => seq);
    const inRange = (seq: number) => seq >= from && seq <= to;
    const about = this.log.filter(({ seq, header }) => seq > to && inRange(header?.targetSeq ?? 0));
    const changes = about.filter(({ header }) => header !== undefined && header.type >= 5 && header.type !== 8);
    return {
      history: this.history,
      head: this.head,
      from,
      to,
      entries: this.tamper(
        "history",
        seqs.filter(inRange).map((seq) => this.raw(seq)),
      ),
      about: this.tamper(
        "about",
        changes.map(({ seq }) => this.raw(seq)),
      ),
    };
  }

  #chainPage(before: number, limit: number): SparsePage {
    const isChain = (header: LogEntry["header"]) =>
      header?.type === EntryType.epochRecord || header?.type === EntryType.step;
    const all = this.log.filter(({ seq, header }) => isChain(header) && seq < before);
    return this.#sparse(
      "chain",
      all.slice(-Math.min(limit, this.chainPageMax)).map(({ seq }) => this.raw(seq)),
    );
  }

  #pins(): RawEntry[] {
    return this.log.filter(({ header }) => header?.type === EntryType.pin).map(({ seq }) => this.raw(seq));
  }

  #sparse(call: string, entries: readonly RawEntry[]): SparsePage {
    return { history: this.history, head: this.head, from: 1, to: this.head, entries: this.tamper(call, entries) };
  }
}
