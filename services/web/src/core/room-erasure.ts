//! Why messages are gone that nobody deleted by themselves: all of a member's were erased, or they had reached the age that
//! the room keeps them to. Pure.

import { type ChainLink } from "./chain-links.ts";
import { type LogEntry } from "./log-entry.ts";

export type Erasure =
  | { readonly by: "author" }
  | { readonly by: "admin"; readonly device: string }
  /** By the room's retention. */
  | { readonly by: "age" }
  /** Nobody in the room asked for it. */
  | { readonly by: "server" };

/** The server's clock and this device's may differ by so much before a retention explains nothing. */
const CLOCK_TOLERANCE_MS = 60_000;
/** A retention that has ended since has erased everywhere what it had reached so long before. The server looks once a minute. */
const SURELY_ERASED_MS = 180_000;

export class Erasures {
  /** The steps that counted, by which all messages of somebody were erased. */
  readonly #erasing: readonly ChainLink[];
  /** What was committed by then may have been erased by age, as far as clocks agree. */
  readonly #mayBeGone: number;
  /** What was committed by then is gone from an honest server, or about to be. */
  readonly #isGone: number;
  /** The retention in force; 0: none. */
  readonly #retentionMs: number;

  /** By the chain's `links`, all that are known, oldest first, as of `nowMs`. */
  constructor(links: readonly ChainLink[], nowMs: number) {
    const counted = links.filter(({ counts }) => counts);
    this.#erasing = counted.filter(
      ({ entry: { content } }) => content.kind === "step" && content.step.type === "erase",
    );
    let [mayBeGone, isGone] = [-Infinity, -Infinity];
    for (const [index, { state }] of counted.entries()) {
      if (state.retentionMs === 0) continue;
      const next = counted[index + 1];
      const reached = (next?.entry.atMs ?? nowMs) - state.retentionMs;
      mayBeGone = Math.max(mayBeGone, reached + CLOCK_TOLERANCE_MS);
      isGone = Math.max(isGone, next === undefined ? reached : reached - SURELY_ERASED_MS);
    }
    [this.#mayBeGone, this.#isGone] = [mayBeGone, isGone];
    this.#retentionMs = counted.at(-1)?.state.retentionMs ?? 0;
  }

  /**
   * Why the message in `entry` by `author` is gone. `undefined` when it is not: one that is loaded goes too once a retention
   * reaches it, or all of its author's are erased.
   */
  of(entry: LogEntry, author: string): Erasure | undefined {
    const admin = this.#eraser(entry, author);
    if (admin !== undefined) return { by: "admin", device: admin };
    const isTombstone = entry.content.kind === "erased";
    if (entry.atMs <= (isTombstone ? this.#mayBeGone : this.#isGone)) return { by: "age" };
    return isTombstone ? { by: "server" } : undefined;
  }

  /** When the retention in force reaches what was committed at `atMs`; `Infinity` if there is none. */
  reachesAtMs(atMs: number): number {
    return this.#retentionMs === 0 ? Infinity : atMs + this.#retentionMs;
  }

  /** Who has had everything erased that `author` had written by then. */
  #eraser({ seq }: LogEntry, author: string): string | undefined {
    const by = this.#erasing.find(({ entry: { content, seq: at } }) => {
      return at > seq && content.kind === "step" && content.step.type === "erase" && content.step.device === author;
    });
    return by?.entry.header?.device;
  }
}
