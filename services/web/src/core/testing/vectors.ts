//! The test vectors' shape, how this side makes its file, and a raw sealer that can also make what must be refused.

import { b64, fromB64 } from "../base64url.ts";
import { DELETION_BODY, editBody, LEAVE_BODY, messageBody, pinBody, reactionBody } from "../bodies.ts";
import { concat, u32, u64, utf8, zeros, type Bytes } from "../bytes.ts";
import { stepBody } from "../chain/step.ts";
import { hashKdf1 } from "../crypto/argon2id.ts";
import { deviceFromSeeds, signBytes, type Device } from "../crypto/device.ts";
import {
  bucket,
  EntryType,
  envelopeHash,
  NOWHERE,
  openEnvelope,
  sealEnvelope,
  streamKey,
  type Draft,
} from "../crypto/envelope.ts";
import { createEpochRecord } from "../crypto/epoch-record.ts";
import { grantKeys, passwordIkm, sealGrant, type GrantKeys } from "../crypto/grant.ts";
import { inviteFragment } from "../crypto/invite-link.ts";
import { aesSeal, hkdfKey } from "../crypto/primitives.ts";
import { recoveryDevice, recoveryText } from "../crypto/recovery.ts";
import { roomKeyCommitment } from "../crypto/room-key.ts";
import { signInSignature } from "../crypto/sign-in.ts";
import { fixed, fixedId } from "./scene.ts";
import { governingVectors, type GoverningVectors } from "./vectors-governing.ts";

export interface GrantVector {
  room: string;
  grant: string;
  auth: string;
  kek: string;
  commit: string;
  epoch: number;
  room_key: string;
  record_hash: string;
  iv: string;
  blob: string;
}

export interface EnvelopeVector {
  name: string;
  type: number;
  room: string;
  epoch: number;
  room_key: string;
  device: string;
  instance: string;
  counter: number;
  target_seq: number;
  prev_seq: number;
  prev_hash: string;
  sent_at_ms: number;
  body: string;
  envelope: string;
  hash: string;
}

export interface Vectors extends GoverningVectors {
  format: "snug/v1";
  device: { sign_seed: string; agree_secret: string; sign_key: string; agree_key: string; device: string };
  password_grant: GrantVector & { password: string; ikm: string };
  invite_grant: GrantVector & { secret: string; link_fragment: string };
  sign_in: { room: string; grant: string; nonce: string; origin: string; signature: string };
  recovery: { secret: string; text: string; sign_key: string; agree_key: string };
  room_key_commitment: { room: string; epoch: number; room_key: string; commitment: string };
  envelopes: EnvelopeVector[];
  refused: { name: string; envelope: string; why: string }[];
}

/** Seals with any padding, size and signer: `plaintext` replaces what follows the header. */
export async function sealRaw(roomKey: CryptoKey, header: Bytes, counter: number, plaintext: Bytes): Promise<Bytes> {
  const iv = concat(u32(0), u64(counter));
  return concat(header, await aesSeal(await streamKey(roomKey, header), iv, header, plaintext));
}

function flip(bytes: Bytes, at: number, mask = 1): Bytes {
  const flipped = bytes.slice();
  flipped[at] = (flipped[at] ?? 0) ^ mask;
  return flipped;
}

function grantVector(
  keys: GrantKeys,
  place: { room: Bytes; grant: Bytes },
  content: { epoch: number; roomKey: Bytes; recordHash: Bytes },
  iv: Bytes,
  blob: Bytes,
): GrantVector {
  return {
    room: b64(place.room),
    grant: b64(place.grant),
    auth: b64(keys.auth),
    kek: b64(keys.kek),
    commit: b64(keys.commit),
    epoch: content.epoch,
    room_key: b64(content.roomKey),
    record_hash: b64(content.recordHash),
    iv: b64(iv),
    blob: b64(blob),
  };
}

/** The bodies to seal, in order: every type, every kind of size, texts beyond ASCII. */
function bodies(device: Device): { name: string; type: number; body: string; target?: number }[] {
  const message = (text: string) => JSON.stringify({ text });
  // 116 bytes stand around a body, so 140 bytes fill the smallest bucket; `{"text":""}` has 11 of them.
  const sized = (length: number) => message("x".repeat(length - 11));
  const large = message("🦉".repeat(4000)).slice(0, -1);
  const filler = 16384 - utf8(large).length - utf8(',"pad":""}').length;
  const introduce = (name: string, joined: boolean) =>
    JSON.stringify({ name, joined, sign_key: b64(device.signKey), agree_key: b64(device.agreeKey) });
  return [
    { name: "profile on joining", type: EntryType.profile, body: introduce("Ana", true) },
    { name: "smallest message", type: EntryType.message, body: message("x") },
    { name: "message one byte below its bucket", type: EntryType.message, body: sized(139) },
    { name: "message that fills its bucket", type: EntryType.message, body: sized(140) },
    { name: "message one byte above the bucket", type: EntryType.message, body: sized(141) },
    { name: "message beyond ASCII", type: EntryType.message, body: message('Grüße, 你好, שלום 👩‍👩‍👧 "quoted"\n\ttab') },
    { name: "new name beyond ASCII", type: EntryType.profile, body: introduce("Zoë 🦉", false) },
    { name: "largest body", type: EntryType.message, body: `${large},"pad":"${"p".repeat(filler)}"}` },
    {
      name: "reply with mentions",
      type: EntryType.message,
      body: messageBody("@Ana yes", { replyTo: 2, mentions: [device.id] }),
    },
    { name: "edit", type: EntryType.edit, body: editBody("Grüße 🦉", [device.id]), target: 3 },
    { name: "reaction", type: EntryType.reaction, body: reactionBody("👩‍👩‍👧", true), target: 3 },
    { name: "reaction taken back", type: EntryType.reaction, body: reactionBody("👩‍👩‍👧", false), target: 3 },
    { name: "pin", type: EntryType.pin, body: pinBody(true), target: 3 },
    { name: "deletion", type: EntryType.deletion, body: DELETION_BODY, target: 3 },
    {
      name: "step",
      type: EntryType.step,
      body: stepBody(b64(zeros(32)), { type: "topic", topic: "Zürich" }),
      target: 1,
    },
    { name: "leave", type: EntryType.leave, body: LEAVE_BODY },
  ];
}

/** Makes this side's vectors. Every run gives the same bytes. */
export async function webVectors(): Promise<Vectors> {
  const [signSeed, agreeSecret] = [await fixed("sign seed"), await fixed("agree secret")];
  const device = await deviceFromSeeds(signSeed, agreeSecret);
  const room = await fixedId("room");
  const rawKey = await fixed("room key");
  const roomKey = await hkdfKey(rawKey);
  const recoverySecret = await fixed("recovery");
  const recovery = await recoveryDevice(recoverySecret);

  const sentAtMs = 1_790_000_000_000;
  const record = await createEpochRecord(roomKey, room, await fixedId("first instance"), device, recovery, sentAtMs);
  const content = { epoch: 0, roomKey: rawKey, recordHash: await envelopeHash(record) };

  // Written with a combining accent, so that a side that forgets NFC gets another key.
  const password = "cre\u0300me bru\u0302le\u0301e 🦉 twelve";
  const passwordPlace = { room, grant: await fixedId("password grant") };
  const ikm = await passwordIkm(password, room, passwordPlace.grant, hashKdf1);
  const passwordKeys = await grantKeys(ikm, room, passwordPlace.grant);
  const passwordIv = (await fixed("password iv")).slice(0, 12);
  const passwordBlob = await sealGrant(passwordKeys, room, passwordPlace.grant, content, passwordIv);

  const invitePlace = { room, grant: await fixedId("invite grant") };
  const secret = await fixed("invite secret");
  const inviteKeys = await grantKeys(secret, room, invitePlace.grant);
  const inviteIv = (await fixed("invite iv")).slice(0, 12);
  const inviteBlob = await sealGrant(inviteKeys, room, invitePlace.grant, content, inviteIv);

  const origin = "https://chat.example";
  const nonce = "n0nce.from-the_server";

  const envelopes: EnvelopeVector[] = [];
  const sealed = { room: b64(room), epoch: 0, room_key: b64(rawKey), device: device.id };
  const recordBody = (await openEnvelope(record, (_, header) => streamKey(roomKey, header))).body;
  envelopes.push({
    name: "epoch record",
    type: EntryType.epochRecord,
    ...sealed,
    instance: b64(await fixedId("first instance")),
    counter: 0,
    target_seq: 0,
    prev_seq: 0,
    prev_hash: b64(zeros(32)),
    sent_at_ms: sentAtMs,
    body: recordBody,
    envelope: b64(record),
    hash: b64(content.recordHash),
  });
  const instance = await fixedId("instance");
  let prev = { seq: 1, hash: content.recordHash };
  for (const [counter, { name, type, body, target = 0 }] of bodies(device).entries()) {
    const at = draftOf(device, room, instance, counter, type, body, prev, sentAtMs + 1000 * counter);
    const draft = { ...at, targetSeq: target };
    const envelope = await sealEnvelope(roomKey, draft);
    const hash = await envelopeHash(envelope);
    envelopes.push({
      name,
      type,
      ...sealed,
      instance: b64(instance),
      counter,
      target_seq: target,
      prev_seq: prev.seq,
      prev_hash: b64(prev.hash),
      sent_at_ms: draft.sentAtMs,
      body,
      envelope: b64(envelope),
      hash: b64(hash),
    });
    prev = { seq: prev.seq + 1, hash };
  }

  return {
    format: "snug/v1",
    device: {
      sign_seed: b64(signSeed),
      agree_secret: b64(agreeSecret),
      sign_key: b64(device.signKey),
      agree_key: b64(device.agreeKey),
      device: device.id,
    },
    password_grant: {
      password,
      ikm: b64(ikm),
      ...grantVector(passwordKeys, passwordPlace, content, passwordIv, passwordBlob),
    },
    invite_grant: {
      secret: b64(secret),
      link_fragment: inviteFragment({ ...invitePlace, secret }).slice("#join=".length),
      ...grantVector(inviteKeys, invitePlace, content, inviteIv, inviteBlob),
    },
    sign_in: {
      room: b64(room),
      grant: b64(invitePlace.grant),
      nonce,
      origin,
      signature: b64(await signInSignature(device, invitePlace, nonce, origin)),
    },
    recovery: {
      secret: b64(recoverySecret),
      text: recoveryText(recoverySecret),
      sign_key: b64(recovery.signKey),
      agree_key: b64(recovery.agreeKey),
    },
    room_key_commitment: {
      room: b64(room),
      epoch: 0,
      room_key: b64(rawKey),
      commitment: b64(await roomKeyCommitment(roomKey, room, 0)),
    },
    envelopes,
    refused: await refused(roomKey, device, room, recovery),
    ...(await governingVectors({ room, device, recovery, roomKey: rawKey, sentAtMs }, record)),
  };
}

function draftOf(
  device: Device,
  room: Bytes,
  instance: Bytes,
  counter: number,
  type: number,
  body: string,
  prev: { seq: number; hash: Bytes },
  sentAtMs: number,
): Draft {
  const deviceBytes = fromB64(device.id);
  return { type, room, epoch: 0, device, deviceBytes, instance, counter, targetSeq: 0, prev, sentAtMs, body };
}

/** Envelopes that no reader may accept in the vectors' room. */
async function refused(roomKey: CryptoKey, device: Device, room: Bytes, other: Device): Promise<Vectors["refused"]> {
  const instance = await fixedId("refused instance");
  const body = '{"text":"hello"}';
  const draft = draftOf(device, room, instance, 0, EntryType.message, body, NOWHERE, 1_790_000_000_000);
  const good = await sealEnvelope(roomKey, draft);
  const header = good.slice(0, 76);
  const content = concat(u64(0), zeros(32), u64(draft.sentAtMs), u32(body.length), utf8(body));
  const signature = await signBytes(device, concat(utf8("snug/v1/envelope"), header, content));
  const raw = (padded: Bytes) => sealRaw(roomKey, header, 0, padded);
  const signed = concat(content, signature);
  const padding = (size: number) => zeros(size - signed.length);
  const elsewhere = await fixedId("another room");
  const forged = await sealEnvelope(roomKey, { ...draft, device: { id: device.id, sign: other.sign } });
  const longBody = concat(u64(0), zeros(32), u64(draft.sentAtMs), u32(60_000), utf8(body));
  const all: [string, Bytes, string][] = [
    ["flipped header bit", flip(good, 67), "the header is authenticated"],
    ["flipped ciphertext bit", flip(good, 100), "the ciphertext is authenticated"],
    ["flipped tag bit", flip(good, good.length - 1), "the tag must fit"],
    ["another version", flip(good, 4, 3), "only version 1 is known"],
    ["reserved bytes not zero", flip(good, 6), "the reserved bytes are zero"],
    ["signature of another device", forged, "the signature must be by the header's device"],
    ["padding not zero", await raw(flip(concat(signed, padding(256)), 255)), "padding is zero"],
    ["larger bucket than needed", await raw(concat(signed, padding(384))), "the plaintext fills its smallest bucket"],
    ["size between buckets", await raw(concat(signed, padding(300))), "a plaintext has a bucket's size"],
    ["body length beyond the end", await raw(concat(longBody, signature, padding(256))), "the body must be there"],
    ["another room", await sealEnvelope(roomKey, { ...draft, room: elsewhere }), "the header names another room"],
    ["truncated", good.slice(0, good.length - 40), "bytes are missing"],
    ["header only", header, "bytes are missing"],
  ];
  if (bucket(signed.length) !== 256) throw new Error("the cases above are written for the smallest bucket");
  return all.map(([name, envelope, why]) => ({ name, envelope: b64(envelope), why }));
}
