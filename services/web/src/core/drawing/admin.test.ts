import { beforeAll, beforeEach, expect, test } from "vitest";

import { EntryType } from "../crypto/envelope.ts";
import { type Step } from "../chain/step.ts";
import { chain, hash, member, meet, moderator, other, owner, stepEntry } from "../testing/chains.ts";
import { DrawnRoom } from "../testing/drawn-room.ts";
import { auditEntries } from "./admin.ts";
import type { AdminChange } from "../../view.ts";

beforeAll(meet);

let room: DrawnRoom;

beforeEach(() => {
  room = new DrawnRoom(member);
  room.name(owner, "Olga");
  room.name(other, "Otto");
});

const changeAt = (seq: number) => {
  const entry = room.at(seq);
  return entry?.kind === "admin" ? entry.change : undefined;
};

const STEPS: [() => Step, AdminChange][] = [
  [() => ({ type: "topic", topic: "Sunday" }), { what: "topic", topic: "Sunday" }],
  [() => ({ type: "lock", locked: true }), { what: "locked" }],
  [() => ({ type: "lock", locked: false }), { what: "unlocked" }],
  [() => ({ type: "slow", intervalMs: 30_000 }), { what: "slow", ms: 30_000 }],
  [() => ({ type: "retention", ageMs: 3_600_000 }), { what: "retention", ms: 3_600_000 }],
  [() => ({ type: "mute", device: other.device, untilMs: 77 }), { what: "muted", name: "Otto", untilMs: 77 }],
  [() => ({ type: "mute", device: other.device, untilMs: 0 }), { what: "unmuted", name: "Otto" }],
  [
    () => ({ type: "mute", device: other.device, untilMs: Number.MAX_SAFE_INTEGER }),
    { what: "muted", name: "Otto", untilMs: Infinity },
  ],
  [() => ({ type: "erase", device: other.device }), { what: "erased", name: "Otto" }],
  [() => ({ type: "unban", device: other.device }), { what: "unbanned", name: "Otto" }],
  [() => ({ type: "password", grant: hash().slice(0, 22) }), { what: "password" }],
  [() => ({ type: "role", role: "moderator", ...other }), { what: "role", name: "Otto", role: "moderator" }],
  [() => ({ type: "transfer", ...other }), { what: "transferred", name: "Otto" }],
];

test.each(STEPS)("a step is an entry that says what it changed (%#)", (step, change) => {
  const seq = room.step(owner, step());
  expect(room.at(seq)).toMatchObject({ kind: "admin", seq, authorName: "Olga", change });
});

test("a new epoch is an entry that says why it began, with names that stay when people are gone", () => {
  expect(changeAt(room.begin(owner, { type: "rotate" }))).toEqual({ what: "rotated" });
  expect(changeAt(room.begin(owner, { type: "history" }))).toEqual({ what: "history" });
  const removed = room.begin(owner, { type: "remove", devices: [other.device], ban: false });
  expect(changeAt(removed)).toEqual({ what: "removed", names: ["Otto"] });
  const banned = room.begin(owner, { type: "remove", devices: [other.device], ban: true });
  expect(changeAt(banned)).toEqual({ what: "banned", names: ["Otto"] });
});

test("a step that was not allowed says so, and not what it claimed", () => {
  const seq = room.step(other, { type: "topic", topic: "Mine now" });
  expect(room.at(seq)).toMatchObject({ kind: "admin", authorName: "Otto", change: { what: "refused" } });
  expect(room.now().rules().topic).toBe("");
});

test("what has not been judged yet is not shown", () => {
  const step = stepEntry(owner, { type: "topic", topic: "Soon" });
  const seq = room.say(owner, step.content, { type: EntryType.step });
  expect(room.at(seq)).toBeUndefined();
});

test("what could be read only later is shown from the chain", () => {
  const seq = room.step(owner, { type: "lock", locked: true });
  const link = room.chain.linkAt(seq);
  const late = new DrawnRoom(member);
  late.chain.links.push(...(link === undefined ? [] : [link]));
  while (late.next < seq) late.message(owner, "text");
  late.say(owner, { kind: "unreadable" }, { type: EntryType.step, ...(link && { hash: link.entry.hash }) });
  expect(late.at(seq)).toMatchObject({ kind: "admin", change: { what: "locked" } });
});

test("the founding record is no entry, and the last of the audit list, which is newest first", () => {
  room.step(owner, { type: "topic", topic: "Sunday" });
  room.step(other, { type: "topic", topic: "Mine" });
  expect(room.at(1)).toBeUndefined();
  const audit = auditEntries(room.room);
  expect(audit.map(({ change }) => change.what)).toEqual(["refused", "topic", "created"]);
  expect(new Set(audit.map(({ key }) => key)).size).toBe(3);
  const dropped = auditEntries(room.room, new Map([[1, [member.device]]])).at(-1)?.dropped;
  expect(dropped).toHaveLength(1);
  expect(audit.at(-1)).toMatchObject({ seq: 1, author: owner.device, authorName: "Olga" });
});

test("what could not be read is in nobody's name", () => {
  const entry = room.entry(moderator.device, { kind: "unreadable" }, room.next, { type: EntryType.step });
  room.chain.links.push({ entry, counts: false, state: chain.state });
  room.log.append(entry);
  expect(room.at(entry.seq)).toMatchObject({ kind: "unreadable" });
  expect(auditEntries(room.room)).toHaveLength(1);
});
