/** The spans that slow mode and retention offer, as choices. */

import { span } from "../../strings/spans.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

export const SLOW_CHOICES_MS = [5000, 10_000, 30_000, MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS];
export const RETENTION_CHOICES_MS = [HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS, 90 * DAY_MS, 365 * DAY_MS];

/** `present` is offered, too, if somebody set it by other means. */
export function spanChoices(spansMs: readonly number[], present: number, none: string) {
  const all = [...new Set([...spansMs, ...(present > 0 ? [present] : [])])].sort((a, b) => a - b);
  return [{ value: "0", text: none }, ...all.map((ms) => ({ value: String(ms), text: span(ms) }))];
}
