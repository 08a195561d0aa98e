//! Keys of a room's older epochs that came another way than by its records. Each is proved before it is used.

import { type Api } from "./api.ts";
import { fromB64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { openRecord, RecordRefused } from "./crypto/epoch-record.ts";
import { type Device } from "./crypto/device.ts";
import { hkdfKey } from "./crypto/primitives.ts";
import { keepRoomKey, type RoomKey } from "./crypto/room-key.ts";
import { Directory } from "./directory.ts";
import { type RawEntry } from "./frames.ts";
import { EntryOpener } from "./open-entry.ts";
import { RoomChain } from "./room-chain.ts";
import { recordHeader, RoomKeys } from "./room-keys.ts";
import { RoomLog } from "./room-log.ts";
import { type RoomRecord, type Store } from "./store.ts";

/** A raw room key, base64url of 32 bytes, as somebody gave it. */
export interface GivenKey {
  readonly epoch: number;
  readonly key: string;
}

export interface ProvingWorld {
  readonly api: Pick<Api, "chain" | "epochKeys">;
  readonly device: Device;
  /** What keys are kept under. */
  readonly local: CryptoKey;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

/**
 * Those of the given keys that are older than the pinned epoch, that a record of the room's chain commits to, and whose record
 * the fold from the pinned one accepts; with other keys of the room, known or found on the way. Stores nothing. Rejects with
 * `ApiError` when the chain cannot be read.
 */
export async function provenKeys(
  joined: RoomRecord,
  given: readonly GivenKey[],
  world: ProvingWorld,
): Promise<readonly RoomKey[]> {
  const { room, pinned } = joined;
  const { api, ...outside } = world;
  let record = joined;
  const keys = new RoomKeys(room, {
    ...outside,
    api,
    record: () => record,
    change: (change) => (record = change(record)),
  });
  const readPage: Api["chain"] = async (id, before, limit) => {
    const page = await api.chain(id, before, limit);
    // Before the page is folded: with the keys that open its records.
    record = await withKeys(page.entries, record, given, world.local);
    return page;
  };
  // Whoever signs in a chain is named in it, with keys.
  const directory = new Directory(() => Promise.resolve(undefined));
  const chain = new RoomChain(room, {
    api: { chain: readPage },
    log: new RoomLog(),
    keys,
    openerWith: (keyOf) => new EntryOpener(room, keyOf, directory),
    pinned: () => pinned,
    changed: () => undefined,
  });
  await chain.load();
  const counted = new Set<number>();
  for (const { counts, entry } of chain.links) {
    if (counts && entry.content.kind === "epoch_record") counted.add(entry.content.record.epoch);
  }
  return record.keys.filter(({ epoch }) => counted.has(epoch));
}

/** The record with the given keys that open records among the entries. Whether those count is the fold's question. */
async function withKeys(
  entries: readonly RawEntry[],
  record: RoomRecord,
  given: readonly GivenKey[],
  local: CryptoKey,
): Promise<RoomRecord> {
  const room = fromB64(record.room, 16);
  const keys = [...record.keys];
  for (const { epoch, key } of given) {
    if (epoch >= record.pinned.epoch || keys.some((known) => known.epoch === epoch)) continue;
    const raw = fromB64(key, 32);
    const use = await hkdfKey(raw);
    for (const entry of entries) {
      if (recordHeader(entry)?.epoch !== epoch || !(await opens(use, room, epoch, entry))) continue;
      keys.push(await keepRoomKey(local, room, epoch, raw));
      break;
    }
  }
  return { ...record, keys };
}

async function opens(use: CryptoKey, room: Bytes, epoch: number, { envelope }: RawEntry): Promise<boolean> {
  try {
    await openRecord(use, room, epoch, envelope);
    return true;
  } catch (error) {
    if (error instanceof RecordRefused) return false;
    throw error;
  }
}

/** Adds keys of epochs before the pinned one, which have been proved, to those stored. Rejects with `StorageRefused`. */
export async function keepOlderKeys(
  store: Pick<Store, "changeRoom">,
  joined: RoomRecord,
  proven: readonly RoomKey[],
): Promise<RoomRecord> {
  const kept = await store.changeRoom(joined.room, (record) => {
    const known = new Set(record.keys.map(({ epoch }) => epoch));
    const older = proven.filter(({ epoch }) => epoch < record.pinned.epoch && !known.has(epoch));
    return { ...record, keys: [...record.keys, ...older] };
  });
  return kept ?? joined;
}
