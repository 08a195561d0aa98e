/** Taking one's rooms along to another device. */

import { count, listing } from "./wording.ts";

export const moving = {
  heading: "Move to another device",
  body: "Open this link on your other device, or scan the code with it. Both stay open until it is done.",
  link: "Link for the other device",
  qr: "The link as a QR code",
  secret: "It is meant for you alone: whoever opens it asks to be let into your rooms.",
  what: "Your other device comes into all your rooms under your name and reads what you can read. It is a device of its own: this one keeps working, and where you look after a room, make the other one an owner or moderator there afterwards.",
  waiting: "Waiting for the other device…",
  stop: "Stop",
  confirmHeading: "Do both devices show this number?",
  confirmBody: "Look at the other device. Only if it shows the same six digits is it yours that is asking.",
  same: "They are the same",
  differ: "They differ: stop",
  sending: "Handing over your rooms…",
  doneHeading: "Your other device is ready",
  doneBody: "It has your rooms now.",
  left: (rooms: readonly string[]) =>
    `${count(rooms.length, "room", "rooms")} could not be handed over: ${listing.format(rooms)}. Locked rooms let no new device in; unlock them or ask someone who can, then join there.`,
  failedHeading: "That did not work",
  again: "Begin again",
  done: "Done",

  newHeading: "Bring your rooms here",
  newBody:
    "Your other device wants to hand its rooms to this one. Nothing that is on the other device is taken away from it.",
  newNotMine: "Only go on if you opened this link yourself, from your own device.",
  meeting: "Asking your other device. It must still show the link…",
  accept: "Go on",
  notNow: "Not now",
  codeHeading: "Compare this number",
  codeBody:
    "Your other device shows six digits, too. If they are the same, confirm it there. This page goes on by itself.",
  code: (digits: string) => `Six digits: ${[...digits].join(" ")}`,
  codeWaiting: "Waiting for you to confirm on the other device…",
  receiving: "Coming into your rooms…",
  newDoneHeading: "Your rooms are here",
  newDoneBody:
    "This device is in them now. Where you look after a room, make it an owner or moderator from the other device.",
  toRooms: "Go to your rooms",
} as const;
