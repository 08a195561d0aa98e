import { expect, test } from "vitest";
import { hindranceOf } from "./hindrance.ts";

const NOW = 1_000_000;
const free = { keyMissing: false, stalled: false, contradicted: null, mutedUntilMs: null, slowUntilMs: null };

test("nothing hinders where nothing is set or its time is over", () => {
  expect(hindranceOf(free, false, NOW)).toBeNull();
  expect(hindranceOf({ ...free, mutedUntilMs: NOW, slowUntilMs: NOW }, false, NOW)).toBeNull();
});

test("the one that lasts longest is told", () => {
  const all = {
    ...free,
    keyMissing: true,
    stalled: true,
    mutedUntilMs: Number.POSITIVE_INFINITY,
    slowUntilMs: NOW + 1,
  };
  expect(hindranceOf({ ...all, contradicted: "room" }, false, NOW)).toEqual({ kind: "contradicted" });
  expect(hindranceOf(all, false, NOW)).toEqual({ kind: "key" });
  expect(hindranceOf({ ...all, keyMissing: false }, false, NOW)).toEqual({ kind: "stalled" });
  expect(hindranceOf({ ...all, keyMissing: false, stalled: false }, false, NOW)).toMatchObject({ kind: "muted" });
});

test("slow mode counts whole seconds and lets edits through", () => {
  const slow = { ...free, slowUntilMs: NOW + 1500 };
  expect(hindranceOf(slow, false, NOW)).toEqual({ kind: "slow", seconds: 2 });
  expect(hindranceOf(slow, true, NOW)).toBeNull();
});
