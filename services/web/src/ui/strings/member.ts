/** One member: how to be sure who it is, and what can be done. */

import type { Role } from "../../view.ts";
import { roles } from "./membership.ts";

const asRole: Readonly<Record<Role, string>> = {
  owner: "an owner",
  moderator: "a moderator",
  member: "a plain member",
};

export const member = {
  heading: "Member",
  mutedUntil: (when: string) => `Muted until ${when}`,
  mutedForGood: "Muted until someone lifts it",
  here: "Here now",
  away: "Not here",
  misplaced: (name: string, role: Role, server: Role) =>
    `The server treats ${name} as ${asRole[server]}, though by what this room's owners have decided ${name} is ${asRole[role]}.`,
  misplacedMend: "Choose the role once more below, and the server takes it over.",
  sharedName: "Somebody else here goes by this name. The device letters tell the two apart.",

  safetyHeading: "Safety number",
  safetyBody: (name: string) =>
    `Ask ${name} to read theirs to you, face to face or on the phone; they find it under their own name. If it is the same, no one stands between you.`,
  safetyMine: "Others compare this with what their page shows for you. Read it to them face to face or on the phone.",
  copySafety: "Copy safety number",

  mute: {
    heading: "Mute",
    body: (name: string) => `${name} stays in the room and reads, but cannot write until it ends.`,
    label: "For how long",
    options: { tenMinutes: "10 minutes", hour: "1 hour", day: "1 day", lifted: "Until someone lifts it" },
    submit: "Mute",
    done: (name: string) => `${name} is muted`,
  },
  unmute: {
    heading: "Unmute",
    body: (name: string) => `${name} can write again at once.`,
    submit: "Unmute",
    done: (name: string) => `${name} can write again`,
  },
  role: {
    heading: "Change role",
    label: "Role",
    explain: {
      owner: "Owners can do everything: change the password, choose who looks after the room, and delete it.",
      moderator:
        "Moderators can set the topic, lock the room, mute and remove people, and delete their messages. They cannot act on owners or other moderators.",
      member: "Members read and write, react, pin and invite.",
    } satisfies Record<Role, string>,
    equal: (name: string) => `${name} will have the same rights as you, and could take yours away.`,
    submit: "Change role",
    done: (name: string, role: Role) => `${name}: ${roles[role].toLowerCase()}`,
  },
  erase: {
    heading: "Delete all their messages",
    action: "Delete…",
    body: (name: string) =>
      `Everything ${name} has written here so far is erased for everyone, for ever. ${name} stays in the room.`,
    submit: "Delete all messages",
    done: (name: string) => `The messages of ${name} are deleted`,
  },
  remove: "Remove from the room",
  removeHint: "Could come back with the new password",
  removeAction: "Remove…",
  ban: "Ban this device",
  banHint: "Cannot come back with this device",
  banAction: "Ban…",
} as const;
