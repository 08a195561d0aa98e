/** What one is in a room, and what is said once one is in it no longer. */

import type { Role, RoomEnd } from "../../view.ts";

export const roles = { owner: "Owner", moderator: "Moderator", member: "Member" } satisfies Record<Role, string>;

export const membership = {
  settings: "Room settings",
  muted: "Muted",
  details: (name: string) => `${name}: details`,
  banned: "Banned devices",
  lastOwner: "You are the only owner. Hand the room over first, or delete it: a room with people in it needs an owner.",
  handOver: "Hand over the room",
  unsent: "What you were writing",
  copyUnsent: "Copy what you were writing",
} as const;

/** The room got a new key that this device was not given. */
/** The recovery key may be with somebody who should not be able to use it. */
export const recoveryAstray = {
  heading: "This room's recovery key may be in other hands",
  body: "Whoever made it owns the room no longer, and could use it to come back as an owner and read everything. Make a new one, and the old one stops working.",
  action: "New recovery key",
} as const;

export const keyMissing = {
  heading: "The room has a new key that this device does not have",
  body: "New messages cannot be opened here and you cannot write. Ask someone inside for the new password, then join again. What you have read stays.",
} as const;

export const ended = {
  deleted: "This room was deleted by its owner. Its messages are gone from the server.",
  not_a_member:
    "You are not a member of this room any more. Join again with its password, or ask someone inside for an invite.",
  removed:
    "You were removed from this room. It has a new password since. If that was a mistake, ask someone inside for it and join again.",
  banned:
    "This device is banned from the room, and no password lets it in. Only those who look after the room can lift that.",
} satisfies Record<RoomEnd, string>;

export const rejoin = "Join again";
