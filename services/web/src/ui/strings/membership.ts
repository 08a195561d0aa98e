/** What one is in a room, and what is said once one is in it no longer. */

import type { Contradiction, Role, RoomEnd } from "../../view.ts";

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
  action: "Join again",
} as const;

/** An admin replaced the key by a record that counts for nothing here. */
export const stalled = {
  heading: "The newest key of this room cannot be used",
  body: "An admin replaced the key in a way that is not allowed or that this device cannot open, or the server withholds it. Ask the others first: if they cannot write either, go on by closing the history, which replaces it.",
  action: "Close the history",
} as const;

/** Also what the dialog's button says. */
export const ANEW = "Forget and join anew";

/** The server has not what this device knows: the record of the newest key, or the device itself. */
export const contradicted = {
  banners: {
    room: {
      heading: "The server shows another state of this room than this device knows",
      body: "The room's newest key is missing there, so nothing can be written or read on. That happens when a server is restored from an older backup, or when someone wants to deceive you. Ask whoever looks after it, by another way.",
      action: ANEW,
    },
    device: {
      heading: "The server does not know this device any more",
      body: "It says that this device has never been in a room there, so nothing can be written or read on. That happens when a server is restored from a backup of before you came in, or set up anew. Ask whoever looks after it, by another way.",
      action: ANEW,
    },
  } satisfies Record<Contradiction, object>,
} as const;

/** All on the server's word: what a room's admins sign when they remove somebody is sealed under a key that those do not get. */
export const ended = {
  deleted: "The server says that this room was deleted by its owner, and its messages with it.",
  not_a_member:
    "The server says that you are not a member of this room any more. Join again with its password, or ask someone inside for an invite.",
  removed:
    "The server says that you were removed from this room, and that it has a new password since. If that was a mistake, ask someone inside for it and join again.",
  banned:
    "The server says that this device is banned from the room, and that no password lets it in. Only those who look after the room can lift that.",
} satisfies Record<RoomEnd, string>;

export const rejoin = "Join again";
