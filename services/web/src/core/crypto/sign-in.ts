//! The signature that a token is issued for.

import { concat, u16, utf8, zeros, type Bytes } from "../bytes.ts";
import { signBytes, type Device } from "./device.ts";

/** A token is wanted for a device alone, without entering a room. */
export const NO_ROOM = { room: zeros(16), grant: zeros(16) };

/** Signs the server's nonce for `origin` (no trailing slash) and the room and grant to be entered, or `NO_ROOM`. */
export function signInSignature(
  device: Pick<Device, "sign">,
  at: { room: Bytes; grant: Bytes },
  nonce: string,
  origin: string,
): Promise<Bytes> {
  const text = utf8(nonce);
  return signBytes(device, concat(utf8("snug/v1/sign-in"), at.room, at.grant, u16(text.length), text, utf8(origin)));
}
