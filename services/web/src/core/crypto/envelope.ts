//! Sealing and opening envelopes (format v1). What a body says is another module's business.

import { b64 } from "../base64url.ts";
import { concat, fromUtf8, Reader, u32, u64, utf8, zeros, type Bytes } from "../bytes.ts";
import { BODY_BYTES_MAX, PLAINTEXT_BUCKETS } from "../../protocol.gen.ts";
import { signBytes, verifyBytes, type Device } from "./device.ts";
import { aesOpen, aesSeal, hkdfAesKey, sha256 } from "./primitives.ts";

export const HEADER_BYTES = 76;
const TAG_BYTES = 16;
const SIGNATURE_BYTES = 64;
const MAGIC = utf8("SNUG");
const VERSION = 1;

/** Entry types of the header. */
export const EntryType = {
  epochRecord: 1,
  profile: 2,
  message: 3,
  leave: 4,
  edit: 5,
  deletion: 6,
  reaction: 7,
  step: 8,
  pin: 9,
} as const;

/** The authenticated header. Ids are base64url. */
export interface Header {
  type: number;
  room: string;
  epoch: number;
  device: string;
  instance: string;
  counter: number;
  targetSeq: number;
}

/** Place and envelope hash (32 bytes) of an entry. */
export interface Place {
  seq: number;
  hash: Bytes;
}

/** Before the first entry of a room. */
export const NOWHERE: Place = { seq: 0, hash: zeros(32) };

/** What an envelope holds, decrypted but not yet verified. */
export interface Opened {
  header: Header;
  prev: Place;
  sentAtMs: number;
  /** JSON text. */
  body: string;
  signature: Bytes;
  /** The bytes that the signature must cover. */
  signed: Bytes;
}

/** What is sealed, by whom and at which place of their stream. */
export interface Draft {
  type: number;
  room: Bytes;
  epoch: number;
  device: Pick<Device, "id" | "sign">;
  deviceBytes: Bytes;
  instance: Bytes;
  counter: number;
  targetSeq: number;
  prev: Place;
  sentAtMs: number;
  body: string;
}

/** The envelope cannot be read. It does not say which part failed. */
export class Unreadable extends Error {
  constructor() {
    super("the envelope cannot be read");
  }
}

/** SHA-256 of a whole envelope. */
export function envelopeHash(envelope: Bytes): Promise<Bytes> {
  return sha256(envelope);
}

function headerBytes(draft: Draft): Bytes {
  return concat(
    MAGIC,
    Uint8Array.of(VERSION, draft.type, 0, 0),
    draft.room,
    u32(draft.epoch),
    draft.deviceBytes,
    draft.instance,
    u64(draft.counter),
    u64(draft.targetSeq),
  );
}

/** Reads the header at the start of `envelope`, whatever its type. Throws `Unreadable` on another version or shape. */
export function readHeader(envelope: Bytes): Header {
  try {
    const reader = new Reader(envelope);
    if (fromUtf8(reader.take(4)) !== "SNUG" || reader.u8() !== VERSION) throw new Unreadable();
    const type = reader.u8();
    if (reader.u16() !== 0) throw new Unreadable();
    const room = b64(reader.take(16));
    const epoch = reader.u32();
    const device = b64(reader.take(16));
    const instance = b64(reader.take(16));
    return { type, room, epoch, device, instance, counter: reader.u64(), targetSeq: reader.u64() };
  } catch {
    throw new Unreadable();
  }
}

/** The AES key of one (epoch, device, instance). `header` is any header of that stream. */
export function streamKey(roomKey: CryptoKey, header: Bytes): Promise<CryptoKey> {
  // Room id, epoch, device id and instance lie next to one another in the header, in this order.
  return hkdfAesKey(roomKey, "snug/v1/msg", header.slice(8, 60));
}

function iv(counter: number): Bytes {
  return concat(u32(0), u64(counter));
}

/** The padded length of a plaintext of `length` bytes; `undefined` when it is longer than the largest bucket. */
export function bucket(length: number): number | undefined {
  return PLAINTEXT_BUCKETS.find((size) => size >= length);
}

/**
 * Seals `draft`. The caller never seals the same (room key, device, instance, counter) twice.
 * Throws `RangeError` when the body is longer than 16,384 bytes.
 */
export async function sealEnvelope(roomKey: CryptoKey, draft: Draft): Promise<Bytes> {
  const body = utf8(draft.body);
  if (body.length > BODY_BYTES_MAX) throw new RangeError("the body is too long");
  const header = headerBytes(draft);
  const content = concat(u64(draft.prev.seq), draft.prev.hash, u64(draft.sentAtMs), u32(body.length), body);
  const signature = await signBytes(draft.device, concat(utf8("snug/v1/envelope"), header, content));
  const length = content.length + SIGNATURE_BYTES;
  const padding = zeros((bucket(length) ?? length) - length);
  const key = await streamKey(roomKey, header);
  return concat(header, await aesSeal(key, iv(draft.counter), header, concat(content, signature, padding)));
}

/**
 * Decrypts `envelope` and checks its form; the signature is checked by `verifyOpened`. `key` gives the stream's key
 * (see `streamKey`); it may cache. Throws `Unreadable`.
 */
export async function openEnvelope(
  envelope: Bytes,
  key: (header: Header, bytes: Bytes) => Promise<CryptoKey>,
): Promise<Opened> {
  try {
    const header = readHeader(envelope);
    const bytes = envelope.slice(0, HEADER_BYTES);
    const ciphertext = envelope.slice(HEADER_BYTES);
    const size = ciphertext.length - TAG_BYTES;
    if (bucket(size) !== size) throw new Unreadable();
    const plaintext = await aesOpen(await key(header, bytes), iv(header.counter), bytes, ciphertext);
    const reader = new Reader(plaintext);
    const prev = { seq: reader.u64(), hash: reader.take(32) };
    const sentAtMs = reader.u64();
    const length = reader.u32();
    if (length > BODY_BYTES_MAX) throw new Unreadable();
    const body = fromUtf8(reader.take(length));
    const signed = concat(utf8("snug/v1/envelope"), bytes, plaintext.subarray(0, reader.at));
    const signature = reader.take(SIGNATURE_BYTES);
    if (bucket(reader.at) !== size || reader.rest().some((byte) => byte !== 0)) throw new Unreadable();
    return { header, prev, sentAtMs, body, signature, signed };
  } catch {
    throw new Unreadable();
  }
}

/** Whether the envelope was signed by the owner of `signKey`. */
export function verifyOpened(opened: Opened, signKey: Bytes): Promise<boolean> {
  return verifyBytes(signKey, opened.signature, opened.signed);
}
