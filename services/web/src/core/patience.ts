//! Waiting that ends: pauses and repeated calls within a limit, which whoever began them can call off.

import { ApiError } from "./http.ts";
import { backoff } from "./link-state.ts";

/** Least time between two attempts at a call. */
const RETRY_MIN_MS = 1_000;

/** Time as the waits see it. */
export interface Clock {
  readonly now: () => number;
  /** At least 0 and below 1. */
  readonly random: () => number;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

export const realClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  setTimeout: (run, ms) => setTimeout(run, ms),
};

/** Nobody waits any more. */
export class CalledOff extends Error {}

export class Patience {
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  readonly #untilMs: number;

  /** From now on for `limitMs`, or until `signal` is aborted. */
  constructor(clock: Clock, limitMs: number, signal?: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
    this.#untilMs = clock.now() + limitMs;
  }

  /** Whether a pause of so long would still be within the limit. */
  lasts(ms: number): boolean {
    return this.#clock.now() + ms <= this.#untilMs;
  }

  /** Rejects with `CalledOff` as soon as it is. */
  pause(ms: number): Promise<void> {
    const signal = this.#signal;
    return new Promise((resolve, reject) => {
      const off = () => reject(new CalledOff());
      if (signal?.aborted === true) return off();
      signal?.addEventListener("abort", off, { once: true });
      this.#clock.setTimeout(() => {
        signal?.removeEventListener("abort", off);
        resolve();
      }, ms);
    });
  }

  /** Resolves when the limit is reached. Rejects as `pause`. */
  end(): Promise<void> {
    return this.pause(Math.max(0, this.#untilMs - this.#clock.now()));
  }

  /**
   * Makes a call that may be made twice, and again with back-off while the server cannot be heard or asks to wait. Rejects
   * with what the call rejects with: the last `ApiError` once the limit is reached, any other error at once; with `CalledOff`
   * instead of making a call. An answer is handed on even if it was called off in the meantime.
   */
  async call<T>(make: () => Promise<T>): Promise<T> {
    for (let failures = 1; ; failures++) {
      if (this.#signal?.aborted === true) throw new CalledOff();
      try {
        return await make();
      } catch (error) {
        if (!(error instanceof ApiError) || error.retry !== "later") throw error;
        const wait = Math.max(RETRY_MIN_MS, error.retryAfterMs ?? 0, backoff(failures, this.#clock.random()));
        if (!this.lasts(wait)) throw error;
        await this.pause(wait);
      }
    }
  }
}
