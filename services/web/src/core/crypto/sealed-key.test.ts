import { beforeAll, expect, it } from "vitest";

import { b64 } from "../base64url.ts";
import { random, utf8, type Bytes } from "../bytes.ts";
import { generateDevice, type Device } from "./device.ts";
import {
  answerFits,
  generateMoveNonce,
  generateMoveSecret,
  moveCode,
  moveCommitment,
  moveLink,
  moveNonce,
  moveOffer,
  moveReveal,
  openAnswer,
  openNonce,
  openOffer,
  openReveal,
  parseMove,
  sealAnswer,
} from "./move.ts";
import { openRoomKey, openSealed, SealRefused, sealRoomKey, sealTo } from "./sealed-key.ts";

let ana: Device;
let ben: Device;
const room = random(16);

beforeAll(async () => {
  [ana, ben] = [await generateDevice(), await generateDevice()];
});

const recipient = (device: Device) => ({ device: device.id, agreeKey: b64(device.agreeKey) });

function flipped(bytes: Bytes, at: number): Bytes {
  const copy = bytes.slice();
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

it("a room key sealed to a device opens with its private key, which nobody can read", async () => {
  expect(ana.agree.extractable).toBe(false);
  const roomKey = random(32);
  const sealed = await sealRoomKey(recipient(ana), room, 3, roomKey);
  expect(sealed.length).toBe(80);
  expect(await openRoomKey(ana, room, 3, sealed)).toEqual(roomKey);
});

it("whoever has a room key can tell what of it was sealed to another device", async () => {
  const roomKey = random(32);
  const seal = (to: Device, at = room, epoch = 3, key = roomKey) => sealRoomKey(recipient(to), at, epoch, key);
  expect(await seal(ana)).toEqual(await seal(ana));
  // No ephemeral key serves twice: not for another device, room, epoch or key.
  const others = [seal(ben), seal(ana, random(16)), seal(ana, room, 4), seal(ana, room, 3, random(32))];
  const all = await Promise.all([seal(ana), ...others]);
  expect(new Set(all.map((sealed) => b64(sealed.slice(0, 32)))).size).toBe(5);
});

it("a sealed room key opens for no other device, room, epoch or bytes", async () => {
  const sealed = await sealRoomKey(recipient(ana), room, 3, random(32));
  await expect(openRoomKey(ben, room, 3, sealed)).rejects.toThrow(SealRefused);
  await expect(openRoomKey({ ...ana, id: ben.id }, room, 3, sealed)).rejects.toThrow(SealRefused);
  await expect(openRoomKey(ana, random(16), 3, sealed)).rejects.toThrow(SealRefused);
  await expect(openRoomKey(ana, room, 4, sealed)).rejects.toThrow(SealRefused);
  for (const at of [0, 31, 32, 79]) {
    await expect(openRoomKey(ana, room, 3, flipped(sealed, at))).rejects.toThrow(SealRefused);
  }
  await expect(openRoomKey(ana, room, 3, sealed.slice(1))).rejects.toThrow(SealRefused);
  const short = await sealTo(ana.agreeKey, utf8("x"), utf8("y"), random(31));
  expect((await openSealed(ana, utf8("x"), utf8("y"), short)).length).toBe(31);
});

it("a move's offer is taken only from who knows the secret, and both sides show one code", async () => {
  const secret = generateMoveSecret();
  expect(parseMove(moveLink("https://chat.example", secret))).toEqual(secret);
  expect(parseMove("https://chat.example/#move=short")).toBeUndefined();
  expect(parseMove("https://chat.example/")).toBeUndefined();
  const own = { signKey: ben.signKey, agreeKey: ben.agreeKey, nonce: generateMoveNonce() };
  const offer = await moveOffer(secret, own);
  expect(offer.length).toBe(64);
  const commitment = await openOffer(secret, offer);
  expect(commitment).toEqual(await moveCommitment(own));
  for (const at of [0, 32, 63]) expect(await openOffer(secret, flipped(offer, at))).toBeUndefined();
  expect(await openOffer(generateMoveSecret(), offer)).toBeUndefined();
  expect(await openOffer(secret, offer.slice(1))).toBeUndefined();
  const agreed = { revealed: own, nonce: generateMoveNonce() };
  const code = await moveCode(secret, agreed);
  expect(code).toMatch(/^\d{6}$/u);
  expect(await moveCode(secret, agreed)).toBe(code);
});

it("a move's reveal is taken only if it is what was committed to before the nonce was known", async () => {
  const secret = generateMoveSecret();
  const own = { signKey: ben.signKey, agreeKey: ben.agreeKey, nonce: generateMoveNonce() };
  const [commitment, nonce] = [await moveCommitment(own), generateMoveNonce()];
  const told = await moveNonce(secret, commitment, nonce);
  expect(await openNonce(secret, commitment, told)).toEqual(nonce);
  for (const at of [0, 32, 63]) expect(await openNonce(secret, commitment, flipped(told, at))).toBeUndefined();
  expect(await openNonce(secret, nonce, told)).toBeUndefined();
  const reveal = await moveReveal(secret, { revealed: own, nonce });
  expect(await openReveal(secret, commitment, nonce, reveal)).toEqual(own);
  for (const at of [0, 40, 70, 127]) {
    expect(await openReveal(secret, commitment, nonce, flipped(reveal, at))).toBeUndefined();
  }
  expect(await openReveal(generateMoveSecret(), commitment, nonce, reveal)).toBeUndefined();
  expect(await openReveal(secret, commitment, generateMoveNonce(), reveal)).toBeUndefined();
  const other = { ...own, signKey: ana.signKey, agreeKey: ana.agreeKey };
  const wrong = await moveReveal(secret, { revealed: other, nonce });
  expect(await openReveal(secret, commitment, nonce, wrong)).toBeUndefined();
});

it("a move's answer opens on the new device alone", async () => {
  const secret = generateMoveSecret();
  const answer = { name: "Ana", rooms: [{ join: b64(random(64)), keys: [{ epoch: 0, key: b64(random(32)) }] }] };
  const sealed = await sealAnswer(secret, ben, answer);
  expect(await openAnswer(secret, ben, sealed)).toEqual(answer);
  await expect(openAnswer(secret, ana, sealed)).rejects.toThrow(SealRefused);
  await expect(openAnswer(generateMoveSecret(), ben, sealed)).rejects.toThrow(SealRefused);
  await expect(openAnswer(secret, ben, flipped(sealed, 60))).rejects.toThrow(SealRefused);
  const unnamed = await sealAnswer(secret, ben, { ...answer, name: "a\u202Eb" });
  await expect(openAnswer(secret, ben, unnamed)).rejects.toThrow(SealRefused);
});

it("an answer beyond 48 KiB is not sealed", async () => {
  const keys = Array.from({ length: 1000 }, (_, epoch) => ({ epoch, key: b64(new Uint8Array(32)) }));
  const answer = { name: "Ana", rooms: [{ join: b64(random(64)), keys }] };
  expect(answerFits(answer)).toBe(false);
  await expect(sealAnswer(generateMoveSecret(), ben, answer)).rejects.toThrow(RangeError);
});
