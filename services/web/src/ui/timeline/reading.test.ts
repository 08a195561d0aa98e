import { expect, test } from "vitest";
import type { Entry } from "../../view.ts";
import { arrange, type Row } from "./arrange.ts";
import { countNew, followChange, lastEditable, newestSeq, rowByKey, rowWith, seqOf } from "./reading.ts";
import { deleted, message, notice, step } from "./testing/entries.ts";

const rowsOf = (entries: readonly Entry[], complete = false): readonly Row[] =>
  arrange({ entries, complete, unreadAfterSeq: null });
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => message(from + index));

test("what waits to be sent does not hide the newest seq", () => {
  expect(newestSeq([message(4), message(null, { mine: true })])).toBe(4);
  expect(newestSeq([])).toBe(0);
});

test("only messages of others count as new", () => {
  expect(
    countNew([message(1), message(2), message(3, { mine: true }), message(4), message(null, { mine: true })], 1),
  ).toBe(2);
});

test("rows above are told from rows below", () => {
  const before = rowsOf(range(10, 12));
  expect(followChange(before, rowsOf(range(5, 12)))).toMatchObject({ below: false });
  expect(followChange(before, rowsOf(range(5, 12))).above?.length).toBe(9);
  expect(followChange(before, rowsOf(range(10, 14)))).toEqual({ above: null, below: true });
  expect(followChange(before, before)).toEqual({ above: null, below: false });
});

test("rows on both sides at once: first those above", () => {
  const change = followChange(rowsOf(range(10, 12)), rowsOf(range(1, 15), true));
  expect(change.below).toBe(true);
  expect(seqOf(change.above?.at(-1))).toBe(12);
  expect(change.above?.[0]?.kind).toBe("beginning");
});

test("the card at the beginning counts as a row above", () => {
  expect(followChange(rowsOf(range(1, 3)), rowsOf(range(1, 3), true)).above).not.toBeNull();
});

test("a seq is found in the row that shows it, also where a row shows several", () => {
  const rows = rowsOf([message(1), deleted(2), deleted(3), notice(4, "joined", "bo"), step(5, { what: "locked" })]);
  const kindOf = (seq: number) => rows[rowWith(rows, seq)]?.kind;
  expect([1, 3, 5].map(kindOf)).toEqual(["message", "deleted", "notices"]);
  expect(rowWith(rows, 6)).toBe(-1);
});

test("what a deletion leaves counts as read once it was on the screen", () => {
  expect(seqOf(rowsOf([message(1), deleted(2)]).at(-1))).toBe(2);
});

test("the message to edit is my newest that may be edited", () => {
  const mine = (seq: number | null, edit: boolean) =>
    message(seq, { mine: true, may: { reply: true, edit, delete: true, react: true, pin: true } });
  expect(lastEditable([mine(1, true), mine(2, false), message(3), mine(null, true)])?.seq).toBe(1);
  expect(lastEditable([message(1)])).toBeNull();
});

test("keys go from message to message, past what only separates them", () => {
  const rows = rowsOf([message(1), notice(2, "joined", "bo"), message(3)], true);
  expect(rows.map((row) => row.kind)).toEqual(["beginning", "day", "message", "notices", "message"]);
  expect(rowByKey(rows, rows.length, "ArrowUp")).toBe(4);
  expect(rowByKey(rows, 3, "ArrowUp")).toBe(2);
  expect(rowByKey(rows, 2, "ArrowUp")).toBeNull();
  expect(rowByKey(rows, 4, "ArrowDown")).toBeNull();
  expect(rowByKey(rows, 4, "Home")).toBe(2);
  expect(rowByKey(rows, 2, "End")).toBe(4);
  expect(rowByKey(rows, 2, "a")).toBeUndefined();
});
