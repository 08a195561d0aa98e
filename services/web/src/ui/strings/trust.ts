/** What one can check oneself about a room. */

import { count } from "./wording.ts";

export const trust = {
  heading: "Trust in this room",
  intro: "What you can check yourself, without believing the server.",
  fingerprintHeading: "This room's number",
  fingerprintBody:
    "It is the same for everyone in the room, for as long as the room lives. Compare it with someone, face to face or on the phone. If yours differs, you are not in the same room, and someone may be deceiving you.",
  fingerprintUnknown:
    "You came after the history was closed to newcomers, so your browser cannot follow this room to its beginning by itself. Ask someone who was there before for the number.",
  copyFingerprint: "Copy the room's number",
  keyHeading: "The room's key",
  keyFirst: "The room still has the key it was created with.",
  keyReplaced: (n: number) =>
    `The key has been replaced ${count(n, "time", "times")}. Whoever was removed before that cannot read what was written since.`,
  historyAll: "Newcomers can read everything written so far.",
  historyCut: "The history was closed to newcomers at some point: they read only what was written since.",
  peopleHeading: "People's safety numbers",
  peopleBody:
    "Each device has a number of its own. Compare it with its owner, not over this room. It changes only when they use another device.",
  find: "Find a person",
  more: (n: number) => `${count(n, "more person", "more people")}: type a part of the name`,
  findingsHeading: "What the checks found",
  noFindings: "Your browser checks every message and every change. It has found nothing wrong.",
  misplacedMend:
    "An owner can set that right in their entry in the list of people; the room's next new key does it too.",
  serverHeading: "The server",
} as const;
