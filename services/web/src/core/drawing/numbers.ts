//! Numbers that people compare by another channel, to know that nobody stands between them (ENCRYPTION.md section 1).

import { fromB64 } from "../base64url.ts";

const BYTES = 16;
const GROUP_BYTES = 2;
const GROUP_DIGITS = 5;

/** The whole device id. */
export function safetyNumber(device: string): string {
  return inGroups(fromB64(device, BYTES));
}

/** A room's number, of the envelope hash of its first entry. */
export function roomNumber(founding: string): string {
  return inGroups(fromB64(founding, 32).subarray(0, BYTES));
}

/** Every two bytes as a group of five digits. */
function inGroups(bytes: Uint8Array): string {
  const groups: string[] = [];
  for (let at = 0; at < bytes.length; at += GROUP_BYTES) {
    const number = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    groups.push(String(number).padStart(GROUP_DIGITS, "0"));
  }
  return groups.join(" ");
}
