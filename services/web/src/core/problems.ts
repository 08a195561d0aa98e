//! From what went wrong to what the page can say about it.

import { ApiError } from "./api.ts";
import { RoomContradicted, RoomUntrusted } from "./enter.ts";
import { memberName, roomName, type NameFault } from "./names.ts";
import { PageProblem } from "./page-problem.ts";
import { StorageRefused } from "./store.ts";
import { typedTextFault } from "./text.ts";
import type { Problem, Result } from "../view.ts";

/** The problem behind an error. What is not known here is a bug, and its text stays inside. */
export function problemOf(error: unknown, nowMs: number): Problem {
  if (error instanceof ApiError) {
    return {
      code: error.code,
      ...(error.retryAfterMs !== undefined && { retryAtMs: nowMs + error.retryAfterMs }),
      ...(error.freeVariant !== undefined && { freeVariant: error.freeVariant }),
    };
  }
  if (error instanceof StorageRefused) return { code: "local_storage" };
  if (error instanceof PageProblem) return { code: error.code };
  if (error instanceof RoomUntrusted) return { code: "room_untrusted" };
  if (error instanceof RoomContradicted) return { code: "room_contradicted" };
  return { code: "unexpected" };
}

/** Runs `work` and answers with what it gives or why it failed. Never throws. */
export async function resultOf<T>(nowMs: () => number, work: () => Promise<T>): Promise<Result<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (error) {
    return { ok: false, problem: problemOf(error, nowMs()) };
  }
}

export function refused(problem: Problem): { readonly ok: false; readonly problem: Problem } {
  return { ok: false, problem };
}

export function memberNameProblem(typed: string): Problem | null {
  const checked = memberName(typed);
  return checked.ok ? null : { code: nameCode("name", checked.fault) };
}

export function roomNameProblem(typed: string): Problem | null {
  const checked = roomName(typed);
  return checked.ok ? null : { code: nameCode("room_name", checked.fault) };
}

function nameCode<Of extends "name" | "room_name">(of: Of, fault: NameFault): `${Of}_${NameFault}` {
  return `${of}_${fault}`;
}

export function messageProblem(typed: string): Problem | null {
  const fault = typedTextFault(typed);
  return fault === undefined ? null : { code: `message_${fault}` };
}
