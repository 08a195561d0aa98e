//! Moving to another device: the link's secret, the new device's offer, the old one's nonce, what the offer committed to, the code
//! to compare, the old device's answer. Private keys never move.
//!
//! Who has the link and stands between the two must fix its keys before it knows either nonce, so that the codes agree by chance only
//! (Vaudenay, "Secure Communications over Insecure Channels Based on Short Authenticated Strings", 2005).

import { b64, fromB64 } from "../base64url.ts";
import { concat, equal, fromUtf8, random, Reader, utf8, zeros, type Bytes } from "../bytes.ts";
import { fieldsOf, bytesField, listField, textField, wholeField } from "../chain/fields.ts";
import { EPOCH_MAX } from "../chain/state.ts";
import { memberName } from "../names.ts";
import { MOVE_ANSWER_BYTES_MAX, MOVE_NONCE_BYTES, MOVE_OFFER_BYTES, MOVE_REVEAL_BYTES } from "../../protocol.gen.ts";
import { deviceId, type Device, type PublicKeys } from "./device.ts";
import { hkdf, hkdfKey, KEY_BYTES, sha256 } from "./primitives.ts";
import { openSealed, SealRefused, sealTo } from "./sealed-key.ts";

const PREFIX = "#move=";
const ID_BYTES = 16;
const CODE_DIGITS = 6;
/** Room id, grant id, secret of an invite. */
const JOIN_BYTES = 64;
/** What an answer adds to its plaintext: `enc` and tag. */
const SEAL_BYTES = 48;
/** Rooms and keys in an answer are bounded by its size; these bound the lists before they are read. */
const ITEMS_MAX = 1_000;

/** What the new device is given. */
export interface MoveAnswer {
  readonly name: string;
  readonly rooms: readonly {
    /** Room id, grant id and secret of an invite, 64 bytes, base64url. */
    readonly join: string;
    /** Raw room keys, base64url of 32 bytes each; each is checked against its record's commitment before use. */
    readonly keys: readonly { readonly epoch: number; readonly key: string }[];
  }[];
}

export function generateMoveSecret(): Bytes {
  return random(KEY_BYTES);
}

/** The link that the old device shows. `origin` has no trailing slash. */
export function moveLink(origin: string, secret: Bytes): string {
  return `${origin}/${PREFIX}${b64(secret)}`;
}

/** The secret in a fragment or a pasted link; `undefined` when there is none or it is damaged. */
export function parseMove(text: string): Bytes | undefined {
  const start = text.indexOf(PREFIX);
  if (start < 0) return undefined;
  try {
    return fromB64(text.slice(start + PREFIX.length).trim(), KEY_BYTES);
  } catch {
    return undefined;
  }
}

/** The mailbox's id, 16 bytes. */
export async function moveId(secret: Bytes): Promise<Bytes> {
  return (await hkdf(await hkdfKey(secret), zeros(0), "snug/v1/move-id")).slice(0, ID_BYTES);
}

async function macKey(secret: Bytes): Promise<CryptoKey> {
  const raw = await hkdf(await hkdfKey(secret), zeros(0), "snug/v1/move-mac");
  return crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
}

/** What the new device is, and what its offer commits to. The nonce keeps that from being guessed before it is told. */
export interface MoveReveal {
  readonly signKey: Bytes;
  readonly agreeKey: Bytes;
  /** 32 random bytes, for one move. */
  readonly nonce: Bytes;
}

/** What was agreed on once both nonces are known. */
export interface MoveAgreed {
  readonly revealed: MoveReveal;
  /** The old device's 32 random bytes. */
  readonly nonce: Bytes;
}

export function generateMoveNonce(): Bytes {
  return random(KEY_BYTES);
}

/** `said`, and after it a proof that who has the link says it in this context. */
async function prove(secret: Bytes, said: Bytes, context: Bytes): Promise<Bytes> {
  return concat(said, new Uint8Array(await crypto.subtle.sign("HMAC", await macKey(secret), concat(context, said))));
}

/** What was proven so; `undefined` when it was not. */
async function proven(secret: Bytes, part: Bytes, length: number, context: Bytes): Promise<Bytes | undefined> {
  if (part.length !== length) return undefined;
  const [said, mac] = [part.slice(0, length - KEY_BYTES), part.slice(length - KEY_BYTES)];
  return (await crypto.subtle.verify("HMAC", await macKey(secret), mac, concat(context, said))) ? said : undefined;
}

const OFFER = utf8("snug/v1/move-offer");

function nonceContext(commitment: Bytes): Bytes {
  return concat(utf8("snug/v1/move-nonce"), commitment);
}

function revealContext(commitment: Bytes, nonce: Bytes): Bytes {
  return concat(utf8("snug/v1/move-reveal"), commitment, nonce);
}

/** What the new device's offer commits it to. */
export function moveCommitment({ signKey, agreeKey, nonce }: MoveReveal): Promise<Bytes> {
  return sha256(utf8("snug/v1/move-commit"), signKey, agreeKey, nonce);
}

/** The new device's offer, 64 bytes. */
export async function moveOffer(secret: Bytes, own: MoveReveal): Promise<Bytes> {
  return prove(secret, await moveCommitment(own), OFFER);
}

/** What an offer commits to; `undefined` when it was not made by who knows the secret. */
export function openOffer(secret: Bytes, offer: Bytes): Promise<Bytes | undefined> {
  return proven(secret, offer, MOVE_OFFER_BYTES, OFFER);
}

/** The old device's nonce as it answers an offer with it, 64 bytes. */
export function moveNonce(secret: Bytes, commitment: Bytes, nonce: Bytes): Promise<Bytes> {
  return prove(secret, nonce, nonceContext(commitment));
}

/** The old device's nonce; `undefined` when it was not made by who knows the secret, for this offer. */
export function openNonce(secret: Bytes, commitment: Bytes, part: Bytes): Promise<Bytes | undefined> {
  return proven(secret, part, MOVE_NONCE_BYTES, nonceContext(commitment));
}

/** What the offer committed to, 128 bytes. To be told only once the old device's nonce is there. */
export async function moveReveal(secret: Bytes, { revealed, nonce }: MoveAgreed): Promise<Bytes> {
  const said = concat(revealed.signKey, revealed.agreeKey, revealed.nonce);
  return prove(secret, said, revealContext(await moveCommitment(revealed), nonce));
}

/** What the new device is; `undefined` when that is not what it committed to, or not made by who knows the secret. */
export async function openReveal(
  secret: Bytes,
  commitment: Bytes,
  nonce: Bytes,
  part: Bytes,
): Promise<MoveReveal | undefined> {
  const said = await proven(secret, part, MOVE_REVEAL_BYTES, revealContext(commitment, nonce));
  if (said === undefined) return undefined;
  const reader = new Reader(said);
  const revealed = { signKey: reader.take(KEY_BYTES), agreeKey: reader.take(KEY_BYTES), nonce: reader.rest() };
  return equal(await moveCommitment(revealed), commitment) ? revealed : undefined;
}

/** The six digits that both devices show. */
export async function moveCode(secret: Bytes, { revealed, nonce }: MoveAgreed): Promise<string> {
  const { signKey, agreeKey, nonce: own } = revealed;
  const hash = await sha256(utf8("snug/v1/move-code"), secret, nonce, signKey, agreeKey, own);
  return String(new Reader(hash).u32() % 10 ** CODE_DIGITS).padStart(CODE_DIGITS, "0");
}

/** Secret: who does not know the link cannot write an answer, though mailbox and keys are the server's to see. */
async function answerInfo(secret: Bytes): Promise<Bytes> {
  return concat(utf8("snug/v1/move"), await hkdf(await hkdfKey(secret), zeros(0), "snug/v1/move-answer"));
}

/** Whether `answer` is small enough to be sealed; what is left out of it is the caller's choice. */
export function answerFits(answer: MoveAnswer): boolean {
  return utf8(JSON.stringify(answer)).length + SEAL_BYTES <= MOVE_ANSWER_BYTES_MAX;
}

/** The answer, sealed to the new device. `ephemeral` is for test vectors. Throws `RangeError` when it is too large. */
export async function sealAnswer(secret: Bytes, to: PublicKeys, answer: MoveAnswer, ephemeral?: Bytes): Promise<Bytes> {
  if (!answerFits(answer)) throw new RangeError("the answer is too large");
  const aad = fromB64(await deviceId(to));
  const plaintext = utf8(JSON.stringify(answer));
  return sealTo(to.agreeKey, await answerInfo(secret), aad, plaintext, ephemeral);
}

/** Opens and checks the answer. Throws `SealRefused`. */
export async function openAnswer(
  secret: Bytes,
  device: Pick<Device, "id" | "agree" | "agreeKey">,
  sealed: Bytes,
): Promise<MoveAnswer> {
  if (sealed.length > MOVE_ANSWER_BYTES_MAX) throw new SealRefused();
  const plaintext = await openSealed(device, await answerInfo(secret), fromB64(device.id), sealed);
  try {
    return parseAnswer(fieldsOf(JSON.parse(fromUtf8(plaintext))));
  } catch {
    throw new SealRefused();
  }
}

function parseAnswer(fields: ReturnType<typeof fieldsOf>): MoveAnswer {
  const checked = memberName(textField(fields, "name"));
  if (!checked.ok) throw new TypeError("not a name");
  const rooms = listField(fields, "rooms", ITEMS_MAX).map((json) => {
    const room = fieldsOf(json);
    const keys = listField(room, "keys", ITEMS_MAX).map((item) => {
      const key = fieldsOf(item);
      return { epoch: wholeField(key, "epoch", 0, EPOCH_MAX), key: bytesField(key, "key", KEY_BYTES) };
    });
    return { join: bytesField(room, "join", JOIN_BYTES), keys };
  });
  return { name: checked.name, rooms };
}
