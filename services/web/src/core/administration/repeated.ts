//! Requests that may be made again: their bytes are the same, and the server answers the second as it did the first.

import { ApiError } from "../http.ts";

/** So often a request is made, how long between where the server does not say, and the longest wait it may ask for. */
const TRIES_MAX = 5;
const PAUSE_MS = 1_000;
const PAUSE_MAX_MS = 10_000;

export type Wait = (run: () => void, ms: number) => unknown;

/**
 * Makes the call until it is answered, at most 5 times. Nothing of it is stored: a page that ends before the answer leaves
 * either nothing or what was asked for, whole, and both are fine. Rejects with `ApiError`; after `offline` it may be done.
 */
export async function repeated<T>(setTimeout: Wait, call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let wait: number;
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ApiError) || error.retry !== "later") throw error;
      wait = error.retryAfterMs ?? PAUSE_MS;
      if (attempt === TRIES_MAX || wait > PAUSE_MAX_MS) throw error;
    }
    await new Promise<void>((resolve) => setTimeout(resolve, wait));
  }
}
