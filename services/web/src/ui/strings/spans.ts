/** Spans of time. */

import { count } from "./wording.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** A span as people say it, in the largest unit that fits it whole. */
export function span(ms: number): string {
  if (ms % (365 * DAY_MS) === 0) return count(ms / (365 * DAY_MS), "year", "years");
  if (ms % DAY_MS === 0) return count(ms / DAY_MS, "day", "days");
  if (ms % HOUR_MS === 0) return count(ms / HOUR_MS, "hour", "hours");
  if (ms % MINUTE_MS === 0) return count(ms / MINUTE_MS, "minute", "minutes");
  return count(Math.round(ms / 1000), "second", "seconds");
}
