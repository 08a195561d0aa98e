//! One room's chain: fetched, verified from the pinned record in both directions, folded, and kept in step with the log.

import { ApiError, type Api } from "./api.ts";
import { type Chain } from "./chain/chain.ts";
import { type Muted, type RoomState } from "./chain/state.ts";
import { foldChain, isChainEntry } from "./chain-fold.ts";
import { faultAt, foldNext, mutesOf, type ChainFault, type ChainLink } from "./chain-links.ts";
import { type Header } from "./crypto/envelope.ts";
import { type RawEntry } from "./frames.ts";
import { type LogEntry } from "./log-entry.ts";
import { type EntryOpener } from "./open-entry.ts";
import { recordHeader, type FoundKey, type RoomKeys } from "./room-keys.ts";
import { type RoomLog } from "./room-log.ts";
import { HISTORY_PAGE_MAX } from "../protocol.gen.ts";

/** So many pages of the chain are fetched, once the pinned record is among them. */
const CHAIN_PAGES_MAX = 100;
/** No more than this in any case. The server's limits of steps and new passwords put the pinned record far below it. */
export const CHAIN_PAGES_NEEDED_MAX = 2_500;

export interface RoomChainWorld {
  readonly api: Pick<Api, "chain">;
  readonly log: RoomLog;
  readonly keys: RoomKeys;
  /** Opens with these keys without waiting for this chain. */
  readonly openerWith: (keyOf: (epoch: number) => CryptoKey | undefined) => EntryOpener;
  readonly pinned: () => { readonly epoch: number; readonly hash: string };
  /** What holds in the room has changed. */
  readonly changed: () => void;
}

interface Fetched {
  readonly history: string | undefined;
  /** Oldest first. */
  readonly raws: readonly RawEntry[];
  /** False: the chain is longer than what is fetched of one. */
  readonly whole: boolean;
}

export class RoomChain {
  readonly #room: string;
  readonly #world: RoomChainWorld;
  #chain: Chain | undefined;
  #links: readonly ChainLink[] = [];
  #bySeq = new Map<number, ChainLink>();
  #mutes: readonly Muted[] = [];
  #founding: string | undefined;
  #history: string | undefined;
  #contradicted = false;
  /** The server has told of entries that could not be fetched yet. */
  #behind = false;
  #loading: Promise<void> | undefined;
  /** The newest epoch that was looked for here after an entry of it had come. */
  #lookedFor = 0;
  /** Counts the lives of the log: what was fetched of an earlier one is not taken. */
  #life = 0;

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

  /** What the room asks of `device` between two messages; 0 = nothing, `undefined` = not known yet. */
  slowMs(device: string): number | undefined {
    return this.#chain?.role(device) === "member" ? this.#chain.state.slowMs : this.#chain && 0;
  }

  /** All links known, oldest first. */
  get links(): readonly ChainLink[] {
    return this.#links;
  }

  /** Until when devices may not write, or could not. */
  get mutes(): readonly Muted[] {
    return this.#mutes;
  }

  /** What became of the chain entry at `seq`. */
  linkAt(seq: number): ChainLink | undefined {
    return this.#bySeq.get(seq);
  }

  /** Whether the server's chain lacks the record that this device has pinned. */
  get isContradicted(): boolean {
    return this.#contradicted;
  }

  /** Whether what is known may be less than what stands before the newest entries of the log. */
  get isBehind(): boolean {
    return this.#behind || this.#loading !== undefined;
  }

  /** The link since which `device` is banned at the place `seq`; `undefined` when it is not. */
  banAt(device: string, seq: number): ChainLink | undefined {
    let at = this.#links.findLastIndex(({ entry }) => entry.seq < seq);
    if (this.#links[at]?.state.banned.includes(device) !== true) return undefined;
    while (this.#links[at - 1]?.state.banned.includes(device) === true) at--;
    return this.#links[at];
  }

  /** The envelope hash of the room's first entry. */
  get founding(): string | undefined {
    return this.#founding;
  }

  /** Resolves when the chain has been fetched, or could not be. */
  async ready(): Promise<void> {
    if (this.#loading !== undefined || this.#history === undefined) await this.load().catch(() => undefined);
  }

  /** Fetches and folds the whole chain anew. Callers at one time share one. Rejects with `ApiError`. */
  load(): Promise<void> {
    if (this.#loading !== undefined) return this.#loading;
    const loading = this.#load().finally(() => {
      if (this.#loading !== loading) return;
      this.#loading = undefined;
      // What came live while it was being fetched.
      for (const entry of this.#world.log.runs.at(-1)?.entries ?? []) this.live(entry);
      this.#world.changed();
    });
    this.#loading = loading;
    return loading;
  }

  /** As `load`, with all that was committed before the call: what is being fetched already may be from before. */
  async refresh(): Promise<void> {
    await this.#loading?.catch(() => undefined);
    await this.load();
  }

  /** The log is of another life: what was folded is not of it. */
  forget(): void {
    this.#life++;
    this.#loading = undefined;
    this.#history = undefined;
    this.#founding = undefined;
    this.#contradicted = false;
    this.#behind = false;
    this.#lookedFor = 0;
    this.#take(undefined, []);
  }

  /** The server has answered a follow: fetches the chain if entries of it came that the socket will not bring. */
  async followed(history: string, newest: number, from: number): Promise<void> {
    if (this.#history !== undefined && this.#history !== history) this.forget();
    if (newest >= from || (this.#chain?.newest.seq ?? 0) >= newest) return this.ready();
    this.#behind = true;
    await this.load().catch(() => undefined);
  }

  /** Fetches the chain if it is not known how the epoch of one of these headers began. Failing leaves that open. */
  async lookFor(headers: readonly Header[]): Promise<void> {
    const { keys } = this.#world;
    const epoch = Math.max(0, ...headers.flatMap(({ room, epoch }) => (room === this.#room ? [epoch] : [])));
    if (!keys.isAhead(epoch)) return;
    keys.expect(epoch);
    const life = this.#life;
    const loaded = await this.refresh().then(
      () => true,
      () => false,
    );
    if (loaded && life === this.#life) this.#lookedFor = Math.max(this.#lookedFor, epoch);
  }

  /**
   * Finds that the record of an epoch is withheld: the server takes entries of the room's epoch only, so what began the
   * epoch of `entry` must be in the chain that was fetched after it came.
   */
  expectEpochOf(entry: LogEntry): void {
    const [chain, { keys }, epoch] = [this.#chain, this.#world, entry.header?.epoch ?? 0];
    if (chain === undefined || !keys.isAhead(epoch) || epoch < chain.nextEpoch || epoch > this.#lookedFor) return;
    // Nothing is sealed under the older key from here on.
    keys.lack(epoch);
    this.#report([faultAt(entry, this.#links)]);
    this.#world.changed();
  }

  /** Takes a chain entry that came live, in its order. */
  live(entry: LogEntry): void {
    const [chain, { keys }] = [this.#chain, this.#world];
    if (!isChainEntry(entry) || this.#loading !== undefined || chain === undefined) return;
    // What follows a record without its key waits until that is there.
    if (entry.seq <= chain.newest.seq || this.#bySeq.has(entry.seq) || keys.missing) return;
    const link = foldNext(chain, entry);
    if (!link.counts) this.#report([faultAt(entry, this.#links)]);
    this.#take(chain, [...this.#links, link]);
    this.#world.changed();
  }

  /** Compares entries of a loaded page with the chain: none of its entries may be another one there, or be missing. */
  compare(entries: readonly LogEntry[]): void {
    const [oldest, newest] = [this.#links[0]?.entry.seq ?? Infinity, this.#links.at(-1)?.entry.seq ?? 0];
    for (const entry of entries) {
      const known = this.#bySeq.get(entry.seq)?.entry;
      const isMissing = known === undefined && isChainEntry(entry) && entry.seq > oldest && entry.seq < newest;
      if (isMissing) this.#report([faultAt(entry, this.#links)]);
      if (known !== undefined && known.hash !== entry.hash) this.#world.log.report("fork", entry.seq, [known, entry]);
    }
  }

  /** Gets the key that the live record `raw` of a newer epoch is sealed under, and folds the record; or goes on without. */
  async receive(raw: RawEntry): Promise<void> {
    await this.ready();
    const [chain, { keys }] = [this.#chain, this.#world];
    const header = recordHeader(raw);
    // The chain may have been fetched with this record in it.
    if (header === undefined || !keys.mustReceive(raw)) return;
    keys.expect(header.epoch);
    if (chain === undefined || keys.missing || header.targetSeq !== chain.newest.seq) {
      await this.load().catch(() => undefined);
    } else {
      const found = await keys.find(raw);
      if (found !== "unanswered" && this.#chain === chain) await this.#begin(chain, raw, found);
    }
    if (keys.mustReceive(raw)) keys.lack(header.epoch);
    this.#world.changed();
  }

  /**
   * Folds a live record. One that no key opens takes its place without counting, or one admin could end the room with it; that
   * no key does is the server's word, so it is asked again with each fetching of the chain, which is folded anew then.
   */
  async #begin(chain: Chain, raw: RawEntry, found: FoundKey | "lacking"): Promise<void> {
    const key = found === "lacking" ? undefined : found;
    const [entry] = await this.#openerWith(new Map(key && [[key.epoch, key]])).openAll([raw]);
    if (entry === undefined || this.#chain !== chain || this.#loading !== undefined) return;
    const { keys } = this.#world;
    const link = foldNext(chain, entry);
    if (!link.counts && key !== undefined) this.#report([faultAt(entry, this.#links)]);
    this.#take(chain, [...this.#links, link]);
    if (key === undefined) return;
    if (link.counts) await keys.keep(key);
    else if (chain.nextEpoch > key.epoch) keys.refuse(key.epoch);
  }

  #openerWith(found: ReadonlyMap<number, FoundKey>): EntryOpener {
    return this.#world.openerWith((epoch) => found.get(epoch)?.use ?? this.#world.keys.of(epoch));
  }

  async #load(): Promise<void> {
    const life = this.#life;
    const { log, keys, pinned } = this.#world;
    const { history, raws, whole } = await this.#fetch();
    const newest = Math.max(0, ...raws.map((raw) => recordHeader(raw)?.epoch ?? 0));
    if (life === this.#life && newest > keys.epoch) keys.expect(newest);
    const { found, unanswered } = await keys.reach(raws);
    const keyed = (epoch: number) => found.has(epoch) || keys.of(epoch) !== undefined;
    const known = raws.slice(0, waitingFrom(raws, keyed, unanswered));
    const entries = await this.#openerWith(found).openAll(known);
    if (life !== this.#life) return;
    log.compare(entries);
    const epochOf = (entry: LogEntry) => entry.header?.epoch ?? 0;
    const fold = foldChain(entries, pinned().hash, { whole, keyed: (entry) => keyed(epochOf(entry)) });
    this.#history = history;
    this.#behind = false;
    this.#contradicted = whole && entries.every(({ hash }) => hash !== pinned().hash);
    this.#founding = entries[0]?.seq === 1 ? entries[0].hash : undefined;
    this.#take(fold.chain, fold.links);
    this.#report(fold.faults);
    const counted = new Set(fold.links.flatMap(({ entry, counts }) => (counts ? [entry.hash] : [])));
    for (const key of found.values()) if (counted.has(key.record.hash)) await keys.keep(key);
    if (newest <= keys.epoch) return;
    if (found.has(newest) && (fold.chain?.nextEpoch ?? 0) > newest) keys.refuse(newest);
    else keys.lack(newest);
  }

  async #fetch(): Promise<Fetched> {
    let raws: readonly RawEntry[] = [];
    let history: string | undefined;
    const { epoch } = this.#world.pinned();
    let pinned = false;
    for (let page = 0; page < (pinned ? CHAIN_PAGES_MAX : CHAIN_PAGES_NEEDED_MAX); page++) {
      const got = await this.#world.api.chain(this.#room, raws[0]?.seq, HISTORY_PAGE_MAX);
      pinned ||= got.entries.some((raw) => (recordHeader(raw)?.epoch ?? Infinity) <= epoch);
      history ??= this.#world.log.history ?? got.history;
      // The log changed its life on the way; who asks next gets the new one.
      if (history !== got.history) throw new ApiError({ code: "unavailable" });
      raws = [...got.entries, ...raws];
      if (got.entries.length === 0 || raws[0]?.seq === 1) return { history, raws, whole: true };
    }
    return { history, raws, whole: false };
  }

  #take(chain: Chain | undefined, links: readonly ChainLink[]): void {
    this.#chain = chain;
    this.#links = links;
    this.#bySeq = new Map(links.map((link) => [link.entry.seq, link]));
    this.#mutes = mutesOf(links);
  }

  #report(faults: readonly ChainFault[]): void {
    for (const { seq, shown } of faults) this.#world.log.report("authority", seq, shown);
  }
}

/**
 * The place of the first record that waits: the server has not said whether there is a key of it, and there is no newer one's
 * either. One that the server has no fitting key of is folded as it is.
 */
function waitingFrom(raws: readonly RawEntry[], keyed: (epoch: number) => boolean, unanswered: number): number {
  const epochs = raws.map((raw) => recordHeader(raw)?.epoch);
  const newest = epochs.findLastIndex((epoch) => epoch !== undefined && keyed(epoch));
  const waiting = epochs.findIndex((epoch, index) => index > newest && epoch !== undefined && epoch >= unanswered);
  return waiting < 0 ? raws.length : waiting;
}
