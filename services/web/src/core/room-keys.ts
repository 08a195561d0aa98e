//! The keys of one room's epochs: those kept in this browser, those that are reached by walking back from a newer one, and
//! the one that an admin has sealed to this device.

import { ApiError, type Api } from "./api.ts";
import { fromB64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { type ChainEntry } from "./chain/chain.ts";
import { type Device } from "./crypto/device.ts";
import { EntryType, readHeader, type Header } from "./crypto/envelope.ts";
import { openRecord, placed, previousRoomKey, RecordRefused, type VerifiedRecord } from "./crypto/epoch-record.ts";
import { hkdfKey } from "./crypto/primitives.ts";
import { keepRoomKey, type RoomKey } from "./crypto/room-key.ts";
import { openRoomKey } from "./crypto/sealed-key.ts";
import { type RawEntry } from "./frames.ts";
import { type RoomRecord } from "./store.ts";

/** How often a sealed key is asked for when the server does not answer, and how long between. */
const ASK_TRIES = 4;
const ASK_PERIOD_MS = 2_000;

export interface KeysWorld {
  readonly api: Pick<Api, "epochKeys">;
  readonly device: Device;
  /** Seals what is stored. */
  readonly local: CryptoKey;
  readonly record: () => RoomRecord;
  readonly change: (change: (record: RoomRecord) => RoomRecord) => void;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

export class RoomKeys {
  readonly #room: string;
  readonly #bytes: Bytes;
  readonly #world: KeysWorld;
  /** The newest epoch whose record is there while its key could not be had. */
  #missing: number | undefined;
  /** The epoch that the server named when it refused one as stale. */
  #expected = 0;
  #rolledBack = false;

  constructor(room: string, world: KeysWorld) {
    this.#room = room;
    this.#bytes = fromB64(room, 16);
    this.#world = world;
  }

  /** The newest epoch whose record and key this device has: nothing is sealed under a lower one. */
  get epoch(): number {
    return this.#world.record().pinned.epoch;
  }

  /** Whether the room has a newer key that this device has not been given. */
  get missing(): boolean {
    return this.#missing !== undefined && this.#missing > this.epoch;
  }

  /** The key of an epoch for opening and sealing. */
  of(epoch: number): CryptoKey | undefined {
    return this.#kept(epoch)?.use;
  }

  #kept(epoch: number): RoomKey | undefined {
    return this.#world.record().keys.find((key) => key.epoch === epoch);
  }

  /** The key to seal under now; `undefined` while it is not the room's newest. */
  get current(): { readonly epoch: number; readonly use: CryptoKey } | undefined {
    const key = this.#kept(this.epoch);
    if (key === undefined || this.missing || this.#rolledBack || this.#expected > this.epoch) return undefined;
    return key;
  }

  /** The server refused an envelope since its room is in `epoch`. */
  expect(epoch: number): void {
    if (epoch > this.epoch) this.#expected = Math.max(this.#expected, epoch);
    // A server in an older epoch than the one pinned was rolled back. Nothing is sealed for it.
    else if (epoch < this.epoch) this.#rolledBack = true;
  }

  /** A new look at the server's log begins. */
  followed(): void {
    this.#rolledBack = false;
  }

  /** Whether the entry is the record of a newer epoch, whose key has not been asked for. */
  mustReceive(raw: RawEntry): boolean {
    const header = recordHeader(raw);
    return header !== undefined && header.epoch > this.epoch && header.epoch > (this.#missing ?? 0);
  }

  /**
   * Fetches and opens this device's key for the epoch that the record `raw` begins. `accept` applies the record to the
   * chain and says whether it was allowed; only then the key is kept and the record pinned. `false`: the key is missing.
   */
  async receive(raw: RawEntry, accept: (entry: ChainEntry) => boolean): Promise<boolean> {
    const header = recordHeader(raw);
    if (header === undefined) return false;
    const { epoch } = header;
    const found = await this.#open(raw, epoch);
    if (found === undefined || !accept(placed(found.record, raw.seq))) {
      this.#missing = Math.max(this.#missing ?? 0, epoch);
      return false;
    }
    await this.#keep(epoch, found.raw, found.record.hash);
    return true;
  }

  async #open(raw: RawEntry, epoch: number): Promise<{ record: VerifiedRecord; raw: Bytes } | undefined> {
    const sealed = await this.#ask(epoch);
    if (sealed === undefined) return undefined;
    try {
      const key = await openRoomKey(this.#world.device, this.#bytes, epoch, fromB64(sealed));
      return { record: await openRecord(await hkdfKey(key), this.#bytes, epoch, raw.envelope), raw: key };
    } catch {
      return undefined;
    }
  }

  async #ask(epoch: number): Promise<string | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        return (await this.#world.api.epochKeys(this.#room, epoch)).key;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.retry !== "later" || attempt === ASK_TRIES) return undefined;
      }
      await new Promise<void>((resolve) => this.#world.setTimeout(resolve, ASK_PERIOD_MS));
    }
  }

  /**
   * Reaches back from the keys that are kept to those of older epochs, each by the record of the epoch after it, and keeps
   * the ones that their own records commit to. `raws` are chain entries in any order.
   */
  async walkBack(raws: readonly RawEntry[]): Promise<void> {
    const records = new Map<number, RawEntry>();
    for (const raw of raws) {
      const header = recordHeader(raw);
      if (header !== undefined) records.set(header.epoch, raw);
    }
    for (const epoch of [...records.keys()].sort((a, b) => b - a)) {
      const [use, from, to] = [this.of(epoch), records.get(epoch), records.get(epoch - 1)];
      if (use === undefined || from === undefined || to === undefined || this.of(epoch - 1) !== undefined) continue;
      await this.#stepBack(use, from, to, epoch);
    }
  }

  async #stepBack(use: CryptoKey, from: RawEntry, to: RawEntry, epoch: number): Promise<void> {
    try {
      const { content } = await openRecord(use, this.#bytes, epoch, from.envelope);
      const key = await previousRoomKey(use, this.#bytes, content.record);
      if (key === undefined) return;
      const { hash } = await openRecord(await hkdfKey(key), this.#bytes, epoch - 1, to.envelope);
      await this.#keep(epoch - 1, key, hash);
    } catch (error) {
      // A record that does not verify is found and shown by the fold; here it only ends the way back.
      if (!(error instanceof RecordRefused)) throw error;
    }
  }

  async #keep(epoch: number, raw: Bytes, hash: string): Promise<void> {
    const key = await keepRoomKey(this.#world.local, this.#bytes, epoch, raw);
    this.#world.change((record) => ({
      ...record,
      keys: [...record.keys.filter((known) => known.epoch !== epoch), key],
      pinned: epoch > record.pinned.epoch ? { epoch, hash } : record.pinned,
    }));
  }
}

/** The header of an entry that says it is an epoch record. */
function recordHeader(raw: RawEntry): Header | undefined {
  if (raw.erased !== undefined) return undefined;
  try {
    const header = readHeader(raw.envelope);
    return header.type === EntryType.epochRecord ? header : undefined;
  } catch {
    return undefined;
  }
}
