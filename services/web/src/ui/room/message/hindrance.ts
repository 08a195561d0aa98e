/** What keeps one from sending. Pure. */

import type { RoomView } from "../../../view.ts";
import { secondsUntil } from "../../clock.ts";

export type Hindrance =
  | { readonly kind: "key" | "stalled" | "contradicted" }
  | { readonly kind: "muted"; readonly untilMs: number }
  | { readonly kind: "slow"; readonly seconds: number };

type Asked = Pick<RoomView, "keyMissing" | "stalled" | "contradicted" | "mutedUntilMs" | "slowUntilMs">;

/** The one that lasts longest. Slow mode is about new messages: an edit need not wait. */
export function hindranceOf(room: Asked, editing: boolean, nowMs: number): Hindrance | null {
  if (room.contradicted !== null) return { kind: "contradicted" };
  if (room.keyMissing) return { kind: "key" };
  if (room.stalled) return { kind: "stalled" };
  if (room.mutedUntilMs !== null && room.mutedUntilMs > nowMs) return { kind: "muted", untilMs: room.mutedUntilMs };
  const seconds = room.slowUntilMs === null || editing ? 0 : secondsUntil(room.slowUntilMs, nowMs);
  return seconds > 0 ? { kind: "slow", seconds } : null;
}

/** Whether it may change by itself, so that the time has to be followed. */
export const maybeHindered = (room: Asked) => room.mutedUntilMs !== null || room.slowUntilMs !== null;
