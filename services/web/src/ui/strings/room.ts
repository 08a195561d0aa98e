/** A room, without its messages: who is in it, what can be done with it, and the composer. */

import { count, LANGUAGE } from "./wording.ts";

export const room = {
  peopleHere: (here: number, all: number) =>
    `${here.toLocaleString(LANGUAGE)} of ${count(all, "person", "people")} here`,
  onlyYou: "Only you so far",
  menu: "Room menu",
  people: "People",
  invites: "Invites",
  security: "About security",
  leave: "Leave room",
  delete: "Delete room",
  rename: "Change your name",
  shortcuts: "Keyboard shortcuts",
  opening: "Opening the room…",
  failed: "The room could not be opened.",
  messages: (room: string) => `Messages in ${room}`,
  nothingYetBody: "Write the first message, or invite someone to talk to.",
  invite: "Invite people",
  readOnly: {
    deleted: "This room was deleted by its owner. Its messages are gone from the server.",
    not_a_member: "You are not a member of this room any more. Ask someone inside for a new invite.",
  },
  backToRooms: "Back to your rooms",
  takeOffList: "Take it off the list",
} as const;

export const composer = {
  label: (room: string) => `Message to ${room}`,
  placeholder: "Write a message",
  send: "Send",
  left: (n: number) => count(n, "character left", "characters left"),
  over: (n: number) => `${count(n, "character", "characters")} too many`,
} as const;

export const people = {
  heading: "People",
  here: "Here now",
  away: "Not here",
  you: "you",
  owner: "Owner",
  fingerprint: "Device",
  sharedName: "Two people use this name. The letters tell their devices apart.",
} as const;

export const connection = {
  offline: "You are offline. Messages wait on this device and go out when you are back.",
  connecting: "Reconnecting…",
  waiting: (seconds: number) => `No connection. Next try in ${seconds} s.`,
  back: "Connected again",
} as const;

export const rename = {
  heading: "Change your name",
  body: "For this room. The others see that it was changed.",
  submit: "Change name",
} as const;

export const leave = {
  heading: "Leave this room?",
  body: "You will not get its messages any more, and the room leaves your list. What you wrote stays for the others. To come back you need the password or an invite.",
  owner: "You own this room. After leaving, only the recovery key can prove that.",
  submit: "Leave room",
} as const;

export const deleting = {
  heading: "Delete this room?",
  body: "The room and every message in it are erased from the server, for everyone, at once. This cannot be undone.",
  confirm: (room: string) => `Type “${room}” to confirm`,
  submit: "Delete for everyone",
} as const;
