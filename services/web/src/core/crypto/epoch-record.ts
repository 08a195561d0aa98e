//! Epoch records: the signed statement a room begins with, and what a joiner checks of it.

import { b64, fromB64 } from "../base64url.ts";
import { equal, type Bytes } from "../bytes.ts";
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
} from "./envelope.ts";
import { roomKeyCommitment } from "./room-key.ts";

/** One who may sign the next record. */
export interface Admin extends PublicKeys {
  recovery: boolean;
}

/** A record's statement. */
export interface EpochRecord {
  epoch: number;
  commitment: Bytes;
  admins: Admin[];
}

/** The record is not what the grant promised. It does not say in which way. */
export class RecordRefused extends Error {
  constructor() {
    super("the room's record does not fit its grant");
  }
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
  const admin = (keys: PublicKeys, isRecovery: boolean) => ({
    sign_key: b64(keys.signKey),
    agree_key: b64(keys.agreeKey),
    recovery: isRecovery,
  });
  const body = JSON.stringify({
    epoch: 0,
    commitment: b64(await roomKeyCommitment(roomKey, room, 0)),
    previous: null,
    history: "all",
    admins: [admin(creator, false), admin(recovery, true)],
  });
  return sealEnvelope(roomKey, {
    type: EntryType.epochRecord,
    room,
    epoch: 0,
    device: creator,
    deviceBytes: fromB64(creator.id),
    instance,
    counter: 0,
    targetSeq: 0,
    prev: NOWHERE,
    sentAtMs,
    body,
  });
}

/** Reads a record's body. Throws when it is not one. */
export function parseEpochRecord(body: string): EpochRecord {
  const json: unknown = JSON.parse(body);
  const { epoch, commitment, admins } = json as Partial<Record<string, unknown>>;
  if (typeof epoch !== "number" || typeof commitment !== "string" || !Array.isArray(admins)) throw new RecordRefused();
  return {
    epoch,
    commitment: fromB64(commitment, 32),
    admins: admins.map((admin: { sign_key: string; agree_key: string; recovery?: unknown }) => ({
      signKey: fromB64(admin.sign_key, 32),
      agreeKey: fromB64(admin.agree_key, 32),
      recovery: admin.recovery === true,
    })),
  };
}

/** The admin who signed `opened`, if any did. */
export async function signingAdmin(opened: Opened, record: EpochRecord): Promise<Admin | undefined> {
  for (const admin of record.admins) {
    if ((await deviceId(admin)) !== opened.header.device) continue;
    if (await verifyOpened(opened, admin.signKey)) return admin;
  }
  return undefined;
}

/**
 * Checks the record of epoch 0 as someone who enters does: its hash is the grant's, it opens with the room key,
 * commits to it, and is signed by one of its own admins. Throws `RecordRefused`.
 */
export async function verifyEpochRecord(
  roomKey: CryptoKey,
  room: Bytes,
  epoch: number,
  recordHash: Bytes,
  envelope: Bytes,
): Promise<EpochRecord> {
  try {
    if (epoch !== 0 || !equal(await envelopeHash(envelope), recordHash)) throw new RecordRefused();
    const opened = await openEnvelope(envelope, (_, header) => streamKey(roomKey, header));
    const { header } = opened;
    const record = parseEpochRecord(opened.body);
    const fits =
      header.type === EntryType.epochRecord &&
      header.room === b64(room) &&
      header.epoch === epoch &&
      header.counter === 0 &&
      record.epoch === epoch &&
      opened.prev.seq === 0 &&
      equal(opened.prev.hash, NOWHERE.hash) &&
      equal(record.commitment, await roomKeyCommitment(roomKey, room, epoch));
    if (!fits || (await signingAdmin(opened, record)) === undefined) throw new RecordRefused();
    return record;
  } catch {
    throw new RecordRefused();
  }
}
