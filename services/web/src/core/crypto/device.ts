//! A device: one browser profile's Ed25519 and X25519 key pairs, and the id that is a hash of both public keys.

import { b64, fromB64 } from "../base64url.ts";
import { concat, utf8, type Bytes } from "../bytes.ts";
import { sha256 } from "./primitives.ts";

/** The public half of a device: 32 bytes each. */
export interface PublicKeys {
  signKey: Bytes;
  agreeKey: Bytes;
}

/** This browser's own device. The private keys are non-extractable; only this browser can use them. */
export interface Device extends PublicKeys {
  /** Device id as base64url. */
  id: string;
  sign: CryptoKey;
  agree: CryptoKey;
}

const ID_BYTES = 16;

/** The device id of two public keys: base64url of 16 bytes. */
export async function deviceId(keys: PublicKeys): Promise<string> {
  const hash = await sha256(utf8("snug/v1/device"), keys.signKey, keys.agreeKey);
  return b64(hash.subarray(0, ID_BYTES));
}

/** Makes a new device. Its private keys cannot be read, not even by this page. */
export async function generateDevice(): Promise<Device> {
  const sign = (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
  const agree = (await crypto.subtle.generateKey("X25519", false, ["deriveBits"])) as CryptoKeyPair;
  const signKey = new Uint8Array(await crypto.subtle.exportKey("raw", sign.publicKey));
  const agreeKey = new Uint8Array(await crypto.subtle.exportKey("raw", agree.publicKey));
  const id = await deviceId({ signKey, agreeKey });
  return { id, signKey, agreeKey, sign: sign.privateKey, agree: agree.privateKey };
}

/** PKCS #8 wrapping (RFC 8410) of a 32-byte private key: the only form WebCrypto imports it from. */
const PKCS8 = {
  Ed25519: Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20),
  X25519: Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20),
};

async function importPrivate(curve: "Ed25519" | "X25519", secret: Bytes): Promise<[CryptoKey, Bytes]> {
  const uses: KeyUsage[] = curve === "Ed25519" ? ["sign"] : ["deriveBits"];
  const pkcs8 = concat(PKCS8[curve], secret);
  // WebCrypto gives the public half of an imported private key only through an export.
  const readable = await crypto.subtle.importKey("pkcs8", pkcs8, curve, true, uses);
  const { x } = await crypto.subtle.exportKey("jwk", readable);
  if (x === undefined) throw new TypeError("the browser exported no public key");
  return [await crypto.subtle.importKey("pkcs8", pkcs8, curve, false, uses), fromB64(x, 32)];
}

/** The device whose private keys are the given 32-byte seeds, as the recovery device is made. */
export async function deviceFromSeeds(signSeed: Bytes, agreeSecret: Bytes): Promise<Device> {
  const [sign, signKey] = await importPrivate("Ed25519", signSeed);
  const [agree, agreeKey] = await importPrivate("X25519", agreeSecret);
  return { id: await deviceId({ signKey, agreeKey }), signKey, agreeKey, sign, agree };
}

/** The 64-byte Ed25519 signature of `bytes` by this device. */
export async function signBytes(device: Pick<Device, "sign">, bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.sign("Ed25519", device.sign, bytes));
}

/** Whether `signature` over `bytes` is by the owner of `signKey`. A malformed key is `false`, not an error. */
export async function verifyBytes(signKey: Bytes, signature: Bytes, bytes: Bytes): Promise<boolean> {
  try {
    const key = await crypto.subtle.importKey("raw", signKey, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, signature, bytes);
  } catch {
    return false;
  }
}

/** Whether something can be sealed to the owner of `agreeKey`: a point of low order agrees on nothing. */
export async function canAgree(agreeKey: Bytes): Promise<boolean> {
  try {
    const point = await crypto.subtle.importKey("raw", agreeKey, "X25519", false, []);
    const own = (await crypto.subtle.generateKey("X25519", false, ["deriveBits"])) as CryptoKeyPair;
    const agreed = await crypto.subtle.deriveBits({ name: "X25519", public: point }, own.privateKey, 256);
    // Not every browser refuses the zeros that a point of low order gives.
    return new Uint8Array(agreed).some((byte) => byte !== 0);
  } catch {
    return false;
  }
}

/** A device id shortened for people to tell two members of one name apart: four characters of base64url. */
export function fingerprint(device: string): string {
  return device.slice(0, 4);
}
