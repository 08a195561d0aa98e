//! The keys of one room's epochs: those kept in this browser, and those that can be found: sealed to this device by an
//! admin, or reached by walking back from a newer one.

import { ApiError, type Api } from "./api.ts";
import { fromB64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { type Device } from "./crypto/device.ts";
import { EntryType, readHeader, type Header } from "./crypto/envelope.ts";
import { openRecord, previousRoomKey, RecordRefused, type VerifiedRecord } from "./crypto/epoch-record.ts";
import { hkdfKey } from "./crypto/primitives.ts";
import { keepRoomKey, rawRoomKey, type RoomKey } from "./crypto/room-key.ts";
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

/** A key that a record commits to. It is kept once the chain has said that the record counts. */
export interface FoundKey {
  readonly epoch: number;
  readonly use: CryptoKey;
  readonly raw: Bytes;
  readonly record: VerifiedRecord;
}

/** Why there is no key. `lacking`: none that fits was sealed to this device; `unanswered`: the server did not say. */
export type NoKey = "lacking" | "unanswered";

export interface Reached {
  readonly found: ReadonlyMap<number, FoundKey>;
  readonly unanswered: number;
}

export class RoomKeys {
  readonly #room: string;
  readonly #bytes: Bytes;
  readonly #world: KeysWorld;
  /** The newest epoch that has begun while its key could not be had. */
  #missing: number | undefined;
  /** The newest epoch whose record was read and refused. */
  #refused: number | undefined;
  /** The newest epoch that the server said or showed the room to be in. */
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

  /** Whether the room has a newer key that this device has not been given, or whose record it was not shown. */
  get missing(): boolean {
    return this.#missing !== undefined && this.#missing > this.epoch;
  }

  /** Whether the room has a newer key by anything that the server said or showed. */
  get behind(): boolean {
    return this.missing || this.#expected > this.#judged;
  }

  /** The newest epoch of which it is known what became of its record. */
  get #judged(): number {
    return Math.max(this.epoch, this.#refused ?? this.epoch);
  }

  /** The key of an epoch for opening and sealing. */
  of(epoch: number): CryptoKey | undefined {
    return this.#kept(epoch)?.use;
  }

  #kept(epoch: number): RoomKey | undefined {
    return this.#world.record().keys.find((key) => key.epoch === epoch);
  }

  /** The 32 raw bytes of an epoch's key, to see whether it is what was sealed to others. */
  async raw(epoch: number): Promise<Bytes | undefined> {
    const key = this.#kept(epoch);
    return key && (await rawRoomKey(this.#world.local, this.#bytes, key));
  }

  /** The key to seal under now; `undefined` while it is not the room's newest. */
  get current(): { readonly epoch: number; readonly use: CryptoKey } | undefined {
    const key = this.#kept(this.epoch);
    if (key === undefined || this.missing || this.#rolledBack) return undefined;
    // Also after a record that was refused: the room goes on in the epoch after it.
    if (Math.max(this.#expected, this.#judged) > this.epoch) return undefined;
    return key;
  }

  /** By what the server says or shows, the room is in `epoch`. */
  expect(epoch: number): void {
    if (epoch > this.epoch) this.#expected = Math.max(this.#expected, epoch);
    // A server in an older epoch than the one pinned was rolled back. Nothing is sealed for it.
    else if (epoch < this.epoch) this.#rolledBack = true;
  }

  /** A new look at the server's log begins. */
  followed(): void {
    this.#rolledBack = false;
  }

  /** Whether nothing is known of how this epoch began, although nothing is known to be missing. */
  isAhead(epoch: number): boolean {
    return epoch > this.#judged && !this.missing;
  }

  /** Whether the entry is the record of a newer epoch, whose key has not been asked for. */
  mustReceive(raw: RawEntry): boolean {
    const header = recordHeader(raw);
    return header !== undefined && header.epoch > Math.max(this.#judged, this.#missing ?? 0);
  }

  /** The key of this epoch, or of the record that claimed it, cannot be had for now. */
  lack(epoch: number): void {
    this.#missing = Math.max(this.#missing ?? 0, epoch);
  }

  /** The record of this epoch was read, and used the epoch up without counting: no key of it is to be had. */
  refuse(epoch: number): void {
    this.#refused = epoch;
    if (this.#missing !== undefined && this.#missing <= epoch) this.#missing = undefined;
  }

  /** What the server said to have begun, it does not show. */
  lackExpected(): void {
    if (this.#expected > this.#judged) this.lack(this.#expected);
  }

  /** The key that was sealed to this device for the epoch that the record `raw` begins. Waits at most some seconds. */
  async find(raw: RawEntry): Promise<FoundKey | NoKey> {
    const epoch = recordHeader(raw)?.epoch;
    if (epoch === undefined) return "lacking";
    const sealed = await this.#ask(epoch);
    if (sealed === "lacking" || sealed === "unanswered") return sealed;
    try {
      const key = await openRoomKey(this.#world.device, this.#bytes, epoch, fromB64(sealed.key));
      return await this.#proven(key, raw, epoch);
    } catch {
      return "lacking";
    }
  }

  async #ask(epoch: number): Promise<{ readonly key: string } | NoKey> {
    for (let attempt = 1; ; attempt++) {
      try {
        const { key } = await this.#world.api.epochKeys(this.#room, epoch);
        return key === undefined ? "lacking" : { key };
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.retry === "never") return "lacking";
        if (error.retry !== "later" || attempt === ASK_TRIES) return "unanswered";
      }
      await new Promise<void>((resolve) => this.#world.setTimeout(resolve, ASK_PERIOD_MS));
    }
  }

  /** Throws `RecordRefused` when the record does not commit to the key. */
  async #proven(raw: Bytes, { envelope }: RawEntry, epoch: number): Promise<FoundKey> {
    const use = await hkdfKey(raw);
    return { epoch, use, raw, record: await openRecord(use, this.#bytes, epoch, envelope) };
  }

  /**
   * Finds the keys that are not kept of the epochs that the chain entries `raws`, oldest first, begin: those of newer epochs
   * as they were sealed to this device, and those of older ones by the record of the epoch after them. From `unanswered` on,
   * the server has not said which there are.
   */
  async reach(raws: readonly RawEntry[]): Promise<Reached> {
    const records = new Map<number, RawEntry>();
    for (const raw of raws) {
      const header = recordHeader(raw);
      if (header !== undefined && !records.has(header.epoch)) records.set(header.epoch, raw);
    }
    const epochs = [...records.keys()].sort((a, b) => a - b);
    const found = new Map<number, FoundKey>();
    let unanswered = Infinity;
    for (const epoch of epochs) {
      const raw = records.get(epoch);
      if (raw === undefined || epoch <= this.epoch) continue;
      const key = await this.find(raw);
      // Who is asked for many keys while not answering at all is asked again later.
      if (key === "unanswered") {
        unanswered = epoch;
        break;
      }
      if (key !== "lacking") found.set(epoch, key);
    }
    for (const epoch of epochs.toReversed()) {
      const [from, to] = [records.get(epoch), records.get(epoch - 1)];
      const use = found.get(epoch)?.use ?? this.of(epoch);
      if (from === undefined || to === undefined || use === undefined) continue;
      if (found.has(epoch - 1) || this.of(epoch - 1) !== undefined) continue;
      const key = await this.#stepBack(use, from, to, epoch);
      if (key !== undefined) found.set(epoch - 1, key);
    }
    return { found, unanswered };
  }

  async #stepBack(use: CryptoKey, from: RawEntry, to: RawEntry, epoch: number): Promise<FoundKey | undefined> {
    try {
      const { content } = await openRecord(use, this.#bytes, epoch, from.envelope);
      const key = await previousRoomKey(use, this.#bytes, content.record);
      return key === undefined ? undefined : await this.#proven(key, to, epoch - 1);
    } catch (error) {
      // A record that does not verify is found and shown by the fold; here it only ends the way back.
      if (!(error instanceof RecordRefused)) throw error;
      return undefined;
    }
  }

  /** Keeps a key whose record counts. The newest one's record is pinned. */
  async keep({ epoch, raw, record: { hash } }: FoundKey): Promise<void> {
    const key = await keepRoomKey(this.#world.local, this.#bytes, epoch, raw);
    this.#world.change((record) => ({
      ...record,
      keys: [...record.keys.filter((known) => known.epoch !== epoch), key],
      pinned: epoch > record.pinned.epoch ? { epoch, hash } : record.pinned,
    }));
  }
}

/** The header of an entry that says it is an epoch record. */
export function recordHeader(raw: RawEntry): Header | undefined {
  if (raw.erased !== undefined) return undefined;
  try {
    const header = readHeader(raw.envelope);
    return header.type === EntryType.epochRecord ? header : undefined;
  } catch {
    return undefined;
  }
}
