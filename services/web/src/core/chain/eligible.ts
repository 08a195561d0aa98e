//! Whom a new epoch's key may be sealed to (ENCRYPTION.md section 5): never whom the server merely lists.

import { b64, fromB64 } from "../base64url.ts";
import { concat } from "../bytes.ts";
import { canAgree, deviceId } from "../crypto/device.ts";
import { sha256 } from "../crypto/primitives.ts";
import { sortedDevices } from "./order.ts";
import { type EpochRecord } from "./record.ts";
import { governing } from "./rules.ts";
import { type DeviceKeys, type RoomState } from "./state.ts";

/** What is known of the room before its key is replaced. */
export interface Membership {
  /** Present members by the server's list, with the keys it gives for them. */
  readonly members: readonly DeviceKeys[];
  /** To whom the present epoch's key was sealed: a list whose hash has been found to be the record's, or nobody. */
  readonly recipients: ReadonlySet<string>;
  /** Whose profile, sealed under the present epoch, opened and verified. */
  readonly introduced: ReadonlySet<string>;
  /** Who is being removed. */
  readonly removing: ReadonlySet<string>;
}

export interface Eligible {
  /** In order of device id; the recovery device that will be is among them. */
  readonly recipients: readonly DeviceKeys[];
  /**
   * Members who do not count and are not removed: their membership ends, as that of all others who get no key, and they come
   * back by the new password.
   */
  readonly excluded: readonly string[];
}

/** SHA-256 over the device ids that a key was sealed to, base64url. */
export async function recipientsHash(devices: Iterable<string>): Promise<string> {
  return b64(await sha256(concat(...sortedDevices(devices).map((device) => fromB64(device)))));
}

/** Whether the server's list of those that an epoch's key was sealed to is the one its record names; epoch 0's is empty. */
export async function namesRecipients(record: EpochRecord, devices: readonly string[]): Promise<boolean> {
  return record.recipients === undefined ? devices.length === 0 : (await recipientsHash(devices)) === record.recipients;
}

/** Whether the keys are the device's, and something can be sealed to them. */
async function areUsable({ device, signKey, agreeKey }: DeviceKeys): Promise<boolean> {
  try {
    const keys = { signKey: fromB64(signKey, 32), agreeKey: fromB64(agreeKey, 32) };
    return (await deviceId(keys)) === device && (await canAgree(keys.agreeKey));
  } catch {
    return false;
  }
}

/**
 * Sorts the members into those who get the new key and those who are excluded. `next` is the state that the record will
 * have, by `signer`, also with a new recovery device. Recovery devices and admins that the signer does not outrank are
 * sealed to whatever the server says of them, by the keys that the chain has: so neither it nor the signer can put them out.
 */
export async function eligible(next: RoomState, signer: string, of: Membership): Promise<Eligible> {
  const banned = new Set(next.banned);
  const chosen = new Map<string, DeviceKeys>();
  for (const admin of await governing(next, signer)) chosen.set(admin.device, admin);
  const excluded: string[] = [];
  for (const member of of.members) {
    const { device } = member;
    if (chosen.has(device) || of.removing.has(device)) continue;
    const known = of.recipients.has(device) || of.introduced.has(device);
    if (known && !banned.has(device) && (await areUsable(member))) chosen.set(device, member);
    else excluded.push(device);
  }
  const recipients = sortedDevices(chosen.keys()).flatMap((device) => {
    const keys = chosen.get(device);
    return keys === undefined ? [] : [{ device, signKey: keys.signKey, agreeKey: keys.agreeKey }];
  });
  return { recipients, excluded: sortedDevices(excluded) };
}
