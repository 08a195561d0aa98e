//! Waiting for what the other device puts into the mailbox of a move.

import { ApiError } from "../api.ts";
import { type Bytes } from "../bytes.ts";
import { type Patience } from "../patience.ts";

/** Time between an answer and the next question. */
const POLL_PERIOD_MS = 1_000;

/**
 * Asks until something is there. Rejects with `ApiError`: `move_not_found` when nothing came within the patience, or what
 * the server says; with `CalledOff`.
 */
export async function waitFor(patience: Patience, ask: () => Promise<Bytes>): Promise<Bytes> {
  for (;;) {
    const there = await patience.call(() => ask().catch(nothingYet));
    if (there !== undefined) return there;
    if (!patience.lasts(POLL_PERIOD_MS)) throw expired();
    await patience.pause(POLL_PERIOD_MS);
  }
}

function nothingYet(error: unknown): undefined {
  if (!(error instanceof ApiError) || error.code !== "move_not_found") throw error;
}

/** The other device did not come, or nobody confirmed, while the mailbox lived. */
export function expired(): ApiError {
  return new ApiError({ code: "move_not_found", retry: "never" });
}
