//! The body of an epoch record: an epoch's key, why it began, and what holds from it on.

import { REMOVALS_MAX } from "../../protocol.gen.ts";
import { fromB64 } from "../base64url.ts";
import { canAgree } from "../crypto/device.ts";
import { boolField, bytesField, devicesField, fieldsOf, nullableBytes, textField, wholeField } from "./fields.ts";
import { demandOrder } from "./order.ts";
import { EPOCH_MAX, keysJson, parseKeys, parseState, stateJson, type DeviceKeys, type RoomState } from "./state.ts";

/** `iv ‖ AEAD(…)` of the key before. */
const PREVIOUS_KEY_BYTES = 60;

export type Cause =
  | { readonly type: "created" }
  /** 1 to 50 devices, in order. */
  | { readonly type: "remove"; readonly devices: readonly string[]; readonly ban: boolean }
  | { readonly type: "rotate" }
  /** Newcomers shall not read what came before. */
  | { readonly type: "history" };

/** Byte strings are base64url. */
export interface EpochRecord {
  readonly epoch: number;
  readonly commitment: string;
  /** Envelope hash of the chain entry before; `undefined` for epoch 0. */
  readonly previous: string | undefined;
  /** The key of the epoch before, sealed under this one's. */
  readonly previousKey: string | undefined;
  readonly recipients: string | undefined;
  readonly cause: Cause;
  /** The recovery device that takes the place of the one before, if one does. */
  readonly recovery: DeviceKeys | undefined;
  readonly state: RoomState;
}

async function parseRecovery(json: unknown): Promise<DeviceKeys | undefined> {
  if (json === null) return undefined;
  const keys = await parseKeys(json);
  // Nothing could be sealed to it.
  if (!(await canAgree(fromB64(keys.agreeKey)))) throw new TypeError("not the keys of a device");
  return keys;
}

function parseCause(json: unknown): Cause {
  const fields = fieldsOf(json);
  const type = textField(fields, "type");
  switch (type) {
    case "created":
    case "rotate":
    case "history":
      return { type };
    case "remove": {
      const devices = devicesField(fields, "devices", REMOVALS_MAX);
      if (devices.length === 0) throw new RangeError("nobody is removed");
      demandOrder(devices);
      return { type, devices, ban: boolField(fields, "ban") };
    }
    default:
      throw new TypeError("a cause this version does not know");
  }
}

/** Whether the fields that depend on one another agree, whatever came before the record. */
function agrees(record: EpochRecord): boolean {
  const first = record.epoch === 0;
  const closed = first || record.cause.type === "history";
  return (
    (record.cause.type === "created") === first &&
    !(first && record.recovery !== undefined) &&
    (record.previous === undefined) === first &&
    (record.recipients === undefined) === first &&
    (record.previousKey === undefined) === closed &&
    (closed ? record.state.historyFrom === record.epoch : record.state.historyFrom < record.epoch)
  );
}

/** Else its admins could not be sealed to, and the server would let nobody leave them out. */
async function demandUsable({ admins }: RoomState): Promise<void> {
  const usable = await Promise.all(admins.map(({ agreeKey }) => canAgree(fromB64(agreeKey))));
  if (!usable.every(Boolean)) throw new TypeError("not the keys of a device");
}

/** Reads a record's body. Throws on what is not well formed, out of bounds or contradicts itself. */
export async function parseRecord(json: unknown): Promise<EpochRecord> {
  const fields = fieldsOf(json);
  const record = {
    epoch: wholeField(fields, "epoch", 0, EPOCH_MAX),
    commitment: bytesField(fields, "commitment", 32),
    previous: nullableBytes(fields, "previous", 32),
    previousKey: nullableBytes(fields, "previous_key", PREVIOUS_KEY_BYTES),
    recipients: nullableBytes(fields, "recipients", 32),
    cause: parseCause(fields["cause"]),
    recovery: await parseRecovery(fields["recovery"]),
    state: await parseState(fields["state"]),
  };
  if (!agrees(record)) throw new TypeError("the record contradicts itself");
  if (record.epoch === 0) await demandUsable(record.state);
  return record;
}

/** The record as it is sealed. */
export function recordBody(record: EpochRecord): string {
  return JSON.stringify({
    epoch: record.epoch,
    commitment: record.commitment,
    previous: record.previous ?? null,
    previous_key: record.previousKey ?? null,
    recipients: record.recipients ?? null,
    cause: record.cause,
    recovery: record.recovery === undefined ? null : keysJson(record.recovery),
    state: stateJson(record.state),
  });
}
