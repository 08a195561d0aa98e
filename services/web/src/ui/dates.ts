/** Points in time as people say them, in this device's zone. */

import { strings } from "./strings.ts";

const DAY_MS = 24 * 3_600_000;

// The format follows the browser's language even while the words are English: 12 or 24 hours is a habit, not a translation.
const time = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const timeWithSeconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const fullDate = new Intl.DateTimeFormat(strings.language, { dateStyle: "full" });
const weekday = new Intl.DateTimeFormat(strings.language, { weekday: "long", day: "numeric", month: "long" });
const withYear = new Intl.DateTimeFormat(strings.language, { day: "numeric", month: "long", year: "numeric" });
const short = new Intl.DateTimeFormat(strings.language, { day: "numeric", month: "short" });

export function timeOf(atMs: number): string {
  return time.format(atMs);
}

export function exactTime(atMs: number): string {
  return `${fullDate.format(atMs)}, ${timeWithSeconds.format(atMs)}`;
}

export function isoTime(atMs: number): string {
  return new Date(atMs).toISOString();
}

function daysAgo(atMs: number, nowMs: number): number {
  const midnight = (ms: number) => new Date(ms).setHours(0, 0, 0, 0);
  // Rounded, since a day of a clock change has 23 or 25 hours.
  return Math.round((midnight(nowMs) - midnight(atMs)) / DAY_MS);
}

/** For day separators. */
export function dayName(atMs: number, nowMs: number): string {
  const days = daysAgo(atMs, nowMs);
  if (days === 0) return strings.timeline.today;
  if (days === 1) return strings.timeline.yesterday;
  return days > 0 && days < 300 ? weekday.format(atMs) : withYear.format(atMs);
}

/** For lists: the time if it was today, else the day. */
export function shortWhen(atMs: number, nowMs: number): string {
  return daysAgo(atMs, nowMs) === 0 ? timeOf(atMs) : short.format(atMs);
}

export function shortDate(atMs: number): string {
  return `${short.format(atMs)}, ${timeOf(atMs)}`;
}
