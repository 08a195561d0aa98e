//! Grants: a password or an invite's secret becomes the proof for the server and the key that opens the room key.

import { concat, equal, random, Reader, u32, utf8, zeros, type Bytes } from "../bytes.ts";
import { type PasswordHash } from "./argon2id.ts";
import { aesKey, aesOpen, aesSeal, hkdf, hkdfKey, IV_BYTES, KEY_BYTES, sha256 } from "./primitives.ts";

/** The one key derivation this client takes part in. A server cannot talk it into a weaker one. */
export const KDF = 1;

export const SECRET_BYTES = 32;

/** What a grant's holder derives. `auth` goes to the server; the other two never leave the client. */
export interface GrantKeys {
  auth: Bytes;
  kek: Bytes;
  commit: Bytes;
}

/** What a grant gives its holder. */
export interface GrantContent {
  epoch: number;
  roomKey: Bytes;
  /** SHA-256 of the envelope of that epoch's record. */
  recordHash: Bytes;
}

/** The grant cannot be opened with these keys. It does not say why. */
export class GrantRefused extends Error {
  constructor() {
    super("the grant does not open");
  }
}

/** Input keying material of a password grant; `hash` is Argon2id with the parameters of `kdf` 1. */
export async function passwordIkm(password: string, room: Bytes, grant: Bytes, hash: PasswordHash): Promise<Bytes> {
  return hash(utf8(password.normalize("NFC")), await sha256(utf8("snug/v1/salt"), room, grant));
}

/** Derives the three keys of a grant from its input keying material (32 bytes). */
export async function grantKeys(ikm: Bytes, room: Bytes, grant: Bytes): Promise<GrantKeys> {
  const key = await hkdfKey(ikm);
  const salt = await sha256(utf8("snug/v1/link"), zeros(SECRET_BYTES));
  const [auth, kek, commit] = await Promise.all([
    hkdf(key, salt, "snug/v1/auth", room, grant),
    hkdf(key, salt, "snug/v1/kek", room, grant),
    hkdf(key, salt, "snug/v1/commit", room, grant),
  ]);
  return { auth, kek, commit };
}

function grantAad(room: Bytes, grant: Bytes): Bytes {
  return concat(utf8("snug/v1/grant"), room, grant);
}

/** Seals `content` into a grant blob of 129 bytes. `iv` is for test vectors; it must never be used twice. */
export async function sealGrant(
  keys: GrantKeys,
  room: Bytes,
  grant: Bytes,
  content: GrantContent,
  iv: Bytes = random(IV_BYTES),
): Promise<Bytes> {
  const plaintext = concat(u32(content.epoch), content.roomKey, content.recordHash);
  const sealed = await aesSeal(await aesKey(keys.kek), iv, grantAad(room, grant), plaintext);
  return concat(Uint8Array.of(1), keys.commit, iv, sealed);
}

/** Opens a grant blob. Throws `GrantRefused` for every way in which it does not fit. */
export async function openGrant(keys: GrantKeys, room: Bytes, grant: Bytes, blob: Bytes): Promise<GrantContent> {
  try {
    const reader = new Reader(blob);
    const version = reader.u8();
    const commit = reader.take(KEY_BYTES);
    // Before decrypting: AES-GCM would let one blob open under many keys, and so try many passwords at once.
    if (version !== 1 || !equal(commit, keys.commit)) throw new GrantRefused();
    const iv = reader.take(IV_BYTES);
    const content = new Reader(await aesOpen(await aesKey(keys.kek), iv, grantAad(room, grant), reader.rest()));
    const opened = { epoch: content.u32(), roomKey: content.take(KEY_BYTES), recordHash: content.take(KEY_BYTES) };
    if (content.left !== 0) throw new GrantRefused();
    return opened;
  } catch {
    throw new GrantRefused();
  }
}
