/** Invite links. */

import { count, LANGUAGE } from "./wording.ts";

export const invites = {
  heading: "Invites",
  body: "An invite link carries the key to this room. Whoever has it can join and read everything, until it ends.",
  create: "Create link",
  expires: "Ends after",
  expiresOptions: { hour: "1 hour", day: "1 day", week: "1 week", never: "Never" },
  uses: "For",
  usesOptions: { one: "1 person", ten: "10 people", any: "Any number" },
  newHeading: "Your new link",
  newBody: "Shown this once; Snug does not keep it.",
  another: "Create another",
  listHeading: "Links in use",
  empty: "No invite links right now.",
  loading: "Loading…",
  madeBy: (name: string, when: string) => `Made by ${name}, ${when}`,
  used: (uses: number, max: number | null) =>
    max === null
      ? `used ${count(uses, "time", "times")}`
      : `used ${uses.toLocaleString(LANGUAGE)} of ${max.toLocaleString(LANGUAGE)}`,
  ends: (when: string) => `ends ${when}`,
  neverEnds: "no end",
  ended: "ended",
  revoke: "Revoke",
  revokeLabel: (name: string, when: string) => `Revoke the link made by ${name}, ${when}`,
  revoked: "Link revoked",
} as const;
