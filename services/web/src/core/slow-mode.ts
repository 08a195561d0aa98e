//! Slow mode as it concerns this device: when it may write the next message.

import { SLOW_INTERVAL_MAX_MS } from "../protocol.gen.ts";

export class SlowMode {
  readonly #intervalMs: () => number | undefined;
  #refusedUntilMs = 0;
  #wroteAtMs = -Infinity;

  /** `intervalMs` is what the room asks of this device between two messages now: 0 = nothing, `undefined` = not known yet. */
  constructor(intervalMs: () => number | undefined) {
    this.#intervalMs = intervalMs;
  }

  /** A message of this device was committed at `atMs` by the server's clock. One that is ahead asks for no longer a wait. */
  wrote(atMs: number, nowMs: number): void {
    this.#wroteAtMs = Math.max(this.#wroteAtMs, Math.min(atMs, nowMs));
  }

  /** The server refused a message until then, by this device's clock. */
  refused(untilMs: number): void {
    this.#refusedUntilMs = Math.max(this.#refusedUntilMs, untilMs);
  }

  /** When the next message may be written; `null` when that is now. */
  untilMs(nowMs: number): number | null {
    const intervalMs = this.#intervalMs() ?? SLOW_INTERVAL_MAX_MS;
    // A refusal counts no longer once slow mode is over or shorter, whatever it said.
    const refusedUntilMs = Math.min(this.#refusedUntilMs, nowMs + intervalMs);
    const untilMs = Math.max(refusedUntilMs, this.#wroteAtMs + (this.#intervalMs() ?? 0));
    return untilMs > nowMs ? untilMs : null;
  }
}
