//! The recovery key: shown once to a room's creator, it can become an admin device when every browser is lost.

import { base32, fromBase32 } from "../base32.ts";
import { random, zeros, type Bytes } from "../bytes.ts";
import { deviceFromSeeds, type Device } from "./device.ts";
import { hkdf, hkdfKey, KEY_BYTES } from "./primitives.ts";

const PREFIX = "snug-recovery-";

export function generateRecoverySecret(): Bytes {
  return random(KEY_BYTES);
}

/** The key as people keep it: `snug-recovery-` and 13 groups of four characters. */
export function recoveryText(secret: Bytes): string {
  return PREFIX + (base32(secret).match(/.{4}/g) ?? []).join("-");
}

/** The 32 bytes of a typed recovery key, whatever its case and spacing; `undefined` when it is not one. */
export function parseRecovery(text: string): Bytes | undefined {
  const plain = text.toLowerCase().replace(/\s/g, "");
  if (!plain.startsWith(PREFIX)) return undefined;
  try {
    const secret = fromBase32(plain.slice(PREFIX.length).replaceAll("-", ""));
    return secret.length === KEY_BYTES ? secret : undefined;
  } catch {
    return undefined;
  }
}

/** The recovery device of a recovery key. */
export async function recoveryDevice(secret: Bytes): Promise<Device> {
  const key = await hkdfKey(secret);
  const signSeed = await hkdf(key, zeros(0), "snug/v1/recovery-sign");
  return deviceFromSeeds(signSeed, await hkdf(key, zeros(0), "snug/v1/recovery-agree"));
}
