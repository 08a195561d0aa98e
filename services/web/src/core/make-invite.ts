//! Making an invite to a room.

import { ApiError, type Api } from "./api.ts";
import { b64, fromB64 } from "./base64url.ts";
import { random } from "./bytes.ts";
import { grantKeys, sealGrant } from "./crypto/grant.ts";
import { inviteLink } from "./crypto/invite-link.ts";
import { rawRoomKey } from "./crypto/room-key.ts";
import { type RoomRecord } from "./store.ts";
import { type Invite } from "../protocol.gen.ts";

export interface InviteWorld {
  readonly api: Pick<Api, "createInvite">;
  /** What the room's keys are kept under. */
  readonly local: CryptoKey;
  /** The page's, without a trailing slash. */
  readonly origin: string;
}

export interface InviteLimits {
  readonly expiresInMs: number | null;
  readonly usesMax: number | null;
}

/**
 * Makes an invite and its link, which holds the key and is kept nowhere. Rejects with `ApiError`, and with whatever
 * WebCrypto throws when the stored room key does not open.
 */
export async function makeInvite(
  { api, local, origin }: InviteWorld,
  { room: id, pinned, keys }: RoomRecord,
  limits: InviteLimits,
): Promise<{ invite: Invite; link: string }> {
  const key = keys.find(({ epoch }) => epoch === pinned.epoch);
  if (key === undefined) throw new ApiError({ code: "internal" });
  const place = { room: fromB64(id, 16), grant: random(16) };
  const secret = random(32);
  const derived = await grantKeys(secret, place.room, place.grant);
  const roomKey = await rawRoomKey(local, place.room, key);
  const content = { epoch: pinned.epoch, roomKey, recordHash: fromB64(pinned.hash, 32) };
  const blob = await sealGrant(derived, place.room, place.grant, content);
  const invite = await api.createInvite(id, {
    grant: b64(place.grant),
    auth: b64(derived.auth),
    blob: b64(blob),
    ...(limits.expiresInMs !== null && { expires_in_ms: limits.expiresInMs }),
    ...(limits.usesMax !== null && { uses_max: limits.usesMax }),
  });
  return { invite, link: inviteLink(origin, { ...place, secret }) };
}
