//! The few WebCrypto operations everything else is built from: SHA-256, HKDF-SHA-256, AES-256-GCM.

import { concat, random, utf8, zeros, type Bytes } from "../bytes.ts";

/** Bytes of a SHA-256 hash, and of every key here. */
export const KEY_BYTES = 32;

export const IV_BYTES = 12;

export async function sha256(...parts: readonly Uint8Array[]): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...parts)));
}

/** `ikm` as a key that HKDF derives from and that no script can read. */
export function hkdfKey(ikm: Bytes): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", ikm, "HKDF", false, ["deriveBits", "deriveKey"]);
}

/** 32 bytes of HKDF-SHA-256 over `label ‖ context`. */
export async function hkdf(
  key: CryptoKey,
  salt: Bytes,
  label: string,
  ...context: readonly Uint8Array[]
): Promise<Bytes> {
  const info = concat(utf8(label), ...context);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, key, 256));
}

/** An AES-256-GCM key from HKDF-SHA-256 with an empty salt, non-extractable. */
export function hkdfAesKey(key: CryptoKey, label: string, ...context: readonly Uint8Array[]): Promise<CryptoKey> {
  const info = concat(utf8(label), ...context);
  const how = { name: "HKDF", hash: "SHA-256", salt: zeros(0), info };
  return crypto.subtle.deriveKey(how, key, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

export function aesKey(raw: Bytes): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);
}

export async function aesSeal(key: CryptoKey, iv: Bytes, aad: Bytes, plaintext: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: aad }, key, plaintext));
}

/** Throws when the tag does not fit. */
export async function aesOpen(key: CryptoKey, iv: Bytes, aad: Bytes, ciphertext: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData: aad }, key, ciphertext));
}

/** Bytes sealed under a local key, as they lie in the browser's storage. */
export interface Sealed {
  iv: Bytes;
  bytes: Bytes;
}

/** A fresh non-extractable key that seals what this browser stores. It never leaves the browser's key storage. */
export function generateLocalKey(): Promise<CryptoKey> {
  return crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

/** Seals `plaintext` for storage; `purpose` must be named again to open it. */
export async function sealLocally(key: CryptoKey, purpose: string, plaintext: Bytes): Promise<Sealed> {
  const iv = random(IV_BYTES);
  return { iv, bytes: await aesSeal(key, iv, utf8(purpose), plaintext) };
}

/** Opens what `sealLocally` sealed. Throws when key or purpose is another. */
export function openLocally(key: CryptoKey, purpose: string, sealed: Sealed): Promise<Bytes> {
  return aesOpen(key, sealed.iv, utf8(purpose), sealed.bytes);
}
