import { beforeAll, expect, it } from "vitest";

import { b64, fromB64 } from "../base64url.ts";
import { random, type Bytes } from "../bytes.ts";
import { Chain } from "../chain/chain.ts";
import { recipientsHash } from "../chain/eligible.ts";
import { type Cause } from "../chain/record.ts";
import { afterCause } from "../chain/rules.ts";
import { generateDevice, type Device } from "./device.ts";
import { envelopeHash } from "./envelope.ts";
import {
  createEpochRecord,
  openRecord,
  previousRoomKey,
  RecordRefused,
  sealNextRecord,
  verifyEpochRecord,
} from "./epoch-record.ts";
import { hkdfKey } from "./primitives.ts";
import { generateRecoverySecret, recoveryDevice } from "./recovery.ts";

const room = random(16);
const keys = [random(32), random(32)];
let use: CryptoKey[];
let ana: Device;
let ben: Device;
let recovery: Device;
let founding: Bytes;
let chain: Chain;

beforeAll(async () => {
  use = await Promise.all(keys.map((key) => hkdfKey(key)));
  [ana, ben] = [await generateDevice(), await generateDevice()];
  recovery = await recoveryDevice(generateRecoverySecret());
  founding = await createEpochRecord(key(0), room, random(16), ana, recovery, 1_000);
  chain = Chain.found({ ...(await openRecord(key(0), room, 0, founding)), seq: 1 });
});

function key(epoch: number): CryptoKey {
  const found = use[epoch];
  if (found === undefined) throw new Error("no such epoch");
  return found;
}

async function next(cause: Cause, signer = ana): Promise<Bytes> {
  const state = afterCause(chain.state, ana.id, cause, 1, 2_000);
  if (typeof state === "string") throw new Error(state);
  return sealNextRecord({
    room,
    instance: random(16),
    signer,
    epoch: 1,
    roomKey: key(1),
    previousKey: fromB64(b64(keys[0] ?? random(32))),
    cause,
    state,
    newest: chain.newest,
    prev: { seq: 1, hash: fromB64(chain.newest.hash) },
    recipients: [ana.id, recovery.id],
    sentAtMs: 2_000,
  });
}

it("a room that begins with a recovery key to which nothing can be sealed is none", async () => {
  const low = new Uint8Array(32);
  const unusable = { signKey: recovery.signKey, agreeKey: low };
  const record = await createEpochRecord(key(0), room, random(16), ana, unusable, 1_000);
  await expect(openRecord(key(0), room, 0, record)).rejects.toThrow(RecordRefused);
});

it("a new epoch's record verifies, follows the chain, and lets who enters read back", async () => {
  const envelope = await next({ type: "remove", devices: [ben.id], ban: true });
  const verified = await verifyEpochRecord(key(1), room, 1, await envelopeHash(envelope), envelope);
  const { record } = verified.content;
  expect(record.recipients).toBe(await recipientsHash([recovery.id, ana.id]));
  expect(await previousRoomKey(key(1), room, record)).toEqual(keys[0]);
  const own = Chain.found({ ...(await openRecord(key(0), room, 0, founding)), seq: 1 });
  expect(own.apply({ ...verified, seq: 5 }).kind).toBe("applied");
  expect([own.epoch, own.state.banned]).toEqual([1, [ben.id]]);
  expect(Chain.adopt({ ...verified, seq: 5 }).state).toEqual(own.state);
});

it("where the history is cut off there is no key to read back with", async () => {
  const { record } = (await openRecord(key(1), room, 1, await next({ type: "history" }))).content;
  expect([record.previousKey, record.state.historyFrom]).toEqual([undefined, 1]);
  expect(await previousRoomKey(key(1), room, record)).toBeUndefined();
});

it("a key before that was changed on the way does not open", async () => {
  const { record } = (await openRecord(key(1), room, 1, await next({ type: "rotate" }))).content;
  const bytes = fromB64(record.previousKey ?? "");
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  await expect(previousRoomKey(key(1), room, { ...record, previousKey: b64(bytes) })).rejects.toThrow(RecordRefused);
  await expect(previousRoomKey(key(0), room, record)).rejects.toThrow(RecordRefused);
  await expect(previousRoomKey(key(1), room, { ...record, epoch: 2 })).rejects.toThrow(RecordRefused);
});

it("a record is refused under another key, epoch, room, hash or signer", async () => {
  const envelope = await next({ type: "rotate" });
  const hash = await envelopeHash(envelope);
  await expect(openRecord(key(0), room, 1, envelope)).rejects.toThrow(RecordRefused);
  await expect(openRecord(key(1), room, 2, envelope)).rejects.toThrow(RecordRefused);
  await expect(openRecord(key(1), random(16), 1, envelope)).rejects.toThrow(RecordRefused);
  await expect(verifyEpochRecord(key(1), room, 1, random(32), envelope)).rejects.toThrow(RecordRefused);
  await expect(openRecord(key(1), room, 1, await next({ type: "rotate" }, ben))).rejects.toThrow(RecordRefused);
  const forged = await next({ type: "rotate" }, { ...ben, id: ana.id });
  await expect(openRecord(key(1), room, 1, forged)).rejects.toThrow(RecordRefused);
  expect((await verifyEpochRecord(key(1), room, 1, hash, envelope)).header.device).toBe(ana.id);
});

it("a founding record with one device as creator and recovery is refused", async () => {
  const alone = await createEpochRecord(key(0), room, random(16), ana, ana, 1_000);
  await expect(openRecord(key(0), room, 0, alone)).rejects.toThrow(RecordRefused);
});
