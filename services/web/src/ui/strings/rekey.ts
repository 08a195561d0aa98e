/** A new key for a room. */

import { few, LANGUAGE } from "./wording.ts";

/** The room gets a new key: who is removed is shut out by it, everyone else stays in. */
export const rekey = {
  heading: {
    remove: (name: string) => `Remove ${name}?`,
    ban: (name: string) => `Ban ${name}?`,
    rotate: () => "Replace the room's key?",
    history: () => "Close the history to newcomers?",
    recovery: () => "Make a new recovery key?",
  },
  intro: {
    remove: (name: string) =>
      `${name} leaves the room now and cannot read anything written afterwards. What ${name} has read already cannot be taken back. With the new password or a new invite, ${name} could return.`,
    ban: (name: string) =>
      `${name} leaves the room now, cannot read anything written afterwards, and cannot come back with this device, whatever password it has. What ${name} has read already cannot be taken back.`,
    rotate: () => "Nobody is removed. Who has only the old password or an old link cannot get in with it any more.",
    history: () =>
      "Whoever comes in from now on cannot read what was written before. People who are inside keep reading all of it. This cannot be taken back.",
    recovery: () =>
      "The old recovery key stops working: whoever has it cannot come back with it, and cannot read anything written from now on. The new one is shown to you first, once.",
  },
  whatHappens: "What happens",
  points: {
    key: "The room gets a new key, and a new password with it.",
    others: "Everyone else stays in. Nobody retypes anything.",
    invites: "All invite links end. You can make new ones afterwards.",
  },
  password: "New room password",
  passwordHint: "For those who join from now on. Keep it, it is shown to you alone.",
  submit: {
    remove: "Remove",
    ban: "Ban",
    rotate: "Replace the key",
    history: "Close the history",
    recovery: "Make a new key",
  },
  working: "The room gets its new key",
  keepOpen: "Keep this page open until it is done.",
  steps: {
    deriving: "Turning the new password into a key",
    collecting: "Looking who is in the room",
    sealing: "Sealing the new key for each person",
    committing: "Putting it into force",
  },
  sealed: (done: number, all: number) => `${done.toLocaleString(LANGUAGE)} of ${all.toLocaleString(LANGUAGE)}`,
  doneHeading: {
    remove: (name: string) => `${name} is removed`,
    ban: (name: string) => `${name} is banned`,
    rotate: () => "The room has a new key",
    history: () => "The history is closed to newcomers",
    recovery: () => "The room has a new recovery key",
  },
  doneBody: "Everyone else is still in and can go on writing.",
  newPassword: "New password",
  newPasswordBody: "People join with this from now on. It is shown this once.",
  excludedHeading: "They have to join again",
  excludedBody: (names: readonly string[]) =>
    `${few(names)} had never opened the room with its last key, so the new one was not given to them. Tell them the new password.`,
  revokedHeading: "Invite links that ended",
  revokedBody: "Whoever has one of these cannot use it any more. Make a new one where it is still wanted.",
  renew: "Make a new recovery key too",
  renewBody: (name: string) =>
    `${name} may have the recovery key of this room, and could come back with it as an owner. The new one is shown to you first.`,
  renewStuck:
    "The server refuses the new key. It may hold another recovery key for this room than the one its owners know; a new one ends that.",
  renewSpare: "The old one stops working, whoever has it. The new one is shown to you first.",
  recoveryHeading: "Keep the new recovery key",
  recoveryBody:
    "The next step puts it in the place of the old one, which opens nothing from then on. If this browser's data is ever lost, this key is the only proof that the room is yours. Keep it like a spare key: off this device, shown to nobody. It is shown this once.",
  recoveryUncertain:
    "The server has not said whether the new recovery key has taken the place of the old one. Keep both: one of them opens this room. Trying again uses the same new one.",
  renewed: "The recovery key that you saved is this room's from now on. The old one opens nothing any more.",
  replace: "New link",
  replaceLabel: (name: string, when: string) => `Make a new link in place of the one made by ${name}, ${when}`,
  done: "Done",
} as const;
