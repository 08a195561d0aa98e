import { expect, test } from "vitest";
import type { Entry, MessageEntry } from "../../view.ts";
import { arrange, type Row } from "./arrange.ts";
import { countNew, followChange, newestSeq, seqOf } from "./reading.ts";

const NOON = new Date(2026, 10, 23, 12).getTime();

function message(seq: number | null, change: Partial<MessageEntry> = {}): MessageEntry {
  return {
    kind: "message",
    key: `m${seq ?? "new"}`,
    seq,
    atMs: NOON + (seq ?? 99) * 1000,
    author: "ana",
    authorName: "Ana",
    fingerprint: null,
    mine: false,
    text: "a",
    state: seq === null ? "sending" : "sent",
    problem: null,
    ...change,
  };
}

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
