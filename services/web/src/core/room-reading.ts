//! What a room's log says and how it is read: the keys and the chain that decide what opens and counts, and what is loaded.

import { ApiError, type Api } from "./api.ts";
import { fromB64 } from "./base64url.ts";
import { type PublicKeys } from "./crypto/device.ts";
import { EntryType, type Header } from "./crypto/envelope.ts";
import { Directory } from "./directory.ts";
import { type RawEntry } from "./frames.ts";
import { isChainEntry } from "./chain-fold.ts";
import { isRead, type LogEntry } from "./log-entry.ts";
import { EntryOpener } from "./open-entry.ts";
import { RoomChain } from "./room-chain.ts";
import { RoomChanges } from "./room-changes.ts";
import { RoomKeys, type KeysWorld } from "./room-keys.ts";
import { RoomLog } from "./room-log.ts";
import { RoomMembers } from "./room-members.ts";
import { RoomPages } from "./room-pages.ts";
import { RoomPins } from "./room-pins.ts";
import { RoomQuotes } from "./room-quotes.ts";
import { RoomRecipients } from "./room-recipients.ts";

/** How often a missing key is asked for again, and how long between; after that with each new connection. */
const KEY_TRIES_MAX = 10;
const KEY_PERIOD_MS = 30_000;

export interface ReadingWorld extends Omit<KeysWorld, "api"> {
  readonly api: Api;
  /** The log, or what holds in the room, has changed. */
  readonly logChanged: () => void;
  /** Something else that is shown has changed. */
  readonly changed: () => void;
  /** Whether the server serves the room at present. */
  readonly followed: () => boolean;
  /** A key has come too late for what was read without it. */
  readonly reload: () => void;
}

export class RoomReading {
  readonly log = new RoomLog();
  readonly changes = new RoomChanges();
  readonly directory: Directory;
  readonly keys: RoomKeys;
  readonly opener: EntryOpener;
  readonly chain: RoomChain;
  readonly recipients: RoomRecipients;
  readonly members: RoomMembers;
  readonly pages: RoomPages;
  readonly quotes: RoomQuotes;
  readonly pins: RoomPins;
  readonly #room: string;
  readonly #world: ReadingWorld;
  #asked = 0;
  #asking = false;

  constructor(room: string, world: ReadingWorld) {
    this.#room = room;
    this.#world = world;
    const { api, changed, logChanged } = world;
    const { log, changes } = this;
    const directory = new Directory((device) => this.#fetchKeys(device));
    const keys = new RoomKeys(room, world);
    const opener = new EntryOpener(
      room,
      (epoch) => keys.of(epoch),
      directory,
      (headers) => this.#prepare(headers),
    );
    const note = (entries: readonly LogEntry[]) => this.note(entries);
    [this.directory, this.keys, this.opener] = [directory, keys, opener];
    this.chain = new RoomChain(room, {
      api,
      log,
      keys,
      openerWith: (keyOf) => new EntryOpener(room, keyOf, directory),
      pinned: () => world.record().pinned,
      changed: () => this.#chainChanged(),
    });
    // The recovery device has pinned no epoch; it looks at no records but to get in.
    const { epoch } = world.record().pinned;
    this.recipients = new RoomRecipients(room, epoch < 0 ? Infinity : epoch - 1, {
      api,
      links: () => this.chain.links,
      key: (epoch) => keys.raw(epoch),
      followed: world.followed,
      setTimeout: world.setTimeout,
      report: ({ seq, shown }) => {
        log.report("authority", seq, shown);
        changed();
      },
    });
    const banned = () => this.chain.state?.banned ?? [];
    this.members = new RoomMembers(room, { api, directory, opener, banned, changed });
    this.pages = new RoomPages(room, { api, log, opener, note, changed: logChanged });
    this.quotes = new RoomQuotes({ fetch: (seq) => this.pages.one(seq), changed });
    this.pins = new RoomPins(room, { api, log, changes, quotes: this.quotes, opener, note, changed });
  }

  /** Fetches what the socket does not bring. */
  async load(): Promise<void> {
    await Promise.all([this.members.load(), this.chain.ready()]);
    await Promise.all([this.pins.load(), this.#findReadmitted()]);
  }

  /** The log is of another life: nothing that was read is of it. */
  reset(): void {
    this.changes.clear();
    this.quotes.clear();
    this.chain.forget();
    this.directory.forgetNames();
    this.pages.holes.clear();
    void this.load();
  }

  /** Takes entries that were opened, wherever they come from. */
  note(entries: readonly LogEntry[]): void {
    for (const entry of entries) this.changes.note(entry);
    this.chain.compare(entries);
    for (const entry of entries) this.chain.expectEpochOf(entry);
    this.#findBanned(entries);
    this.#askAgain();
  }

  /** Takes a live entry into the log and what follows from it; whether it is new. */
  live(entry: LogEntry): boolean {
    const isNew = this.log.at(entry.seq) === undefined;
    this.log.append(entry);
    this.note([entry]);
    this.chain.live(entry);
    // A record that was not allowed removes nobody.
    const counts = entry.content.kind !== "epoch_record" || this.chain.linkAt(entry.seq)?.counts === true;
    if (isNew && counts) this.members.live(entry);
    return isNew;
  }

  /** Gets the key that the live record `raw` of a newer epoch is sealed under, or goes on without it. */
  async receiveKey(raw: RawEntry): Promise<void> {
    await this.chain.receive(raw);
    this.#askAgain();
    // Who was left out of the new epoch is no member any more.
    void this.members.load().then(() => this.#findReadmitted());
  }

  /** The server says that the room is in `epoch`; it must show how that began. */
  expectEpoch(epoch: number): void {
    this.keys.expect(epoch);
    this.#askAgain();
  }

  /** A key that could not be had may only have been late. */
  #askAgain(): void {
    if (this.#asking || !this.keys.behind || this.#asked >= KEY_TRIES_MAX) return;
    this.#asking = true;
    this.#asked++;
    this.#world.setTimeout(() => void this.#ask(), KEY_PERIOD_MS);
  }

  async #ask(): Promise<void> {
    if (this.keys.behind) {
      await this.chain.load().then(
        () => this.keys.lackExpected(),
        () => undefined,
      );
      this.#world.changed();
    }
    this.#asking = false;
    this.#askAgain();
  }

  /** Nothing of who is banned may come after the ban: the server has let it in again. */
  #findBanned(entries: readonly LogEntry[]): void {
    // What lifted a ban may be on its way.
    if (this.chain.isBehind) return;
    const banned = new Set(this.chain.links.flatMap(({ state }) => state.banned));
    for (const entry of banned.size === 0 ? [] : entries) {
      const { device } = entry.header ?? {};
      if (device === undefined || !banned.has(device) || !isRead(entry) || isChainEntry(entry)) continue;
      const ban = this.chain.banAt(device, entry.seq);
      if (ban !== undefined) this.log.report("authority", entry.seq, [ban.entry, entry]);
    }
  }

  /** The server lists as a member whom admins have banned, and had not heard of less when it did. */
  async #findReadmitted(): Promise<void> {
    const bans = () => {
      const listed = this.members.listed.map((device) => [device, this.chain.banAt(device, Infinity)] as const);
      return new Map(listed.flatMap(([device, ban]) => (ban === undefined ? [] : [[device, ban.entry]])));
    };
    const known = bans();
    if (known.size === 0) return;
    try {
      // The list as of after the ban, and then the chain, in which it may have been lifted before that.
      await this.members.fetch();
      await this.chain.refresh();
    } catch (error) {
      if (error instanceof ApiError) return;
      throw error;
    }
    for (const [device, entry] of bans()) {
      if (known.get(device)?.seq === entry.seq) this.log.report("authority", entry.seq, [entry]);
    }
    this.#world.logChanged();
  }

  async #fetchKeys(device: string): Promise<PublicKeys | undefined> {
    try {
      const member = await this.#world.api.member(this.#room, device);
      return { signKey: fromB64(member.sign_key, 32), agreeKey: fromB64(member.agree_key, 32) };
    } catch {
      return undefined;
    }
  }

  /** Older and newer keys are reached through the chain, and who signs a step may be known from nowhere else. */
  async #prepare(headers: readonly Header[]): Promise<void> {
    await this.chain.lookFor(headers);
    const needsChain = ({ type, epoch }: Header) =>
      type === EntryType.step || (epoch < this.keys.epoch && this.keys.of(epoch) === undefined);
    if (headers.some(needsChain)) await this.chain.ready();
  }

  #chainChanged(): void {
    void this.recipients.check();
    for (const { entries } of this.log.runs) this.#findBanned(entries);
    this.#world.logChanged();
    if ([...this.opener.lacked].some((epoch) => this.keys.of(epoch) !== undefined)) this.#world.reload();
  }
}
