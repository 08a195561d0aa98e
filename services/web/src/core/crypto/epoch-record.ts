//! Epoch records: the signed statement a room begins with, and what a joiner checks of it.

import { b64, fromB64 } from "../base64url.ts";
import { equal, type Bytes } from "../bytes.ts";
import { parseRecord, recordBody, type EpochRecord } from "../chain/record.ts";
import { foundingState, type Admin, type DeviceKeys } from "../chain/state.ts";
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

/** The record is not what the grant promised. It does not say in which way. */
export class RecordRefused extends Error {
  constructor() {
    super("the room's record does not fit its grant");
  }
}

async function named(keys: PublicKeys): Promise<DeviceKeys> {
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
  const body = recordBody({
    epoch: 0,
    commitment: b64(await roomKeyCommitment(roomKey, room, 0)),
    previous: undefined,
    previousKey: undefined,
    recipients: undefined,
    cause: { type: "created" },
    state: foundingState(await named(creator), await named(recovery)),
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

/** The admin who signed `opened`, if any did. */
export async function signingAdmin(opened: Opened, record: EpochRecord): Promise<Admin | undefined> {
  const admin = record.state.admins.find(({ device }) => device === opened.header.device);
  return admin !== undefined && (await verifyOpened(opened, fromB64(admin.signKey))) ? admin : undefined;
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
    const record = await parseRecord(JSON.parse(opened.body));
    const fits =
      header.type === EntryType.epochRecord &&
      header.room === b64(room) &&
      header.epoch === epoch &&
      header.counter === 0 &&
      record.epoch === epoch &&
      opened.prev.seq === 0 &&
      equal(opened.prev.hash, NOWHERE.hash) &&
      equal(fromB64(record.commitment), await roomKeyCommitment(roomKey, room, epoch));
    if (!fits || (await signingAdmin(opened, record)) === undefined) throw new RecordRefused();
    return record;
  } catch {
    throw new RecordRefused();
  }
}
