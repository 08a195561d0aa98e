//! Two devices of one person, and a server at which they meet, for tests of moves.

import { expect, vi } from "vitest";

import { type Bytes } from "../bytes.ts";
import { generateDevice, type Device } from "../crypto/device.ts";
import { parseMove } from "../crypto/move.ts";
import { sha256 } from "../crypto/primitives.ts";
import { type EnterWorld } from "../enter.ts";
import { type InvitingRoom } from "../make-invite.ts";
import { handOver, type OldMove } from "../moving/handing-over.ts";
import { takeOver, type NewMove } from "../moving/taking-over.ts";
import { Store, type RoomRecord } from "../store.ts";
import { hastyClock } from "./hasty-clock.ts";
import { House } from "./house.ts";
import { RoomClient } from "./room-client.ts";
import { author, RoomServer } from "./room-server.ts";

/** A move's ten minutes take six seconds. */
const HASTE = 100;
/** They take a blink. */
export const GREAT_HASTE = 20_000;

export interface OldSide {
  readonly shown: OldMove[];
  readonly confirm: () => void;
  readonly done: Promise<void>;
  readonly stop: () => void;
}

export interface NewSide {
  readonly shown: NewMove[];
  readonly entered: RoomRecord[];
  readonly names: string[];
  readonly done: Promise<void>;
  readonly stop: () => void;
}

export type Side = OldSide | NewSide;

let databases = 0;

export class Movers {
  readonly house = new House();
  readonly oldStore: Store;
  readonly newStore: Store;
  readonly #recovery: Device;
  readonly #calls: AbortController[] = [];

  private constructor(oldStore: Store, newStore: Store, recovery: Device) {
    this.oldStore = oldStore;
    this.newStore = newStore;
    this.#recovery = recovery;
  }

  static async meet(): Promise<Movers> {
    const open = () => Store.open(`move-${databases++}`);
    return new Movers(await open(), await open(), await generateDevice());
  }

  close(): void {
    for (const call of this.#calls) call.abort();
    this.oldStore.close();
    this.newStore.close();
  }

  /** A room of the old device's, whose history was closed to newcomers so often. */
  async room(name: string, cuts = 0): Promise<{ server: RoomServer; record: RoomRecord }> {
    const { device } = this.oldStore.identity;
    const ana = author(device);
    const server = await RoomServer.found(ana, this.#recovery);
    await this.house.add(name, server, this.#recovery, device);
    let record = await RoomClient.record(server, this.oldStore);
    for (let cut = 0; cut < cuts; cut++) {
      await server.rekey(ana, { type: "history" }, [device, this.#recovery]);
      record = await RoomClient.record(server, this.oldStore, record);
    }
    return { server, record: { ...record, name } };
  }

  /** The old device hands these rooms over. */
  from(records: readonly RoomRecord[], haste = HASTE, current = true): OldSide {
    const { signal, stop } = this.#call();
    const shown: OldMove[] = [];
    let confirm: () => void = () => undefined;
    const confirmed = new Promise<void>((resolve) => (confirm = resolve));
    const { device, local } = this.oldStore.identity;
    const world = {
      api: this.house.api(device),
      local,
      origin: "https://chat.example",
      name: () => "Ana",
      rooms: () => Promise.resolve(records.map((record) => roomToMove(record, current))),
      clock: hastyClock(haste),
      show: (move: OldMove) => shown.push(move),
    };
    return { shown, confirm, stop, done: handOver(world, confirmed, signal) };
  }

  /** The new device, opened by the link with this secret. */
  to(secret: Bytes, haste = HASTE): NewSide {
    const { signal, stop } = this.#call();
    const [shown, entered, names] = [[] as NewMove[], [] as RoomRecord[], [] as string[]];
    const clock = hastyClock(haste);
    const hash = (password: Bytes, salt: Bytes) => sha256(password, salt);
    const api = this.house.api(this.newStore.identity.device);
    const enter: EnterWorld = { api, store: this.newStore, hash, now: clock.now };
    const world = {
      enter,
      clock,
      keepName: (name: string) => Promise.resolve(void names.push(name)),
      entered: (record: RoomRecord) => Promise.resolve(void entered.push(record)),
      show: (move: NewMove) => shown.push(move),
    };
    return { shown, entered, names, stop, done: takeOver(world, secret, signal) };
  }

  /** Both sides, up to the code. */
  async upToCode(records: readonly RoomRecord[]): Promise<[OldSide, NewSide]> {
    const from = this.from(records);
    const to = this.to(secretOf(from));
    await Promise.all([comesTo(from, "confirm"), comesTo(to, "confirm")]);
    return [from, to];
  }

  #call() {
    const call = new AbortController();
    this.#calls.push(call);
    return { signal: call.signal, stop: () => call.abort() };
  }
}

/** A room as it is remembered, to which nothing happens. */
export function roomToMove(record: RoomRecord, current = true): InvitingRoom {
  const [key] = record.keys;
  return { record, keys: { current: current ? key : undefined }, chain: { refresh: () => Promise.resolve() } };
}

/** What the link says that the old device shows. */
export function secretOf({ shown }: OldSide): Bytes {
  const secret = parseMove(shown[0]?.link ?? "");
  if (secret === undefined) throw new Error("no link is shown");
  return secret;
}

export function stateOf({ shown }: Side): string | undefined {
  return shown.at(-1)?.state;
}

export function problemOf({ shown }: Side): string | undefined {
  return shown.at(-1)?.problem?.code;
}

export function comesTo(side: Side, state: Side["shown"][number]["state"]): Promise<void> {
  return vi.waitFor(() => expect(stateOf(side)).toBe(state), { timeout: 5_000, interval: 5 });
}
