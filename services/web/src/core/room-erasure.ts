//! Why only a tombstone is left of a message that nobody deleted by itself.

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

/** Explains the tombstone `entry` of a message by `author` from the chain, all of it, oldest first. */
export function erasureOf(entry: LogEntry, author: string, links: readonly ChainLink[], nowMs: number): Erasure {
  for (const link of links) {
    const { content, header, seq } = link.entry;
    if (!link.counts || seq <= entry.seq || content.kind !== "step" || content.step.type !== "erase") continue;
    if (content.step.device === author && header !== undefined) return { by: "admin", device: header.device };
  }
  return wasTooOld(entry, links, nowMs) ? { by: "age" } : { by: "server" };
}

/** Whether a retention, at any time it was in force, reached the entry. */
function wasTooOld(entry: LogEntry, links: readonly ChainLink[], nowMs: number): boolean {
  const counted = links.filter(({ counts }) => counts);
  return counted.some(({ state }, index) => {
    const retentionMs = state?.retentionMs ?? 0;
    const untilMs = counted[index + 1]?.entry.atMs ?? nowMs;
    return retentionMs > 0 && entry.atMs + retentionMs <= untilMs + CLOCK_TOLERANCE_MS;
  });
}
