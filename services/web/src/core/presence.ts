//! Who is in a room now and who is typing. Neither is in the log; both may be lost.

import { TYPING_PERIOD_MS } from "../protocol.gen.ts";

/** A typing notice stands this long unless another one comes: the period of the notices and time for one to be late. */
const TYPING_SHOWN_MS = TYPING_PERIOD_MS + 2_000;

export class Presence {
  #here = new Set<string>();
  #hereCount = 0;
  #typingUntilMs = new Map<string, number>();
  #typingCount = { count: 0, untilMs: -Infinity };
  #toldAtMs = -Infinity;

  get hereCount(): number {
    return this.#hereCount;
  }

  isHere(device: string): boolean {
    return this.#here.has(device);
  }

  /**
   * What a server says in place of all it said before. In a crowd it does not tell of each who comes and goes, so a list of
   * some would be wrong before long: then only their number is known.
   */
  set(here: readonly string[] | undefined, count: number): void {
    this.#here = new Set(here !== undefined && here.length >= count ? here : []);
    this.#hereCount = count;
  }

  change(device: string, state: "here" | "gone", count: number): void {
    if (state === "here") this.#here.add(device);
    else {
      this.#here.delete(device);
      this.#typingUntilMs.delete(device);
    }
    this.#hereCount = count;
  }

  /** Answers with how long the notice stands. */
  typing(device: string, nowMs: number): number {
    this.#typingUntilMs.set(device, nowMs + TYPING_SHOWN_MS);
    return TYPING_SHOWN_MS;
  }

  /** So many others are typing, in a crowd. Answers with how long the notice stands. */
  typingCounted(count: number, nowMs: number): number {
    this.#typingCount = { count, untilMs: nowMs + TYPING_SHOWN_MS };
    return TYPING_SHOWN_MS;
  }

  /** How many others are typing, where it is not told who. */
  typingCountAt(nowMs: number): number {
    return this.#typingCount.untilMs > nowMs ? this.#typingCount.count : 0;
  }

  /** What `device` was typing has arrived. */
  wrote(device: string): void {
    this.#typingUntilMs.delete(device);
  }

  /** Whether it is time to tell again that this device is typing. */
  mayTell(nowMs: number): boolean {
    if (nowMs - this.#toldAtMs < TYPING_PERIOD_MS) return false;
    this.#toldAtMs = nowMs;
    return true;
  }

  typingAt(nowMs: number): string[] {
    return [...this.#typingUntilMs].filter(([, until]) => until > nowMs).map(([device]) => device);
  }
}
