//! Coming back to a room by its recovery key, when every owner's device is lost.

import { rekey } from "./administration/rekey.ts";
import { take } from "./administration/steps.ts";
import { Steward } from "./administration/steward.ts";
import { type Wait } from "./administration/repeated.ts";
import { type Api } from "./api.ts";
import { b64, fromB64 } from "./base64url.ts";
import { random, type Bytes } from "./bytes.ts";
import { type Device } from "./crypto/device.ts";
import { deviceKeys, openRecord } from "./crypto/epoch-record.ts";
import { parseInvite } from "./crypto/invite-link.ts";
import { hkdfKey } from "./crypto/primitives.ts";
import { recoveryDevice } from "./crypto/recovery.ts";
import { openRoomKey } from "./crypto/sealed-key.ts";
import { joinByInvite, RoomUntrusted, type EnterStep, type EnterWorld } from "./enter.ts";
import { makeInvite } from "./make-invite.ts";
import { type RawEntry } from "./frames.ts";
import { keepOlderKeys } from "./older-keys.ts";
import { CHAIN_PAGES_NEEDED_MAX } from "./room-chain.ts";
import { recordHeader } from "./room-keys.ts";
import { RoomReading } from "./room-reading.ts";
import { type RoomRecord } from "./store.ts";
import { HISTORY_PAGE_MAX } from "../protocol.gen.ts";

/** How long the invite is good that leads this device into the room. */
const INVITE_LIFE_MS = 3_600_000;

export interface RecoverWorld extends EnterWorld {
  /** The page's, without a trailing slash. */
  readonly origin: string;
  /** Calls in the name of another device than this browser's. */
  readonly apiOf: (device: Device) => Api;
  readonly setTimeout: Wait;
}

/**
 * Makes this device an owner of a room by the key that was shown when the room was created, or by the one that has taken its
 * place; names have been checked. A lock does not keep it out. The key stays good, and is not kept here. It proves its holder to
 * the server, not the server to the holder: the room is the one that the server shows under this name.
 *
 * Where the newest record was refused or no key opens it, nobody can come in by it (`key_missing`). With `goOn` the history is
 * closed first, upon the state before that record, and nobody knows the password until the new owner names one. It is the
 * server's word that there is no fitting key: where it lies, all who have one refuse that.
 *
 * Repeating it after an error is safe. Throws `ApiError` (`device_unknown`: no room here has this key; `recovery_replaced`:
 * another has taken its place; `banned`; `chain_moved`), `RoomUntrusted` if the room under this name is not one of the key's, `PageProblem`, `StorageRefused`.
 */
export async function recoverRoom(
  world: RecoverWorld,
  wanted: { readonly name: string; readonly secret: Bytes; readonly myName: string; readonly goOn?: boolean },
  onStep: (step: EnterStep) => void,
): Promise<RoomRecord> {
  onStep("asking");
  const device = await recoveryDevice(wanted.secret);
  const { room, name } = { ...(await world.api.lookup(wanted.name)), name: wanted.name };
  const api = world.apiOf(device);
  await api.renew();
  const steward = await stewardOf(world, api, device, { room, name });
  const fold = await steward.fold();
  if (!fold.state.admins.some((admin) => admin.device === device.id && admin.recovery)) throw new RoomUntrusted();
  if (wanted.goOn === true && fold.isStalled) await goOn(api, steward);
  return comeBack(world, api, steward, wanted.myName, onStep);
}

/** The hash of the record that made `device` the recovery device: the room's first, or one by which an owner replaced the key. */
async function beginningOf(api: Api, device: Device, room: string): Promise<string> {
  const bytes = fromB64(room, 16);
  for (const raw of await recordsOf(api, room)) {
    const epoch = recordHeader(raw)?.epoch ?? 0;
    const { key } = await api.epochKeys(room, epoch);
    if (key === undefined) continue;
    const opened = await opens(device, bytes, epoch, fromB64(key), raw);
    if (opened === undefined || opened.content.kind !== "epoch_record") continue;
    const { cause, recovery, state } = opened.content.record;
    const named = cause.type === "created" ? state.admins.find((admin) => admin.recovery) : recovery;
    if (named?.device === device.id) return opened.hash;
  }
  throw new RoomUntrusted();
}

async function opens(device: Device, room: Bytes, epoch: number, key: Bytes, raw: RawEntry) {
  try {
    const use = await hkdfKey(await openRoomKey(device, room, epoch, key));
    return await openRecord(use, room, epoch, raw.envelope);
  } catch {
    return undefined;
  }
}

/** A room's records, oldest first, as far as the server shows them. */
async function recordsOf(api: Api, room: string): Promise<readonly RawEntry[]> {
  const records: RawEntry[] = [];
  for (let [before, page]: [number | undefined, number] = [undefined, 0]; page < CHAIN_PAGES_NEEDED_MAX; page++) {
    const { entries }: { entries: readonly RawEntry[] } = await api.chain(room, before, HISTORY_PAGE_MAX);
    records.unshift(...entries.filter((raw) => recordHeader(raw) !== undefined));
    before = entries[0]?.seq ?? 1;
    if (before === 1) break;
  }
  return records;
}

/** The room as its recovery device reads it, from the record on that made it one: the key to that was sealed to it. */
async function stewardOf(
  world: RecoverWorld,
  api: Api,
  device: Device,
  at: { readonly room: string; readonly name: string },
): Promise<Steward> {
  const hash = await beginningOf(api, device, at.room);
  // In memory only. No epoch is pinned yet, so that the keys of all are asked for.
  let record: RoomRecord = { ...at, life: "", role: "owner", keys: [], pinned: { epoch: -1, hash }, readSeq: 0 };
  const { local } = world.store.identity;
  const { now, hash: passwordHash, setTimeout } = world;
  const reading = new RoomReading(at.room, {
    ...{ api, device, local, setTimeout },
    record: () => record,
    change: (change) => (record = change(record)),
    logChanged: () => undefined,
    changed: () => undefined,
    followed: () => false,
    reload: () => undefined,
  });
  await reading.chain.load();
  const { keys, chain, log, members } = reading;
  const room = {
    ...{ id: at.room, keys, chain, log, members },
    get record() {
      return record;
    },
  };
  return new Steward(room, { api, device, local, hash: passwordHash, now, setTimeout });
}

/**
 * Goes on from a record that was refused or that no key opens, since nobody can come in by it. It closes the history, which is
 * all that is left there, and the password is one that nobody knows until the owner names another. A device for which there is no
 * key at all is no recovery device any more, or the server withholds it.
 */
async function goOn(api: Api, steward: Steward): Promise<void> {
  const { nextEpoch } = await steward.fold();
  if ((await api.epochKeys(steward.room.id, nextEpoch - 1)).key === undefined) return;
  const unknown = { remove: [], ban: false, cutHistory: true, password: b64(random(32)) };
  await rekey(steward, unknown, () => undefined);
}

async function comeBack(
  world: RecoverWorld,
  api: Api,
  steward: Steward,
  myName: string,
  onStep: (step: EnterStep) => void,
): Promise<RoomRecord> {
  const { device, local } = world.store.identity;
  await steward.key();
  const limits = { expiresInMs: INVITE_LIFE_MS, usesMax: 1 };
  const { invite, link } = await makeInvite({ api, local, origin: world.origin }, steward.room, limits);
  const secret = parseInvite(link);
  if (secret === undefined) throw new RoomUntrusted();
  const joined = await joinByInvite(world, secret, myName, onStep);
  // Across a cut of the history no record leads back; each key was sealed to the recovery device, and was found so.
  const record = await keepOlderKeys(world.store, joined, steward.room.record.keys);
  // It is used up anyway.
  await api.revokeInvite(record.room, invite.grant).catch(() => undefined);
  if ((await steward.fold()).role(device.id) !== "owner") {
    await take(steward, { type: "role", role: "owner", ...(await deviceKeys(device)) });
  }
  return { ...record, role: "owner" };
}
