//! A test's room that is governed from a page: the calls for steps and new epochs as the protocol says, and an admin's page.

import { Steward } from "../administration/steward.ts";
import { type Api, ApiError } from "../api.ts";
import { fromB64 } from "../base64url.ts";
import { recipientsHash } from "../chain/eligible.ts";
import { deviceId, type Device } from "../crypto/device.ts";
import { envelopeHash, readHeader } from "../crypto/envelope.ts";
import { sha256 } from "../crypto/primitives.ts";
import { openRoomKey } from "../crypto/sealed-key.ts";
import {
  type Committed,
  type Effect,
  type ErrorCode,
  type NewEpoch,
  type StageKeys,
  type StepRequest,
} from "../../protocol.gen.ts";
import { type RoomClient } from "./room-client.ts";
import { type RoomServer } from "./room-server.ts";

/** How far ahead of the server's clock a record's time may be. */
const CLOCK_AHEAD_MAX_MS = 60_000;

export class Governing {
  /** Calls in their order, by name. */
  readonly calls: string[] = [];
  /** The newest `NewEpoch` that was taken. */
  epoch: NewEpoch | undefined;
  /** How far the page's clock is ahead. */
  aheadMs = 0;
  /** What a call fails with before it has done anything, or after. */
  before: (call: string) => ErrorCode | "offline" | undefined = () => undefined;
  after: (call: string) => ErrorCode | "offline" | undefined = () => undefined;
  readonly #server: RoomServer;
  /** Their keys are recipients', so that the double can read what comes. */
  readonly #readers: readonly Device[];
  #staged = new Map<string, Map<string, string>>();
  #answers = new Map<string, Committed>();

  constructor(server: RoomServer, ...readers: readonly Device[]) {
    this.#server = server;
    this.#readers = readers;
  }

  /** Whom the newest key was sealed to. */
  get recipients(): readonly string[] {
    return [...(this.#server.sealed.get(this.#server.epoch)?.keys() ?? [])];
  }

  /** A page's admin. */
  steward(client: RoomClient): Steward {
    const { device, local } = client.store.identity;
    const api = { ...this.#server.api(device), ...this.api() } as unknown as Api;
    const hash = (password: Uint8Array<ArrayBuffer>) => sha256(password);
    const wait = (run: () => void) => setTimeout(run, 0);
    const now = () => this.#server.atMs + this.aheadMs;
    return new Steward(client.room, { api, device, local, hash, now, setTimeout: wait });
  }

  /** The calls of an admin. */
  api(): Api {
    const calls = {
      step: (_: string, { envelope, effect }: StepRequest) => this.#call("step", () => this.#take(envelope, effect)),
      stageKeys: (_: string, __: number, keys: StageKeys) => this.#call("stageKeys", () => this.#stage(keys)),
      newEpoch: (_: string, epoch: NewEpoch) => this.#call("newEpoch", () => this.#begin(epoch)),
    };
    return calls as unknown as Api;
  }

  async #call<T>(name: string, take: () => T | Promise<T>): Promise<T> {
    this.calls.push(name);
    fail(this.before(name));
    const taken = await take();
    fail(this.after(name));
    return taken;
  }

  #take(envelope: string, effect: Effect): Promise<Committed> {
    if (effect.type === "role") this.#server.roles.delete(effect.device);
    return this.#append(envelope);
  }

  async #append(text: string): Promise<Committed> {
    const known = this.#answers.get(text);
    if (known !== undefined) return { ...known, duplicate: true };
    const envelope = fromB64(text);
    if (readHeader(envelope).targetSeq !== this.#server.chain.newest.seq) fail("chain_moved");
    const seq = await this.#server.append(envelope);
    const committed = { seq, at_ms: this.#server.atMs, duplicate: false };
    this.#answers.set(text, committed);
    return committed;
  }

  #stage({ record, keys }: StageKeys): void {
    const staged = this.#staged.get(record) ?? new Map<string, string>();
    for (const { device, key } of keys) staged.set(device, key);
    this.#staged.set(record, staged);
  }

  async #begin(epoch: NewEpoch): Promise<Committed> {
    if (this.#answers.has(epoch.record)) return this.#append(epoch.record);
    const record = fromB64(epoch.record);
    if (readHeader(record).targetSeq !== this.#server.chain.newest.seq) fail("chain_moved");
    const hash = await envelopeHash(record);
    const staged = [...this.#staged].find(([of]) => equal(fromB64(of), hash))?.[1];
    const reader = this.#readers.find(({ id }) => staged?.has(id));
    const sealed = reader && staged?.get(reader.id);
    if (staged === undefined || reader === undefined || sealed === undefined) {
      throw new Error("nothing is staged for this record");
    }
    if (epoch.recovery !== undefined) {
      const { sign_key: signKey, agree_key: agreeKey, key } = epoch.recovery;
      staged.set(await deviceId({ signKey: fromB64(signKey, 32), agreeKey: fromB64(agreeKey, 32) }), key);
    }
    if ((await recipientsHash(staged.keys())) !== epoch.recipients) fail("members_changed");
    // As on the server: an owner by its own list must get the key.
    const owners = [...this.#server.roles].flatMap(([device, role]) => (role === "owner" ? [device] : []));
    if (owners.some((device) => !staged.has(device))) throw new ApiError({ code: "not_allowed", retry: "never" });
    if (epoch.sent_at_ms > this.#server.atMs + CLOCK_AHEAD_MAX_MS) {
      throw new ApiError({ code: "clock_ahead", retry: "changed", server_at_ms: this.#server.atMs });
    }
    const next = this.#server.epoch + 1;
    this.#server.keys.push(await openRoomKey(reader, this.#server.bytes, next, fromB64(sealed)));
    this.#server.sealed.set(next, staged);
    this.epoch = epoch;
    this.#server.putOut(staged);
    return this.#append(epoch.record);
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function fail(code: ErrorCode | "offline" | undefined): void {
  if (code === "chain_moved" || code === "members_changed") throw new ApiError({ code, retry: "changed" });
  if (code !== undefined) throw new ApiError({ code });
}
