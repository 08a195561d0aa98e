//! How long a mute lasts, for showing it.

/** The last point in time that a date can say, Unix milliseconds. */
const LAST_DATE_MS = 8_640_000_000_000_000;

/** When a mute ends, Unix milliseconds; `Infinity`: when it is lifted, which is what a date beyond all dates means. */
export function muteEnd(untilMs: number): number {
  return untilMs > LAST_DATE_MS ? Infinity : untilMs;
}
