//! Epoch records: sealing them, and what must be checked before one is believed.

import { b64, fromB64 } from "../base64url.ts";
import { concat, equal, random, Reader, u32, utf8, type Bytes } from "../bytes.ts";
import { type ChainEntry } from "../chain/chain.ts";
import { recipientsHash } from "../chain/eligible.ts";
import { parseRecord, recordBody, type Cause, type EpochRecord } from "../chain/record.ts";
import { couldState } from "../chain/rules.ts";
import { foundingState, type Admin, type DeviceKeys, type RoomState } from "../chain/state.ts";
import { deviceId, type Device, type PublicKeys } from "./device.ts";
import {
  EntryType,
  envelopeHash,
  NOWHERE,
  openEnvelope,
  sealEnvelope,
  streamKey,
  verifyOpened,
  type Opened,
  type Place,
} from "./envelope.ts";
import { parsePlain } from "../plain-json.ts";
import { aesOpen, aesSeal, hkdfAesKey, IV_BYTES, KEY_BYTES } from "./primitives.ts";
import { roomKeyCommitment } from "./room-key.ts";

/** The record is not what was promised. It does not say in which way. */
export class RecordRefused extends Error {
  constructor() {
    super("the room's record does not verify");
  }
}

/** Public keys as the room's state names them. */
export async function deviceKeys(keys: PublicKeys): Promise<DeviceKeys> {
  return { device: await deviceId(keys), signKey: b64(keys.signKey), agreeKey: b64(keys.agreeKey) };
}

/** Seals the record of epoch 0, which becomes the room's first entry. */
export async function createEpochRecord(
  roomKey: CryptoKey,
  room: Bytes,
  instance: Bytes,
  creator: Device,
  recovery: PublicKeys,
  sentAtMs: number,
): Promise<Bytes> {
  const record: EpochRecord = {
    epoch: 0,
    commitment: b64(await roomKeyCommitment(roomKey, room, 0)),
    previous: undefined,
    previousKey: undefined,
    recipients: undefined,
    cause: { type: "created" },
    recovery: undefined,
    state: foundingState(await deviceKeys(creator), await deviceKeys(recovery)),
  };
  return seal(roomKey, room, instance, creator, record, { seq: 0, prev: NOWHERE }, sentAtMs);
}

/** What the record of a new epoch is made of. */
export interface NextEpoch {
  readonly room: Bytes;
  /** Fresh; the record is its only envelope. */
  readonly instance: Bytes;
  readonly signer: Device;
  /** The new epoch, and its key. */
  readonly epoch: number;
  readonly roomKey: CryptoKey;
  /** The 32 raw bytes of the key before. Not used for the cause `history`. */
  readonly previousKey: Bytes;
  readonly cause: Cause;
  /** The recovery device that takes the place of the one before. */
  readonly recovery?: DeviceKeys;
  /** As `afterCause` gives it for the same `sentAtMs`. */
  readonly state: RoomState;
  /** The newest chain entry; its hash is base64url. */
  readonly newest: { readonly seq: number; readonly hash: string };
  /** The newest entry of the log. */
  readonly prev: Place;
  /** Device ids that the new key was sealed to, in any order. */
  readonly recipients: Iterable<string>;
  readonly sentAtMs: number;
}

/** Seals the record that begins a new epoch. `iv` is for test vectors; it must never be used twice. */
export async function sealNextRecord(next: NextEpoch, iv: Bytes = random(IV_BYTES)): Promise<Bytes> {
  const { room, epoch, roomKey, cause } = next;
  const closed = cause.type === "history";
  const record: EpochRecord = {
    epoch,
    commitment: b64(await roomKeyCommitment(roomKey, room, epoch)),
    previous: next.newest.hash,
    previousKey: closed ? undefined : b64(await sealPrevious(roomKey, room, epoch, next.previousKey, iv)),
    recipients: await recipientsHash(next.recipients),
    cause,
    recovery: next.recovery,
    state: next.state,
  };
  const at = { seq: next.newest.seq, prev: next.prev };
  return seal(roomKey, room, next.instance, next.signer, record, at, next.sentAtMs);
}

function seal(
  roomKey: CryptoKey,
  room: Bytes,
  instance: Bytes,
  signer: Device,
  record: EpochRecord,
  after: { readonly seq: number; readonly prev: Place },
  sentAtMs: number,
): Promise<Bytes> {
  return sealEnvelope(roomKey, {
    type: EntryType.epochRecord,
    room,
    epoch: record.epoch,
    device: signer,
    deviceBytes: fromB64(signer.id),
    instance,
    counter: 0,
    targetSeq: after.seq,
    prev: after.prev,
    sentAtMs,
    body: recordBody(record),
  });
}

function previousContext(room: Bytes, epoch: number): Bytes {
  return concat(utf8("snug/v1/previous-key"), room, u32(epoch));
}

async function sealPrevious(roomKey: CryptoKey, room: Bytes, epoch: number, key: Bytes, iv: Bytes): Promise<Bytes> {
  const under = await hkdfAesKey(roomKey, "snug/v1/previous-key", room, u32(epoch));
  return concat(iv, await aesSeal(under, iv, previousContext(room, epoch), key));
}

/**
 * The 32 raw bytes of the room key before `record`'s, or `undefined` where newcomers cannot read back. The caller checks
 * that the record of the epoch before commits to it (`openRecord`). Throws `RecordRefused` when it does not open.
 */
export async function previousRoomKey(
  roomKey: CryptoKey,
  room: Bytes,
  record: EpochRecord,
): Promise<Bytes | undefined> {
  if (record.previousKey === undefined) return undefined;
  try {
    const reader = new Reader(fromB64(record.previousKey));
    const under = await hkdfAesKey(roomKey, "snug/v1/previous-key", room, u32(record.epoch));
    const iv = reader.take(IV_BYTES);
    const key = await aesOpen(under, iv, previousContext(room, record.epoch), reader.rest());
    if (key.length !== KEY_BYTES) throw new RecordRefused();
    return key;
  } catch {
    throw new RecordRefused();
  }
}

/** The admin who signed `opened`, if any did. */
export async function signingAdmin(opened: Opened, record: EpochRecord): Promise<Admin | undefined> {
  const admin = record.state.admins.find(({ device }) => device === opened.header.device);
  return admin !== undefined && (await verifyOpened(opened, fromB64(admin.signKey))) ? admin : undefined;
}

/** A record that verified by itself: all a chain entry needs but its place, which only the log tells. */
export interface VerifiedRecord extends Omit<ChainEntry, "seq"> {
  readonly sentAtMs: number;
  readonly content: { readonly kind: "epoch_record"; readonly record: EpochRecord };
}

/**
 * Whether the record is of `epoch` and commits to its key. One that does not is unreadable, whoever signed it: else its
 * signer could show one epoch under two keys.
 */
export async function commitsTo(record: EpochRecord, roomKey: CryptoKey, room: Bytes, epoch: number): Promise<boolean> {
  return record.epoch === epoch && equal(fromB64(record.commitment), await roomKeyCommitment(roomKey, room, epoch));
}

/**
 * Checks a record with the key of its epoch, whatever came before: it opens, commits to the key, and is signed by an
 * admin in its own state. Whether that one may have made it is the chain's question (`Chain.apply`, `Chain.adopt`), so that
 * it can tell of one who may not. Throws `RecordRefused`.
 */
export async function openRecord(
  roomKey: CryptoKey,
  room: Bytes,
  epoch: number,
  envelope: Bytes,
): Promise<VerifiedRecord> {
  try {
    const opened = await openEnvelope(envelope, (_, header) => streamKey(roomKey, header));
    const { header, prev, sentAtMs } = opened;
    const record = await parseRecord(parsePlain(opened.body));
    const first = epoch === 0;
    const fits =
      header.type === EntryType.epochRecord &&
      header.room === b64(room) &&
      header.epoch === epoch &&
      header.counter === 0 &&
      (header.targetSeq === 0) === first &&
      (prev.seq === 0) === first &&
      (!first || equal(prev.hash, NOWHERE.hash)) &&
      (await commitsTo(record, roomKey, room, epoch));
    if (!fits || (await signingAdmin(opened, record)) === undefined) throw new RecordRefused();
    const hash = b64(await envelopeHash(envelope));
    return { hash, header, sentAtMs, content: { kind: "epoch_record", record } };
  } catch {
    throw new RecordRefused();
  }
}

/**
 * As `openRecord`, for who enters by a grant: the record is the one whose hash the grant carries, and its signer may have made it.
 * Throws `RecordRefused`.
 */
export async function verifyEpochRecord(
  roomKey: CryptoKey,
  room: Bytes,
  epoch: number,
  recordHash: Bytes,
  envelope: Bytes,
): Promise<VerifiedRecord> {
  if (!equal(await envelopeHash(envelope), recordHash)) throw new RecordRefused();
  const opened = await openRecord(roomKey, room, epoch, envelope);
  const { record } = opened.content;
  const refusal = couldState(record.state, opened.header.device, record.cause, opened.sentAtMs, record.recovery);
  if (refusal !== undefined) throw new RecordRefused();
  return opened;
}

/** A verified record at its place in the log. */
export function placed(record: VerifiedRecord, seq: number): ChainEntry {
  return { ...record, seq };
}
