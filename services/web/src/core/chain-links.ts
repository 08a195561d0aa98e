//! The entries of a chain with what became of each.

import { type Chain } from "./chain/chain.ts";
import { type Muted, type RoomState } from "./chain/state.ts";
import { type LogEntry } from "./log-entry.ts";

export interface ChainLink {
  readonly entry: LogEntry;
  /** False: it was not allowed, does not link or does not open, and changed nothing. */
  readonly counts: boolean;
  /** What held after it. */
  readonly state: RoomState;
}

/** Something in a chain that may not be, with the entries that show it. */
export interface ChainFault {
  readonly seq: number;
  readonly shown: readonly LogEntry[];
}

/** Folds the next entry into `chain`. */
export function foldNext(chain: Chain, entry: LogEntry): ChainLink {
  const { header } = entry;
  const counts = header !== undefined && chain.apply({ ...entry, header }).kind === "applied";
  return { entry, counts, state: chain.state };
}

/** What shows that an entry has no place in the chain: itself, and the newest link before it that counted. */
export function faultAt(entry: LogEntry, links: readonly ChainLink[]): ChainFault {
  const before = links.findLast((link) => link.counts && link.entry.seq < entry.seq);
  return { seq: entry.seq, shown: before === undefined ? [entry] : [before.entry, entry] };
}

/**
 * Until when devices may not write, by what was done. A record leaves out the mutes that are over by its maker's clock; they
 * are kept here, since the server lets nobody write before they are over by its own.
 */
export function mutesOf(links: readonly ChainLink[]): readonly Muted[] {
  const mutes = new Map((links[0]?.state.muted ?? []).map(({ device, untilMs }) => [device, untilMs]));
  for (const { entry, counts } of links) {
    const { content } = entry;
    if (counts && content.kind === "step" && content.step.type === "mute") {
      mutes.set(content.step.device, content.step.untilMs);
    }
    if (!counts || content.kind !== "epoch_record" || content.record.cause.type !== "remove") continue;
    for (const device of content.record.cause.devices) mutes.delete(device);
  }
  return [...mutes].map(([device, untilMs]) => ({ device, untilMs }));
}
