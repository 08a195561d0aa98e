//! Sealing to one device by HPKE (RFC 9180, base mode): room keys of new epochs, and the answer to a move.
//! The library is loaded when it is first needed: most visits never seal to anybody.

import { fromB64 } from "../base64url.ts";
import { concat, copy, u32, utf8, zeros, type Bytes } from "../bytes.ts";
import { EPOCH_KEY_BYTES } from "../../protocol.gen.ts";
import { type Device } from "./device.ts";
import { hkdf, hkdfKey, KEY_BYTES } from "./primitives.ts";

const ENC_BYTES = 32;

/** It was not sealed to this device, or not for this purpose. It does not say which. */
export class SealRefused extends Error {
  constructor() {
    super("what was sealed to this device does not open");
  }
}

/** Whom to seal to: device id and X25519 public key, both base64url. The caller has checked that the keys are the id's. */
export interface Recipient {
  readonly device: string;
  readonly agreeKey: string;
}

async function loadSuite() {
  const { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } = await import("@hpke/core");
  return new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
}

let loading: ReturnType<typeof loadSuite> | undefined;

/** The suite, loaded once; a load that failed is tried again by the next caller. */
function suite(): ReturnType<typeof loadSuite> {
  loading ??= loadSuite().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

/**
 * `enc ‖ ct` of `plaintext`. `ephemeral` is keying material of a key pair that must never serve for anything else: derived from
 * what is sealed and for whom, or a test vector's.
 * Rejects when `agreeKey` is not a public key, or the library cannot be loaded.
 */
export async function sealTo(
  agreeKey: Bytes,
  info: Bytes,
  aad: Bytes,
  plaintext: Bytes,
  ephemeral?: Bytes,
): Promise<Bytes> {
  const hpke = await suite();
  const recipientPublicKey = await hpke.kem.deserializePublicKey(agreeKey);
  const ekm = ephemeral === undefined ? {} : { ekm: ephemeral };
  const { enc, ct } = await hpke.seal({ recipientPublicKey, info, ...ekm }, plaintext, aad);
  return concat(new Uint8Array(enc), new Uint8Array(ct));
}

/** Opens what `sealTo` sealed to this device. Throws `SealRefused`; rejects otherwise when the library cannot be loaded. */
export async function openSealed(
  device: Pick<Device, "agree" | "agreeKey">,
  info: Bytes,
  aad: Bytes,
  sealed: Bytes,
): Promise<Bytes> {
  const hpke = await suite();
  try {
    // The private key cannot be read, so the library cannot find its public half: both are given.
    const publicKey = await hpke.kem.deserializePublicKey(device.agreeKey);
    const recipientKey = { privateKey: device.agree, publicKey };
    const enc = sealed.slice(0, ENC_BYTES);
    return copy(new Uint8Array(await hpke.open({ recipientKey, enc, info }, sealed.slice(ENC_BYTES), aad)));
  } catch {
    throw new SealRefused();
  }
}

function epochInfo(room: Bytes, epoch: number): Bytes {
  return concat(utf8("snug/v1/epoch-key"), room, u32(epoch));
}

/**
 * The raw room key of `epoch` sealed to a device, 80 bytes, the same each time: the ephemeral key derives from the room key, for
 * this device and epoch alone. So whoever has the key can tell of what was sealed to another device whether it is that key.
 */
export async function sealRoomKey(recipient: Recipient, room: Bytes, epoch: number, roomKey: Bytes): Promise<Bytes> {
  const [agreeKey, device] = [fromB64(recipient.agreeKey, 32), fromB64(recipient.device, 16)];
  const key = await hkdfKey(roomKey);
  const ephemeral = await hkdf(key, zeros(0), "snug/v1/epoch-key-eph", room, u32(epoch), device);
  return sealTo(agreeKey, epochInfo(room, epoch), device, roomKey, ephemeral);
}

/** The 32 raw bytes of the room key that was sealed to `device`. Throws `SealRefused`. */
export async function openRoomKey(
  device: Pick<Device, "id" | "agree" | "agreeKey">,
  room: Bytes,
  epoch: number,
  sealed: Bytes,
): Promise<Bytes> {
  if (sealed.length !== EPOCH_KEY_BYTES) throw new SealRefused();
  const roomKey = await openSealed(device, epochInfo(room, epoch), fromB64(device.id), sealed);
  if (roomKey.length !== KEY_BYTES) throw new SealRefused();
  return roomKey;
}
