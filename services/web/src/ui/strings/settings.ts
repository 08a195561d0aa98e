/** A room's settings. What each step does is said before it is taken. */

import { span } from "./spans.ts";
import { count } from "./wording.ts";

export const settings = {
  heading: "Room settings",
  change: "Change",
  changeLabel: (what: string) => `Change: ${what}`,
  save: "Save",
  saved: "Saved",
  readOnly: "The owners and moderators of this room can change these.",

  aboutHeading: "About the room",
  topic: {
    heading: "Topic",
    none: "No topic yet",
    body: "One line about what the room is for. Everyone in the room sees it; the server cannot read it.",
    label: "Topic",
    left: (n: number) => count(n, "character left", "characters left"),
  },

  comingInHeading: "Coming in",
  lock: {
    heading: "New people",
    open: "Anyone with the password or an invite can come in",
    locked: "Locked: nobody new can come in",
    lockBody:
      "While the room is locked, nobody new can come in, not even with the right password or an invite. Everyone inside stays.",
    unlockBody: "Whoever has the password or an invite can come in again.",
    lockSubmit: "Lock the room",
    unlockSubmit: "Unlock the room",
    lockAction: "Lock",
    unlockAction: "Unlock",
  },
  password: {
    heading: "Password",
    dialog: "Change the password",
    value: "Known to those who were told",
    body: "From then on people join with the new password; the old one stops working. Everyone inside stays in and retypes nothing, and invites go on working. Whoever is inside keeps reading: to shut someone out, remove them instead.",
    submit: "Change the password",
    done: "The password has been changed",
    doneBody: "Tell it to those who may join. It is not shown again.",
  },
  history: {
    heading: "What newcomers can read",
    all: "Everything written so far",
    cut: "Only what was written since the history was last closed",
    body: "Closes what was written so far to everyone who comes in from now on. People who are inside keep reading all of it. The room gets a new key and a new password for this, and the invites end. It cannot be taken back.",
    action: "Close",
    actionLabel: "Close the history to newcomers",
  },

  writingHeading: "Writing",
  slow: {
    heading: "Slow mode",
    off: "Off",
    on: (ms: number) => `One message every ${span(ms)}`,
    body: "Everyone waits this long between two messages. Owners and moderators do not.",
    label: "Time between two messages",
  },
  retention: {
    heading: "Keep messages",
    forever: "For ever",
    on: (ms: number) => `For ${span(ms)}`,
    body: "Older messages are erased from the server and from everyone's devices. This begins at once, also for what has been written already.",
    warning: (ms: number) =>
      `Everything older than ${span(ms)} is erased for everyone, for ever. Nobody can bring it back, you neither.`,
    foreverBody: "Nothing is erased for its age any more. What is gone stays gone.",
    label: "Erase messages older than",
    never: "Never",
    confirm: "I understand that older messages will be lost",
    submit: "Erase older messages",
    submitLonger: "Save",
  },

  careHeading: "Looking after the room",
  newKey: {
    heading: "New key",
    value: (n: number) => (n === 0 ? "The first key is in use" : `Replaced ${count(n, "time", "times")} so far`),
    body: "Gives the room a new key and a new password and ends all invites, without removing anyone. Good when a password or a link may have come into wrong hands.",
    action: "Replace",
    actionLabel: "Replace the room's key",
  },
  recovery: {
    heading: "Recovery key",
    value: "Makes any browser an owner again",
    astray: "Made by somebody who owns the room no longer",
    action: "New key",
    actionLabel: "New recovery key",
  },
  transfer: {
    heading: "Hand over the room",
    value: "You are an owner",
    body: "The person you choose becomes an owner, and you become a moderator. You cannot take this back: only an owner could make you one again. The recovery key that you have is not handed over: the new owner is asked to make another, and then yours stops working.",
    label: "New owner",
    choose: "Choose a person",
    submit: "Hand over",
    action: "Hand over",
    nobody: "There is nobody else in the room yet.",
    done: (name: string) => `${name} owns the room now`,
  },
  banned: {
    heading: "Banned devices",
    value: (n: number) => (n === 0 ? "None" : count(n, "device", "devices")),
    body: "A banned device cannot come in, whatever password or invite it has. A ban holds for a device: somebody with another device and the password is somebody new.",
    actionLabel: "Show the banned devices",
    empty: "No device is banned.",
    unban: "Unban",
    unbanLabel: (name: string, fingerprint: string) => `Unban ${name}, device ${fingerprint}`,
    unbanBody: "It may come in again with the room's password or an invite. It is not let in by this alone.",
    done: (name: string) => `${name} is no longer banned`,
  },
  audit: {
    heading: "What was changed, and by whom",
    value: "Every change since the room began",
    action: "Show",
    actionLabel: "Show what was changed, and by whom",
    body: "Every change to this room since it began, newest first. Each is signed by whoever made it, so nobody can alter this list unseen.",
    loading: "Loading…",
    empty: "Nothing has been changed yet.",
    more: "Show older changes",
  },
  deleteRoom: {
    heading: "Delete the room",
    value: "Erases it for everyone, for ever",
    action: "Delete…",
  },
} as const;
