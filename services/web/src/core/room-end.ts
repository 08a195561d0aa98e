//! How a room ends for this device.

import { type RoomEnd } from "./store.ts";
import { type ErrorCode } from "../protocol.gen.ts";

const ENDS: Partial<Record<ErrorCode, RoomEnd>> = {
  room_deleted: "deleted",
  room_not_found: "deleted",
  not_a_member: "not_a_member",
  removed: "removed",
  banned: "banned",
};

/** What the server's refusal to follow a room means for it; `undefined` when it goes on. */
export function endOf(code: ErrorCode): RoomEnd | undefined {
  return ENDS[code];
}
