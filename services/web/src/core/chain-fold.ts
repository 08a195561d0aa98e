//! From a chain's entries as they were fetched to who governs: folded from the oldest record that leads to the pinned one.
//! Pure.

import { Chain, ChainRefused } from "./chain/chain.ts";
import { EntryType } from "./crypto/envelope.ts";
import { faultAt, foldNext, type ChainFault, type ChainLink } from "./chain-links.ts";
import { isRead, type LogEntry } from "./log-entry.ts";

/** So many places are tried to begin at; a device that was away in more epochs than that begins later. */
const BEGINNINGS_MAX = 20;

export interface ChainFold {
  /** `undefined`: the record that is pinned has no place among these entries. */
  readonly chain: Chain | undefined;
  /** Oldest first, from where the fold begins. */
  readonly links: readonly ChainLink[];
  readonly faults: readonly ChainFault[];
}

/** What is known about the entries to be folded. */
export interface Known {
  /** They are all there are, down to the room's first. */
  readonly whole: boolean;
  /** Whether this device has the key of the entry's epoch. */
  readonly keyed: (entry: LogEntry) => boolean;
}

/**
 * Folds `entries`, oldest first, which hold the record that is pinned by its hash: everything is believed because of that
 * one. What came before an epoch that this device cannot read is left out, if the fold does not lead across it.
 */
export function foldChain(entries: readonly LogEntry[], pinned: string, known: Known): ChainFold {
  const pinnedAt = entries.findIndex(({ hash }) => hash === pinned);
  const last = entries.at(-1);
  if (pinnedAt < 0) return { chain: undefined, links: [], faults: last === undefined ? [] : [faultAt(last, [])] };
  for (const at of beginnings(entries, pinnedAt)) {
    const fold = foldFrom(entries, at, known);
    if (fold?.links[pinnedAt - at]?.counts === true) return fold;
  }
  const record = entries[pinnedAt];
  return { chain: undefined, links: [], faults: record === undefined ? [] : [faultAt(record, [])] };
}

/** Records that can be read and that the entry before them does not lead to, oldest first; the pinned one in any case. */
function beginnings(entries: readonly LogEntry[], pinnedAt: number): number[] {
  const found: number[] = [];
  let leads = false;
  for (const [index, { content }] of entries.slice(0, pinnedAt).entries()) {
    const isRecord = content.kind === "epoch_record";
    if (isRecord && !leads) found.push(index);
    leads = isRecord || (leads && content.kind === "step");
  }
  return [...found.slice(0, BEGINNINGS_MAX), pinnedAt];
}

function foldFrom(entries: readonly LogEntry[], at: number, known: Known): ChainFold | undefined {
  const [first, ...rest] = entries.slice(at);
  if (first?.header === undefined) return undefined;
  let chain: Chain;
  try {
    chain = Chain.adopt({ ...first, header: first.header });
  } catch (error) {
    if (error instanceof ChainRefused) return undefined;
    throw error;
  }
  const links: ChainLink[] = [{ entry: first, counts: true, state: chain.state }];
  const faults: ChainFault[] = [];
  if (!beginsWell(first, entries[at - 1], known.whole)) faults.push(faultAt(first, []));
  for (const entry of rest) {
    const link = foldNext(chain, entry);
    // What is sealed under a key that this device was never given is nobody's fault.
    if (!link.counts && (isRead(entry) || known.keyed(entry))) faults.push(faultAt(entry, links));
    links.push(link);
  }
  return { chain, links, faults };
}

/** Whether nothing was withheld before the record that a fold begins with. */
function beginsWell({ seq, header, content }: LogEntry, before: LogEntry | undefined, whole: boolean): boolean {
  if (seq === 1 || content.kind !== "epoch_record") return true;
  if (before === undefined) return !whole;
  const { previous, previousKey } = content.record;
  if (header?.targetSeq !== before.seq || previous !== before.hash) return false;
  // A record that reads back has a record before it that opens, if the way there is known.
  return previousKey === undefined || !whole;
}

/** Whether the entry is of the chain, by its header. */
export function isChainEntry({ header }: LogEntry): boolean {
  return header?.type === EntryType.epochRecord || header?.type === EntryType.step;
}
