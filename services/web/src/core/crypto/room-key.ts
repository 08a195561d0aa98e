//! Room keys as the page holds them: usable through HKDF, readable by no script except to make a new way in.

import { b64 } from "../base64url.ts";
import { u32, zeros, type Bytes } from "../bytes.ts";
import { hkdf, hkdfKey, openLocally, sealLocally, type Sealed } from "./primitives.ts";

/** One epoch's room key. It can be stored in IndexedDB as it is. */
export interface RoomKey {
  epoch: number;
  /** HKDF key, non-extractable: what entries are sealed and opened with. */
  use: CryptoKey;
  /** The 32 raw bytes under this browser's local key: opened only to make an invite. */
  sealed: Sealed;
}

function purpose(room: Bytes, epoch: number): string {
  return `snug/room-key ${b64(room)} ${epoch}`;
}

/** Takes 32 raw bytes in. The caller forgets them afterwards. */
export async function keepRoomKey(local: CryptoKey, room: Bytes, epoch: number, raw: Bytes): Promise<RoomKey> {
  return { epoch, use: await hkdfKey(raw), sealed: await sealLocally(local, purpose(room, epoch), raw) };
}

/** The 32 raw bytes, for a new grant. Throws when `local` is not the key they were kept under. */
export function rawRoomKey(local: CryptoKey, room: Bytes, key: RoomKey): Promise<Bytes> {
  return openLocally(local, purpose(room, key.epoch), key.sealed);
}

/** What an epoch record says about its room key without telling it. */
export function roomKeyCommitment(use: CryptoKey, room: Bytes, epoch: number): Promise<Bytes> {
  return hkdf(use, zeros(0), "snug/v1/room-key", room, u32(epoch));
}
