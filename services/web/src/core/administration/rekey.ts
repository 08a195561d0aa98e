//! Another key for the room: to remove somebody, to be rid of a password that got about, or to keep newcomers from reading
//! back. Members who stay get it sealed to their devices and retype nothing.

import { ApiError } from "../http.ts";
import { b64 } from "../base64url.ts";
import { random, type Bytes } from "../bytes.ts";
import { eligible, namesRecipients, recipientsHash, type Eligible } from "../chain/eligible.ts";
import { type Chain } from "../chain/chain.ts";
import { sortedDevices } from "../chain/order.ts";
import { type Cause, type EpochRecord } from "../chain/record.ts";
import { type DeviceKeys } from "../chain/state.ts";
import { envelopeHash } from "../crypto/envelope.ts";
import { deviceKeys, sealNextRecord } from "../crypto/epoch-record.ts";
import { grantKeys, KDF, passwordIkm, sealGrant, type GrantKeys } from "../crypto/grant.ts";
import { hkdfKey } from "../crypto/primitives.ts";
import { generateRecoverySecret, parseRecovery, recoveryDevice, recoveryText } from "../crypto/recovery.ts";
import { sealRoomKey } from "../crypto/sealed-key.ts";
import { PageProblem } from "../page-problem.ts";
import { EPOCH_KEYS_PAGE_MAX, REMOVALS_MAX, type Invite, type RecoveryDevice } from "../../protocol.gen.ts";
import { type MemberList } from "../room-members.ts";
import { repeated } from "./repeated.ts";
import { setRolesRight } from "./roles.ts";
import { hasMoved, refusal, TRIES_MAX, type Steward } from "./steward.ts";

export type RekeyStep =
  | { readonly step: "collecting" | "deriving" | "committing" }
  | { readonly step: "sealing"; readonly done: number; readonly all: number };

export interface Rekey {
  /** 0 to 50 devices. */
  readonly remove: readonly string[];
  readonly ban: boolean;
  /** Newcomers shall not read what was said before. Not together with a removal: one commit has one cause. */
  readonly cutHistory: boolean;
  readonly password: string;
  /**
   * Another recovery key, which takes the place of the one there is. Owners. It is drawn and saved first (`drawRecoveryKey`): once
   * the commit is on its way the old one may be good for nothing, and nobody else has this one.
   */
  readonly recoveryKey?: string;
}

export interface Rekeyed {
  /** Invites that are no more. Empty where the server's first answer was lost. */
  readonly revoked: readonly Invite[];
  /** Members that had never shown that they have the room's key; they may join by the new password. */
  readonly excluded: readonly string[];
}

/** A fresh recovery key, as people keep it. It is of no use before a `rekey` with it. */
export function drawRecoveryKey(): string {
  return recoveryText(generateRecoverySecret());
}

/** Why, and what changes with it. */
interface Change {
  readonly cause: Cause;
  /** The recovery device that takes the place of the one there is. */
  readonly recovery: DeviceKeys | undefined;
}

interface Password {
  readonly grant: Bytes;
  readonly keys: GrantKeys;
}

/**
 * Gives the room another key and password, seals the key to everyone who stays, and revokes all invites, in one commit. What
 * was handed to the server before that commit does no harm, so a page that ends in between leaves the room as it was; one that
 * ends after it finds its own key among the sealed ones. Who comes while it is under way gets no key, and may join by the new
 * password. When others administer meanwhile, it is done again upon that, at most 3 times. Rejects with `ApiError`
 * (`chain_moved`: another key or password came first, look and decide again; `offline`: it may be done) and `PageProblem`.
 */
export async function rekey(steward: Steward, wanted: Rekey, onStep: (step: RekeyStep) => void): Promise<Rekeyed> {
  const { room, world, bytes } = steward;
  const seen = await steward.fold();
  const change = { cause: causeOf(wanted), recovery: await recoveryOf(wanted, seen) };
  const seenAt = seen.newest.seq;
  demandState(seen, world.device.id, change, world.now());
  onStep({ step: "deriving" });
  const grant = random(16);
  const ikm = await passwordIkm(wanted.password, bytes, grant, world.hash);
  const password = { grant, keys: await grantKeys(ikm, bytes, grant) };
  let [aheadMs, isSetRight] = [0, false];
  for (let attempt = 1; ; attempt++) {
    const before = (await steward.fold()).newest.seq;
    try {
      if (!leftAlone(steward, seenAt)) throw refusal("unlinked");
      onStep({ step: "collecting" });
      const list = await room.members.fetch();
      if (!isSetRight) await setRolesRight(steward, list.members);
      isSetRight = true;
      const sentAtMs = world.now() - aheadMs;
      const members = await membersOf(steward, change, sentAtMs, list);
      const revoked = await begin(steward, { change, members, password, sentAtMs }, onStep);
      // It is done, whether the list can be had or not.
      await room.members.load().catch(() => undefined);
      return { revoked, excluded: members.excluded };
    } catch (error) {
      // Server and chain are to forget the same mutes, so the record's time is one that both can believe.
      if (error instanceof ApiError && error.serverAtMs !== undefined && aheadMs === 0) {
        aheadMs = Math.max(1, world.now() - error.serverAtMs);
        continue;
      }
      const isLost = error instanceof ApiError && error.code === "members_changed";
      if (!(hasMoved(error) || isLost) || attempt === TRIES_MAX) throw error;
      await room.chain.load();
      // A server that says that the chain moved must show how.
      if (!isLost && (room.chain.fold?.newest.seq ?? 0) <= before) throw error;
    }
  }
}

/** The recovery device that shall be; `undefined` also where it is it already, since the answer to an earlier try was lost. */
async function recoveryOf({ recoveryKey }: Rekey, { state }: Chain): Promise<DeviceKeys | undefined> {
  if (recoveryKey === undefined) return undefined;
  const secret = parseRecovery(recoveryKey);
  if (secret === undefined) throw new ApiError({ code: "bad_request", retry: "never" });
  const keys = await deviceKeys(await recoveryDevice(secret));
  const isDone = state.admins.some(({ device, recovery }) => recovery && device === keys.device);
  return isDone ? undefined : keys;
}

function causeOf({ remove, ban, cutHistory }: Rekey): Cause {
  const devices = sortedDevices(new Set(remove));
  if (devices.length > REMOVALS_MAX || (cutHistory && devices.length > 0)) {
    throw new ApiError({ code: "bad_request", retry: "never" });
  }
  if (cutHistory) return { type: "history" };
  return devices.length === 0 ? { type: "rotate" } : { type: "remove", devices, ban };
}

function demandState(fold: Chain, me: string, { cause, recovery }: Change, sentAtMs: number) {
  const state = fold.nextState(me, cause, sentAtMs, recovery);
  if (typeof state === "string") throw refusal(state);
  return state;
}

/** Whether nobody began an epoch or replaced the password after `seen`. */
function leftAlone({ room }: Steward, seen: number): boolean {
  return room.chain.links.every(({ entry: { seq, content }, counts }) => {
    if (seq <= seen || !counts) return true;
    return content.kind === "step" && content.step.type !== "password";
  });
}

/** To whom the new key is sealed: nobody whom the server merely lists. */
async function membersOf(
  steward: Steward,
  change: Change,
  sentAtMs: number,
  { members, profiles }: MemberList,
): Promise<Eligible> {
  const { world } = steward;
  const fold = await steward.fold();
  const { cause } = change;
  const next = demandState(fold, world.device.id, change, sentAtMs);
  const introduced = profiles.flatMap(({ content, header }) =>
    content.kind === "profile" && header?.epoch === fold.epoch ? [header.device] : [],
  );
  const listed = members.flatMap(({ state, device, sign_key: signKey, agree_key: agreeKey }) =>
    state === "member" ? [{ device, signKey, agreeKey }] : [],
  );
  return eligible(next, world.device.id, {
    members: listed,
    recipients: new Set(await recipients(steward, fold)),
    introduced: new Set(introduced),
    removing: new Set(cause.type === "remove" ? cause.devices : []),
  });
}

/**
 * To whom the present key was sealed. A list that is not the one that the record names counts for nobody: else a server, or
 * an admin who stated a wrong hash, could keep everybody from ever being removed.
 */
async function recipients({ room, world }: Steward, fold: Chain): Promise<readonly string[]> {
  const record = recordOf(room.chain.links, fold.pin.hash);
  if (record === undefined) throw new PageProblem("room_untrusted");
  if (record.recipients === undefined) return [];
  const listed = (await world.api.epochKeys(room.id, fold.epoch)).recipients;
  return (await namesRecipients(record, listed)) ? listed : [];
}

function recordOf(links: Steward["room"]["chain"]["links"], hash: string): EpochRecord | undefined {
  const content = links.find((link) => link.counts && link.entry.hash === hash)?.entry.content;
  return content?.kind === "epoch_record" ? content.record : undefined;
}

interface NewKey {
  readonly change: Change;
  readonly members: Eligible;
  readonly password: Password;
  /** The record's time. */
  readonly sentAtMs: number;
}

async function begin(
  steward: Steward,
  { change, members, password, sentAtMs }: NewKey,
  onStep: (step: RekeyStep) => void,
): Promise<readonly Invite[]> {
  const { room, world, bytes } = steward;
  const { cause, recovery } = change;
  const recipients = members.recipients.map(({ device }) => device);
  const fold = await steward.fold();
  const previous = await steward.key(cause);
  const [epoch, roomKey] = [fold.nextEpoch, random(32)];
  const record = await sealNextRecord({
    room: bytes,
    instance: random(16),
    signer: world.device,
    epoch,
    roomKey: await hkdfKey(roomKey),
    previousKey: previous.raw,
    cause,
    ...(recovery && { recovery }),
    state: demandState(fold, world.device.id, change, sentAtMs),
    newest: fold.newest,
    prev: await steward.edge(),
    recipients,
    sentAtMs,
  });
  const recordHash = await envelopeHash(record);
  const known = members.recipients.filter(({ device }) => device !== recovery?.device);
  await stage(steward, { epoch, roomKey, record: b64(recordHash) }, known, onStep);
  onStep({ step: "committing" });
  const request = {
    record: b64(record),
    remove: cause.type === "remove" ? [...cause.devices] : [],
    ban: cause.type === "remove" && cause.ban,
    recipients: await recipientsHash(recipients),
    sent_at_ms: sentAtMs,
    ...(recovery && { recovery: await sealedTo(recovery, bytes, epoch, roomKey) }),
    grant: b64(password.grant),
    kdf: KDF,
    auth: b64(password.keys.auth),
    blob: b64(await sealGrant(password.keys, bytes, password.grant, { epoch, roomKey, recordHash })),
  };
  try {
    const committed = await repeated(world.setTimeout, () => world.api.newEpoch(room.id, request));
    // This device is among those it was sealed to: the key is taken up by the same way as on every other one.
    await steward.committed(committed.seq);
    return committed.revoked ?? [];
  } catch (error) {
    if (!(error instanceof ApiError) || error.retry !== "later") throw error;
    // The answer may be lost, or the server not know itself, and the epoch begun: the chain tells, if it can be had.
    await room.chain.refresh().catch(() => undefined);
    if (room.chain.fold?.pin.hash === b64(recordHash)) return [];
    throw error;
  }
}

/** The new recovery device as the server is told of it, which does not know it yet, so that nothing can be staged for it. */
async function sealedTo(keys: DeviceKeys, room: Bytes, epoch: number, roomKey: Bytes): Promise<RecoveryDevice> {
  const key = b64(await sealRoomKey(keys, room, epoch, roomKey));
  return { sign_key: keys.signKey, agree_key: keys.agreeKey, key };
}

/** Seals the new key to everyone whom the server knows, a page at a time, and hands the pages to it. */
async function stage(
  { room, world, bytes }: Steward,
  of: { readonly epoch: number; readonly roomKey: Bytes; readonly record: string },
  all: readonly DeviceKeys[],
  onStep: (step: RekeyStep) => void,
): Promise<void> {
  const tell = (done: number) => onStep({ step: "sealing", done, all: all.length });
  tell(0);
  for (let at = 0; at < all.length; at += EPOCH_KEYS_PAGE_MAX) {
    const page = all.slice(at, at + EPOCH_KEYS_PAGE_MAX);
    const keys = [];
    for (const recipient of page) {
      const sealed = await sealRoomKey(recipient, bytes, of.epoch, of.roomKey);
      keys.push({ device: recipient.device, key: b64(sealed) });
      tell(at + keys.length);
    }
    const request = { record: of.record, keys };
    await repeated(world.setTimeout, () => world.api.stageKeys(room.id, of.epoch, request));
  }
}
