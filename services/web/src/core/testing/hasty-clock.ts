//! Time for tests in which waits take a fraction of what they are.

import { type Clock } from "../patience.ts";

/** A clock that runs `haste` times as fast. */
export function hastyClock(haste: number): Clock {
  const began = performance.now();
  return {
    now: () => 1_790_000_000_000 + Math.round((performance.now() - began) * haste),
    random: () => 0.5,
    setTimeout: (run, ms) => setTimeout(run, ms / haste),
  };
}
