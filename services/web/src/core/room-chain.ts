//! One room's chain: fetched, verified from the pinned record in both directions, folded, and kept in step with the log.

import { ApiError, type Api } from "./api.ts";
import { Chain, ChainRefused, type ChainEntry } from "./chain/chain.ts";
import { type RoomState } from "./chain/state.ts";
import { EntryType } from "./crypto/envelope.ts";
import { type RawEntry } from "./frames.ts";
import { isRead, type LogEntry } from "./log-entry.ts";
import { type EntryOpener } from "./open-entry.ts";
import { type RoomKeys } from "./room-keys.ts";
import { type RoomLog } from "./room-log.ts";
import { CHAIN_PAGES_MAX, chainFault, type ChainLink } from "./chain-links.ts";
import { HISTORY_PAGE_MAX } from "../protocol.gen.ts";

export interface RoomChainWorld {
  readonly api: Pick<Api, "chain">;
  readonly log: RoomLog;
  readonly keys: RoomKeys;
  /** Opens without waiting for this chain. */
  readonly opener: EntryOpener;
  readonly pinned: () => { readonly epoch: number; readonly hash: string };
  /** What holds in the room has changed. */
  readonly changed: () => void;
}

export class RoomChain {
  readonly #room: string;
  readonly #world: RoomChainWorld;
  #chain: Chain | undefined;
  #links = new Map<number, ChainLink>();
  #founding: string | undefined;
  #loading: Promise<void> | undefined;
  #loaded = false;
  /** The chain is longer than what is fetched of one. */
  #truncated = false;

  constructor(room: string, world: RoomChainWorld) {
    this.#room = room;
    this.#world = world;
  }

  /** The fold; `undefined` until the chain has been loaded and verified. */
  get fold(): Chain | undefined {
    return this.#chain;
  }

  get state(): RoomState | undefined {
    return this.#chain?.state;
  }

  /** All links known, oldest first. */
  get links(): readonly ChainLink[] {
    return [...this.#links.values()].sort((a, b) => a.entry.seq - b.entry.seq);
  }

  /** What became of the chain entry at `seq`. */
  linkAt(seq: number): ChainLink | undefined {
    return this.#links.get(seq);
  }

  /** The envelope hash of the room's first entry. */
  get founding(): string | undefined {
    return this.#founding;
  }

  /** Resolves when the chain has been fetched once, or could not be. */
  async ready(): Promise<void> {
    if (!this.#loaded) await this.load().catch(() => undefined);
  }

  /** Fetches and folds the whole chain anew. Callers at one time share one. Rejects with `ApiError`. */
  load(): Promise<void> {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined;
      this.#loaded = true;
      this.#catchUp();
      this.#world.changed();
    });
    return this.#loading;
  }

  /** The log is of another life: what was folded is not of it. */
  forget(): void {
    this.#chain = undefined;
    this.#links.clear();
    this.#founding = undefined;
    this.#loaded = false;
  }

  /** Takes a chain entry that came live, in its order. */
  live(entry: LogEntry): void {
    if (!isChainEntry(entry) || this.#loading !== undefined || this.#chain === undefined) return;
    if (entry.seq <= this.#chain.newest.seq || this.#links.has(entry.seq)) return;
    this.#apply(this.#chain, entry);
    this.#world.changed();
  }

  /** Fetches the chain if entries of it came after the newest known one that the socket will not bring. */
  async followed(newest: number, from: number): Promise<void> {
    if (newest < from && (this.#chain?.newest.seq ?? 0) < newest) await this.load().catch(() => undefined);
    else await this.ready();
  }

  /** Applies the record of a new epoch whose key has just been opened; whether it was allowed. */
  accept(entry: ChainEntry, raw: RawEntry): boolean {
    if (this.#chain === undefined) return false;
    const outcome = this.#chain.apply(entry);
    const shown: LogEntry = { ...raw, ...headed(entry), content: entry.body };
    this.#note(shown, outcome.kind === "applied");
    return outcome.kind === "applied";
  }

  async #load(): Promise<void> {
    const raws = await this.#fetch();
    await this.#world.keys.walkBack(raws);
    const fold = new Map<number, ChainLink>();
    this.#chain = undefined;
    this.#links = fold;
    for (let rest = raws; rest.length > 0;) {
      const cut = rest.findIndex((raw) => this.#world.keys.mustReceive(raw));
      const known = cut < 0 ? rest : rest.slice(0, cut);
      const entries = await this.#world.opener.openAll(known);
      this.#world.log.compare(entries);
      for (const entry of entries) this.#foldNext(entry);
      const record = rest[cut];
      if (record === undefined) break;
      if (!(await this.#world.keys.receive(record, (entry) => this.accept(entry, record)))) break;
      rest = rest.slice(cut + 1);
    }
    await this.#checkPinned(raws);
  }

  /** All chain entries, oldest first; the newest ones of a chain that is longer than can be. */
  async #fetch(): Promise<RawEntry[]> {
    let raws: RawEntry[] = [];
    this.#truncated = true;
    for (let page = 0; page < CHAIN_PAGES_MAX; page++) {
      const before = raws[0]?.seq;
      const { entries, history } = await this.#world.api.chain(this.#room, before, HISTORY_PAGE_MAX);
      const ours = this.#world.log.history;
      if (ours !== undefined && ours !== history) throw new ApiError({ code: "unavailable" });
      raws = [...entries, ...raws];
      if (entries.length > 0 && raws[0]?.seq !== 1) continue;
      this.#truncated = false;
      break;
    }
    return raws;
  }

  #foldNext(entry: LogEntry): void {
    if (entry.seq === 1) this.#founding = entry.hash;
    if (this.#chain !== undefined) return this.#apply(this.#chain, entry);
    const known = chainEntry(entry);
    // What came before the oldest epoch this device can read cannot be folded: the chain begins with that epoch's record.
    if (known === undefined || known.body.kind !== "epoch_record") return;
    try {
      this.#chain = entry.seq === 1 ? Chain.found(known) : Chain.adopt(known);
      this.#note(entry, true);
      // A record that reads back has a chain before it, which was withheld or does not open.
      const readsBack = known.body.record.previousKey !== undefined;
      if (entry.seq !== 1 && readsBack && !this.#truncated) this.#world.log.report("authority", entry.seq, [entry]);
    } catch (error) {
      if (!(error instanceof ChainRefused)) throw error;
      this.#note(entry, false);
    }
  }

  #apply(chain: Chain, entry: LogEntry): void {
    const known = chainEntry(entry);
    if (known === undefined) {
      // It should have opened: its epoch's key is here, or it names an epoch that the room has never been in.
      if (!this.#world.keys.missing) this.#note(entry, false);
      return;
    }
    this.#note(entry, chain.apply(known).kind === "applied");
  }

  #note(entry: LogEntry, counts: boolean): void {
    this.#links.set(entry.seq, { entry, counts, state: this.#chain?.state });
    if (!counts) this.#world.log.report("authority", entry.seq, chainFault(entry, this.links));
  }

  /** The record that is pinned must have its place in the fold: everything else is believed because of it. */
  async #checkPinned(raws: readonly RawEntry[]): Promise<void> {
    const { epoch, hash } = this.#world.pinned();
    const counted = this.links.some(({ entry, counts }) => counts && entry.hash === hash);
    if (counted) return;
    this.#chain = undefined;
    const entries = await this.#world.opener.openAll(raws);
    const at = entries.findIndex((entry) => entry.hash === hash);
    const claimed = entries.find(({ header }) => header?.type === EntryType.epochRecord && header.epoch === epoch);
    if (at < 0) {
      const shown = claimed ?? entries.at(-1);
      this.#world.log.report("authority", shown?.seq ?? 1, shown === undefined ? [] : [shown]);
      return;
    }
    for (const entry of entries.slice(at)) this.#foldNext(entry);
  }

  /** Applies what came live while the chain was being fetched. */
  #catchUp(): void {
    for (const entry of this.#world.log.runs.at(-1)?.entries ?? []) this.live(entry);
  }
}

function isChainEntry({ header }: LogEntry): boolean {
  return header?.type === EntryType.epochRecord || header?.type === EntryType.step;
}

/** The entry as the fold takes it; `undefined` when it could not be read. */
function chainEntry(entry: LogEntry): ChainEntry | undefined {
  const { content, header, seq, hash, sentAtMs } = entry;
  if (header === undefined || sentAtMs === undefined || !isRead(entry)) return undefined;
  if (content.kind !== "epoch_record" && content.kind !== "step") return undefined;
  const { device, epoch, counter, targetSeq } = header;
  return { seq, hash, device, epoch, counter, targetSeq, sentAtMs, body: content };
}

function headed({ hash, device, epoch, counter, targetSeq, sentAtMs }: ChainEntry) {
  const header = { type: EntryType.epochRecord, epoch, device, instance: "", counter, targetSeq };
  return { hash, header, sentAtMs };
}
