//! Ways into a room: creating it, joining by password, joining by invite. What is entered is checked before it is kept.

import { ApiError, type Api } from "./api.ts";
import { b64, fromB64 } from "./base64url.ts";
import { profileBody } from "./bodies.ts";
import { random, type Bytes } from "./bytes.ts";
import { type PasswordHash } from "./crypto/argon2id.ts";
import { EntryType, envelopeHash } from "./crypto/envelope.ts";
import { createEpochRecord, deviceKeys, RecordRefused, verifyEpochRecord } from "./crypto/epoch-record.ts";
import { grantKeys, GrantRefused, KDF, openGrant, passwordIkm, sealGrant, type GrantKeys } from "./crypto/grant.ts";
import { type InviteSecret } from "./crypto/invite-link.ts";
import { hkdfKey } from "./crypto/primitives.ts";
import { generateRecoverySecret, recoveryDevice, recoveryText } from "./crypto/recovery.ts";
import { keepRoomKey } from "./crypto/room-key.ts";
import { sealRoomKey } from "./crypto/sealed-key.ts";
import { outboxDraft } from "./outbox-items.ts";
import { type RoomRecord, type Store } from "./store.ts";
import { type Entered, type SignIn } from "../protocol.gen.ts";

export type EnterStep = "asking" | "deriving" | "entering";

export interface EnterWorld {
  readonly api: Api;
  readonly store: Store;
  readonly hash: PasswordHash;
  readonly now: () => number;
}

/** The server shows an older state of a room than this device knows, or another one. */
export class RoomContradicted extends Error {
  constructor() {
    super("the room is not in the state that this device knows");
  }
}

/** The room's own records do not fit its grant, or the server wants a key derivation this client does not take part in. */
export class RoomUntrusted extends Error {
  constructor() {
    super("the room's records do not verify");
  }
}

interface Place {
  readonly room: Bytes;
  readonly grant: Bytes;
}

/**
 * Creates a room; names and password have been checked. Answers with its record and the recovery key to show once.
 * Throws `ApiError` (`room_name_taken` with a free variant), `StorageRefused`.
 */
export async function createRoom(
  world: EnterWorld,
  wanted: { readonly name: string; readonly password: string; readonly myName: string },
  onStep: (step: EnterStep) => void,
): Promise<{ record: RoomRecord; recoveryKey: string }> {
  const { device } = world.store.identity;
  const place = { room: random(16), grant: random(16) };
  onStep("deriving");
  const ikm = await passwordIkm(wanted.password, place.room, place.grant, world.hash);
  const keys = await grantKeys(ikm, place.room, place.grant);
  const recoveryKey = generateRecoverySecret();
  const recovery = await recoveryDevice(recoveryKey);
  const roomKey = random(32);
  const record = await createEpochRecord(await hkdfKey(roomKey), place.room, random(16), device, recovery, world.now());
  const recordHash = await envelopeHash(record);
  const blob = await sealGrant(keys, place.room, place.grant, { epoch: 0, roomKey, recordHash });
  const recoveryKeys = await deviceKeys(recovery);
  const sealedKey = await sealRoomKey(recoveryKeys, place.room, 0, roomKey);
  onStep("entering");
  const entered = await signedIn(world.api, place, undefined, (sign_in) =>
    world.api.createRoom({
      name: wanted.name,
      room: b64(place.room),
      grant: b64(place.grant),
      kdf: KDF,
      auth: b64(keys.auth),
      blob: b64(blob),
      epoch_record: b64(record),
      recovery: { sign_key: recoveryKeys.signKey, agree_key: recoveryKeys.agreeKey, key: b64(sealedKey) },
      sign_in,
    }),
  );
  const kept = await keep(world, entered, place, roomKey, { epoch: 0, hash: b64(recordHash) }, wanted.myName);
  return { record: kept, recoveryKey: recoveryText(recoveryKey) };
}

/**
 * Joins by name and password. Throws `ApiError` (`wrong_credentials`), `RoomUntrusted`, `RoomContradicted`,
 * `StorageRefused`.
 */
export async function joinByPassword(
  world: EnterWorld,
  wanted: { readonly name: string; readonly password: string; readonly myName: string },
  onStep: (step: EnterStep) => void,
): Promise<RoomRecord> {
  onStep("asking");
  const found = await world.api.lookup(wanted.name);
  if (found.kdf !== KDF) throw new RoomUntrusted();
  const place = { room: fromB64(found.room, 16), grant: fromB64(found.grant, 16) };
  onStep("deriving");
  const ikm = await passwordIkm(wanted.password, place.room, place.grant, world.hash);
  return join(world, place, await grantKeys(ikm, place.room, place.grant), found.nonce, wanted.myName, onStep);
}

/**
 * Joins by an invite. Throws `ApiError` (`invite_expired`, `invite_used_up`, …), `RoomUntrusted`, `RoomContradicted`,
 * `StorageRefused`.
 */
export async function joinByInvite(
  world: EnterWorld,
  invite: InviteSecret,
  myName: string,
  onStep: (step: EnterStep) => void,
): Promise<RoomRecord> {
  onStep("deriving");
  const keys = await grantKeys(invite.secret, invite.room, invite.grant);
  return join(world, invite, keys, undefined, myName, onStep);
}

async function join(
  world: EnterWorld,
  place: Place,
  keys: GrantKeys,
  nonce: string | undefined,
  myName: string,
  onStep: (step: EnterStep) => void,
): Promise<RoomRecord> {
  onStep("entering");
  const request = { room: b64(place.room), grant: b64(place.grant), auth: b64(keys.auth) };
  const entered = await signedIn(world.api, place, nonce, (sign_in) => world.api.join({ ...request, sign_in }));
  if (entered.room.room !== request.room) throw new RoomUntrusted();
  try {
    const { epoch, roomKey, recordHash } = await openGrant(keys, place.room, place.grant, fromB64(entered.blob));
    const envelope = fromB64(entered.epoch_record.envelope);
    await verifyEpochRecord(await hkdfKey(roomKey), place.room, epoch, recordHash, envelope);
    return await keep(world, entered, place, roomKey, { epoch, hash: b64(recordHash) }, myName);
  } catch (error) {
    if (error instanceof RecordRefused || error instanceof GrantRefused || error instanceof RangeError) {
      throw new RoomUntrusted();
    }
    throw error;
  }
}

/** Makes a call that needs a sign-in; once more with a new nonce if the first one had become too old. */
async function signedIn(
  api: Api,
  place: Place,
  nonce: string | undefined,
  call: (signIn: SignIn) => Promise<Entered>,
): Promise<Entered> {
  try {
    return await call(await api.signIn(nonce ?? (await api.nonce()), place));
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "nonce_expired") throw error;
  }
  return call(await api.signIn(await api.nonce(), place));
}

/** Keeps a room that was entered, with the introduction that is sent there first. */
async function keep(
  world: EnterWorld,
  entered: Entered,
  place: Place,
  roomKey: Bytes,
  pinned: RoomRecord["pinned"],
  myName: string,
): Promise<RoomRecord> {
  const { store } = world;
  const { device, local } = store.identity;
  const known = (await store.rooms()).find(({ room }) => room === entered.room.room);
  // Who holds a newer record, or another one of this epoch, was shown two truths: a backup was restored, or somebody lies.
  if (known !== undefined && known.pinned.epoch >= pinned.epoch && known.pinned.hash !== pinned.hash) {
    throw new RoomContradicted();
  }
  const again = known !== undefined && known.ended === undefined;
  const key = await keepRoomKey(local, place.room, pinned.epoch, roomKey);
  const { room, name, role, head } = entered.room;
  const fresh: RoomRecord = { room, name, role, pinned, keys: [], readSeq: head, life: b64(random(16)) };
  const introduction = profileBody(myName, !again, device);
  const first = await outboxDraft(store, room, { type: EntryType.profile, body: introduction }, world.now());
  const record = (before: RoomRecord | undefined): RoomRecord => {
    // What is said from now is introduced anew, also what was written before the room had ended here.
    const { ended: _ended, introduced: _introduced, ...kept } = before ?? fresh;
    const keys = [...kept.keys.filter(({ epoch }) => epoch !== pinned.epoch), key];
    // A newer key may have come meanwhile.
    const newest = kept.pinned.epoch > pinned.epoch ? kept.pinned : pinned;
    return { ...kept, room, name, role, keys, pinned: newest };
  };
  return store.keepRoom(room, record, first);
}
