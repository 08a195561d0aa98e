/** On the way into a room: the first screen, the forms, and what a new room is shared by. */

import type { EnterStep, PasswordAdvice, RoomEnd } from "../../view.ts";
import { count } from "./wording.ts";

export const start = {
  heading: "A quiet place to talk",
  create: "Create a room",
  createHint: "Name it, choose a password, invite people.",
  join: "Join a room",
  joinHint: "With its name and password, or with a link.",
  yourRooms: "Your rooms",
  noAccount: "No account, no e-mail address. A name is enough.",
  noRooms:
    "Missing a room that you were in? Rooms are kept in this browser alone: if its site data was cleared, join again with the room's password or an invite. An owner can use the recovery key.",
  unread: (n: number) => count(n, "new message", "new messages"),
  ended: {
    deleted: "Deleted",
    not_a_member: "You are no longer a member",
    removed: "You were removed",
    banned: "This device is banned",
  } satisfies Record<RoomEnd, string>,
  recover: "Use a recovery key",
  move: "Move to another device",
  forget: (room: string) => `Take “${room}” off the list`,
  security: "What is protected, and what is not",
} as const;

export const myName = {
  label: "Your name",
  hint: "The others in the room see it. The server does not.",
  placeholder: "How people call you",
} as const;

export const roomName = {
  label: "Room name",
  hint: "People type it to join. The server can see it, so keep secrets out of it.",
  placeholder: "For example: Sunday kitchen",
} as const;

export const create = {
  heading: "Create a room",
  takeFree: (name: string) => `Use “${name}” instead`,
  submit: "Create room",
} as const;

export const password = {
  label: "Room password",
  hint: "Whoever knows it can join and read everything, so it is worth being long.",
  show: "Show password",
  hide: "Hide password",
  suggest: "Suggest one",
  another: "Another one",
  copy: "Copy password",
  strength: "Strength",
  strengths: ["Guessed at once", "Weak", "Fair", "Good", "Strong"] as const,
  advice: {
    too_short: "Too short. Four or more random words make a good password.",
    too_long: "Too long. 256 characters are the most.",
    common: "This one is in the lists that attackers try first.",
    guessable: "Words, names, dates and keyboard rows are guessed early. Add a few unrelated words.",
    repeats: "Repeating something adds little. Use different words.",
    contains_name: "The name of the room or your own is the first thing to be tried.",
  } satisfies Record<PasswordAdvice, string>,
} as const;

export const join = {
  heading: "Join a room",
  submit: "Join room",
  byLink: "I have an invite link",
  byPassword: "I have a name and password",
  link: "Invite link",
  linkHint: "It begins with this page's address and has a long key behind #join=.",
  useLink: "Continue",
  invitedHeading: "You are invited",
  invitedBody: "Someone sent you the key to a room. Say who you are and come in.",
  invitedSubmit: "Come in",
  notNow: "Not now",
} as const;

export const steps = {
  asking: "Asking the server…",
  deriving: "Turning the password into a key. This is slow on purpose…",
  entering: "Opening the room…",
} satisfies Record<EnterStep, string>;

export const share = {
  heading: (room: string) => `“${room}” is ready`,
  body: "Three things before you go in. All of this is shown once.",
  inviteHeading: "Invite people",
  inviteBody: "Whoever opens this link can join and read everything. Send it where only they will see it.",
  link: "Invite link",
  share: "Share…",
  shareText: (room: string) => `Join me in “${room}” on Snug:`,
  qr: "Invite link as a QR code",
  showQr: "Show QR code",
  noLink: "The link could not be made just now. You can make one in the room, under Invites.",
  passwordHeading: "Or tell them name and password",
  passwordBody: "This works for ever and on every device, yours included. Keep a copy.",
  roomName: "Room name",
  password: "Password",
  recoveryHeading: "Keep the recovery key",
  recoveryBody:
    "You own this room through this browser. If its data is ever lost, this key is the only proof that the room is yours. Keep it like a spare key: off this device, shown to nobody.",
  recoveryKey: "Recovery key",
  download: "Save as file",
  saved: "I saved the recovery key",
  savedFirst: "Tick the box once the recovery key is saved.",
  enter: "Go to the room",
  fileName: (room: string) => `snug recovery key - ${room}.txt`,
  fileText: (room: string, key: string, origin: string) =>
    `Recovery key of the room “${room}” at ${origin}\n\n${key}\n\nWhoever has it can come into the room, read it, and own it. To use it: open ${origin} and choose “Use a recovery key”.\n`,
} as const;
