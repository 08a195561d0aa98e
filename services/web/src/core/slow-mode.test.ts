import { expect, it } from "vitest";

import { SlowMode } from "./slow-mode.ts";
import { SLOW_INTERVAL_MAX_MS } from "../protocol.gen.ts";

const NOW = 1_790_000_000_000;

it("counts from the last own message, and not for who need not wait", () => {
  let interval: number | undefined = 60_000;
  const slow = new SlowMode(() => interval);
  expect(slow.untilMs(NOW)).toBeNull();
  slow.wrote(NOW - 10_000, NOW);
  expect(slow.untilMs(NOW)).toBe(NOW + 50_000);
  expect(slow.untilMs(NOW + 50_000)).toBeNull();
  interval = 0;
  expect(slow.untilMs(NOW)).toBeNull();
});

it("asks for no longer than the interval, however wrong the server's clock or answer", () => {
  const slow = new SlowMode(() => 60_000);
  slow.wrote(NOW + 3_600_000, NOW);
  slow.refused(NOW + 3_600_000);
  expect(slow.untilMs(NOW)).toBe(NOW + 60_000);
});

it("believes a refusal while nothing is known of the room", () => {
  const room: { intervalMs?: number } = {};
  const slow = new SlowMode(() => room.intervalMs);
  slow.refused(NOW + 5_000);
  expect(slow.untilMs(NOW)).toBe(NOW + 5_000);
  slow.refused(NOW + 2 * SLOW_INTERVAL_MAX_MS);
  expect(slow.untilMs(NOW)).toBe(NOW + SLOW_INTERVAL_MAX_MS);
  room.intervalMs = 0;
  expect(slow.untilMs(NOW)).toBeNull();
});
