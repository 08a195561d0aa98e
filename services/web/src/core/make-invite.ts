//! Making an invite to a room.

import { ApiError, type Api } from "./api.ts";
import { b64, fromB64 } from "./base64url.ts";
import { random } from "./bytes.ts";
import { grantKeys, sealGrant } from "./crypto/grant.ts";
import { inviteLink } from "./crypto/invite-link.ts";
import { rawRoomKey } from "./crypto/room-key.ts";
import { PageProblem } from "./page-problem.ts";
import { type RoomChain } from "./room-chain.ts";
import { type RoomKeys } from "./room-keys.ts";
import { TRIES_MAX } from "./administration/steward.ts";
import { type RoomRecord } from "./store.ts";
import { type Invite } from "../protocol.gen.ts";

export interface InviteWorld {
  readonly api: Pick<Api, "createInvite" | "revokeInvite">;
  /** What the room's keys are kept under. */
  readonly local: CryptoKey;
  /** The page's, without a trailing slash. */
  readonly origin: string;
}

export interface InviteLimits {
  readonly expiresInMs: number | null;
  readonly usesMax: number | null;
}

export interface NewInvite {
  readonly invite: Invite;
  readonly link: string;
}

/** A room, as far as letting somebody in takes it. */
export interface InvitingRoom {
  readonly record: RoomRecord;
  readonly keys: Pick<RoomKeys, "current">;
  readonly chain: Pick<RoomChain, "refresh">;
}

/**
 * Makes an invite and its link, which holds the room's newest key and is kept nowhere. Rejects with `ApiError` (`chain_moved`: the
 * key is replaced all the time), `PageProblem` (`key_missing`), and with whatever WebCrypto throws when the stored key does not open.
 */
export async function makeInvite(world: InviteWorld, room: InvitingRoom, limits: InviteLimits): Promise<NewInvite> {
  for (let attempt = 1; attempt <= TRIES_MAX; attempt++) {
    const { pinned } = room.record;
    if (room.keys.current === undefined) throw new PageProblem("key_missing");
    const made = await invite(world, room.record, limits);
    try {
      // The server cannot see which key is in it. One that holds an older key leads nobody in.
      await room.chain.refresh();
    } catch (error) {
      await revoke(world, room, made);
      throw error;
    }
    if (room.keys.current !== undefined && room.record.pinned.hash === pinned.hash) return made;
    await revoke(world, room, made);
  }
  throw new ApiError({ code: "chain_moved", retry: "changed" });
}

/** As far as the server can be heard. One that was made before the new key came is no more. */
async function revoke({ api }: InviteWorld, { record }: InvitingRoom, { invite: { grant } }: NewInvite): Promise<void> {
  await api.revokeInvite(record.room, grant).catch(() => undefined);
}

async function invite(
  { api, local, origin }: InviteWorld,
  { room: id, pinned, keys }: RoomRecord,
  limits: InviteLimits,
): Promise<NewInvite> {
  const key = keys.find(({ epoch }) => epoch === pinned.epoch);
  if (key === undefined) throw new PageProblem("key_missing");
  const place = { room: fromB64(id, 16), grant: random(16) };
  const secret = random(32);
  const derived = await grantKeys(secret, place.room, place.grant);
  const roomKey = await rawRoomKey(local, place.room, key);
  const content = { epoch: pinned.epoch, roomKey, recordHash: fromB64(pinned.hash, 32) };
  const blob = await sealGrant(derived, place.room, place.grant, content);
  const made = await api.createInvite(id, {
    grant: b64(place.grant),
    auth: b64(derived.auth),
    blob: b64(blob),
    ...(limits.expiresInMs !== null && { expires_in_ms: limits.expiresInMs }),
    ...(limits.usesMax !== null && { uses_max: limits.usesMax }),
  });
  return { invite: made, link: inviteLink(origin, { ...place, secret }) };
}
