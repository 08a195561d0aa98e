//! Coming back to a room by its recovery key, when every owner's device is lost.

import { take } from "./administration/steps.ts";
import { Steward } from "./administration/steward.ts";
import { type Wait } from "./administration/repeated.ts";
import { type Api } from "./api.ts";
import { b64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { type Device } from "./crypto/device.ts";
import { envelopeHash } from "./crypto/envelope.ts";
import { deviceKeys } from "./crypto/epoch-record.ts";
import { parseInvite } from "./crypto/invite-link.ts";
import { recoveryDevice } from "./crypto/recovery.ts";
import { joinByInvite, RoomUntrusted, type EnterStep, type EnterWorld } from "./enter.ts";
import { makeInvite } from "./make-invite.ts";
import { keepOlderKeys } from "./older-keys.ts";
import { RoomReading } from "./room-reading.ts";
import { type RoomRecord } from "./store.ts";

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
 * Makes this device an owner of a room by the key that was shown when the room was created; names have been checked. A lock is
 * opened for the moment that it takes. The key stays good, and is not kept here. It proves its holder to the server, not the
 * server to the holder: the room is the one that the server shows under this name.
 *
 * Repeating it after an error is safe. Throws `ApiError` (`device_unknown`: no room here has this key; `banned`; `chain_moved`),
 * `RoomUntrusted` if the room under this name is not one of the key's, `PageProblem`, `StorageRefused`.
 */
export async function recoverRoom(
  world: RecoverWorld,
  wanted: { readonly name: string; readonly secret: Bytes; readonly myName: string },
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
  const wasLocked = fold.state.locked;
  try {
    if (wasLocked) await take(steward, { type: "lock", locked: false });
    return await comeBack(world, api, steward, wanted.myName, onStep);
  } finally {
    if (wasLocked) await take(steward, { type: "lock", locked: true });
  }
}

/** The room as its recovery device reads it, from its first entry on: the key to that was sealed to it at the beginning. */
async function stewardOf(
  world: RecoverWorld,
  api: Api,
  device: Device,
  at: { readonly room: string; readonly name: string },
): Promise<Steward> {
  const founding = (await api.chain(at.room, 2, 1)).entries[0];
  if (founding?.seq !== 1) throw new RoomUntrusted();
  const hash = b64(await envelopeHash(founding.envelope));
  // In memory only. No epoch is pinned yet, so that the keys of all are asked for.
  let record: RoomRecord = { ...at, role: "owner", keys: [], pinned: { epoch: -1, hash }, readSeq: 0 };
  const { local } = world.store.identity;
  const { now, hash: passwordHash, setTimeout } = world;
  const reading = new RoomReading(at.room, {
    ...{ api, device, local, setTimeout },
    record: () => record,
    change: (change) => (record = change(record)),
    logChanged: () => undefined,
    changed: () => undefined,
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
