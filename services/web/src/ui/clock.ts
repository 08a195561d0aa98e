/** The time for components: reading it in a component makes that component follow it, and no timer runs when none does. */

import { createSubscriber } from "svelte/reactivity";

function every(periodMs: number): () => number {
  const follow = createSubscriber((update) => {
    const timer = setInterval(update, periodMs);
    return () => clearInterval(timer);
  });
  return () => {
    follow();
    return Date.now();
  };
}

/** For countdowns. */
export const nowBySeconds = every(250);

/** For days and spans of minutes. */
export const nowByMinutes = every(30_000);

export function secondsUntil(atMs: number, nowMs: number): number {
  return Math.max(0, Math.ceil((atMs - nowMs) / 1000));
}
