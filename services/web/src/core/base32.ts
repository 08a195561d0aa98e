//! Lower-case RFC 4648 base32 without padding: for keys that people read and type.

import { type Bytes } from "./bytes.ts";

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

/** Writes `bytes` as lower-case base32 without padding. */
export function base32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    bits = ((bits << 8) | byte) & 0xfff;
    held += 8;
    while (held >= 5) {
      held -= 5;
      text += ALPHABET.charAt((bits >> held) & 31);
    }
  }
  return held > 0 ? text + ALPHABET.charAt((bits << (5 - held)) & 31) : text;
}

/** Reads base32 in either case. Throws `RangeError` on other characters or bits that stand for nothing. */
export function fromBase32(text: string): Bytes {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const character of text.toLowerCase()) {
    const value = ALPHABET.indexOf(character);
    if (value < 0) throw new RangeError("not base32");
    bits = ((bits << 5) | value) & 0xfff;
    held += 5;
    if (held >= 8) {
      held -= 8;
      bytes[at++] = (bits >> held) & 255;
    }
  }
  if (held >= 5 || (bits & ((1 << held) - 1)) !== 0) throw new RangeError("not base32");
  return bytes;
}
