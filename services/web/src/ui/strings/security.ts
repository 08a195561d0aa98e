/** What is protected, and what is said when a check finds something. */

import type { ViolationCode } from "../../view.ts";
import { count, LANGUAGE } from "./wording.ts";

export const security = {
  heading: "About security",
  intro: "In plain words, what Snug protects and what it does not.",
  protectedHeading: "Sealed in your browser",
  protectedItems: [
    "What you write, your reactions and replies, the room's topic, and the names people go by.",
    "The room's password. It never leaves your device; the server only ever gets a proof that you know it.",
    "Your device's keys. They cannot be read out of the browser, not even by this page.",
    "The order of messages. Your browser checks that none was dropped, repeated or replaced, and says so if one was.",
  ],
  seenHeading: "What the server can see",
  seenItems: [
    "Room names, which devices are members, and who looks after a room.",
    "Who is connected, from which address, and when.",
    "When messages are sent, roughly how long they are, and which message is edited, deleted, pinned or reacted to.",
  ],
  notHeading: "What is not promised",
  notItems: [
    "Hiding who talks when, and how much.",
    "Old messages stay readable to whoever has both the password and the server's data. There is no forward secrecy.",
    "A weak password is as weak as it is. Guessing is made slow, not impossible.",
    "This page is as honest as the server it comes from. Use a server you trust to serve it unchanged.",
    "People in the room can copy what they read.",
    "Whoever is removed keeps what they had read. They cannot read what is written afterwards.",
    "Erased messages are gone from the server and from honest devices. Somebody may have copied them.",
    "Clearing this site's data in your browser ends your memberships here. You join again with the password or an invite.",
  ],
} as const;

export const violation = {
  heading: "Something in this room's history does not add up",
  body: "The server, or someone, dropped, repeated, reordered or replaced messages, or tried a change that is not allowed. What was not allowed has no effect here, but what you read may be incomplete. The evidence contains no message text; show it to whoever looks after the server.",
  detail: (n: number) => count(n, "finding", "findings"),
  codes: {
    counter: "A sender's messages are not all there",
    prev: "A message refers to a history that differs from this one",
    fork: "Two messages claim the same place",
    substituted: "A message of yours was replaced",
    dropped: "A message of yours was accepted and then left out",
    epoch: "A message is sealed with a key that was already replaced, or by someone who had been removed",
    authority: "A change to the room was made by someone who may not make it, or one was left out",
  } satisfies Record<ViolationCode, string>,
  at: (seq: number) => `at place ${seq.toLocaleString(LANGUAGE)}`,
  export: "Export evidence",
  more: "Details",
} as const;
