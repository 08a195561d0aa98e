import { expect, test } from "vitest";
import type { Entry, NoticeEntry } from "../../view.ts";
import { arrange, GROUP_GAP_MS, noticeLines, summarise } from "./arrange.ts";
import { deleted, message, NOON, notice, step } from "./testing/entries.ts";

const kinds = (entries: readonly Entry[], unreadAfterSeq: number | null = null, complete = false) =>
  arrange({ entries, complete, unreadAfterSeq }).map((row) => row.kind);

const groups = (entries: readonly Entry[]) =>
  arrange({ entries, complete: false, unreadAfterSeq: null }).flatMap((row) =>
    row.kind === "message" ? [`${row.first ? "[" : ""}${row.message.key}${row.last ? "]" : ""}`] : [],
  );

test("consecutive messages of one author form a group", () => {
  expect(groups([message(1), message(2), message(3, { author: "bo" }), message(4)])).toEqual([
    "[m1",
    "m2]",
    "[m3]",
    "[m4]",
  ]);
});

test("a pause, another name and a line in between end a group", () => {
  expect(groups([message(1), message(2, { atMs: NOON + GROUP_GAP_MS + 2000 })])).toEqual(["[m1]", "[m2]"]);
  expect(groups([message(1), message(2, { authorName: "Anna" })])).toEqual(["[m1]", "[m2]"]);
  expect(groups([message(1), notice(2, "joined", "bo"), message(3)])).toEqual(["[m1]", "[m3]"]);
});

test("each day is announced once, and again behind a hole", () => {
  const tomorrow = NOON + 24 * 3_600_000;
  const hole: Entry = { kind: "hole", key: "h", from: 3, to: 9, state: "idle" };
  expect(kinds([message(1), message(2, { atMs: tomorrow }), hole, message(10, { atMs: tomorrow })])).toEqual([
    "day",
    "message",
    "day",
    "message",
    "hole",
    "day",
    "message",
  ]);
});

test("the divider stands before the first message of others that was not seen", () => {
  const entries = [
    message(1),
    message(2),
    message(3, { mine: true }),
    notice(4, "joined", "bo"),
    message(5),
    message(6),
  ];
  expect(kinds(entries, 2)).toEqual([
    "day",
    "message",
    "message",
    "message",
    "notices",
    "unread",
    "message",
    "message",
  ]);
  expect(kinds(entries, 6)).not.toContain("unread");
  expect(kinds(entries, null)).not.toContain("unread");
});

test("the divider does not leave the group before it open", () => {
  const rows = arrange({ entries: [message(1), message(2)], complete: false, unreadAfterSeq: 1 });
  expect(rows.flatMap((row) => (row.kind === "message" ? [row.first] : []))).toEqual([true, true]);
});

test("a complete log begins with its beginning", () => {
  expect(kinds([], null, true)).toEqual(["beginning"]);
});

test("keys are unique", () => {
  const back = NOON - 24 * 3_600_000;
  const rows = arrange({
    entries: [message(1), message(2, { atMs: back }), message(3), notice(4, "left", "bo")],
    complete: true,
    unreadAfterSeq: 1,
  });
  expect(new Set(rows.map((row) => row.key)).size).toBe(rows.length);
});

test("a crowd that comes and goes takes one line", () => {
  const notices = [
    notice(1, "joined", "bo"),
    notice(2, "joined", "cy"),
    notice(3, "left", "bo"),
    notice(4, "left", "di"),
  ];
  expect(kinds(notices)).toEqual(["day", "notices"]);
  expect(summarise(notices)).toEqual({ joined: ["cy"], left: ["di"], passed: ["bo"], renamed: [] });
});

test("a name changed twice is changed once, and back is not at all", () => {
  const rename = (seq: number, from: string, to: string): NoticeEntry => ({
    ...notice(seq, "renamed", "ana"),
    authorName: to,
    previousName: from,
  });
  expect(summarise([rename(1, "Ana", "An"), rename(2, "An", "Anna")]).renamed).toEqual([{ from: "Ana", to: "Anna" }]);
  expect(summarise([rename(1, "Ana", "An"), rename(2, "An", "Ana")]).renamed).toEqual([]);
});

test("administrative steps stand among the notices, in their order", () => {
  const run = [
    notice(1, "joined", "bo"),
    notice(2, "joined", "cy"),
    step(3, { what: "locked" }),
    step(4, { what: "topic", topic: "Bread" }),
    notice(5, "left", "bo"),
  ];
  expect(kinds([message(0), ...run])).toEqual(["day", "message", "notices"]);
  expect(noticeLines(run)).toMatchObject([
    { kind: "people", summary: { joined: ["bo", "cy"] } },
    { kind: "step", step: { change: { what: "locked" } } },
    { kind: "step", step: { change: { what: "topic" } } },
    { kind: "people", summary: { left: ["bo"] } },
  ]);
});

test("messages deleted in the same way take one line, and others their own", () => {
  const purged = { by: "admin", byName: "Cy" } as const;
  const rows = arrange({
    entries: [deleted(1, purged), deleted(2, purged), deleted(3), deleted(4, { author: "bo" }), message(5)],
    complete: false,
    unreadAfterSeq: null,
  });
  expect(rows.map((row) => (row.kind === "deleted" ? row.entries.length : row.kind))).toEqual([
    "day",
    2,
    1,
    1,
    "message",
  ]);
});

test("a deleted message ends a group and is nothing to catch up with", () => {
  expect(groups([message(1), deleted(2), message(3)])).toEqual(["[m1]", "[m3]"]);
  expect(kinds([message(1), deleted(2)], 1)).not.toContain("unread");
});
